"""The tools of the MCP door: every applied workflow, and what one needs beside them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, Field, ValidationError

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint import documents as d
from cadre_gateway.entrypoint.access import caller_of
from cadre_gateway.entrypoint.dependencies import Parts
from cadre_gateway.entrypoint.memory_documents import MemoryQuery
from cadre_gateway.entrypoint.routes import memories, runs, usage
from cadre_gateway.entrypoint.run_events import run_events
from cadre_gateway.entrypoint.spoken import reply_field, reply_text
from cadre_kit.documents import to_json
from cadre_kit.errors import CadreError, NotFound
from cadre_kit.ids import new_id

__all__ = ["Tools"]

_TRIGGER = "mcp"
_PAGE = 500
_ANYTHING: Mapping[str, Any] = {}
_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "dict": {"type": "object"},
    "list": {"type": "array"},
    "null": {"type": "null"},
}
_LIST = re.compile(r"list\[(.+)\]")
_CANCEL_SECONDS = 5.0

Context = ServerRequestContext[Any, Any]


class ListRuns(BaseModel):
    """Lists the newest runs, with their status and cost."""

    workflow: str = Field("", description="Only runs of this one.")
    status: d.RunStatus | None = None
    limit: int = Field(20, ge=1, le=100)


class ShowRun(BaseModel):
    """Shows a run: what it was given and gave, what it used, why it failed, what it asks."""

    run_id: str


class AnswerRun(BaseModel):
    """Answers what a run waits for, and follows it to its end or its next question."""

    run_id: str
    choice: str = Field(
        description="One of the choices, or the answer in words where there are none."
    )
    node: str = Field("", description="The node that asks; may be left out when only one does.")
    comment: str = ""


class ShowCosts(BaseModel):
    """Adds up what models used and cost, in groups."""

    group_by: str = Field(
        "workflow", description="workflow, model, provider, day, ...; between commas."
    )
    workflow: str = ""
    run_id: str = ""


class SearchMemory(BaseModel):
    """Finds what is remembered in a namespace and below it, by words and by meaning."""

    namespace: list[str] = Field(
        min_length=1, max_length=10, description='Such as ["user", "ada"].'
    )
    query: str = Field(min_length=1, max_length=10_000)
    limit: int = Field(10, ge=1, le=50)


class _Call(BaseModel):
    """What comes with any call, by the protocol's names."""

    name: d.Text
    arguments: d.JsonObject
    requestState: d.Text


class ToolUnknown(NotFound):
    """No tool has this name."""

    code = "TOOL_NOT_FOUND"


@dataclass(frozen=True)
class _Fixed:
    """A tool that is always there: what it takes, what it does, and whether that changes anything."""

    asked: type[BaseModel]
    work: Callable[[Context, Any], Awaitable[types.CallToolResult]]
    reads_only: bool = True


class Tools:
    """Lists and calls tools. What a tool cannot do is its result, so that a model sees it; see `_refused`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[str, d.Workflow] = {}
        self._fixed = {
            "cadre_answer": _Fixed(AnswerRun, self._answer, reads_only=False),
            "cadre_costs": _Fixed(ShowCosts, self._costs),
            "cadre_memory_search": _Fixed(SearchMemory, self._search),
            "cadre_run": _Fixed(ShowRun, self._show),
            "cadre_runs": _Fixed(ListRuns, self._list),
        }

    async def list_tools(
        self, _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """The fixed tools, then the workflows, by name. A workflow with a fixed tool's name is left out."""
        fixed = [_described(name, tool) for name, tool in self._fixed.items()]
        applied = [await self._workflow(name, version) for name, version in await self._applied()]
        offered = [_offered(one) for one in applied if one.name not in self._fixed]
        return types.ListToolsResult(tools=[*fixed, *offered])

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Does what a tool does. A workflow's run is followed to its end; whoever stops asking cancels it."""
        try:
            arguments = _checked(params)
            tool = self._fixed.get(params.name)
            if tool is not None:
                return await tool.work(context, tool.asked.model_validate(arguments))
            if params.request_state:
                run = await self._went_on(params)
            else:
                run = await self._started(context, params.name, arguments)
            return await self._followed(context, run)
        except ValidationError as error:
            told = "; ".join(f"{_path(one['loc'])}: {one['msg']}" for one in error.errors())
            return _refused("ARGUMENTS_INVALID", told, "Correct them as the tool's schema says.")
        except CadreError as error:
            return _refused(error.code, error.message, error.resolution)

    # Workflows

    async def _applied(self) -> list[tuple[str, int]]:
        executor, token = self._parts.services.executor, ""
        found: list[tuple[str, int]] = []
        while True:
            request = workflows_pb2.ListWorkflowsRequest(page_size=_PAGE, page_token=token)
            answer = await executor.call(executor.workflows.ListWorkflows, request)
            found += [(one.name, one.version) for one in answer.workflows]
            token = answer.next_page_token
            if not token:
                return found

    async def _workflow(self, name: str, version: int) -> d.Workflow:
        """A version of a workflow, which never changes once it is known."""
        known = self._known.get(name)
        if known is None or known.version != version:
            executor = self._parts.services.executor
            request = workflows_pb2.GetWorkflowRequest(name=name, version=version)
            answer = await executor.call(executor.workflows.GetWorkflow, request)
            known = self._known[name] = conversions.workflow(answer.workflow)
        return known

    async def _started(self, context: Context, name: str, inputs: Mapping[str, Any]) -> d.Run:
        executor = self._parts.services.executor
        assert context.request is not None, "tools are called over HTTP only"
        request = runs_pb2.StartRunRequest(
            workflow=name,
            inputs=to_json(inputs),
            trigger=_TRIGGER,
            api_key=caller_of(context.request).name,
        )
        answer = await executor.call(
            executor.runs.StartRun, request, idempotency_key=f"request/{new_id()}"
        )
        return conversions.run(answer.run)

    async def _went_on(self, params: types.CallToolRequestParams) -> d.Run:
        """The run that a repeated call belongs to, answered as the call says. The state is a run's id, which whoever
        has the key may answer anyway: it needs no seal."""
        run = await self._run(str(params.request_state))
        if run.workflow != params.name:
            raise ToolUnknown(f"run {run.id} is not one of the tool {params.name!r}")
        responses = params.input_responses or {}
        for question in run.questions:
            response = responses.get(_question_key(question))
            if isinstance(response, types.ElicitResult) and response.action == "accept":
                await self._answered(run, question, response.content or {})
        return await self._run(run.id)

    async def _followed(
        self, context: Context, run: d.Run
    ) -> types.CallToolResult | types.InputRequiredResult:
        while True:
            run = await self._settled(context, run)
            if run.status.is_final:
                return await self._result(run)
            if context.protocol_version in MODERN_PROTOCOL_VERSIONS and _can_be_asked(context):
                return types.InputRequiredResult(
                    input_requests={_question_key(one): _asked(one) for one in run.questions},
                    request_state=run.id,
                )
            if not (context.session.can_send_request and _can_be_asked(context)):
                return await self._result(run)
            for question in run.questions:
                response = await context.session.elicit_form(
                    question.message, _answer_schema(question), context.request_id
                )
                if response.action != "accept":
                    return await self._result(run)
                await self._answered(run, question, response.content or {})

    async def _settled(self, context: Context, run: d.Run) -> d.Run:
        """The run when it has ended or asks, having told how far it is. Cancelled, it is stopped; not by a gateway that
        stops itself."""
        executor, waits = self._parts.services.executor, self._parts.waits
        events = run_events(executor, run.id, after=0, reconnect_seconds=waits.reconnect_seconds)
        try:
            async with aclosing(events):
                async for event in events:
                    if event.type in (d.EventType.NODE_STARTED, d.EventType.NODE_SUCCEEDED):
                        told = f"{event.node}: {event.type.value.removeprefix('node_')}"
                        await context.session.report_progress(event.sequence, None, told)
                    elif event.type is d.EventType.NODE_WAITING or event.type.is_last:
                        run = await self._run(run.id)
                        if run.status.is_final or run.questions:
                            return run
            return await self._run(run.id)
        except asyncio.CancelledError:
            if not self._parts.stopping.is_set():
                await self._cancel(run.id)
            raise

    async def _cancel(self, run_id: str) -> None:
        executor = self._parts.services.executor
        with anyio.CancelScope(shield=True):
            await executor.call(
                executor.runs.CancelRun,
                runs_pb2.CancelRunRequest(run_id=run_id),
                timeout_seconds=_CANCEL_SECONDS,
            )

    async def _answered(self, run: d.Run, question: d.Question, content: Mapping[str, Any]) -> None:
        asked = d.NewAnswer(
            node=question.node,
            iteration=question.iteration,
            choice=str(content.get("choice", "")),
            comment=str(content.get("comment") or ""),
            answered_by=_TRIGGER,
        )
        await runs.answer_run(run.id, asked, self._parts.services.executor)

    async def _run(self, run_id: str) -> d.Run:
        return await runs.get_run(run_id, self._parts)

    async def _result(self, run: d.Run) -> types.CallToolResult:
        said: dict[str, Any] = {
            "run_id": run.id,
            "status": run.status.value,
            "outputs": run.outputs or {},
            "usage": run.usage.model_dump(mode="json"),
        }
        if run.status is d.RunStatus.SUCCEEDED:
            workflow = await self._workflow(run.workflow, run.version)
            return _told(reply_text(run, reply_field(workflow)), said)
        if run.error is not None:
            failure = run.error
            where = f" (node {failure.node})" if failure.node else ""
            return _refused(failure.code, f"{failure.message}{where}", failure.resolution, said)
        if run.questions:
            # Also while other branches go on.
            said["status"] = d.RunStatus.WAITING.value
            said["questions"] = [one.model_dump(mode="json") for one in run.questions]
            asks = "; ".join(f"{one.node}: {one.message}" for one in run.questions)
            return _told(
                f"The run waits for an answer. {asks} Answer with the tool cadre_answer, run_id {run.id}.",
                said,
            )
        return _refused("RUN_CANCELLED", f"run {run.id} was cancelled", "", said)

    # What is always there

    async def _answer(self, context: Context, asked: AnswerRun) -> types.CallToolResult:
        answer = d.NewAnswer(
            node=asked.node, choice=asked.choice, comment=asked.comment, answered_by=_TRIGGER
        )
        run = await runs.answer_run(asked.run_id, answer, self._parts.services.executor)
        return await self._result(await self._settled(context, run))

    async def _list(self, _context: Context, asked: ListRuns) -> types.CallToolResult:
        page = await runs.list_runs(
            self._parts.services.executor,
            workflow=asked.workflow,
            status=asked.status,
            page_size=asked.limit,
        )
        return _listed("runs", page.runs)

    async def _show(self, _context: Context, asked: ShowRun) -> types.CallToolResult:
        run = await self._run(asked.run_id)
        return _told(run.model_dump_json(exclude={"source"}), run.model_dump(mode="json"))

    async def _costs(self, _context: Context, asked: ShowCosts) -> types.CallToolResult:
        report = await usage.query_usage(
            self._parts.services.llm_proxy,
            group_by=asked.group_by,
            workflow=asked.workflow,
            run_id=asked.run_id,
        )
        return _told(report.model_dump_json(), report.model_dump(mode="json"))

    async def _search(self, _context: Context, asked: SearchMemory) -> types.CallToolResult:
        query = MemoryQuery(namespace=asked.namespace, query=asked.query, top_k=asked.limit)
        found = await memories.search_memories(query, self._parts.services.memory)
        return _listed("hits", found.hits)


def _checked(params: types.CallToolRequestParams) -> Mapping[str, Any]:
    """The arguments of a call that can be passed on. Raises ValidationError: the protocol's library lets through what
    no other way in does, such as half a surrogate pair."""
    call = _Call(
        name=params.name,
        arguments=params.arguments or {},
        requestState=str(params.request_state or ""),
    )
    return call.arguments


def _described(name: str, tool: _Fixed) -> types.Tool:
    schema = tool.asked.model_json_schema()
    schema.pop("title", None)
    return types.Tool(
        name=name,
        description=schema.pop("description"),
        input_schema=schema,
        annotations=types.ToolAnnotations(read_only_hint=tool.reads_only),
    )


def _offered(workflow: d.Workflow) -> types.Tool:
    properties = {one.name: _schema_of(one) for one in workflow.inputs}
    schema = {
        "type": "object",
        "properties": properties,
        "required": [one.name for one in workflow.inputs if one.required],
        "additionalProperties": False,
    }
    return types.Tool(
        name=workflow.name,
        description=workflow.description or f"Runs the workflow {workflow.name}.",
        input_schema=schema,
        annotations=types.ToolAnnotations(read_only_hint=False),
    )


def _schema_of(one: d.Input) -> dict[str, Any]:
    """The JSON Schema of an input, as far as its type says; the executor checks the rest."""
    schema = dict(_schema_of_type(one.type))
    if one.enum is not None:
        schema["enum"] = one.enum
    if one.description:
        schema["description"] = one.description
    if not one.required and one.default is not None:
        schema["default"] = one.default
    return schema


def _schema_of_type(text: str) -> Mapping[str, Any]:
    words = [word.strip() for word in text.split("|")]
    if len(words) > 1 and "[" not in text:
        return {"anyOf": [_schema_of_type(word) for word in words]}
    if found := _LIST.fullmatch(text.strip()):
        return {"type": "array", "items": _schema_of_type(found[1])}
    return _SCHEMAS.get(text.strip(), _ANYTHING)


def _question_key(question: d.Question) -> str:
    return f"{question.node}/{question.iteration}"


def _asked(question: d.Question) -> types.ElicitRequest:
    params = types.ElicitRequestFormParams(
        message=question.message, requested_schema=_answer_schema(question)
    )
    return types.ElicitRequest(params=params)


def _answer_schema(question: d.Question) -> dict[str, Any]:
    choice: dict[str, Any] = {"type": "string", "title": "Answer"}
    if question.choices:
        choice["enum"] = question.choices
    return {
        "type": "object",
        "properties": {"choice": choice, "comment": {"type": "string", "title": "Comment"}},
        "required": ["choice"],
    }


def _can_be_asked(context: Context) -> bool:
    wanted = types.ClientCapabilities(elicitation=types.ElicitationCapability())
    return context.session.check_client_capability(wanted)


def _told(text: str, said: Mapping[str, Any]) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(text=text)], structured_content=dict(said)
    )


def _listed(name: str, items: list[Any]) -> types.CallToolResult:
    said = [item.model_dump(mode="json", exclude_none=True) for item in items]
    text = "\n".join(item.model_dump_json(exclude_none=True) for item in items)
    return _told(text or f"There are no {name}.", {name: said})


def _refused(
    code: str, message: str, resolution: str, said: Mapping[str, Any] | None = None
) -> types.CallToolResult:
    text = f"{code}: {message}" + (f". {resolution}" if resolution else "")
    return types.CallToolResult(
        content=[types.TextContent(text=text)],
        structured_content={**(said or {}), "code": code},
        is_error=True,
    )


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the arguments"
