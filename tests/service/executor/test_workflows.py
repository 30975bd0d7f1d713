"""Workflows over gRPC: checked, stored in versions that never change, listed and hidden."""

from typing import Any

import pytest
from tests.service.executor.conftest import Executor
from tests.service.executor.test_runs import ASK, TRIAGE

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_kit.documents import from_json
from cadre_kit.errors import InvalidInput, NotFound


async def get(executor: Executor, name: str, version: int = 0) -> workflows_pb2.Workflow:
    request = workflows_pb2.GetWorkflowRequest(name=name, version=version)
    return (await executor.ask(executor.workflows.GetWorkflow, request)).workflow  # type: ignore[no-any-return]


async def listed(executor: Executor, **page: Any) -> workflows_pb2.ListWorkflowsResponse:
    request = workflows_pb2.ListWorkflowsRequest(**page)
    return await executor.ask(executor.workflows.ListWorkflows, request)  # type: ignore[no-any-return]


async def test_each_change_is_a_version_and_an_equal_file_is_none(executor: Executor) -> None:
    versions = [(await executor.apply(text)).version for text in (ASK, ASK, ASK + "\n# new\n", ASK)]

    assert versions == [1, 1, 2, 3]
    assert (await get(executor, "sample", 1)).source == ASK
    assert (await get(executor, "sample")).version == 3


async def test_a_workflow_shows_its_inputs_and_its_graph(executor: Executor) -> None:
    await executor.apply(TRIAGE)

    shown = await get(executor, "sample")

    assert [(i.name, i.type, i.required) for i in shown.inputs] == [("message", "str", True)]
    assert ("classify", "llm") in {(n.id, n.kind) for n in shown.graph.nodes}
    edges = {(getattr(e, "from"), e.to, e.condition) for e in shown.graph.edges}
    assert ("classify", "thank", "state.mood == 'happy'") in edges


async def test_a_file_is_checked_without_being_stored(executor: Executor) -> None:
    request = workflows_pb2.ValidateWorkflowRequest(source=ASK)
    good = await executor.ask(executor.workflows.ValidateWorkflow, request)
    broken = workflows_pb2.ValidateWorkflowRequest(source=ASK.replace("to: ask", "to: asc"))
    bad = await executor.ask(executor.workflows.ValidateWorkflow, broken)

    assert good.valid
    assert good.workflow.name == "sample"
    assert not bad.valid
    assert any("ask" in problem.resolution for problem in bad.problems)
    assert not (await listed(executor)).workflows


async def test_an_invalid_file_is_not_stored(executor: Executor) -> None:
    with pytest.raises(InvalidInput) as caught:
        await executor.apply("nodes: 3")

    assert caught.value.code == "WORKFLOW_INVALID"
    assert caught.value.problems


async def test_a_deleted_workflow_is_hidden_and_its_runs_stay(executor: Executor) -> None:
    await executor.apply(ASK)
    run, _ = await executor.finish(ASK, message="x")
    await executor.ask(
        executor.workflows.DeleteWorkflow, workflows_pb2.DeleteWorkflowRequest(name="sample")
    )

    assert not (await listed(executor)).workflows
    with pytest.raises(NotFound):
        await get(executor, "sample", 1)
    assert (await executor.get(run.id)).source == ASK
    assert (await executor.apply(ASK)).version == 2


async def test_an_unknown_workflow_is_named_with_the_nearest_known(executor: Executor) -> None:
    await executor.apply(ASK)

    with pytest.raises(NotFound) as caught:
        await get(executor, "sampel")

    assert caught.value.code == "WORKFLOW_NOT_FOUND"
    assert "'sample'" in caught.value.resolution


async def test_workflows_are_listed_by_name_in_pages(executor: Executor) -> None:
    for name in ("c", "a", "b"):
        await executor.apply(ASK.replace("name: sample", f"name: {name}"))

    first = await listed(executor, page_size=2)
    second = await listed(executor, page_size=2, page_token=first.next_page_token)

    assert [w.name for w in [*first.workflows, *second.workflows]] == ["a", "b", "c"]
    assert second.next_page_token == ""


async def test_a_run_keeps_the_version_that_it_began_with(executor: Executor) -> None:
    await executor.apply(ASK)
    await executor.apply(ASK.replace("Say", "Shout"))
    request = runs_pb2.StartRunRequest(workflow="sample", version=1)
    request.inputs.text = '{"message": "x"}'

    run = (await executor.ask(executor.runs.StartRun, request)).run
    await executor.events(run.id)

    assert (run.version, run.source) == (1, ASK)


async def test_the_schema_of_files_is_published(executor: Executor) -> None:
    request = workflows_pb2.GetWorkflowSchemaRequest()
    answer = await executor.ask(executor.workflows.GetWorkflowSchema, request)

    assert from_json(answer.schema, field="schema")["$schema"].endswith("2020-12/schema")
