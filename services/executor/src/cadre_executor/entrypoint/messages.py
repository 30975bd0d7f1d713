"""The domain's values as proto messages."""

import base64
import binascii
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from cadre.common.v1 import common_pb2
from cadre.executor.v1 import runs_pb2, schedules_pb2, workflows_pb2
from cadre_executor.domain.checkpoints import Checkpoint
from cadre_executor.domain.clocks import Clock, Cron, Interval, Recurrence
from cadre_executor.domain.definitions import Definition, Graph, InputField, Parsed
from cadre_executor.domain.runs import Event, EventType, Failure, Question, Run, RunStatus, Usage
from cadre_executor.domain.shelves import Triggered
from cadre_executor.domain.timetables import CatchUp, Schedule
from cadre_executor.domain.triggers import OutsideTrigger
from cadre_kit.documents import to_json
from cadre_kit.errors import InvalidInput

__all__ = [
    "catch_up_from_message",
    "checked_name",
    "checkpoint_message",
    "clock_from_request",
    "event_message",
    "page_size",
    "page_token",
    "run_message",
    "schedule_message",
    "status_from_message",
    "status_message",
    "time_message",
    "token_key",
    "trigger_messages",
    "usage_message",
    "workflow_message",
]

_NAME_CHARACTERS = 100
_STATUSES = {
    RunStatus.QUEUED: runs_pb2.RUN_STATUS_QUEUED,
    RunStatus.RUNNING: runs_pb2.RUN_STATUS_RUNNING,
    RunStatus.WAITING: runs_pb2.RUN_STATUS_WAITING,
    RunStatus.SUCCEEDED: runs_pb2.RUN_STATUS_SUCCEEDED,
    RunStatus.FAILED: runs_pb2.RUN_STATUS_FAILED,
    RunStatus.CANCELLED: runs_pb2.RUN_STATUS_CANCELLED,
}
_STATUSES_BACK = {number: status for status, number in _STATUSES.items()}
_CATCH_UPS = {
    CatchUp.SKIP: schedules_pb2.CATCH_UP_SKIP,
    CatchUp.LATEST: schedules_pb2.CATCH_UP_LATEST,
    CatchUp.ALL: schedules_pb2.CATCH_UP_ALL,
}
_CATCH_UPS_BACK = {number: catch_up for catch_up, number in _CATCH_UPS.items()}
_EVENT_TYPES = {
    EventType.RUN_QUEUED: runs_pb2.EVENT_TYPE_RUN_QUEUED,
    EventType.RUN_STARTED: runs_pb2.EVENT_TYPE_RUN_STARTED,
    EventType.RUN_RESUMED: runs_pb2.EVENT_TYPE_RUN_RESUMED,
    EventType.RUN_SUCCEEDED: runs_pb2.EVENT_TYPE_RUN_SUCCEEDED,
    EventType.RUN_FAILED: runs_pb2.EVENT_TYPE_RUN_FAILED,
    EventType.RUN_CANCELLED: runs_pb2.EVENT_TYPE_RUN_CANCELLED,
    EventType.NODE_STARTED: runs_pb2.EVENT_TYPE_NODE_STARTED,
    EventType.NODE_SUCCEEDED: runs_pb2.EVENT_TYPE_NODE_SUCCEEDED,
    EventType.NODE_FAILED: runs_pb2.EVENT_TYPE_NODE_FAILED,
    EventType.NODE_RETRIED: runs_pb2.EVENT_TYPE_NODE_RETRIED,
    EventType.NODE_SKIPPED: runs_pb2.EVENT_TYPE_NODE_SKIPPED,
    EventType.NODE_WAITING: runs_pb2.EVENT_TYPE_NODE_WAITING,
    EventType.NODE_ANSWERED: runs_pb2.EVENT_TYPE_NODE_ANSWERED,
    EventType.NODE_TEXT: runs_pb2.EVENT_TYPE_NODE_TEXT,
    EventType.TOOL_CALLED: runs_pb2.EVENT_TYPE_TOOL_CALLED,
    EventType.TOOL_RETURNED: runs_pb2.EVENT_TYPE_TOOL_RETURNED,
    EventType.AGENT_TASK: runs_pb2.EVENT_TYPE_AGENT_TASK,
    EventType.BUDGET_WARNED: runs_pb2.EVENT_TYPE_BUDGET_WARNED,
    EventType.SERVICE_AWAITED: runs_pb2.EVENT_TYPE_SERVICE_AWAITED,
}
_LARGEST_PAGE = 500


class BadPage(InvalidInput):
    """The page asked for cannot be."""

    code = "BAD_PAGE_SIZE"


class BadPageToken(InvalidInput):
    """The page token is not one that a list answered."""

    code = "BAD_PAGE_TOKEN"


class UnknownStatus(InvalidInput):
    """The filter names no status of runs."""

    code = "UNKNOWN_RUN_STATUS"


def page_size(asked: int, *, default: int) -> int:
    """How many to list. Raises BadPage for less than 0 or more than 500."""
    if not 0 <= asked <= _LARGEST_PAGE:
        raise BadPage(
            f"page_size is {asked}; it must be 0 to {_LARGEST_PAGE}",
            metadata={"page_size": str(asked)},
        )
    return asked or default


def page_token(key: str) -> str:
    """A token for the page after a key."""
    return base64.urlsafe_b64encode(key.encode()).decode()


def token_key(token: str) -> str:
    """The key of a token; empty for none. Raises BadPageToken."""
    try:
        return base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as exc:
        raise BadPageToken(
            "the page token is not one that a list answered",
            resolution="Pass next_page_token of the previous answer, or nothing for the first page.",
        ) from exc


def status_from_message(number: int) -> RunStatus | None:
    """The status of a filter; None for any. Raises UnknownStatus."""
    if number == runs_pb2.RUN_STATUS_UNSPECIFIED:
        return None
    if number not in _STATUSES_BACK:
        raise UnknownStatus(f"no run status {number}", metadata={"status": str(number)})
    return _STATUSES_BACK[runs_pb2.RunStatus.ValueType(number)]


def status_message(status: RunStatus) -> runs_pb2.RunStatus.ValueType:
    """Where a run, or a batch, stands."""
    return _STATUSES[status]


def run_message(run: Run, *, listed: bool = False) -> runs_pb2.Run:
    """A run; without inputs, outputs and source in lists."""
    message = runs_pb2.Run(
        id=run.id,
        workflow=run.workflow,
        version=run.version,
        status=_STATUSES[run.status],
        usage=usage_message(run.usage),
        created_time=time_message(run.created_time),
        trigger=run.trigger,
        trace_id=run.trace_id,
        source="" if listed else run.source,
        parent_run_id=run.parent_run_id,
        forked_from_run_id=run.forked_from,
        schedule=run.schedule,
        api_key=run.api_key,
        batch_id=run.batch_id,
        batch_row=run.batch_row,
        last_sequence=run.last_sequence,
        runs_before=run.runs_before,
        questions=[] if listed else [_question(question) for question in run.questions],
    )
    if not listed:
        message.inputs.CopyFrom(to_json(run.inputs))
    if not listed and run.outputs is not None:
        message.outputs.CopyFrom(to_json(run.outputs))
    if run.error is not None:
        message.error.CopyFrom(_failure(run.error))
    if run.started_time is not None:
        message.started_time.CopyFrom(time_message(run.started_time))
    if run.ended_time is not None:
        message.ended_time.CopyFrom(time_message(run.ended_time))
    return message


def checkpoint_message(checkpoint: Checkpoint) -> runs_pb2.Checkpoint:
    """A checkpoint."""
    position = checkpoint.position
    return runs_pb2.Checkpoint(
        id=checkpoint.id,
        step=position.step,
        time=time_message(checkpoint.time),
        nodes=checkpoint.nodes,
        next_nodes=position.progress["arrivals"],
        state=to_json(position.fields),
    )


def _question(question: Question) -> runs_pb2.Question:
    message = runs_pb2.Question(
        node=question.node,
        iteration=question.iteration,
        message=question.message,
        choices=question.choices,
        run_id=question.run_id,
    )
    if question.deadline is not None:
        message.deadline.CopyFrom(time_message(question.deadline))
    return message


def event_message(event: Event) -> runs_pb2.Event:
    """An event."""
    return runs_pb2.Event(
        sequence=event.sequence,
        time=time_message(event.time),
        type=_EVENT_TYPES[event.type],
        node=event.node,
        iteration=event.iteration,
        attempt=event.attempt,
        data=None if event.data is None else to_json(event.data),
        usage=None if event.usage is None else usage_message(event.usage),
        error=None if event.error is None else _failure(event.error),
        duration_ms=event.duration_ms,
        item=event.item,
    )


def workflow_message(
    definition: Definition, parsed: Parsed | None = None
) -> workflows_pb2.Workflow:
    """A version; without source, inputs and graph in lists."""
    message = workflows_pb2.Workflow(
        name=definition.name,
        version=definition.version,
        description=definition.description,
        tags=definition.tags,
    )
    if definition.applied_time is not None:
        message.applied_time.CopyFrom(time_message(definition.applied_time))
    if parsed is not None:
        message.source = definition.source
        message.inputs.extend(_input(field) for field in parsed.inputs)
        message.graph.CopyFrom(_graph(parsed.graph))
    return message


def trigger_messages(triggered: Triggered) -> list[workflows_pb2.Trigger]:
    """What may start a workflow from outside."""
    return [
        workflows_pb2.Trigger(
            workflow=triggered.name,
            version=triggered.version,
            index=index,
            kind=trigger.kind,
            connection=trigger.connection,
            secrets=trigger.secrets,
            reply=trigger.reply,
            notify=trigger.notify,
            command=trigger.command,
            enabled=trigger.enabled,
        )
        for index, trigger in enumerate(triggered.triggers)
        if isinstance(trigger, OutsideTrigger)
    ]


def checked_name(name: str, *, field: str) -> str:
    """A name that a request gives. Raises InvalidInput when it is too long to be kept."""
    if len(name) > _NAME_CHARACTERS:
        raise InvalidInput(
            f"{field} has more than {_NAME_CHARACTERS} characters", code="BAD_REQUEST"
        )
    return name


def schedule_message(schedule: Schedule) -> schedules_pb2.Schedule:
    """A schedule."""
    message = schedules_pb2.Schedule(
        name=schedule.name,
        workflow=schedule.workflow,
        timezone=schedule.timezone,
        inputs=to_json(schedule.inputs),
        paused=schedule.paused,
        max_concurrent=schedule.max_concurrent,
        catch_up=_CATCH_UPS[schedule.catch_up],
        notify=schedule.notify,
    )
    match schedule.clock:
        case Cron() as clock:
            message.cron = clock.expression
        case Interval() as clock:
            message.interval_seconds = clock.seconds
        case Recurrence() as clock:
            message.rrule = clock.rule
    if schedule.next_time is not None:
        message.next_time.CopyFrom(time_message(schedule.next_time))
    return message


def clock_from_request(request: schedules_pb2.CreateScheduleRequest) -> Clock:
    """The one clock that the request sets. Raises InvalidInput when it sets none, or several."""
    given: list[Clock] = []
    if request.cron:
        given.append(Cron(expression=request.cron))
    if request.interval_seconds:
        given.append(Interval(seconds=request.interval_seconds, anchor=datetime.now(UTC)))
    if request.rrule:
        given.append(Recurrence(rule=request.rrule))
    if len(given) != 1:
        raise InvalidInput(
            f"a schedule has one of cron, interval and rrule, not {len(given)}",
            code="SCHEDULE_CLOCK_INVALID",
            resolution="Give exactly one of them.",
        )
    return given[0]


def catch_up_from_message(number: schedules_pb2.CatchUp.ValueType) -> CatchUp:
    """What becomes of missed times; skip when it is not said."""
    return _CATCH_UPS_BACK.get(number, CatchUp.SKIP)


def time_message(time: datetime) -> Timestamp:
    """A time."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def usage_message(usage: Usage) -> common_pb2.Usage:
    """What calls used, as a message."""
    cost = usage.cost_usd
    return common_pb2.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=None if cost is None else f"{cost:f}",
        calls=usage.calls,
        unpriced_calls=usage.unpriced_calls,
    )


def _failure(failure: Failure) -> common_pb2.Failure:
    return common_pb2.Failure(
        code=failure.code,
        message=failure.message,
        resolution=failure.resolution,
        node=failure.node,
    )


def _input(field: InputField) -> workflows_pb2.Input:
    return workflows_pb2.Input(
        name=field.name,
        type=field.type,
        required=field.required,
        default=to_json(field.default) if field.has_default else None,
        description=field.description,
        enum=None if field.allowed is None else to_json(list(field.allowed)),
    )


def _graph(graph: Graph) -> workflows_pb2.Graph:
    nodes = [
        workflows_pb2.GraphNode(
            id=n.id, kind=n.kind, label=n.label, outputs=n.outputs, structured=n.structured
        )
        for n in graph.nodes
    ]
    edges = [
        workflows_pb2.GraphEdge(
            **{"from": e.source, "to": e.target}, condition=e.condition, loop=e.loop
        )
        for e in graph.edges
    ]
    return workflows_pb2.Graph(nodes=nodes, edges=edges)
