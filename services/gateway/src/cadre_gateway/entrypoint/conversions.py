"""Protos to the API's documents, and the API's words to the protos' numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import get_args

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import JsonValue

from cadre.common.v1 import common_pb2
from cadre.executor.v1 import agents_pb2, runs_pb2, schedules_pb2, workflows_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_gateway.entrypoint import documents as d
from cadre_kit.documents import from_json, object_from_json
from cadre_kit.errors import Problem as KitProblem
from cadre_kit.wire import problem_from_message

__all__ = [
    "RUN_STATUS_NUMBERS",
    "agent",
    "checkpoint",
    "event",
    "json_of",
    "model",
    "moment",
    "optional",
    "problem",
    "problems",
    "run",
    "run_status",
    "schedule",
    "timestamp",
    "usage",
    "workflow",
]

RUN_STATUS_NUMBERS: Mapping[d.RunStatus, runs_pb2.RunStatus.ValueType] = {
    d.RunStatus.QUEUED: runs_pb2.RUN_STATUS_QUEUED,
    d.RunStatus.RUNNING: runs_pb2.RUN_STATUS_RUNNING,
    d.RunStatus.WAITING: runs_pb2.RUN_STATUS_WAITING,
    d.RunStatus.SUCCEEDED: runs_pb2.RUN_STATUS_SUCCEEDED,
    d.RunStatus.FAILED: runs_pb2.RUN_STATUS_FAILED,
    d.RunStatus.CANCELLED: runs_pb2.RUN_STATUS_CANCELLED,
}
_RUN_STATUSES = {number: word for word, number in RUN_STATUS_NUMBERS.items()}
_EVENT_TYPES: Mapping[runs_pb2.EventType.ValueType, d.EventType] = {
    runs_pb2.EVENT_TYPE_RUN_QUEUED: d.EventType.RUN_QUEUED,
    runs_pb2.EVENT_TYPE_RUN_STARTED: d.EventType.RUN_STARTED,
    runs_pb2.EVENT_TYPE_RUN_RESUMED: d.EventType.RUN_RESUMED,
    runs_pb2.EVENT_TYPE_RUN_SUCCEEDED: d.EventType.RUN_SUCCEEDED,
    runs_pb2.EVENT_TYPE_RUN_FAILED: d.EventType.RUN_FAILED,
    runs_pb2.EVENT_TYPE_RUN_CANCELLED: d.EventType.RUN_CANCELLED,
    runs_pb2.EVENT_TYPE_NODE_TEXT: d.EventType.NODE_TEXT,
    runs_pb2.EVENT_TYPE_TOOL_CALLED: d.EventType.TOOL_CALLED,
    runs_pb2.EVENT_TYPE_TOOL_RETURNED: d.EventType.TOOL_RETURNED,
    runs_pb2.EVENT_TYPE_AGENT_TASK: d.EventType.AGENT_TASK,
    runs_pb2.EVENT_TYPE_BUDGET_WARNED: d.EventType.BUDGET_WARNED,
    runs_pb2.EVENT_TYPE_SERVICE_AWAITED: d.EventType.SERVICE_AWAITED,
    runs_pb2.EVENT_TYPE_NODE_STARTED: d.EventType.NODE_STARTED,
    runs_pb2.EVENT_TYPE_NODE_SUCCEEDED: d.EventType.NODE_SUCCEEDED,
    runs_pb2.EVENT_TYPE_NODE_FAILED: d.EventType.NODE_FAILED,
    runs_pb2.EVENT_TYPE_NODE_RETRIED: d.EventType.NODE_RETRIED,
    runs_pb2.EVENT_TYPE_NODE_SKIPPED: d.EventType.NODE_SKIPPED,
    runs_pb2.EVENT_TYPE_NODE_WAITING: d.EventType.NODE_WAITING,
    runs_pb2.EVENT_TYPE_NODE_ANSWERED: d.EventType.NODE_ANSWERED,
}


def timestamp(moment: datetime | None) -> Timestamp | None:
    """The message of a moment, if there is one."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def problem(found: KitProblem) -> d.Problem:
    """A problem, from wherever it came."""
    return d.Problem(
        code=found.code,
        message=found.message,
        path=found.path,
        line=found.line,
        column=found.column,
        resolution=found.resolution,
        severity=d.Severity(found.severity.value),
        fix=None if found.fix is None else d.TextEdit.model_validate(asdict(found.fix)),
    )


def problems(messages: Sequence[common_pb2.Problem]) -> list[d.Problem]:
    """A file's problems."""
    return [problem(problem_from_message(message)) for message in messages]


def workflow(message: workflows_pb2.Workflow) -> d.Workflow:
    """A workflow, or as much of it as a list has."""
    return d.Workflow(
        name=message.name,
        version=message.version,
        description=message.description,
        source=message.source,
        applied_time=moment(message, "applied_time"),
        tags=list(message.tags),
        inputs=[_input(one) for one in message.inputs],
        graph=_graph(message.graph) if message.HasField("graph") else None,
    )


def _input(message: workflows_pb2.Input) -> d.Input:
    enum = from_json(message.enum, field="enum") if message.HasField("enum") else None
    return d.Input(
        name=message.name,
        type=message.type,
        required=message.required,
        default=json_of(message, "default"),
        description=message.description,
        enum=enum,
    )


def _graph(message: workflows_pb2.Graph) -> d.Graph:
    nodes = [
        d.Node(
            id=node.id,
            kind=node.kind,
            label=node.label,
            outputs=list(node.outputs),
            structured=node.structured,
        )
        for node in message.nodes
    ]
    return d.Graph(nodes=nodes, edges=[_edge(edge) for edge in message.edges])


def _edge(message: workflows_pb2.GraphEdge) -> d.Edge:
    # "from" is a word of Python's.
    return d.Edge(
        source=getattr(message, "from"),
        target=message.to,
        condition=message.condition,
        loop=message.loop,
    )


def run_status(number: runs_pb2.RunStatus.ValueType) -> d.RunStatus:
    """Where a run, or a batch, stands."""
    return _RUN_STATUSES[number]


def run(message: runs_pb2.Run) -> d.Run:
    """A run, or as much of it as a list has."""
    return d.Run(
        id=message.id,
        workflow=message.workflow,
        version=message.version,
        status=run_status(message.status),
        inputs=_object(message, "inputs"),
        outputs=_object(message, "outputs"),
        usage=usage(message.usage),
        error=_failure(message.error) if message.HasField("error") else None,
        created_time=moment(message, "created_time"),
        started_time=moment(message, "started_time"),
        ended_time=moment(message, "ended_time"),
        trigger=message.trigger,
        trace_id=message.trace_id,
        source=message.source,
        parent_run_id=message.parent_run_id,
        forked_from_run_id=message.forked_from_run_id,
        schedule=message.schedule,
        api_key=message.api_key,
        batch_id=message.batch_id,
        batch_row=message.batch_row,
        last_sequence=message.last_sequence,
        runs_before=message.runs_before,
        questions=[_question(one) for one in message.questions],
    )


def _question(message: runs_pb2.Question) -> d.Question:
    return d.Question(
        run_id=message.run_id,
        node=message.node,
        iteration=message.iteration,
        message=message.message,
        choices=list(message.choices),
        deadline=moment(message, "deadline"),
    )


def checkpoint(message: runs_pb2.Checkpoint) -> d.Checkpoint:
    """Where a run stood."""
    return d.Checkpoint(
        id=message.id,
        step=message.step,
        time=moment(message, "time"),
        nodes=list(message.nodes),
        next_nodes=list(message.next_nodes),
        state=_object(message, "state"),
    )


def event(message: runs_pb2.Event) -> d.Event:
    """An event of a run."""
    return d.Event(
        sequence=message.sequence,
        time=moment(message, "time"),
        type=_EVENT_TYPES[message.type],
        node=message.node,
        iteration=message.iteration,
        attempt=message.attempt,
        item=message.item,
        data=_object(message, "data"),
        usage=usage(message.usage) if message.HasField("usage") else None,
        error=_failure(message.error) if message.HasField("error") else None,
        duration_ms=message.duration_ms,
    )


def usage(message: common_pb2.Usage) -> d.Usage:
    """What calls used. A usage that no call made costs nothing, not an unknown amount."""
    unset = message.calls == 0 and not message.HasField("cost_usd")
    return d.Usage(
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        cost_usd="0" if unset else optional(message, "cost_usd"),
        calls=message.calls,
        unpriced_calls=message.unpriced_calls,
    )


def _failure(message: common_pb2.Failure) -> d.Failure:
    return d.Failure(
        code=message.code,
        message=message.message,
        resolution=message.resolution,
        node=message.node,
    )


def model(message: llm_pb2.Model) -> d.Model:
    """A model that can be named."""
    return d.Model(
        provider=message.provider,
        name=message.name,
        available=message.available,
        unavailable_reason=message.unavailable_reason,
        default=message.default,
        context_tokens=message.context_tokens,
        input_usd_per_million=optional(message, "input_usd_per_million"),
        output_usd_per_million=optional(message, "output_usd_per_million"),
        abilities=[name for name in get_args(d.Ability) if getattr(message, name)],
    )


def model_group(message: llm_pb2.ModelGroup) -> d.ModelGroup:
    """Models under one name."""
    return d.ModelGroup(
        name=message.name,
        deployments=[_deployment(one) for one in message.deployments],
        fallbacks=list(message.fallbacks),
    )


def _deployment(message: llm_pb2.ModelDeployment) -> d.ModelDeployment:
    return d.ModelDeployment(
        provider=message.provider,
        model=message.model,
        host=message.host,
        weight=message.weight,
        concurrent=message.concurrent if message.HasField("concurrent") else None,
        requests_per_minute=message.requests_per_minute
        if message.HasField("requests_per_minute")
        else None,
        tokens_per_minute=message.tokens_per_minute
        if message.HasField("tokens_per_minute")
        else None,
        cooling_seconds=message.cooling_seconds,
        waiting=message.waiting,
        unavailable_reason=message.unavailable_reason,
    )


_CATCH_UPS: dict[schedules_pb2.CatchUp.ValueType, d.CatchUp] = {
    schedules_pb2.CATCH_UP_SKIP: "skip",
    schedules_pb2.CATCH_UP_LATEST: "latest",
    schedules_pb2.CATCH_UP_ALL: "all",
}


def catch_up_message(word: d.CatchUp) -> schedules_pb2.CatchUp.ValueType:
    """The message's value for the word."""
    return next(number for number, known in _CATCH_UPS.items() if known == word)


_HEALTHS: Mapping[agents_pb2.AgentHealth.ValueType, d.AgentHealth] = {
    agents_pb2.AGENT_HEALTH_HEALTHY: d.AgentHealth.HEALTHY,
    agents_pb2.AGENT_HEALTH_UNREACHABLE: d.AgentHealth.UNREACHABLE,
    agents_pb2.AGENT_HEALTH_EXPIRED: d.AgentHealth.EXPIRED,
}


def agent(message: agents_pb2.Agent) -> d.Agent:
    """A remote agent."""
    return d.Agent(
        name=message.name,
        title=message.title,
        description=message.description,
        version=message.version,
        card_url=message.card_url,
        url=message.url,
        protocol_binding=message.protocol_binding,
        skills=[
            d.AgentSkill(
                id=skill.id,
                name=skill.name,
                description=skill.description,
                tags=list(skill.tags),
                examples=list(skill.examples),
            )
            for skill in message.skills
        ],
        health=_HEALTHS[message.health],
        health_detail=message.health_detail,
        secret=message.secret,
        ttl_seconds=message.ttl_seconds,
        registered_time=moment(message, "registered_time"),
        last_seen_time=moment(message, "last_seen_time"),
        expires_time=moment(message, "expires_time"),
    )


def schedule(message: schedules_pb2.Schedule) -> d.Schedule:
    """A schedule."""
    return d.Schedule(
        name=message.name,
        workflow=message.workflow,
        cron=message.cron or None,
        interval_seconds=message.interval_seconds or None,
        rrule=message.rrule or None,
        timezone=message.timezone,
        inputs=_object(message, "inputs"),
        max_concurrent=message.max_concurrent or None,
        catch_up=_CATCH_UPS[message.catch_up],
        notify=message.notify or None,
        paused=message.paused,
        next_time=moment(message, "next_time"),
    )


def moment(message: Message, field: str) -> datetime | None:
    """A time, if it is set."""
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    return value.ToDatetime(tzinfo=UTC)


def json_of(message: Message, field: str) -> JsonValue:
    if not message.HasField(field):
        return None
    value: JsonValue = from_json(getattr(message, field), field=field)
    return value


def _object(message: Message, field: str) -> dict[str, JsonValue] | None:
    if not message.HasField(field):
        return None
    return dict(object_from_json(getattr(message, field), field=field))


def optional(message: Message, field: str) -> str | None:
    """A text, if it is set."""
    return str(getattr(message, field)) if message.HasField(field) else None
