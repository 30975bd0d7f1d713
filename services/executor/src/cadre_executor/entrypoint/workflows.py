"""WorkflowService: gRPC to domain and back."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from cadre.executor.v1 import workflows_pb2, workflows_pb2_grpc
from cadre_executor.domain.definitions import Definition
from cadre_executor.domain.planners import Planner
from cadre_executor.domain.shelves import Shelf, Triggered
from cadre_executor.domain.testers import Tester
from cadre_executor.entrypoint.messages import (
    page_size,
    page_token,
    token_key,
    trigger_messages,
    workflow_message,
)
from cadre_executor.entrypoint.plan_messages import plan_message
from cadre_executor.entrypoint.result_messages import test_result_message
from cadre_kit.documents import object_from_json, to_json
from cadre_kit.errors import Severity
from cadre_kit.wire import problem_to_message

__all__ = ["WorkflowServicer"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_WORKFLOWS = 100


class WorkflowServicer(workflows_pb2_grpc.WorkflowServiceServicer):
    """Answers WorkflowService."""

    def __init__(self, shelf: Shelf, tester: Tester, planner: Planner) -> None:
        self._shelf = shelf
        self._planner = planner
        self._tester = tester

    async def ValidateWorkflow(
        self, request: workflows_pb2.ValidateWorkflowRequest, context: Context
    ) -> workflows_pb2.ValidateWorkflowResponse:
        """Reports all problems of a file."""
        parsed = await self._shelf.validate(request.source)
        response = workflows_pb2.ValidateWorkflowResponse(
            problems=[problem_to_message(p) for p in parsed.problems],
            valid=parsed.workflow is not None
            and not any(p.severity is Severity.ERROR for p in parsed.problems),
        )
        if response.valid and parsed.workflow is not None:
            definition = Definition(
                name=parsed.workflow.name,
                source=request.source,
                description=parsed.workflow.description,
                tags=parsed.workflow.tags,
            )
            response.workflow.CopyFrom(workflow_message(definition, parsed))
        return response

    async def ApplyWorkflow(
        self, request: workflows_pb2.ApplyWorkflowRequest, context: Context
    ) -> workflows_pb2.ApplyWorkflowResponse:
        """Stores a file as the next version."""
        applied = await self._shelf.apply(request.source)
        return workflows_pb2.ApplyWorkflowResponse(
            workflow=workflow_message(applied.shown.definition, applied.shown.parsed),
            created=applied.created,
            notes=[problem_to_message(p) for p in applied.notes],
        )

    async def GetWorkflow(
        self, request: workflows_pb2.GetWorkflowRequest, context: Context
    ) -> workflows_pb2.GetWorkflowResponse:
        """Returns one version."""
        shown = await self._shelf.get(request.name, request.version)
        return workflows_pb2.GetWorkflowResponse(
            workflow=workflow_message(shown.definition, shown.parsed)
        )

    async def ListWorkflows(
        self, request: workflows_pb2.ListWorkflowsRequest, context: Context
    ) -> workflows_pb2.ListWorkflowsResponse:
        """Lists workflows by name."""
        limit = page_size(request.page_size, default=_WORKFLOWS)
        after = token_key(request.page_token)
        found = await self._shelf.list(limit=limit + 1, after=after)
        page = found[:limit]
        return workflows_pb2.ListWorkflowsResponse(
            workflows=[workflow_message(definition) for definition in page],
            next_page_token=page_token(page[-1].name) if len(found) > limit else "",
        )

    async def ListWorkflowVersions(
        self, request: workflows_pb2.ListWorkflowVersionsRequest, context: Context
    ) -> workflows_pb2.ListWorkflowVersionsResponse:
        """Lists the versions of a workflow, newest first."""
        versions = await self._shelf.versions(request.name)
        return workflows_pb2.ListWorkflowVersionsResponse(
            versions=[workflow_message(definition) for definition in versions]
        )

    async def DeleteWorkflow(
        self, request: workflows_pb2.DeleteWorkflowRequest, context: Context
    ) -> workflows_pb2.DeleteWorkflowResponse:
        """Hides a workflow."""
        await self._shelf.delete(request.name)
        return workflows_pb2.DeleteWorkflowResponse()

    async def ListTriggers(
        self, request: workflows_pb2.ListTriggersRequest, context: Context
    ) -> workflows_pb2.ListTriggersResponse:
        """Lists what may start runs from outside."""
        found = await self._shelf.triggers()
        revision = _revision(found)
        if revision == request.known_revision:
            return workflows_pb2.ListTriggersResponse(revision=revision, unchanged=True)
        return workflows_pb2.ListTriggersResponse(
            revision=revision,
            triggers=[message for each in found for message in trigger_messages(each)],
            workflows=[each.name for each in found],
        )

    async def TestWorkflow(
        self, request: workflows_pb2.TestWorkflowRequest, context: Context
    ) -> AsyncIterator[workflows_pb2.TestWorkflowResponse]:
        """Runs a file's tests and sends each result."""
        results = self._tester.test(request.source, name_contains=request.name_contains)
        async with aclosing(results):
            async for result in results:
                yield workflows_pb2.TestWorkflowResponse(result=test_result_message(result))

    async def PlanWorkflow(
        self, request: workflows_pb2.PlanWorkflowRequest, context: Context
    ) -> workflows_pb2.PlanWorkflowResponse:
        """Says what a run would need, cost and take."""
        inputs = object_from_json(request.inputs, field="inputs")
        plan = await self._planner.plan(request.source, inputs)
        return workflows_pb2.PlanWorkflowResponse(plan=plan_message(plan, request.source))

    async def GetWorkflowSchema(
        self, request: workflows_pb2.GetWorkflowSchemaRequest, context: Context
    ) -> workflows_pb2.GetWorkflowSchemaResponse:
        """Returns the schema of workflow files."""
        return workflows_pb2.GetWorkflowSchemaResponse(schema=to_json(self._shelf.schema()))


def _revision(found: Sequence[Triggered]) -> str:
    """Equal for equal lists: versions never change."""
    named = "\n".join(f"{each.name} {each.version}" for each in found)
    return hashlib.sha256(named.encode()).hexdigest()
