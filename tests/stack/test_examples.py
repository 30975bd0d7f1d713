"""Every example, as a newcomer runs it: the command line, the five services, the embedded model, no key."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.openai_server import OpenAiServer, openai_server
from tests.platform import Platform, eventually, platform

from cadre_client import Client, MemoryItem

EXAMPLES = Path(__file__).parents[2] / "examples"
MESSAGE = "message=The parcel arrived broken and nobody answers!"
# A busy machine writes a few tokens a second.
pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("local")) as running:
        yield running


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAiServer]:
    with openai_server() as serving:
        yield serving


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, provider: OpenAiServer) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("keyed"), **provider.settings) as running:
        yield running


def run(on: Platform, name: str, *inputs: str) -> dict[str, Any]:
    given = [part for pair in inputs for part in ("-i", pair)]
    ran = on.cadre("run", str(EXAMPLES / f"{name}.yaml"), *given, "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    document: dict[str, Any] = json.loads(ran.stdout)
    assert document["status"] == "succeeded"
    assert document["error"] is None
    assert document["duration_ms"] > 0
    assert document["usage"]["input_tokens"] > 0
    assert document["usage"]["output_tokens"] > 0
    return document


def test_no_wall_is_missed_around_a_program(local: Platform) -> None:
    file = local.home / "walled.yaml"
    file.write_text(
        "flow: {name: walled}\n"
        "state: {fields: {said: {type: str, default: ''}}}\n"
        "nodes: [{id: count, code: 'print(6 * 7)', outputs: [said]}]\n"
        "edges: [{from: START, to: count}, {from: count, to: END}]\n"
    )

    ran = local.cadre("run", str(file))

    assert ran.returncode == 0, ran.stderr
    assert "CPU " in ran.stderr
    assert "without the walls" not in ran.stderr


def test_hello_greets_at_no_cost(local: Platform) -> None:
    said = run(local, "hello", "name=Ada")

    assert said["outputs"]["name"] == "Ada"
    assert len(said["outputs"]["greeting"]) > 5
    assert said["usage"]["cost_usd"] == "0"


def test_triage_takes_the_branch_of_the_mood_that_the_model_found(local: Platform) -> None:
    said = run(local, "triage", MESSAGE)
    nodes = {e.node for e in local.client().watch(said["run_id"])} - {""}

    mood = said["outputs"]["mood"]
    branches = {"angry": "apologise", "happy": "thank", "neutral": "inform"}
    assert nodes == {"classify", branches[mood]}
    assert said["outputs"]["reply"].strip()
    assert said["usage"]["cost_usd"] == "0"


def test_review_loop_ends_after_three_rounds_at_most(local: Platform) -> None:
    said = run(local, "review_loop", "topic=why tests should be able to fail")

    assert 1 <= said["outputs"]["rounds"] <= 3
    assert said["outputs"]["good"] in (True, False)
    assert said["outputs"]["good"] or said["outputs"]["rounds"] == 3
    assert said["outputs"]["draft"].strip()


def test_panel_hears_three_at_the_same_time_and_sums_up_once(local: Platform) -> None:
    said = run(local, "panel", "question=Should a small team write its own database?")
    types = [(e.type.value, e.node) for e in local.client().watch(said["run_id"])]

    voices = {"advocate", "critic", "accountant"}
    first_end = next(n for n, (kind, _) in enumerate(types) if kind == "node_succeeded")
    assert {node for kind, node in types[:first_end] if kind == "node_started"} == voices
    assert types.count(("node_started", "chair")) == 1
    assert all(said["outputs"][name].strip() for name in ("pro", "con", "cost", "summary"))


def test_numbers_are_computed_by_code_and_not_by_the_model(local: Platform) -> None:
    said = run(local, "numbers", "numbers:=[3, 1, 4, 1, 5, 9]")["outputs"]

    assert (said["mean"], said["median"], said["largest"]) == (3.833, 3.5, 9.0)
    assert said["numbers"] == [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
    assert said["sentence"].strip()


def test_remember_finds_what_an_earlier_run_stored(local: Platform) -> None:
    first = run(local, "remember", "who=Ada", "message=My favourite colour is green.")["outputs"]
    second = run(local, "remember", "who=Ada", "message=What did I tell you?")["outputs"]
    other = run(local, "remember", "who=Bob", "message=Hello.")["outputs"]

    assert first["before"] is None
    assert second["before"] == "My favourite colour is green."
    assert other["before"] is None


def test_companion_keeps_what_was_said_and_a_small_model_breaks_nothing(local: Platform) -> None:
    client, ada = local.client(), ["user", "ada"]
    run(local, "companion", "who=ada", "message=I live in Paris and I play the cello.")
    eventually(lambda: not _learning(client), seconds=240)

    assert [m.role for m in client.messages(ada).messages] == ["user", "assistant"]
    for fact in client.list_memories([*ada, "facts"]):
        assert isinstance(fact.value, str)
        assert fact.metadata["workflow"] == "companion"
    for work in client.list_memories(["cadre", "work"]):
        assert work.metadata["code"] in {"REPLY_UNUSABLE", "MODEL_OUTPUT_TRUNCATED"}


def _learning(client: Client) -> list[MemoryItem]:
    work = client.list_memories(["cadre", "work"])
    return [item for item in work if item.metadata["state"] == "waiting"]


def test_headlines_writes_one_for_each_topic_in_their_order(local: Platform) -> None:
    said = run(local, "headlines", 'topics:=["rain", "bread", "trains"]')
    events = [e for e in local.client().watch(said["run_id"]) if e.node == "write"]

    headlines, words = said["outputs"]["headlines"], said["outputs"]["words"]
    assert len(headlines) == 3
    assert words == [len(headline.split()) for headline in headlines]
    assert {e.item for e in events if e.type == "node_succeeded"} == {0, 1, 2, 3}
    told = [e for e in events if e.type == "node_text" and e.item == 1]
    assert "".join(str((e.data or {})["text"]) for e in told).strip() == headlines[0].strip()


def test_guests_runs_another_workflow_for_each(local: Platform) -> None:
    applied = local.cadre("apply", str(EXAMPLES / "hello.yaml"))
    assert applied.returncode == 0, applied.stderr

    said = run(local, "guests", 'names:=["Ada", "Grace"]')

    children = [r for r in local.client().runs(workflow="hello") if r.parent_run_id]
    assert {child.parent_run_id for child in children} == {said["run_id"]}
    assert len(said["outputs"]["greetings"]) == len(children) == 2
    assert sum(child.usage.calls for child in children) == 2


def test_notebook_lets_the_model_read_what_a_tool_wrote(local: Platform) -> None:
    said = run(
        local, "notebook", "note=The train leaves at nine.", "question=What is in the notebook?"
    )
    events = list(local.client().watch(said["run_id"]))

    called = [(e.data or {})["tool"] for e in events if e.type == "tool_called"]
    assert called[0] == "file_write"
    assert set(called[1:]) == {"file_read"}
    assert said["outputs"]["answer"].strip()


def test_what_the_runs_used_is_in_the_ledger(local: Platform) -> None:
    said = run(local, "hello", "name=Eve")

    group = local.client().usage(["model"], run_id=said["run_id"]).groups[0]

    assert group.keys["model"] == "smollm2-135m-instruct"
    assert group.usage.calls == 1
    assert group.usage.input_tokens == said["usage"]["input_tokens"]
    assert group.usage.output_tokens == said["usage"]["output_tokens"]


def test_with_a_key_the_same_file_runs_on_that_provider_and_is_priced(
    keyed: Platform, provider: OpenAiServer
) -> None:
    said = run(keyed, "triage", MESSAGE)

    total = keyed.client().usage(["model"], run_id=said["run_id"]).total
    assert {body["model"] for body in provider.asked} == {"gpt-4.1-mini"}
    assert provider.keys == {"Bearer sk-loopback"}
    assert said["outputs"]["mood"] == "happy"
    assert Decimal(said["usage"]["cost_usd"]) == total.cost_usd == Decimal("0.0000256")
