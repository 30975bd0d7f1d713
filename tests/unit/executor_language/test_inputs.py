"""A run's inputs are checked all at once, and become its first state."""

from typing import Any

import pytest

from cadre_executor.domain.workflows import Reducer, StateField, Workflow
from cadre_executor.language import InputsRefused, check_inputs, check_output, parse_workflow
from cadre_executor.language.types import parse_type

_SOURCE = """
flow: {name: forms}
state:
  fields:
    name: {type: str, required: true, min_length: 1, description: Who asks}
    kind: {type: str, default: b, enum: [a, b]}
    count: {type: int, default: 3}
    seen: {type: "list[str]", reducer: append}
    total: {type: int, reducer: sum}
    note: {type: "str | null"}
    plain: str
    before: {type: str, default: nothing}
    reply: str
nodes:
  - {id: recall, memory: {action: load, key: k}, outputs: [before]}
  - {id: ask, prompt: "{name}", outputs: [reply]}
"""


@pytest.fixture(scope="module")
def workflow() -> Workflow:
    found = parse_workflow(_SOURCE).workflow
    assert found is not None
    return found


def test_the_first_state_has_every_field_coerced_or_at_its_default(workflow: Workflow) -> None:
    state = check_inputs(workflow, {"name": "Ada", "count": "5"})

    assert state == {
        "name": "Ada", "kind": "b", "count": 5, "seen": [], "total": 0, "note": None, "plain": None,
        "before": "nothing", "reply": None,
    }  # fmt: skip


def test_every_wrong_unknown_and_missing_input_is_named(workflow: Workflow) -> None:
    with pytest.raises(InputsRefused) as refused:
        check_inputs(workflow, {"kind": "c", "count": "many", "nmae": "Ada"})

    found = {(problem.code, problem.path) for problem in refused.value.problems}
    assert found == {
        ("UNKNOWN_INPUT", "nmae"),
        ("MISSING_INPUT", "name"),
        ("INVALID_INPUT_VALUE", "kind"),
        ("INVALID_INPUT_VALUE", "count"),
    }
    assert "`name`" in refused.value.problems[0].resolution
    assert "many" not in refused.value.message


@pytest.mark.parametrize("value", [None, "", ["Ada"], {"a": 1}])
def test_a_required_input_must_be_there_and_fit(workflow: Workflow, value: Any) -> None:
    with pytest.raises(InputsRefused, match="name"):
        check_inputs(workflow, {"name": value})


def test_a_default_belongs_to_no_run(workflow: Workflow) -> None:
    check_inputs(workflow, {"name": "a"})["seen"].append("x")

    assert check_inputs(workflow, {"name": "a"})["seen"] == []


def test_a_run_is_asked_for_what_no_node_writes() -> None:
    inputs = parse_workflow(_SOURCE).inputs

    assert [each.name for each in inputs] == [
        "name",
        "kind",
        "count",
        "seen",
        "total",
        "note",
        "plain",
    ]
    assert inputs[0].required
    assert inputs[0].description == "Who asks"
    assert (inputs[1].default, inputs[1].enum, inputs[1].type) == ("b", ("a", "b"), "str")


def test_nothing_found_in_a_memory_puts_the_default_back(workflow: Workflow) -> None:
    assert workflow.fields["before"].type.accept(None) == "nothing"
    assert workflow.fields["before"].type.accept("x") == "x"


@pytest.mark.parametrize(
    ("value", "expected"), [("a", ["a"]), (["a", "b"], ["a", "b"]), (3, ["3"])]
)
def test_one_item_for_a_list_that_appends_is_a_list_of_it(value: object, expected: object) -> None:
    field = StateField(name="seen", type=parse_type("list[str]"), reducer=Reducer.APPEND)

    assert check_output(field, value) == expected
