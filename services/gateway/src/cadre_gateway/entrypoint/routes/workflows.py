"""Workflow files: checked, stored, listed, hidden."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, status
from pydantic import JsonValue

from cadre.executor.v1 import workflows_pb2
from cadre_gateway.entrypoint import conversions, documents, plan_conversions, plan_documents
from cadre_gateway.entrypoint.access import READ, RUN, WRITE
from cadre_gateway.entrypoint.dependencies import TheExecutor, TheParts
from cadre_gateway.entrypoint.once import ONCE, OnceRoute
from cadre_kit.documents import from_json, to_json

__all__ = ["router"]

router = APIRouter(tags=["workflows"], route_class=OnceRoute)

# Each test has two minutes at most, and some run side by side.
_TEST_SECONDS = 600.0

_Name = Annotated[str, Path(max_length=200, description="The workflow's name.")]
_Version = Annotated[int, Query(ge=0, le=2**31 - 1, description="0 means the newest.")]
_PageSize = Annotated[int, Query(ge=1, le=500, description="At most this many.")]
_PageToken = Annotated[str, Query(max_length=1000, description="The last page's next_page_token.")]


@router.post("/api/v1/workflows/validate", dependencies=[READ])
async def validate_workflow(asked: documents.Source, executor: TheExecutor) -> documents.Validation:
    """Reports every problem of a workflow file. Stores and runs nothing."""
    request = workflows_pb2.ValidateWorkflowRequest(source=asked.source)
    answer = await executor.call(executor.workflows.ValidateWorkflow, request)
    return documents.Validation(
        valid=answer.valid,
        problems=conversions.problems(answer.problems),
        workflow=conversions.workflow(answer.workflow) if answer.HasField("workflow") else None,
    )


@router.post("/api/v1/workflows", dependencies=[WRITE, ONCE])
async def apply_workflow(
    asked: documents.Source, executor: TheExecutor, parts: TheParts
) -> documents.Applied:
    """Stores a workflow file as the next version of the workflow that it names."""
    request = workflows_pb2.ApplyWorkflowRequest(source=asked.source)
    answer = await executor.call(executor.workflows.ApplyWorkflow, request)
    parts.triggers.forget()
    return documents.Applied(
        workflow=conversions.workflow(answer.workflow),
        created=answer.created,
        notes=conversions.problems(answer.notes),
    )


@router.post("/api/v1/workflows/test", dependencies=[RUN])
async def test_workflow(
    asked: plan_documents.TestedSource, executor: TheExecutor
) -> plan_documents.TestReport:
    """Runs the tests that a workflow file carries, with their written replies and no model. Stores nothing."""
    request = workflows_pb2.TestWorkflowRequest(
        source=asked.source, name_contains=asked.name_contains
    )
    answers = executor.stream(
        executor.workflows.TestWorkflow, request, timeout_seconds=_TEST_SECONDS
    )
    results = [plan_conversions.test_result(answer.result) async for answer in answers]
    return plan_documents.TestReport(passed=all(result.passed for result in results), tests=results)


@router.post("/api/v1/workflows/plan", dependencies=[READ])
async def plan_workflow(
    asked: plan_documents.PlannedSource, executor: TheExecutor
) -> plan_documents.Plan:
    """Says what a run of a file would need, cost and take. Runs nothing and calls no model."""
    request = workflows_pb2.PlanWorkflowRequest(source=asked.source, inputs=to_json(asked.inputs))
    answer = await executor.call(executor.workflows.PlanWorkflow, request)
    return plan_conversions.plan(answer.plan)


@router.get("/api/v1/workflows", dependencies=[READ])
async def list_workflows(
    executor: TheExecutor, page_size: _PageSize = 100, page_token: _PageToken = ""
) -> documents.WorkflowPage:
    """Lists workflows by name, each at its newest version."""
    request = workflows_pb2.ListWorkflowsRequest(page_size=page_size, page_token=page_token)
    answer = await executor.call(executor.workflows.ListWorkflows, request)
    return documents.WorkflowPage(
        workflows=[conversions.workflow(one) for one in answer.workflows],
        next_page_token=answer.next_page_token,
    )


@router.get("/api/v1/workflows/{name}", dependencies=[READ])
async def get_workflow(
    name: _Name, executor: TheExecutor, version: _Version = 0
) -> documents.Workflow:
    """Returns one version of a workflow."""
    request = workflows_pb2.GetWorkflowRequest(name=name, version=version)
    answer = await executor.call(executor.workflows.GetWorkflow, request)
    return conversions.workflow(answer.workflow)


@router.get("/api/v1/workflows/{name}/versions", dependencies=[READ])
async def list_workflow_versions(name: _Name, executor: TheExecutor) -> documents.Versions:
    """Lists the versions of a workflow, newest first."""
    request = workflows_pb2.ListWorkflowVersionsRequest(name=name)
    answer = await executor.call(executor.workflows.ListWorkflowVersions, request)
    return documents.Versions(versions=[conversions.workflow(one) for one in answer.versions])


@router.delete(
    "/api/v1/workflows/{name}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[WRITE]
)
async def delete_workflow(name: _Name, executor: TheExecutor, parts: TheParts) -> None:
    """Hides a workflow from lists and new runs; its runs stay."""
    request = workflows_pb2.DeleteWorkflowRequest(name=name)
    await executor.call(executor.workflows.DeleteWorkflow, request)
    parts.triggers.forget()


@router.get("/api/v1/schema")
async def get_workflow_schema(executor: TheExecutor) -> dict[str, JsonValue]:
    """Returns the JSON Schema of workflow files, for editors. Needs no key."""
    request = workflows_pb2.GetWorkflowSchemaRequest()
    answer = await executor.call(executor.workflows.GetWorkflowSchema, request)
    schema: dict[str, JsonValue] = from_json(answer.schema, field="schema")
    return schema
