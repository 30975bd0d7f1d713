"""What the language can say, and what can be wrong with a file, through the executor's API."""

from pathlib import Path

import pytest
from tests.service.executor.conftest import Executor

from cadre.common.v1 import common_pb2
from cadre.executor.v1 import workflows_pb2
from cadre_kit.documents import from_json
from cadre_kit.errors import InvalidInput

_CORPUS = Path(__file__).parents[2] / "unit" / "executor_language" / "corpus"
_RESEARCH = (_CORPUS / "research.yaml").read_text()
_MISSPELT = """flow: {name: misspelt}
state: {fields: {message: str, mood: str}}
nodes:
  - {id: classify, promt: "Judge {state.mesage}", outputs: [mood]}
  - {id: wait, type: approval, message: Go on?, timeout: 60, on_timeout: aprove}
  - {id: look, for_each: {items: state.message}, tool: {name: web_search, config: {provider: x}}, arguments: {n: 1}}
  - {id: late, prompt: hi, tools: [web_serch, "mcp:docs/search"], cache: {ttl: 5}}
edges:
  - {from: START, to: [classify, wait]}
  - {from: [classify, wait], to: look}
  - {from: look, to: END}
  - {from: late, to: END}
"""


async def validated(executor: Executor, source: str) -> workflows_pb2.ValidateWorkflowResponse:
    request = workflows_pb2.ValidateWorkflowRequest(source=source)
    return await executor.ask(executor.workflows.ValidateWorkflow, request)  # type: ignore[no-any-return]


async def test_a_file_that_uses_the_whole_language_is_valid_and_drawn(executor: Executor) -> None:
    answer = await validated(executor, _RESEARCH)

    assert answer.valid
    assert {problem.severity for problem in answer.problems} == {common_pb2.SEVERITY_NOTE}
    assert {(node.id, node.kind) for node in answer.workflow.graph.nodes} >= {
        ("look_up", "llm"),
        ("fetch", "tool"),
        ("compute", "code"),
        ("keep", "memory"),
        ("ask", "approval"),
        ("translate", "workflow"),
    }


async def test_all_problems_come_at_once_in_the_file_s_order_with_place_and_remedy(
    executor: Executor,
) -> None:
    answer = await validated(executor, _MISSPELT)

    found = [(problem.code, problem.path, problem.line) for problem in answer.problems]
    assert not answer.valid
    assert found == [
        ("UNKNOWN_FIELD", "nodes[0].promt", 4),
        ("UNKNOWN_CHOICE", "nodes[1].on_timeout", 5),
        ("TYPE_MISMATCH", "nodes[2].for_each.items", 6),
        ("INVALID_CONFIG", "nodes[2].tool.config.provider", 6),
        ("INVALID_ARGUMENT", "nodes[2].arguments.query", 6),
        ("INVALID_ARGUMENT", "nodes[2].arguments.n", 6),
        ("UNREACHABLE_NODE", "nodes[3]", 7),
        ("UNKNOWN_TOOL", "nodes[3].tools[0]", 7),
        ("UNKNOWN_MCP_SERVER", "nodes[3].tools[1]", 7),
        ("MISSING_FIELD", "nodes[3].cache.ttl_seconds", 7),
        ("UNKNOWN_FIELD", "nodes[3].cache.ttl", 7),
    ]
    assert all(problem.resolution for problem in answer.problems)


async def test_a_problem_carries_the_change_that_mends_it(executor: Executor) -> None:
    answer = await validated(executor, _MISSPELT)

    fixes = {problem.path: problem.fix for problem in answer.problems if problem.HasField("fix")}
    assert fixes["nodes[0].promt"] == common_pb2.TextEdit(
        line=4, column=20, end_line=4, end_column=25, text="prompt"
    )
    assert fixes["nodes[3].tools[0]"].text == "web_search"


async def test_the_problems_of_a_refused_file_carry_their_changes_too(executor: Executor) -> None:
    with pytest.raises(InvalidInput) as caught:
        await executor.apply(_MISSPELT)

    fixes = [problem.fix for problem in caught.value.problems if problem.fix is not None]
    assert "prompt" in {fix.text for fix in fixes}


async def test_a_bomb_is_refused_over_the_wire(executor: Executor) -> None:
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))

    answer = await validated(executor, "a0: &a0 [x]\n" + levels)

    assert [problem.code for problem in answer.problems] == ["FILE_TOO_LARGE"]


async def test_an_older_version_is_gone_back_to_by_applying_it(executor: Executor) -> None:
    first = await executor.apply(_RESEARCH)
    await executor.apply(_RESEARCH.replace("max_steps: 200", "max_steps: 100"))
    request = workflows_pb2.GetWorkflowRequest(name="research", version=first.version)
    old = await executor.ask(executor.workflows.GetWorkflow, request)

    again = await executor.apply(old.workflow.source)

    assert (first.version, again.version) == (1, 3)
    assert again.source == first.source


async def test_the_published_schema_has_all_that_a_node_may_say(executor: Executor) -> None:
    request = workflows_pb2.GetWorkflowSchemaRequest()
    answer = await executor.ask(executor.workflows.GetWorkflowSchema, request)

    node = from_json(answer.schema, field="schema")["$defs"]["NodeShape"]["properties"]
    assert {"tools", "for_each", "cache", "workflow", "choices", "arguments", "stream"} <= set(node)
