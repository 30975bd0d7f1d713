"""The conversation with a planner: what it is asked, what it is told of problems, and when that ends."""

import pytest
from pydantic import JsonValue
from tests.fakes.builder import FakePlatform

from cadre_client import ApiError
from cadre_client.builder import Plan, build_workflow


def plan(name: str = "sums", instruction: str = "Sum up.") -> dict[str, JsonValue]:
    step: dict[str, JsonValue] = {
        "id": "summary",
        "kind": "write",
        "instruction": instruction,
        "needs": ["article"],
        "choices": [],
        "only_if": None,
        "code": "",
        "key": "",
    }
    given: list[JsonValue] = [{"name": "article", "description": "What to sum up"}]
    return {"name": name, "description": "Sums up.", "inputs": given, "steps": [step]}


def test_a_good_plan_is_the_result_of_one_attempt() -> None:
    platform = FakePlatform(plan())

    built = build_workflow(platform, ["Sum up an article"])

    assert built.result.valid
    assert "name: sums" in built.result.source
    assert (len(built.attempts), built.model, built.small_model) == (1, "openai/m", False)
    assert platform.asked[0][-1] == {"role": "user", "content": "Sum up an article"}


def test_problems_are_fed_back_until_the_plan_is_good() -> None:
    platform = FakePlatform(plan("first"), plan("second"), refusals=["summary is too short"])

    built = build_workflow(platform, ["Sum up"])

    assert [attempt.valid for attempt in built.attempts] == [False, True]
    assert "name: second" in built.result.source
    assert "summary is too short" in platform.asked[1][-1]["content"]
    assert '"first"' in platform.asked[1][-2]["content"]


def test_after_three_attempts_the_last_is_returned_with_its_problems() -> None:
    platform = FakePlatform(plan("a"), plan("b"), plan("c"), refusals=["no", "nor this", "never"])

    built = build_workflow(platform, ["Sum up"])

    assert len(platform.asked) == 3
    assert not built.result.valid
    assert [problem.message for problem in built.result.problems] == ["never"]
    assert "name: c" in built.result.source


def test_a_reply_that_is_no_plan_costs_an_attempt() -> None:
    platform = FakePlatform('{"name": "su', {"name": "x"}, plan())

    built = build_workflow(platform, ["Sum up"])

    assert [attempt.plan is None for attempt in built.attempts] == [True, True, False]
    assert "not a whole plan" in platform.asked[1][-1]["content"]
    assert built.result.valid


def test_a_reply_that_the_gateway_refuses_as_no_document_costs_an_attempt() -> None:
    refused = ApiError(status=502, code="MODEL_OUTPUT_TRUNCATED", detail="cut off")
    platform = FakePlatform(refused, plan())

    built = build_workflow(platform, ["Sum up"])

    assert [attempt.valid for attempt in built.attempts] == [False, True]
    assert "not a whole plan" in platform.asked[1][-1]["content"]


def test_a_model_that_cannot_be_asked_ends_the_building() -> None:
    refused = ApiError(status=503, code="PROVIDER_UNREACHABLE", detail="nobody there")

    with pytest.raises(ApiError, match="nobody there"):
        build_workflow(FakePlatform(refused), ["Sum up"])


def test_replies_that_are_never_plans_end_without_a_file() -> None:
    built = build_workflow(FakePlatform("no", "no", "no"), ["Sum up"])

    assert (built.result.plan, built.result.source, built.result.valid) == (None, "", False)


def test_a_change_is_asked_for_with_the_plan_that_it_changes() -> None:
    platform = FakePlatform(plan("changed"))

    build_workflow(platform, ["Sum up", "in French"], current=Plan.model_validate(plan("before")))

    _, first, answered, change = platform.asked[0]
    assert first == {"role": "user", "content": "Sum up"}
    assert '"name":"before"' in answered["content"]
    assert change == {"role": "user", "content": "in French"}


def test_changes_by_hand_are_shown_to_the_planner() -> None:
    platform = FakePlatform(plan())

    build_workflow(
        platform, ["a", "b"], current=Plan.model_validate(plan()), edited="flow: {name: mine}"
    )

    assert "flow: {name: mine}" in platform.asked[0][-1]["content"]
    assert platform.asked[0][-1]["content"].endswith("b")


def test_a_small_model_is_asked_to_pick_and_the_users_words_fill_the_pattern() -> None:
    platform = FakePlatform({"pattern": "answer"}, provider="embedded")

    built = build_workflow(platform, ["Translate a text into French"])

    assert built.small_model
    assert built.result.valid
    assert "Translate a text into French" in built.result.source


def test_words_that_say_it_all_need_no_model() -> None:
    platform = FakePlatform(provider="embedded")

    built = build_workflow(platform, ["Find out whether it is a question or a complaint"])

    assert platform.asked == []
    assert 'enum: ["question", "complaint"]' in built.result.source


def test_classes_that_a_small_model_repeats_become_yes_and_no() -> None:
    platform = FakePlatform({"choices": ["bad", "bad"]}, provider="embedded")

    built = build_workflow(platform, ["Classify the mood"])

    assert 'enum: ["yes", "no"]' in built.result.source
    assert built.result.valid


def test_progress_is_told() -> None:
    told: list[str] = []

    build_workflow(FakePlatform(plan(), plan(), refusals=["no"]), ["x"], on_progress=told.append)

    assert told == [
        "Planning",
        "Checking the workflow",
        "Mending the plan, attempt 2",
        "Checking the workflow",
    ]
