"""Files of the language's first generation are valid as they are."""

from pathlib import Path

import pytest

from cadre_executor.domain.workflows import (
    CodeAction,
    LlmAction,
    MemoryAction,
    Output,
    Scope,
    Workflow,
)
from cadre_executor.language import parse_workflow

_FILES = sorted((Path(__file__).parent / "first_generation").glob("*.yaml"))


def _parsed(name: str) -> Workflow:
    parsed = parse_workflow((Path(__file__).parent / "first_generation" / name).read_text())
    assert parsed.workflow is not None, parsed.problems
    return parsed.workflow


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_file_is_valid_unchanged(path: Path) -> None:
    parsed = parse_workflow(path.read_text())

    assert parsed.valid, parsed.problems


def test_what_a_deployment_decides_now_is_noted() -> None:
    path = Path(__file__).parent / "first_generation" / "code_routes_and_loops.yaml"

    notes = {note.path for note in parse_workflow(path.read_text()).notes}

    assert {
        "config.storage",
        "config.observability",
        "config.ab_test",
        "config.gates",
        "flow.name",
    } <= notes
    assert {
        "nodes[1].optimize",
        "nodes[1].memory.enabled",
        "nodes[0].sandbox.network",
        "nodes[0].prompt",
    } <= notes


def test_a_node_with_code_runs_it_whatever_its_prompt_says() -> None:
    node = _parsed("code_routes_and_loops.yaml").nodes["add_up"]

    assert isinstance(node.action, CodeAction)
    assert (node.action.limits.memory_mb, node.action.limits.timeout_seconds) == (256, 10)


def test_a_default_that_is_written_first_is_taken_last() -> None:
    exits = _parsed("code_routes_and_loops.yaml").exits

    assert [rule.targets for rule in exits["describe"].rules] == [("judge",), ("publish",)]
    loop, condition = exits["judge"].loop, exits["describe"].rules[0].condition
    assert loop is not None
    assert loop.to == "judge"
    assert condition is not None
    assert condition.holds(Scope(state={"total": 11, "route": "pending"}))


def test_a_provider_s_defaults_are_a_node_s() -> None:
    action = _parsed("manual_branches.yaml").nodes["refine"].action

    assert isinstance(action, LlmAction)
    assert (action.model.provider, action.model.temperature) == ("ollama", 0.0)
    assert action.model.api_base == "http://localhost:11434"


def test_a_memory_s_value_goes_into_the_one_field_that_was_declared_for_it() -> None:
    workflow = _parsed("manual_memory_and_sandbox.yaml")
    load, save = workflow.nodes["load_memory"], workflow.nodes["save_memory"]

    assert load.outputs == (Output(field="context"),)
    assert load.result_type is not None
    assert load.result_type.accept(None) is None
    assert isinstance(save.action, MemoryAction)
    assert save.action.value is not None
    assert (
        save.action.value.render(Scope(state={"message": "m", "response": "r"}))
        == "User: m\nAssistant: r"
    )
    assert workflow.fields["context"].type.accept(None) == ""
