"""Files become the workflows that they mean, and every mistake is named at its place."""

import time
from collections.abc import Callable

import pytest

from cadre_executor.domain.workflows import (
    CodeAction,
    Goto,
    LlmAction,
    MemoryAction,
    Node,
    OnError,
    Output,
    Scope,
    Workflow,
)
from cadre_executor.language import parse_workflow
from cadre_kit.errors import Problem

MakeFile = Callable[..., str]
Codes = Callable[[str], set[str]]


def workflow_of(source: str) -> Workflow:
    parsed = parse_workflow(source)
    assert parsed.workflow is not None, parsed.problems
    return parsed.workflow


def node_of(source: str) -> Node:
    return next(iter(workflow_of(source).nodes.values()))


def test_all_mistakes_of_a_file_are_named_at_once_with_place_and_remedy() -> None:
    source = """flow: {name: bad, naem: x}
state:
  fields:
    message: {type: string, default: 5}
    mood: {type: str, required: true, default: x}
nodes:
  - id: classify
    promt: "Classify {state.mesage}"
    prompt: "Classify {state.mesage}"
    outputs: [mod]
  - {id: late, prompt: hi, llm: {temperature: 3}}
edges:
  - {from: START, to: clasify}
  - {from: classify, to: END, condition: "state.mood > 3"}
"""
    found = {(p.code, p.path, p.line): p.resolution for p in parse_workflow(source).problems}

    assert found == {
        ("UNKNOWN_FIELD", "flow.naem", 1): "did you mean `name`?",
        ("UNKNOWN_TYPE", "state.fields.message.type", 4): "write `str`",
        ("REQUIRED_AND_DEFAULT", "state.fields.mood.default", 5): "remove `required: true` or the default",
        ("UNKNOWN_FIELD", "nodes[0].promt", 8): "did you mean `prompt`?",
        ("UNKNOWN_STATE_FIELD", "nodes[0].prompt", 9): "did you mean `message`?",
        ("UNKNOWN_STATE_FIELD", "nodes[0].outputs[0]", 10): "did you mean `mood`?",
        ("INVALID_VALUE", "nodes[1].llm.temperature", 11): "0 (sure) to 2 (wild).",
        ("UNKNOWN_NODE", "edges[0].to", 13): "did you mean `classify`?",
        ("TYPE_MISMATCH", "edges[1].condition", 14): "compare values of one type",
    }  # fmt: skip


def test_a_model_node_has_its_prompt_model_and_outputs(make_file: MakeFile) -> None:
    schema = {
        "type": "object",
        "fields": [{"name": "reply", "type": "str"}, {"name": "score", "type": "int"}],
    }
    llm = {"provider": "openai", "model": "m", "temperature": 0.5, "stop": "END"}
    node = node_of(
        make_file(
            nodes=[{"id": "ask", "name": "Ask", "prompt": "Hi {state.name}", "system": "Be {n}", "llm": llm,
                    "inputs": {"n": "{state.score}"}, "output_schema": schema, "outputs": ["reply", "score"],
                    "timeout": 5, "on_error": "continue", "when": "score < 3", "retry": {"on": ["unavailable"]}}]
        )
    )  # fmt: skip

    assert isinstance(node.action, LlmAction)
    assert node.action.prompt.render(Scope(state={"name": "Ada"})) == "Hi Ada"
    assert (node.action.model.provider, node.action.model.stop) == ("openai", ("END",))
    assert node.outputs == (
        Output(field="reply", path=("reply",)),
        Output(field="score", path=("score",)),
    )
    assert (node.label, node.timeout_seconds, node.on_error) == ("Ask", 5, OnError.CONTINUE)
    assert (node.retry.max_attempts, node.retry.on) == (3, frozenset({"UNAVAILABLE"}))
    assert node.when is not None
    assert node.when.holds(Scope(state={"score": 1}))


def test_a_node_s_model_options_come_before_the_file_s(make_file: MakeFile) -> None:
    shared = {
        "provider": "google",
        "model": "g",
        "temperature": 0.1,
        "providers": {"openai": {"model": "o"}},
    }
    nodes = [
        {"id": "one", "prompt": "x", "llm": {"max_tokens": 5}},
        {"id": "two", "prompt": "x", "llm": {"provider": "openai"}},
    ]

    one, two = workflow_of(make_file(nodes=nodes, config={"llm": shared})).nodes.values()

    assert isinstance(one.action, LlmAction)
    assert isinstance(two.action, LlmAction)
    assert (one.action.model.model, one.action.model.temperature) == ("g", 0.1)
    assert (two.action.model.model, two.action.model.temperature) == ("o", 0.1)


def test_code_is_no_template_and_its_limits_come_from_preset_and_resources(
    make_file: MakeFile,
) -> None:
    code = "result = {'a': '{state.nothing}'}"
    sandbox = {"preset": "low", "resources": {"memory": "1g"}}
    nodes = [
        {
            "id": "run",
            "code": code,
            "sandbox": sandbox,
            "inputs": {"n": "{state.items}"},
            "outputs": ["reply"],
        }
    ]

    node = node_of(make_file(nodes=nodes))

    assert isinstance(node.action, CodeAction)
    assert node.action.code == code
    assert (node.action.limits.timeout_seconds, node.action.limits.memory_mb) == (30, 1024)
    assert node.inputs["n"].resolve(Scope(state={"items": ["x"]})) == ["x"]


def test_a_memory_s_namespace_is_split_before_values_are_put_in(make_file: MakeFile) -> None:
    memory = {
        "action": "save",
        "namespace": "users/{state.name}",
        "key": "k",
        "value": {"n": "{state.score}"},
    }
    node = node_of(make_file(nodes=[{"id": "keep", "memory": memory}]))
    scope = Scope(state={"name": "../../etc", "score": 3})

    assert isinstance(node.action, MemoryAction)
    path = node.action.place.path(scope, run_id="r1")
    assert path == ["workflow", "greeting", "users", "../../etc"]
    assert node.action.value is not None
    assert node.action.value.resolve(scope) == {"n": 3}


def test_shared_memories_belong_to_no_workflow(make_file: MakeFile) -> None:
    memory = {"action": "search", "scope": "shared", "query": "{state.name}", "top_k": 3}
    node = node_of(
        make_file(
            nodes=[{"id": "look", "memory": memory, "outputs": ["found"]}], fields={"found": "list"}
        )
    )

    assert isinstance(node.action, MemoryAction)
    assert node.action.place.path(Scope(state={}), run_id="r1") == ["shared"]
    assert node.action.top_k == 3


def test_on_error_goes_to_a_node(make_file: MakeFile) -> None:
    nodes = [{"id": "one", "prompt": "x", "on_error": "goto:two"}, {"id": "two", "prompt": "x"}]

    assert node_of(make_file(nodes=nodes)).on_error == Goto(node="two")


def test_retries_of_the_file_hold_for_nodes_that_say_none(make_file: MakeFile) -> None:
    config = {"execution": {"max_retries": 2, "timeout": 60, "max_steps": 7}}

    workflow = workflow_of(make_file(config=config))

    assert workflow.nodes["ask"].retry.max_attempts == 3
    assert (workflow.limits.timeout_seconds, workflow.limits.max_steps) == (60, 7)


_APPROVE = {"id": "a", "type": "approval", "message": "Send {state.reply}?"}
_ASK = {"id": "ask", "prompt": "hi"}
_OBJECT = {"type": "object", "fields": [{"name": "mood", "type": "str"}]}


@pytest.mark.parametrize(
    ("node", "code"),
    [
        ({"id": "a"}, "NO_ACTION"),
        ({"id": "a", "type": "llm"}, "MISSING_FIELD"),
        ({"id": "a", "type": "code", "prompt": "x"}, "MISSING_FIELD"),
        ({"id": "a", "prompt": " "}, "EMPTY_PROMPT"),
        ({"id": "START", "prompt": "x"}, "RESERVED_ID"),
        ({"id": "1a", "prompt": "x"}, "INVALID_VALUE"),
        ({"prompt": "x"}, "MISSING_FIELD"),
        ({**_ASK, "outputs": ["score"]}, "TYPE_MISMATCH"),
        ({**_ASK, "outputs": ["reply", "items"]}, "OUTPUT_SCHEMA_NEEDED"),
        ({**_ASK, "output_schema": _OBJECT, "outputs": ["reply"]}, "OUTPUT_NOT_IN_SCHEMA"),
        ({**_ASK, "output_schema": _OBJECT, "outputs": {"reply": "moods"}}, "OUTPUT_NOT_IN_SCHEMA"),
        ({**_ASK, "output_schema": _OBJECT, "outputs": {"score": "mood"}}, "TYPE_MISMATCH"),
        ({**_ASK, "output_schema": {"type": "objekt"}}, "UNKNOWN_TYPE"),
        ({**_ASK, "output_schema": {"type": "str", "fields": []}}, "TYPE_MISMATCH"),
        ({**_ASK, "inputs": {"class": "x"}}, "INVALID_NAME"),
        ({**_ASK, "on_error": "goto:nowhere"}, "UNKNOWN_NODE"),
        ({**_ASK, "on_error": "retry"}, "INVALID_VALUE"),
        ({**_ASK, "when": "state.score > 'a'"}, "TYPE_MISMATCH"),
        ({**_ASK, "retry": {"max_attempts": 0}}, "INVALID_VALUE"),
        ({**_ASK, "timeout": -1}, "INVALID_VALUE"),
        ({**_ASK, "timeout": 1, "timeout_seconds": 2}, "SAME_KEY_TWICE"),
        ({**_ASK, "llm": {"temperature": 3}}, "INVALID_VALUE"),
        ({**_ASK, "llm": {"top_p": 0}}, "INVALID_VALUE"),
        ({**_ASK, "llm": {"provider": "openai_compatible"}}, "MISSING_FIELD"),
        ({**_ASK, "llm": {"api_base": "ftp://x"}}, "INVALID_VALUE"),
        ({**_ASK, "prompt": {"state.x": None}}, "WRONG_TYPE"),
        ({"id": "a", "memory": {"action": "load"}}, "MISSING_FIELD"),
        ({"id": "a", "memory": {"action": "save", "key": "k"}}, "MISSING_FIELD"),
        ({"id": "a", "memory": {"action": "loaded", "key": "k"}}, "INVALID_VALUE"),
        (
            {"id": "a", "memory": {"action": "load", "key": "k", "namespace": "a//b"}},
            "INVALID_VALUE",
        ),
        ({"id": "a", "code": "", "sandbox": {"enabled": False}}, "SANDBOX_REQUIRED"),
        ({"id": "a", "code": "", "sandbox": {"packages": ["numpy"]}}, "NEEDS_DOCKER"),
        ({**_ASK, "tools": ["web_serch"]}, "UNKNOWN_TOOL"),
        ({**_ASK, "tools": ["mcp:docs"]}, "UNKNOWN_TOOL"),
        ({**_ASK, "tools": ["mcp:docs/search"]}, "UNKNOWN_MCP_SERVER"),
        ({**_ASK, "tools": ["shell", {"name": "shell"}]}, "DUPLICATE_NAME"),
        ({**_ASK, "for_each": {"items": "name"}}, "TYPE_MISMATCH"),
        ({**_ASK, "for_each": {"items": "{state.itemz}"}}, "UNKNOWN_STATE_FIELD"),
        ({**_ASK, "for_each": {"items": "items", "as": "for"}}, "INVALID_NAME"),
        ({**_ASK, "for_each": {"items": "items"}, "inputs": {"item": "x"}}, "DUPLICATE_NAME"),
        ({**_ASK, "for_each": {"items": "items", "collect": "reply"}}, "TYPE_MISMATCH"),
        ({**_ASK, "for_each": {"items": "items"}, "outputs": ["score"]}, "TYPE_MISMATCH"),
        ({**_ASK, "for_each": {"items": "items"}, "when": "item == 'a'"}, "UNKNOWN_STATE_FIELD"),
        ({**_ASK, "llm": {"fallbacks": [{"temperature": 1}]}}, "MISSING_FIELD"),
        ({"id": "a", "type": "tool", "arguments": {}}, "MISSING_FIELD"),
        ({"id": "a", "workflow": " "}, "INVALID_VALUE"),
        ({"id": "a", "agent": "other"}, "EMPTY_PROMPT"),
        ({"id": "a", "type": "approval"}, "MISSING_FIELD"),
        ({**_APPROVE, "choices": ["a", "a"]}, "INVALID_VALUE"),
        ({**_APPROVE, "timeout": 5, "on_timeout": "aprove"}, "UNKNOWN_CHOICE"),
        ({**_APPROVE, "for_each": {"items": "items"}}, "INVALID_VALUE"),
        ({**_APPROVE, "outputs": ["reply"]}, "OUTPUT_NOT_IN_SCHEMA"),
    ],
)
def test_a_node_s_one_mistake_is_its_one_problem(
    make_file: MakeFile, only_error: Callable[[str], Problem], node: dict[str, object], code: str
) -> None:
    problem = only_error(make_file(nodes=[node]))

    assert problem.code == code
    assert problem.path.startswith("nodes[0]")
    assert problem.line > 1


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ({"type": "int", "default": "x"}, "DEFAULT_MISMATCH"),
        ({"type": "int", "default": 9, "max": 5}, "DEFAULT_MISMATCH"),
        ({"type": "str", "required": True, "default": "x"}, "REQUIRED_AND_DEFAULT"),
        ({"type": "str", "min": 1}, "INVALID_LIMIT"),
        ({"type": "str", "pattern": "("}, "INVALID_LIMIT"),
        ({"type": "str", "reducer": "append"}, "TYPE_MISMATCH"),
        ({"type": "str", "reducer": "apend"}, "INVALID_VALUE"),
        ({"type": "list[strr]"}, "UNKNOWN_TYPE"),
        ({"type": "object", "schema": {"bio": "strr"}}, "UNKNOWN_TYPE"),
        ({"type": "object", "schema": {"bio": {"typ": "str"}}}, "UNKNOWN_FIELD"),
        ({"default": 5}, "MISSING_FIELD"),
        ("integer", "UNKNOWN_TYPE"),
        (5, "WRONG_TYPE"),
    ],
)
def test_a_field_s_mistake_is_found(
    make_file: MakeFile, codes: Codes, field: object, code: str
) -> None:
    assert code in codes(make_file(fields={"extra": field}))


@pytest.mark.parametrize("name", ["_hidden", "_loop_iteration_ask", "a-b", "a b", ""])
def test_a_field_needs_a_name_that_templates_can_say(
    make_file: MakeFile, codes: Codes, name: str
) -> None:
    assert codes(make_file(fields={name: "str"})) == {"INVALID_NAME"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("triggers", [{"cron": "* * * * *"}]),
        ("optimization", {"enabled": True}),
    ],
)
def test_what_does_no_harm_when_left_out_is_noted(
    make_file: MakeFile, key: str, value: object
) -> None:
    parsed = parse_workflow(make_file(**{key: value}))

    assert parsed.valid
    assert [note.code for note in parsed.notes] == ["NO_EFFECT"]


@pytest.mark.parametrize(
    ("node", "is_kept"),
    [
        ({"memory": {"action": "save", "key": "k", "value": "v"}}, False),
        ({"memory": {"action": "append", "key": "k", "value": "v"}}, False),
        ({"tool": "memory_save", "type": "tool", "arguments": {"key": "k", "value": "v"}}, False),
        ({"tool": "write_file", "type": "tool", "arguments": {"path": "a", "content": ""}}, False),
        ({"prompt": "hi", "tools": ["read_file"]}, False),
        ({"prompt": "hi", "tools": ["memory_search", "memory_save"]}, False),
        ({"prompt": "hi", "tools": ["memory_search"]}, True),
        ({"memory": {"action": "load", "key": "k"}}, True),
        ({"tool": "json_parse", "type": "tool", "arguments": {"text": "{}"}}, True),
    ],
)
def test_what_has_to_be_done_each_time_is_not_kept(
    make_file: MakeFile, node: dict[str, object], is_kept: bool
) -> None:
    cached = {"id": "a", "cache": {"ttl_seconds": 60}, **node}

    source = make_file(nodes=[cached])
    parsed = parse_workflow(source)

    assert node_of(source).cache_seconds == (60 if is_kept else 0)
    assert ("nodes[0].cache" in {note.path for note in parsed.notes}) != is_kept


@pytest.mark.parametrize(
    "source", ["", "[]", "5", "just text", "nodes: []", "flow: {name: x}", "null"]
)
def test_what_is_no_workflow_says_what_one_needs(source: str) -> None:
    parsed = parse_workflow(source)

    assert not parsed.valid
    assert parsed.problems[0].resolution


def test_a_name_with_other_characters_is_changed_and_noted(make_file: MakeFile) -> None:
    parsed = parse_workflow(make_file(flow={"name": "My Flow!"}))

    assert parsed.workflow is not None
    assert parsed.workflow.name == "My-Flow"
    assert [note.code for note in parsed.notes] == ["NAME_CHANGED"]


def test_problems_are_bounded_and_found_quickly(make_file: MakeFile) -> None:
    nodes = [
        {"id": f"n{i}", "prompt": f"{{state.unknown{i}}}", "outputs": [f"u{i}"]} for i in range(500)
    ]
    fields = {f"field_number_{i}": "str" for i in range(400)}
    source = make_file(nodes=nodes, fields=fields)
    started = time.perf_counter()

    parsed = parse_workflow(source)

    assert time.perf_counter() - started < 10
    assert len(parsed.problems) == 101
    assert parsed.problems[-1].code == "TOO_MANY_PROBLEMS"


def test_a_wrong_id_is_one_problem_and_not_one_more_for_each_edge() -> None:
    source = """flow: {name: ids}
nodes:
  - {id: my-node, prompt: x}
  - {id: b, prompt: y}
edges:
  - {from: START, to: my-node}
  - {from: my-node, to: [b, c]}
  - {from: b, to: END}
"""
    found = [(p.code, p.path, p.resolution) for p in parse_workflow(source).problems]

    assert [(code, path) for code, path, _ in found] == [
        ("INVALID_VALUE", "nodes[0].id"),
        ("UNKNOWN_NODE", "edges[1].to[1]"),
    ]
    assert found[1][2] == "known here: END, b"


@pytest.mark.parametrize(
    ("key", "value"),
    [("timeout", True), ("retry", {"max_attempts": True}), ("llm", {"temperature": False})],
)
def test_true_is_no_number(make_file: MakeFile, codes: Codes, key: str, value: object) -> None:
    source = make_file(nodes=[{"id": "ask", "prompt": "x", key: value}])

    assert codes(source) == {"WRONG_TYPE"}


def test_a_version_without_quotes_gets_them() -> None:
    source = "schema_version: 1.0\nflow: {name: a}\nnodes: [{id: b, prompt: c}]\n"

    (problem,) = parse_workflow(source).problems

    assert problem.resolution == "put quotes around it"
    assert problem.fix is not None
    assert (problem.fix.line, problem.fix.column, problem.fix.end_column) == (1, 17, 20)
    assert problem.fix.text.strip("'\"") == "1.0" != problem.fix.text
