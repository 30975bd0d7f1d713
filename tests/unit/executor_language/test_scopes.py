"""A memory whose place a model chooses is pointed out, by whatever way the model does."""

import pytest

from cadre_executor.language import parse_workflow

_FILE = """flow: {{name: chosen}}
state:
  fields:
    message: str
    user: {field}
    known: any
nodes:
  - id: ask
    prompt: "Who writes this? {{state.message}}"
    output_schema: "{output}"
    outputs: [user]
  - id: use
{node}
edges: [{{from: START, to: ask}}, {{from: ask, to: use}}, {{from: use, to: END}}]
"""
_LOAD = '    memory: {action: load, scope: user, namespace: "{state.user}", key: k}\n    outputs: [known]'
_RENAMED = (
    '    inputs: {who: "{state.user}"}\n'
    '    memory: {action: delete, scope: workflow, namespace: "users/{who}", key: k}'
)
_RECALLED = '    prompt: hi\n    memory: {scope: conversation, namespace: "{state.user}"}\n    outputs: [known]'
_BY_TOOL = (
    "    prompt: hi\n    outputs: [known]\n"
    '    tools: [{name: memory_search, config: {scope: user, namespace: ["{state.user}"]}}]'
)
_EACH = '    for_each: {items: "{state.user}"}\n    memory: {action: delete, scope: user, namespace: "{item}", key: k}'
_ITEM_RENAMED = _EACH.replace("memory:", 'inputs: {who: "{item}"}\n    memory:').replace(
    '"{item}", key', '"{who}", key'
)
_OF_RUN = '    memory: {action: load, scope: run, namespace: "{state.user}", key: k}\n    outputs: [known]'
_OTHER = '    memory: {action: load, scope: user, namespace: "{state.message}", key: k}\n    outputs: [known]'
_BY_PROGRAMS = """flow: {name: chosen}
state: {fields: {message: str, reply: str, lines: any, user: str, known: any}}
nodes:
  - {id: use, memory: {action: load, scope: user, namespace: "{state.user}", key: k}, outputs: [known]}
  - {id: pick, code: "result = lines[0]", inputs: {lines: "{state.lines}"}, outputs: [user]}
  - {id: cut, code: "result = text.split()", inputs: {text: "{state.SOURCE}"}, outputs: [lines]}
  - {id: ask, prompt: "Who writes this? {state.message}", outputs: [reply]}
edges:
  - {from: START, to: ask}
  - {from: ask, to: cut}
  - {from: cut, to: pick}
  - {from: pick, to: use}
  - {from: use, to: END}
"""


def noted(node: str, *, field: str = "str", output: str = "str") -> list[str]:
    parsed = parse_workflow(_FILE.format(node=node, field=field, output=output))
    assert parsed.valid, parsed.problems
    return [f"{note.code} {note.path}" for note in parsed.notes]


@pytest.mark.parametrize(
    ("node", "place"),
    [
        (_LOAD, "nodes[1].memory.namespace"),
        (_RENAMED, "nodes[1].memory.namespace"),
        (_RECALLED, "nodes[1].memory.namespace"),
        (_BY_TOOL, "nodes[1].tools"),
    ],
    ids=["state", "input", "recall", "tool"],
)
def test_a_namespace_from_a_reply_is_noted(node: str, place: str) -> None:
    assert noted(node) == [f"NAMESPACE_FROM_MODEL {place}"]


@pytest.mark.parametrize("node", [_EACH, _ITEM_RENAMED], ids=["item", "item by an input"])
def test_a_namespace_from_each_item_of_a_reply_is_noted(node: str) -> None:
    assert noted(node, field="list[str]", output="list[str]") == [
        "NAMESPACE_FROM_MODEL nodes[1].memory.namespace"
    ]


@pytest.mark.parametrize("node", [_OF_RUN, _OTHER], ids=["of the run", "from an input"])
def test_what_reaches_only_its_own_is_not_noted(node: str) -> None:
    assert noted(node) == []


def test_a_reply_of_certain_values_is_not_noted() -> None:
    assert noted(_LOAD, field="{type: str, enum: [ada, ben]}") == []


def test_a_namespace_that_programs_make_of_a_reply_is_noted() -> None:
    (note,) = parse_workflow(_BY_PROGRAMS.replace("SOURCE", "reply")).notes

    assert (note.code, note.path) == ("NAMESPACE_FROM_MODEL", "nodes[0].memory.namespace")
    assert "which 'pick' makes of what the model of 'ask' writes" in note.message


def test_a_namespace_that_programs_make_of_an_input_is_not_noted() -> None:
    parsed = parse_workflow(_BY_PROGRAMS.replace("SOURCE", "message"))

    assert parsed.valid
    assert parsed.notes == ()
