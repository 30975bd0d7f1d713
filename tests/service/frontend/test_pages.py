"""Each page on the real services: what it shows, and what its buttons do."""

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest
from tests.platform import Platform, eventually

from cadre_client import Budget, Run

Opened = Callable[..., AppTest]
DOUBLE = """\
schema_version: "1.0"
flow: {name: double, description: "Doubles *it* ![x](http://elsewhere.invalid/x.png)"}
state:
  fields:
    number: {type: int, required: true}
    twice: {type: int, default: 0}
nodes:
  - {id: compute, inputs: {number: "{state.number}"}, code: "result = number * 2", outputs: [twice]}
edges:
  - {from: START, to: compute}
  - {from: compute, to: END}
"""
ASKS = """\
schema_version: "1.0"
flow: {name: asks}
state:
  fields:
    number: {type: int, required: true}
    verdict: {type: dict, default: {}}
nodes:
  - {id: review, type: approval, message: "Double *it*?", outputs: [verdict]}
edges:
  - {from: START, to: review}
  - {from: review, to: END}
"""
BROKEN = DOUBLE.replace("name: double", "name: broken").replace("number * 2", "number / 0")


def ended(services: Platform, source: str, number: int = 21) -> Run:
    with services.client() as client:
        run = client.start_run(source=source, inputs={"number": number})
        eventually(lambda: client.run(run.id).status.is_final)
        return client.run(run.id)


def press(page: AppTest, label: str) -> AppTest:
    (found,) = [each for each in page.button if each.label == label]
    return found.click().run()


def words(page: AppTest) -> str:
    kinds = (page.markdown, page.caption, page.text, page.error, page.info, page.title)
    return "\n".join(str(each.value) for kind in kinds for each in kind)


def test_a_run_shows_what_it_made_and_what_it_was_given(services: Platform, opened: Opened) -> None:
    run = ended(services, DOUBLE)

    page = opened("runs", run=run.id)

    assert [title.value for title in page.title] == ["double"]
    assert "42" in [text.value for text in page.text]
    assert json.loads(page.json[0].value) == {"number": 21}
    assert {m.label: m.value for m in page.metric}["Cost"] == "–"
    assert not page.exception
    assert not page.error


def test_a_waiting_run_shows_its_question_and_a_button_answers_it(
    services: Platform, opened: Opened
) -> None:
    with services.client() as client:
        run = client.start_run(source=ASKS, inputs={"number": 1})
        eventually(lambda: client.run(run.id).status.value == "waiting")
        page = opened("runs", run=run.id)
        assert "Double *it*?" in words(page).replace("\\", "")

        press(page, "reject")
        eventually(lambda: client.run(run.id).status.is_final)

        assert (client.run(run.id).outputs or {})["verdict"] == {
            "choice": "reject",
            "comment": "",
            "by": "",
        }
    assert not page.exception


def test_a_fork_leads_to_the_run_that_it_came_from(services: Platform, opened: Opened) -> None:
    run = ended(services, DOUBLE)
    with services.client() as client:
        forked = client.fork(run.id, state={"number": 4})

    page = press(opened("runs", run=forked.id), f"Forked from {run.id}")

    assert page.query_params["run"] in (run.id, [run.id])
    assert not page.exception


def test_a_failed_run_says_where_why_and_what_to_do(services: Platform, opened: Opened) -> None:
    run = ended(services, BROKEN)

    page = opened("runs", run=run.id)

    (box,) = page.error
    assert "ZeroDivisionError" in box.value
    assert "`compute`" in box.value
    assert "`CODE_FAILED`" in box.value
    assert not page.exception


def test_the_list_of_runs_can_be_narrowed(services: Platform, opened: Opened) -> None:
    good, bad = ended(services, DOUBLE), ended(services, BROKEN)

    page = opened("runs")
    page.selectbox(key="status").select("failed").run()

    shown = {each.key for each in page.button}
    assert bad.id in shown
    assert good.id not in shown
    assert not page.exception


def test_a_workflow_is_run_from_its_form(services: Platform, opened: Opened) -> None:
    with services.client() as client:
        client.apply(DOUBLE)
        before = {run.id for run in client.runs()}
        page = opened("workflows", workflow="double")

        page.number_input[0].set_value(4)
        press(page, "Run")

        (started,) = [run for run in client.runs() if run.id not in before]
        eventually(lambda: (client.run(started.id).outputs or {}).get("twice") == 8)
    assert not page.exception


def test_a_missing_value_is_named_and_nothing_runs(services: Platform, opened: Opened) -> None:
    with services.client() as client:
        client.apply(DOUBLE)
        before = len(client.runs(limit=500))
        page = press(opened("workflows", workflow="double"), "Run")

        assert [box.value == "**number** is required." for box in page.error] == [True]
        assert len(client.runs(limit=500)) == before


def test_a_description_is_shown_and_not_obeyed(services: Platform, opened: Opened) -> None:
    with services.client() as client:
        client.apply(DOUBLE)

    page = opened("workflows", workflow="double")

    assert r"Doubles \*it\* \!\[x\]" in words(page)
    assert "![x]" not in words(page)


def test_a_file_with_problems_is_refused_with_all_of_them(opened: Opened) -> None:
    page = opened("workflows")
    page.text_area[0].set_value("schema_version: '1.0'\nflow: {name: x}\nnodez: []")
    page.run()

    press(page, "Check and save")

    assert "UNKNOWN_FIELD" in words(page)
    assert "line 3" in words(page)
    assert not page.exception


def test_a_deleted_workflow_is_gone(services: Platform, opened: Opened) -> None:
    with services.client() as client:
        client.apply(DOUBLE.replace("name: double", "name: doomed"))
        page = press(opened("workflows", workflow="doomed"), "Delete it")

        assert "doomed" not in [workflow.name for workflow in client.workflows()]
    assert not page.exception


@pytest.mark.parametrize(("page", "kind"), [("runs", "run"), ("workflows", "workflow")])
def test_what_does_not_exist_is_said_with_a_way_back(opened: Opened, page: str, kind: str) -> None:
    drawn = opened(page, **{kind: "nothing"})

    assert f"No {kind} 'nothing'" in drawn.error[0].value
    assert any(each.label.startswith("All ") for each in drawn.button)
    assert not drawn.exception


def test_costs_show_what_models_used_and_how_each_budget_stands(
    services: Platform, opened: Opened
) -> None:
    with services.client() as client:
        client.complete([{"role": "user", "content": "hi"}], model="embedded", max_tokens=2)
        client.set_budget(Budget(name="daily", period="day", tokens=5000))
        calls = [group.usage.calls for group in client.usage(group_by=["model"]).groups]

    page = opened("costs")

    assert "**daily**: all calls, 5,000 tokens a day" in words(page)
    assert page.dataframe[0].value["calls"].tolist() == calls
    assert {m.label: m.value for m in page.metric}["Cost"] == "$0"
    assert not page.exception


def test_the_status_names_every_service_and_the_model(opened: Opened) -> None:
    page = opened("status")

    said = words(page)
    for name in ("gateway", "executor", "llm-proxy", "sandbox", "memory", "mlflow", "prefect"):
        assert f"**{name}**" in said
    assert "**frontend**" in said
    assert r"embedded/smollm2\-135m\-instruct" in said
    assert not page.exception


def test_memory_is_searched_and_shown_with_its_scores_and_times(
    services: Platform, opened: Opened
) -> None:
    with services.client() as client:
        client.append_messages(["user", "ada"], [{"text": "I *moved* to Berlin"}, {"text": "Oh?"}])
        for key, fact, when in (
            ("old", "Ada lives in Paris.", {"valid_to": "2023-05-01T00:00:00Z"}),
            ("new", "Ada lives in Berlin.", {"valid_from": "2023-05-01T00:00:00Z"}),
        ):
            told = {"kind": "fact", **when}
            client.put_memory(["user", "ada", "facts"], key, fact, tags=["fact"], metadata=told)

    page = opened("memory", scope="user")
    facts = page.dataframe[0].value
    page.number_input(key="window").set_value(1)
    page.text_input(key="question").set_value("Who moved to Berlin?").run()

    assert not page.exception
    assert list(facts["fact"]) == ["Ada lives in Berlin.", "Ada lives in Paris."]
    assert list(facts["holds"]) == [True, False]
    said = words(page)
    assert "I \\*moved\\* to Berlin" in said
    assert "meaning" in said
    assert "Oh?" in said
    assert "Paris" not in said


def test_forgetting_memories_takes_a_tick_and_a_press(services: Platform, opened: Opened) -> None:
    with services.client() as client:
        client.put_memory(["user", "ben"], "city", "Rome")
        page = opened("memory", scope="user")
        page.selectbox(key="place-user").set_value("user/ben").run()

        (button,) = [each for each in page.button if each.label == "Forget it"]
        assert button.disabled
        page.checkbox(key="forget-sure").check().run()
        press(page, "Forget it")

        assert not page.exception
        assert client.list_memories(["user", "ben"]) == []


def test_work_that_is_tried_again_says_why(services: Platform, opened: Opened) -> None:
    with services.client() as client:
        client.append_messages(["agent", "ida"], [{"text": "hi"}])
        told = {
            "conversation": "agent/ida",
            "state": "done",
            "code": "UNAVAILABLE",
            "reason": "away",
        }
        client.put_memory(["cadre", "work"], "learn/ida", "x", metadata=told)

        page = opened("memory", scope="agent")
        page.selectbox(key="place-agent").set_value("agent/ida").run()

        assert not page.exception
        assert "It failed, and is tried again" in words(page)
        assert "UNAVAILABLE" in words(page)
        client.delete_memory(["cadre", "work"], "learn/ida")


def test_work_that_failed_is_said_where_its_conversation_is(
    services: Platform, opened: Opened
) -> None:
    with services.client() as client:
        model = "openai_compatible/nowhere"
        client.append_messages(["agent", "eve"], [{"text": "hi"}], learn=True, model=model)
        eventually(
            lambda: any(
                work.metadata["state"] == "failed"
                for work in client.list_memories(["cadre", "work"])
            )
        )

    page = opened("memory", scope="agent")

    assert not page.exception
    assert "Learning from it failed" in page.warning[0].value
