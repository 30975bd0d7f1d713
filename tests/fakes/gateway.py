"""The services behind the gateway, in memory: real gRPC servers, simple insides."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tests.fakes.batches import FakeBatches
from tests.fakes.run_files import FakeRunFiles

from cadre.common.v1 import common_pb2
from cadre.executor.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    batches_pb2_grpc,
    files_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    schedules_pb2,
    schedules_pb2_grpc,
    workflows_pb2,
    workflows_pb2_grpc,
)
from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc, usage_pb2, usage_pb2_grpc
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.documents import object_from_json, to_json
from cadre_kit.errors import (
    CadreError,
    Conflict,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Problem,
    TextEdit,
)
from cadre_kit.ids import new_id
from cadre_kit.interceptor import idempotency_key
from cadre_kit.serving import GrpcService, serving
from cadre_kit.wire import problem_to_message

__all__ = ["FakeExecutor", "FakeLlmProxy", "FakeMemory", "served"]

_LAST = (
    runs_pb2.EVENT_TYPE_RUN_SUCCEEDED,
    runs_pb2.EVENT_TYPE_RUN_FAILED,
    runs_pb2.EVENT_TYPE_RUN_CANCELLED,
)
_ENDED = {
    runs_pb2.EVENT_TYPE_RUN_SUCCEEDED: runs_pb2.RUN_STATUS_SUCCEEDED,
    runs_pb2.EVENT_TYPE_RUN_FAILED: runs_pb2.RUN_STATUS_FAILED,
    runs_pb2.EVENT_TYPE_RUN_CANCELLED: runs_pb2.RUN_STATUS_CANCELLED,
}
_DETAILS = usage_pb2.UsageDetails(
    known_usd="0.000450",
    open_usd="0",
    uncertain_calls=1,
    uncertain_usd="0.25",
    saved_usd="0",
    unbounded_calls=3,
)
_USAGE = common_pb2.Usage(input_tokens=12, output_tokens=3, cost_usd="0.000450", calls=1)


def _now() -> Timestamp:
    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


class FakeExecutor(
    workflows_pb2_grpc.WorkflowServiceServicer,
    runs_pb2_grpc.RunServiceServicer,
    schedules_pb2_grpc.ScheduleServiceServicer,
    agents_pb2_grpc.AgentServiceServicer,
):
    """Keeps everything in memory. Runs do what `happen` says; `failure` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.workflows: dict[str, list[workflows_pb2.Workflow]] = {}
        self.runs: dict[str, runs_pb2.Run] = {}
        self.events: dict[str, list[runs_pb2.Event]] = {}
        self.schedules: dict[str, schedules_pb2.Schedule] = {}
        self.triggers: list[workflows_pb2.Trigger] = []
        self.arrivals: dict[str, runs_pb2.Arrival] = {}
        self.agents: dict[str, agents_pb2.Agent] = {}
        self.failure: CadreError | None = None
        self.batches = FakeBatches(lambda: self.failure)
        self.files = FakeRunFiles(self._run)
        self.watching = 0
        self.traceparents: list[str] = []
        self._started: dict[str, tuple[bytes, str]] = {}
        self._news = asyncio.Condition()

    @property
    def services(self) -> list[GrpcService]:
        """What a server serves."""
        return [
            GrpcService(
                name="cadre.executor.v1.WorkflowService",
                add=lambda s: workflows_pb2_grpc.add_WorkflowServiceServicer_to_server(self, s),
            ),
            GrpcService(
                name="cadre.executor.v1.RunService",
                add=lambda s: runs_pb2_grpc.add_RunServiceServicer_to_server(self, s),
            ),
            GrpcService(
                name="cadre.executor.v1.ScheduleService",
                add=lambda s: schedules_pb2_grpc.add_ScheduleServiceServicer_to_server(self, s),
            ),
            GrpcService(
                name="cadre.executor.v1.AgentService",
                add=lambda s: agents_pb2_grpc.add_AgentServiceServicer_to_server(self, s),
            ),
            GrpcService(
                name="cadre.executor.v1.FileService",
                add=lambda s: files_pb2_grpc.add_FileServiceServicer_to_server(self.files, s),
            ),
            GrpcService(
                name="cadre.executor.v1.BatchService",
                add=lambda s: batches_pb2_grpc.add_BatchServiceServicer_to_server(self.batches, s),
            ),
        ]

    async def happen(
        self, run_id: str, kind: runs_pb2.EventType.ValueType, **more: Any
    ) -> runs_pb2.Event:
        """Stores an event of a run, and what it means for the run."""
        events = self.events[run_id]
        event = runs_pb2.Event(sequence=len(events) + 1, time=_now(), type=kind, **more)
        events.append(event)
        if kind in _LAST:
            self.runs[run_id].status = _ENDED[kind]
            self.runs[run_id].ended_time.CopyFrom(event.time)
        async with self._news:
            self._news.notify_all()
        return event

    # WorkflowService

    async def ValidateWorkflow(
        self, request: workflows_pb2.ValidateWorkflowRequest, context: Any
    ) -> workflows_pb2.ValidateWorkflowResponse:
        self._check()
        problems = _problems_of(request.source)
        if problems:
            messages = [problem_to_message(problem) for problem in problems]
            return workflows_pb2.ValidateWorkflowResponse(valid=False, problems=messages)
        workflow = _workflow_of(request.source, version=0)
        return workflows_pb2.ValidateWorkflowResponse(valid=True, workflow=workflow)

    async def TestWorkflow(
        self, request: workflows_pb2.TestWorkflowRequest, context: Any
    ) -> AsyncIterator[workflows_pb2.TestWorkflowResponse]:
        """Two tests, of which the second fails."""
        self._check()
        results = [
            workflows_pb2.TestResult(
                name="first", passed=True, duration_ms=3, outputs=to_json({"mood": "happy"})
            ),
            workflows_pb2.TestResult(
                name="second",
                failures=[
                    workflows_pb2.TestFailure(
                        code="REPLY_MISSING", message="no reply", node="ask", line=9, column=5
                    )
                ],
            ),
        ]
        for result in results:
            if request.name_contains in result.name:
                yield workflows_pb2.TestWorkflowResponse(result=result)

    async def PlanWorkflow(
        self, request: workflows_pb2.PlanWorkflowRequest, context: Any
    ) -> workflows_pb2.PlanWorkflowResponse:
        """A plan with each kind of thing in it; of unknown cost unless inputs are given."""
        self._check()
        known = bool(object_from_json(request.inputs, field="inputs"))
        plan = workflows_pb2.Plan(
            workflow=_workflow_of(request.source, version=0),
            nodes=[
                workflows_pb2.PlannedNode(
                    id="ask", kind="llm", min_visits=1, max_visits=3, models=["a/b"], max_calls=9
                )
            ],
            needs=[
                workflows_pb2.Need(
                    kind=workflows_pb2.NEED_KIND_MODEL,
                    name="a/b",
                    nodes=["ask"],
                    missing=True,
                    reason="no key",
                )
            ],
            cost=workflows_pb2.CostRange(
                basis=workflows_pb2.RANGE_BASIS_ESTIMATE,
                min_usd="0.01",
                max_usd="0.25" if known else None,
                unknown_reason="" if known else "node ask: who knows",
            ),
            duration=workflows_pb2.DurationRange(
                basis=workflows_pb2.RANGE_BASIS_LIMIT, max_ms=3_600_000
            ),
        )
        return workflows_pb2.PlanWorkflowResponse(plan=plan)

    async def RecordRun(
        self, request: runs_pb2.RecordRunRequest, context: Any
    ) -> runs_pb2.RecordRunResponse:
        """The run's name and inputs."""
        run = self._run(request.run_id)
        test = {"name": request.name, "inputs": dict(object_from_json(run.inputs, field="inputs"))}
        return runs_pb2.RecordRunResponse(test=to_json(test), source=request.source + "tests: []\n")

    async def ApplyWorkflow(
        self, request: workflows_pb2.ApplyWorkflowRequest, context: Any
    ) -> workflows_pb2.ApplyWorkflowResponse:
        self._check()
        problems = _problems_of(request.source)
        if problems:
            raise InvalidInput("the file is not valid", code="WORKFLOW_INVALID", problems=problems)
        name = _name_of(request.source)
        versions = self.workflows.setdefault(name, [])
        if versions and versions[-1].source == request.source:
            return workflows_pb2.ApplyWorkflowResponse(workflow=versions[-1], created=False)
        versions.append(_workflow_of(request.source, version=len(versions) + 1))
        return workflows_pb2.ApplyWorkflowResponse(workflow=versions[-1], created=True)

    async def GetWorkflow(
        self, request: workflows_pb2.GetWorkflowRequest, context: Any
    ) -> workflows_pb2.GetWorkflowResponse:
        versions = self._versions(request.name)
        return workflows_pb2.GetWorkflowResponse(workflow=versions[request.version - 1])

    async def ListWorkflows(
        self, request: workflows_pb2.ListWorkflowsRequest, context: Any
    ) -> workflows_pb2.ListWorkflowsResponse:
        self._check()
        names = sorted(name for name in self.workflows if name > request.page_token)
        page = names[: request.page_size or 100]
        return workflows_pb2.ListWorkflowsResponse(
            workflows=[self.workflows[name][-1] for name in page],
            next_page_token=page[-1] if len(page) < len(names) else "",
        )

    async def ListWorkflowVersions(
        self, request: workflows_pb2.ListWorkflowVersionsRequest, context: Any
    ) -> workflows_pb2.ListWorkflowVersionsResponse:
        versions = reversed(self._versions(request.name))
        return workflows_pb2.ListWorkflowVersionsResponse(versions=versions)

    async def DeleteWorkflow(
        self, request: workflows_pb2.DeleteWorkflowRequest, context: Any
    ) -> workflows_pb2.DeleteWorkflowResponse:
        self._versions(request.name)
        del self.workflows[request.name]
        return workflows_pb2.DeleteWorkflowResponse()

    async def ListTriggers(
        self, request: workflows_pb2.ListTriggersRequest, context: Any
    ) -> workflows_pb2.ListTriggersResponse:
        self._check()
        # Whoever changes the list changes its length, or applies something.
        named = [f"{name} {len(versions)}" for name, versions in sorted(self.workflows.items())]
        revision = f"{named} {len(self.triggers)}"
        if revision == request.known_revision:
            return workflows_pb2.ListTriggersResponse(revision=revision, unchanged=True)
        return workflows_pb2.ListTriggersResponse(
            revision=revision, triggers=self.triggers, workflows=sorted(self.workflows)
        )

    async def GetWorkflowSchema(
        self, request: workflows_pb2.GetWorkflowSchemaRequest, context: Any
    ) -> workflows_pb2.GetWorkflowSchemaResponse:
        self._check()
        return workflows_pb2.GetWorkflowSchemaResponse(schema=to_json({"type": "object"}))

    # RunService

    async def StartRun(
        self, request: runs_pb2.StartRunRequest, context: Any
    ) -> runs_pb2.StartRunResponse:
        self._check()
        metadata = dict(context.invocation_metadata())
        self.traceparents.append(str(metadata.get("traceparent", "")))
        key, wanted = idempotency_key(context), request.SerializeToString(deterministic=True)
        if key in self._started:
            first, run_id = self._started[key]
            if first != wanted:
                raise Conflict("the idempotency key came with another request")
            return runs_pb2.StartRunResponse(run=self.runs[run_id], created=False)
        name = request.workflow or _name_of(request.source)
        if request.workflow:
            self._versions(request.workflow)
        _check_inputs(object_from_json(request.inputs, field="inputs"))
        run = runs_pb2.Run(
            id=request.run_id or new_id(),
            workflow=name,
            version=1 if request.workflow else 0,
            status=runs_pb2.RUN_STATUS_RUNNING,
            inputs=request.inputs,
            trigger=request.trigger,
            schedule=request.schedule,
            api_key=request.api_key,
            created_time=_now(),
            source=request.source,
        )
        self.runs[run.id], self.events[run.id] = run, []
        self._started[key] = (wanted, run.id)
        if request.HasField("arrival"):
            self.arrivals[run.id] = request.arrival
        await self.happen(run.id, runs_pb2.EVENT_TYPE_RUN_QUEUED)
        return runs_pb2.StartRunResponse(run=run, created=True)

    async def GetRun(
        self, request: runs_pb2.GetRunRequest, context: Any
    ) -> runs_pb2.GetRunResponse:
        return runs_pb2.GetRunResponse(run=self._run(request.run_id))

    async def ListRuns(
        self, request: runs_pb2.ListRunsRequest, context: Any
    ) -> runs_pb2.ListRunsResponse:
        self._check()
        runs = [
            run
            for run in reversed(self.runs.values())
            if request.workflow in ("", run.workflow)
            and request.status in (0, run.status)
            and request.schedule in ("", run.schedule)
        ]
        if not (request.page_token or "0").isdecimal():
            raise InvalidInput("page_token is not one of this service's")
        start = int(request.page_token or 0)
        end = start + (request.page_size or 50)
        token = str(end) if end < len(runs) else ""
        return runs_pb2.ListRunsResponse(runs=runs[start:end], next_page_token=token)

    async def WatchRun(
        self, request: runs_pb2.WatchRunRequest, context: Any
    ) -> AsyncIterator[runs_pb2.WatchRunResponse]:
        self._run(request.run_id)
        self.watching += 1
        try:
            sent = request.after_sequence
            while True:
                for event in self.events[request.run_id][sent:]:
                    yield runs_pb2.WatchRunResponse(event=event)
                    sent = event.sequence
                if self.runs[request.run_id].status in _ENDED.values():
                    return
                async with self._news:
                    await self._news.wait()
                self._check()
        finally:
            self.watching -= 1

    async def CancelRun(
        self, request: runs_pb2.CancelRunRequest, context: Any
    ) -> runs_pb2.CancelRunResponse:
        run = self._run(request.run_id)
        if run.status not in _ENDED.values():
            await self.happen(run.id, runs_pb2.EVENT_TYPE_RUN_CANCELLED)
        return runs_pb2.CancelRunResponse(run=run)

    async def ask(self, run_id: str, node: str) -> None:
        """Lets a run wait for a person."""
        run = self.runs[run_id]
        run.status = runs_pb2.RUN_STATUS_WAITING
        run.questions.add(node=node, iteration=1, message="Send it?", choices=["yes", "no"])
        await self.happen(run_id, runs_pb2.EVENT_TYPE_NODE_WAITING, node=node, iteration=1)

    async def AnswerRun(
        self, request: runs_pb2.AnswerRunRequest, context: Any
    ) -> runs_pb2.AnswerRunResponse:
        run = self._run(request.run_id)
        if not run.questions:
            raise FailedPrecondition("the run does not wait", code="RUN_NOT_WAITING")
        del run.questions[:]
        run.status = runs_pb2.RUN_STATUS_RUNNING
        said = {
            "choice": request.choice,
            "comment": request.comment,
            "by": request.answered_by,
            "iteration": request.iteration,
        }
        kind = runs_pb2.EVENT_TYPE_NODE_ANSWERED
        await self.happen(run.id, kind, node=request.node, data=to_json(said))
        return runs_pb2.AnswerRunResponse(run=run)

    async def ResumeRun(
        self, request: runs_pb2.ResumeRunRequest, context: Any
    ) -> runs_pb2.ResumeRunResponse:
        run = self._run(request.run_id)
        if run.status != runs_pb2.RUN_STATUS_FAILED:
            raise FailedPrecondition("the run did not fail", code="RUN_NOT_FAILED")
        run.status = runs_pb2.RUN_STATUS_QUEUED
        await self.happen(run.id, runs_pb2.EVENT_TYPE_RUN_RESUMED)
        return runs_pb2.ResumeRunResponse(run=run)

    async def ForkRun(
        self, request: runs_pb2.ForkRunRequest, context: Any
    ) -> runs_pb2.ForkRunResponse:
        key = idempotency_key(context)
        if key in self._started:
            return runs_pb2.ForkRunResponse(run=self.runs[self._started[key][1]])
        run = runs_pb2.Run()
        run.CopyFrom(self._run(request.run_id))
        run.id, run.forked_from_run_id = new_id(), request.run_id
        run.api_key = request.api_key
        run.inputs.CopyFrom(request.state)
        self.runs[run.id], self.events[run.id] = run, []
        self._started[key] = (b"", run.id)
        return runs_pb2.ForkRunResponse(run=run)

    async def ListCheckpoints(
        self, request: runs_pb2.ListCheckpointsRequest, context: Any
    ) -> runs_pb2.ListCheckpointsResponse:
        self._run(request.run_id)
        kept = runs_pb2.Checkpoint(
            id="1", step=1, time=_now(), nodes=["a"], next_nodes=["b"], state=to_json({"x": 1})
        )
        return runs_pb2.ListCheckpointsResponse(checkpoints=[kept])

    # AgentService

    async def RegisterAgent(
        self, request: agents_pb2.RegisterAgentRequest, context: Any
    ) -> agents_pb2.RegisterAgentResponse:
        self._check()
        name, created = request.name or "agent", request.name not in self.agents
        self.agents[name] = agents_pb2.Agent(
            name=name,
            title="Agent",
            url=request.card_url,
            card_url=request.card_url,
            protocol_binding="JSONRPC",
            skills=[agents_pb2.AgentSkill(id="echo", name="Echo", tags=["test"])],
            health=agents_pb2.AGENT_HEALTH_HEALTHY,
            secret=request.secret,
            ttl_seconds=request.ttl_seconds,
            registered_time=_now(),
            last_seen_time=_now(),
        )
        return agents_pb2.RegisterAgentResponse(agent=self.agents[name], created=created)

    async def RenewAgent(
        self, request: agents_pb2.RenewAgentRequest, context: Any
    ) -> agents_pb2.RenewAgentResponse:
        return agents_pb2.RenewAgentResponse(agent=self._agent(request.name))

    async def ListAgents(
        self, request: agents_pb2.ListAgentsRequest, context: Any
    ) -> agents_pb2.ListAgentsResponse:
        self._check()
        return agents_pb2.ListAgentsResponse(agents=self.agents.values())

    async def GetAgent(
        self, request: agents_pb2.GetAgentRequest, context: Any
    ) -> agents_pb2.GetAgentResponse:
        return agents_pb2.GetAgentResponse(agent=self._agent(request.name))

    async def DeleteAgent(
        self, request: agents_pb2.DeleteAgentRequest, context: Any
    ) -> agents_pb2.DeleteAgentResponse:
        del self.agents[self._agent(request.name).name]
        return agents_pb2.DeleteAgentResponse()

    def _agent(self, name: str) -> agents_pb2.Agent:
        self._check()
        if name not in self.agents:
            raise NotFound(f"no agent {name!r} is registered", code="AGENT_NOT_FOUND")
        return self.agents[name]

    # ScheduleService

    async def CreateSchedule(
        self, request: schedules_pb2.CreateScheduleRequest, context: Any
    ) -> schedules_pb2.CreateScheduleResponse:
        self._versions(request.workflow)
        schedule = schedules_pb2.Schedule(
            name=request.name or request.workflow,
            workflow=request.workflow,
            cron=request.cron,
            interval_seconds=request.interval_seconds,
            rrule=request.rrule,
            timezone=request.timezone or "UTC",
            inputs=request.inputs,
            max_concurrent=request.max_concurrent,
            catch_up=request.catch_up or schedules_pb2.CATCH_UP_SKIP,
            notify=request.notify,
            next_time=_now(),
        )
        self.schedules[schedule.name] = schedule
        return schedules_pb2.CreateScheduleResponse(schedule=schedule)

    async def ListSchedules(
        self, request: schedules_pb2.ListSchedulesRequest, context: Any
    ) -> schedules_pb2.ListSchedulesResponse:
        self._check()
        return schedules_pb2.ListSchedulesResponse(schedules=self.schedules.values())

    async def PauseSchedule(
        self, request: schedules_pb2.PauseScheduleRequest, context: Any
    ) -> schedules_pb2.PauseScheduleResponse:
        schedule = self._schedule(request.name)
        schedule.paused = True
        schedule.ClearField("next_time")
        return schedules_pb2.PauseScheduleResponse(schedule=schedule)

    async def UnpauseSchedule(
        self, request: schedules_pb2.UnpauseScheduleRequest, context: Any
    ) -> schedules_pb2.UnpauseScheduleResponse:
        schedule = self._schedule(request.name)
        schedule.paused = False
        return schedules_pb2.UnpauseScheduleResponse(schedule=schedule)

    async def DeleteSchedule(
        self, request: schedules_pb2.DeleteScheduleRequest, context: Any
    ) -> schedules_pb2.DeleteScheduleResponse:
        del self.schedules[self._schedule(request.name).name]
        return schedules_pb2.DeleteScheduleResponse()

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _versions(self, name: str) -> list[workflows_pb2.Workflow]:
        self._check()
        if name not in self.workflows:
            raise NotFound(f"no workflow {name!r}", code="WORKFLOW_NOT_FOUND")
        return self.workflows[name]

    def _run(self, run_id: str) -> runs_pb2.Run:
        self._check()
        if run_id not in self.runs:
            raise NotFound(f"no run {run_id!r}", code="RUN_NOT_FOUND")
        return self.runs[run_id]

    def _schedule(self, name: str) -> schedules_pb2.Schedule:
        self._check()
        if name not in self.schedules:
            raise NotFound(f"no schedule {name!r}", code="SCHEDULE_NOT_FOUND")
        return self.schedules[name]


def _name_of(source: str) -> str:
    found = re.search(r"name: *(\w+)", source)
    return found[1] if found else "unnamed"


def _problems_of(source: str) -> list[Problem]:
    if "flow:" in source:
        return []
    fix = TextEdit(line=1, column=1, end_line=1, end_column=6, text="flow")
    return [Problem(code="FLOW_MISSING", message="flow is missing", line=1, column=1, fix=fix)]


def _workflow_of(source: str, *, version: int) -> workflows_pb2.Workflow:
    edges = [_edge("START", "a", ""), _edge("a", "END", "default")]
    return workflows_pb2.Workflow(
        name=_name_of(source),
        version=version,
        source=source,
        applied_time=_now(),
        tags=["one"],
        inputs=[
            workflows_pb2.Input(name="message", type="str", required=True),
            workflows_pb2.Input(name="mood", type="str", enum=to_json(["a", 1])),
        ],
        graph=workflows_pb2.Graph(
            nodes=[workflows_pb2.GraphNode(id="a", kind="llm", label="A")], edges=edges
        ),
    )


def _edge(source: str, target: str, condition: str) -> workflows_pb2.GraphEdge:
    edge = workflows_pb2.GraphEdge(to=target, condition=condition)
    # "from" is a word of Python's.
    setattr(edge, "from", source)
    return edge


def _check_inputs(inputs: Mapping[str, Any]) -> None:
    problems = [
        Problem(code="UNKNOWN_INPUT", message=f"unknown input {name!r}", path=name)
        for name in inputs
        if name.startswith("unknown")
    ]
    if problems:
        raise InvalidInput("the inputs are not valid", code="INPUTS_INVALID", problems=problems)


class FakeLlmProxy(llm_pb2_grpc.LlmServiceServicer, usage_pb2_grpc.UsageServiceServicer):
    """Answers with what it was asked. `failure` is raised, in a stream after the first word when `late`."""

    def __init__(self) -> None:
        self.asked: list[llm_pb2.CompleteRequest] = []
        self.embedded: list[llm_pb2.EmbedRequest] = []
        self.queried: list[usage_pb2.QueryUsageRequest] = []
        self.budgets: dict[str, usage_pb2.Budget] = {}
        self.failure: CadreError | None = None
        self.late = False
        self.hanging = False
        self.under_way = 0

    @property
    def services(self) -> list[GrpcService]:
        """What a server serves."""
        return [
            GrpcService(
                name="cadre.llm_proxy.v1.LlmService",
                add=lambda s: llm_pb2_grpc.add_LlmServiceServicer_to_server(self, s),
            ),
            GrpcService(
                name="cadre.llm_proxy.v1.UsageService",
                add=lambda s: usage_pb2_grpc.add_UsageServiceServicer_to_server(self, s),
            ),
        ]

    async def Embed(self, request: llm_pb2.EmbedRequest, context: Any) -> llm_pb2.EmbedResponse:
        """The vector of a text is its length, and one half."""
        self.embedded.append(request)
        vectors = [struct.pack("<2f", len(text), 0.5) for text in request.texts]
        return llm_pb2.EmbedResponse(
            vectors=vectors, dimensions=2, provider="embedded", model="wordllama", usage=_USAGE
        )

    async def Estimate(
        self, request: usage_pb2.EstimateRequest, context: Any
    ) -> usage_pb2.EstimateResponse:
        raise FailedPrecondition("the gateway asks for no estimates", code="NOT_ASKED_FOR")

    async def Complete(
        self, request: llm_pb2.CompleteRequest, context: Any
    ) -> llm_pb2.CompleteResponse:
        self.asked.append(request)
        await self._begin()
        return llm_pb2.CompleteResponse(reply=_reply(request))

    async def StreamComplete(
        self, request: llm_pb2.StreamCompleteRequest, context: Any
    ) -> AsyncIterator[llm_pb2.StreamCompleteResponse]:
        self.asked.append(request.request)
        if not self.late:
            await self._begin()
        reply = _reply(request.request)
        if reply.reasoning:
            yield llm_pb2.StreamCompleteResponse(reasoning_delta=reply.reasoning)
        for word in reply.content.split(" ") if reply.content else ():
            yield llm_pb2.StreamCompleteResponse(delta=f"{word} ")
            await self._begin()
        yield llm_pb2.StreamCompleteResponse(reply=reply)

    async def ListModels(
        self, request: llm_pb2.ListModelsRequest, context: Any
    ) -> llm_pb2.ListModelsResponse:
        if self.failure is not None:
            raise self.failure
        models = [
            llm_pb2.Model(
                provider="embedded", name="smol", available=True, default=True, json_schema=True
            ),
            llm_pb2.Model(
                provider="openai",
                name="gpt",
                unavailable_reason="no key",
                input_usd_per_million="0.15",
            ),
        ]
        deployment = llm_pb2.ModelDeployment(
            provider="openai", model="gpt", weight=1, concurrent=8, cooling_seconds=12.5, waiting=2
        )
        groups = [llm_pb2.ModelGroup(name="fast", models=["openai/gpt"], deployments=[deployment])]
        return llm_pb2.ListModelsResponse(models=models, groups=groups)

    async def QueryUsage(
        self, request: usage_pb2.QueryUsageRequest, context: Any
    ) -> usage_pb2.QueryUsageResponse:
        self.queried.append(request)
        keys = [usage_pb2.UsageDimension.Name(one).lower() for one in request.group_by]
        group = usage_pb2.UsageGroup(keys=keys, usage=_USAGE, failed_calls=1, details=_DETAILS)
        return usage_pb2.QueryUsageResponse(groups=[group], total=_USAGE, total_details=_DETAILS)

    async def ListReplies(
        self, request: usage_pb2.ListRepliesRequest, context: Any
    ) -> usage_pb2.ListRepliesResponse:
        return usage_pb2.ListRepliesResponse()

    async def ListCalls(
        self, request: usage_pb2.ListCallsRequest, context: Any
    ) -> usage_pb2.ListCallsResponse:
        call = usage_pb2.Call(
            id="call1",
            attribution=llm_pb2.Attribution(workflow=request.workflow, run_id=request.run_id),
            provider="embedded",
            model="smol",
            status=request.status or usage_pb2.CALL_STATUS_UNCERTAIN,
            reserved_usd="0.25",
        )
        more = "" if request.page_token else "next"
        return usage_pb2.ListCallsResponse(calls=[call], next_page_token=more)

    async def SetBudget(
        self, request: usage_pb2.SetBudgetRequest, context: Any
    ) -> usage_pb2.SetBudgetResponse:
        if self.failure is not None:
            raise self.failure
        self.budgets[request.budget.name] = request.budget
        return usage_pb2.SetBudgetResponse(status=_status(request.budget))

    async def ListBudgets(
        self, request: usage_pb2.ListBudgetsRequest, context: Any
    ) -> usage_pb2.ListBudgetsResponse:
        return usage_pb2.ListBudgetsResponse(budgets=map(_status, self.budgets.values()))

    async def DeleteBudget(
        self, request: usage_pb2.DeleteBudgetRequest, context: Any
    ) -> usage_pb2.DeleteBudgetResponse:
        if self.budgets.pop(request.name, None) is None:
            raise NotFound(f"there is no budget {request.name!r}", code="BUDGET_NOT_FOUND")
        return usage_pb2.DeleteBudgetResponse()

    async def _begin(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self.hanging:
            self.under_way += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.under_way -= 1


def _status(budget: usage_pb2.Budget) -> usage_pb2.BudgetStatus:
    use = usage_pb2.BudgetUse(period="2026-11-24", used_usd="0.000450", used_tokens=15)
    use.reset_time.FromJsonString("2026-11-25T00:00:00Z")
    return usage_pb2.BudgetStatus(budget=budget, uses=[use])


def _reply(request: llm_pb2.CompleteRequest) -> llm_pb2.Reply:
    """Says what was said. With tools, and unless it has a result, it calls all of them."""
    said = request.messages[-1].content
    if request.tools and request.messages[-1].role != llm_pb2.ROLE_TOOL:
        calls = [
            llm_pb2.ToolCall(id=f"call_{tool.name}", name=tool.name, arguments=to_json({"q": said}))
            for tool in request.tools
        ]
        return llm_pb2.Reply(
            finish_reason=llm_pb2.FINISH_REASON_TOOL_CALLS,
            provider="embedded",
            model="smol",
            usage=_USAGE,
            call_id="call1",
            tool_calls=calls,
        )
    return llm_pb2.Reply(
        content=json.dumps({"said": said}) if request.output_schema.text else f"you said {said}",
        finish_reason=llm_pb2.FINISH_REASON_STOP,
        provider=request.options.provider or "embedded",
        model=request.options.model or "smol",
        usage=_USAGE,
        call_id="call1",
        reasoning="let me see" if request.options.params.text else "",
        likelihoods=[llm_pb2.Likelihood(token="yö", logprob=-0.5)]
        if request.options.HasField("top_logprobs")
        else [],
    )


class FakeMemory(memory_pb2_grpc.MemoryServiceServicer):
    """Keeps items in a dict; a search finds those whose text holds the query. `requests` are the last of some calls."""

    def __init__(self) -> None:
        self.items: dict[tuple[tuple[str, ...], str], memory_pb2.Item] = {}
        self.said: dict[tuple[str, ...], list[memory_pb2.Message]] = {}
        self.requests: dict[str, Any] = {}

    @property
    def services(self) -> list[GrpcService]:
        """What a server serves."""
        return [
            GrpcService(
                name="cadre.memory.v1.MemoryService",
                add=lambda s: memory_pb2_grpc.add_MemoryServiceServicer_to_server(self, s),
            )
        ]

    async def Put(self, request: memory_pb2.PutRequest, context: Any) -> memory_pb2.PutResponse:
        place = (tuple(request.namespace), request.key)
        version = self.items[place].version + 1 if place in self.items else 1
        self.items[place] = memory_pb2.Item(
            namespace=request.namespace,
            key=request.key,
            value=request.value,
            version=version,
            created_time=_now(),
            updated_time=_now(),
            tags=request.tags,
            metadata=request.metadata,
        )
        return memory_pb2.PutResponse(item=self.items[place])

    async def Get(self, request: memory_pb2.GetRequest, context: Any) -> memory_pb2.GetResponse:
        place = (tuple(request.namespace), request.key)
        if place not in self.items:
            raise NotFound(f"nothing under {request.key!r}", code="MEMORY_NOT_FOUND")
        return memory_pb2.GetResponse(item=self.items[place])

    async def Delete(
        self, request: memory_pb2.DeleteRequest, context: Any
    ) -> memory_pb2.DeleteResponse:
        removed = self.items.pop((tuple(request.namespace), request.key), None)
        return memory_pb2.DeleteResponse(deleted=removed is not None)

    async def List(self, request: memory_pb2.ListRequest, context: Any) -> memory_pb2.ListResponse:
        found = [
            item
            for (namespace, key), item in sorted(self.items.items())
            if namespace == tuple(request.namespace)
            and key.startswith(request.key_prefix)
            and set(request.filter.tags) <= set(item.tags)
        ]
        return memory_pb2.ListResponse(items=found)

    async def Search(
        self, request: memory_pb2.SearchRequest, context: Any
    ) -> memory_pb2.SearchResponse:
        self.requests["search"] = request
        hits = [
            memory_pb2.Hit(item=item, score=0.5, text_score=0.25, vector_score=-0.5)
            for item in self.items.values()
            if request.query in item.value.text
        ]
        hits += [
            memory_pb2.Hit(message=message, neighbours=said[place + 1 :][: request.window])
            for said in self.said.values()
            for place, message in enumerate(said)
            if request.query in message.text
        ]
        return memory_pb2.SearchResponse(hits=hits[: request.top_k])

    async def Batch(
        self, request: memory_pb2.BatchRequest, context: Any
    ) -> memory_pb2.BatchResponse:
        places = [(tuple(each.get.namespace), each.get.key) for each in request.operations]
        return memory_pb2.BatchResponse(
            results=[memory_pb2.BatchResult(item=self.items.get(place)) for place in places]
        )

    async def AppendMessages(
        self, request: memory_pb2.AppendMessagesRequest, context: Any
    ) -> memory_pb2.AppendMessagesResponse:
        self.requests["append"] = request
        said = self.said.setdefault(tuple(request.namespace), [])
        first = len(said)
        for message in request.messages:
            message.position = len(said)
            said.append(message)
        return memory_pb2.AppendMessagesResponse(first_position=first)

    async def ListMessages(
        self, request: memory_pb2.ListMessagesRequest, context: Any
    ) -> memory_pb2.ListMessagesResponse:
        self.requests["messages"] = request
        said = self.said.get(tuple(request.namespace), [])
        summary = memory_pb2.Summary(text="They met.", last_position=3, time=_now())
        return memory_pb2.ListMessagesResponse(
            messages=said[-request.limit :],
            more=len(said) > request.limit,
            summary=summary if request.with_summary else None,
        )

    async def ListNamespaces(
        self, request: memory_pb2.ListNamespacesRequest, context: Any
    ) -> memory_pb2.ListNamespacesResponse:
        above = tuple(request.namespace)
        places = set(self.said) | {place for place, _ in self.items}
        return memory_pb2.ListNamespacesResponse(
            namespaces=[
                memory_pb2.Namespace(
                    segments=place,
                    newest=self.said[place][-1] if request.conversations else None,
                )
                for place in sorted(self.said if request.conversations else places)
                if place[: len(above)] == above
            ]
        )

    async def Forget(
        self, request: memory_pb2.ForgetRequest, context: Any
    ) -> memory_pb2.ForgetResponse:
        above = tuple(request.namespace)
        gone = [
            place
            for place, item in self.items.items()
            if place[0][: len(above)] == above and set(request.filter.tags) <= set(item.tags)
        ]
        for place in gone:
            del self.items[place]
        if request.everything:
            gone += [(place, "") for place in self.said if place[: len(above)] == above]
            self.said = {p: said for p, said in self.said.items() if p[: len(above)] != above}
        self.requests["forget"] = request
        return memory_pb2.ForgetResponse(forgotten=len(gone))

    async def _not_asked(self, request: Any, context: Any) -> Any:
        raise NotImplementedError(f"the gateway asks for {type(request).__name__} nowhere")

    BatchPut = _not_asked


@asynccontextmanager
async def served(
    fake: FakeExecutor | FakeLlmProxy | FakeMemory, *, port: int = 0
) -> AsyncIterator[str]:
    """A real server of a fake's services, with health and errors as all have them; yields host:port."""
    async with serving(fake.services, host="127.0.0.1", port=port) as address:
        yield address
