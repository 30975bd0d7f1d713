"""Runs: started, followed, stopped, answered, resumed and forked."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response, status

from cadre.executor.v1 import runs_pb2
from cadre_gateway.entrypoint import conversions, documents, plan_documents
from cadre_gateway.entrypoint.access import READ, RUN, TheCaller
from cadre_gateway.entrypoint.dependencies import IdempotencyKey, Parts, TheExecutor, TheParts
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_gateway.entrypoint.once import ONCE, OnceRoute
from cadre_gateway.entrypoint.run_events import event_chunks, run_events
from cadre_gateway.entrypoint.streams import EventStream
from cadre_kit.documents import object_from_json, to_json
from cadre_kit.errors import NotFound
from cadre_kit.ids import new_id

__all__ = ["router", "run_path"]

router = APIRouter(tags=["runs"], route_class=OnceRoute)

_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
# The test that it is written down as is run, twice at most.
_RECORDING_SECONDS = 300.0

_RunId = Annotated[str, Path(max_length=200, description="The run's id.")]
_Sequence = Annotated[int, Query(ge=0, le=2**63 - 1, description="Only events after this one.")]
_LastEventId = Annotated[
    str, Header(description="As `after`, as browsers send it when they connect again.")
]
_EVENTS_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An event per message: `id` is its sequence, `event` its type, `data` the Event below. "
        "A `problem` message with problem details ends a stream that cannot go on.",
        "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}},
    }
}


def run_path(run_id: str) -> str:
    """Where a run is in this API."""
    return f"/api/v1/runs/{run_id}"


@router.post("/api/v1/runs", status_code=status.HTTP_202_ACCEPTED, dependencies=[RUN])
async def start_run(
    asked: documents.NewRun,
    parts: TheParts,
    caller: TheCaller,
    key: IdempotencyKey,
    response: Response,
) -> documents.Run:
    """Starts an applied workflow, or a file. The run is stored when the answer comes, and goes on by itself."""
    executor = parts.services.executor
    request = runs_pb2.StartRunRequest(
        inputs=to_json(asked.inputs),
        version=asked.version,
        trigger="schedule" if asked.schedule else "api",
        schedule=asked.schedule,
        api_key=caller.name,
    )
    match asked:
        case documents.NewRun(workflow=str(name), source=None):
            request.workflow = name
        case documents.NewRun(workflow=None, source=str(text)):
            request.source = text
        case _:
            raise InvalidRequest(
                "either workflow or source must be given, and not both",
                resolution="Name an applied workflow, or send a file's text as source.",
            )
    # With a key of its own, so that the call may be sent again when the connection breaks.
    answer = await executor.call(
        executor.runs.StartRun, request, idempotency_key=key or f"request/{new_id()}"
    )
    response.headers["Location"] = run_path(answer.run.id)
    run = conversions.run(answer.run)
    if asked.notify is not None:
        await parts.reception.tell_end(run, asked.notify)
    return run


@router.get("/api/v1/runs", dependencies=[READ])
async def list_runs(
    executor: TheExecutor,
    workflow: Annotated[str, Query(max_length=200, description="Only runs of this one.")] = "",
    status: Annotated[
        documents.RunStatus | None, Query(description="Only runs in this status.")
    ] = None,
    schedule: Annotated[
        str, Query(max_length=200, description="Only runs that this schedule started.")
    ] = "",
    batch_id: Annotated[str, Query(max_length=200, description="Only runs of this batch.")] = "",
    page_size: Annotated[int, Query(ge=1, le=500, description="At most this many.")] = 50,
    page_token: Annotated[
        str, Query(max_length=1000, description="The last page's next_page_token.")
    ] = "",
) -> documents.RunPage:
    """Lists runs, newest first, without inputs, outputs and source."""
    any_status = runs_pb2.RUN_STATUS_UNSPECIFIED
    request = runs_pb2.ListRunsRequest(
        workflow=workflow,
        status=conversions.RUN_STATUS_NUMBERS[status] if status else any_status,
        schedule=schedule,
        batch_id=batch_id,
        page_size=page_size,
        page_token=page_token,
    )
    answer = await executor.call(executor.runs.ListRuns, request)
    runs = [conversions.run(one) for one in answer.runs]
    return documents.RunPage(runs=runs, next_page_token=answer.next_page_token)


@router.get("/api/v1/runs/{run_id}", dependencies=[READ])
async def get_run(run_id: _RunId, parts: TheParts) -> documents.Run:
    """Returns a run as it stands."""
    return await _run(parts, run_id)


@router.post("/api/v1/runs/{run_id}/cancel", dependencies=[RUN])
async def cancel_run(run_id: _RunId, executor: TheExecutor) -> documents.Run:
    """Asks a run to stop. When the answer comes, no further step of it can start."""
    request = runs_pb2.CancelRunRequest(run_id=run_id)
    answer = await executor.call(executor.runs.CancelRun, request)
    return conversions.run(answer.run)


@router.post("/api/v1/runs/{run_id}/resume", dependencies=[RUN, ONCE])
async def resume_run(
    run_id: _RunId, executor: TheExecutor, budget: documents.NewBudget | None = None
) -> documents.Run:
    """Goes on with a failed run from the step that failed, once its cause is mended, or with one that waits for a
    budget: with an amount for its own, without for one that it shares."""
    asked = budget or documents.NewBudget()
    request = runs_pb2.ResumeRunRequest(run_id=run_id, usd=asked.usd, tokens=asked.tokens)
    answer = await executor.call(executor.runs.ResumeRun, request)
    return conversions.run(answer.run)


@router.post("/api/v1/runs/{run_id}/answer", dependencies=[RUN, ONCE])
async def answer_run(
    run_id: _RunId, asked: documents.NewAnswer, executor: TheExecutor
) -> documents.Run:
    """Answers what a run waits for. The first answer counts; the same again is accepted, another is refused (409)."""
    request = runs_pb2.AnswerRunRequest(
        run_id=run_id,
        node=asked.node,
        iteration=asked.iteration,
        choice=asked.choice,
        comment=asked.comment,
        answered_by=asked.answered_by,
    )
    answer = await executor.call(executor.runs.AnswerRun, request)
    return conversions.run(answer.run)


@router.post("/api/v1/runs/{run_id}/fork", status_code=status.HTTP_202_ACCEPTED, dependencies=[RUN])
async def fork_run(
    run_id: _RunId,
    asked: documents.NewFork,
    parts: TheParts,
    caller: TheCaller,
    key: IdempotencyKey,
    response: Response,
) -> documents.Run:
    """Starts a new run from a checkpoint of this one, with chosen fields changed."""
    request = runs_pb2.ForkRunRequest(
        run_id=run_id,
        checkpoint_id=asked.checkpoint_id,
        state=to_json(asked.state),
        api_key=caller.name,
    )
    executor = parts.services.executor
    answer = await executor.call(
        executor.runs.ForkRun, request, idempotency_key=key or f"request/{new_id()}"
    )
    response.headers["Location"] = run_path(answer.run.id)
    run = conversions.run(answer.run)
    if asked.notify is not None:
        await parts.reception.tell_end(run, asked.notify)
    return run


@router.get("/api/v1/runs/{run_id}/checkpoints", dependencies=[READ])
async def list_checkpoints(run_id: _RunId, executor: TheExecutor) -> documents.Checkpoints:
    """Lists a run's checkpoints, oldest first: one after each step that is kept."""
    request = runs_pb2.ListCheckpointsRequest(run_id=run_id)
    answer = await executor.call(executor.runs.ListCheckpoints, request)
    found = [conversions.checkpoint(one) for one in answer.checkpoints]
    return documents.Checkpoints(checkpoints=found)


@router.post("/api/v1/runs/{run_id}/record", dependencies=[RUN])
async def record_run(
    run_id: _RunId, asked: plan_documents.Recording, executor: TheExecutor
) -> plan_documents.RecordedTest:
    """Writes a run that ended down as a test of its file, which then passes with no model."""
    request = runs_pb2.RecordRunRequest(run_id=run_id, name=asked.name, source=asked.source)
    answer = await executor.call(
        executor.runs.RecordRun, request, timeout_seconds=_RECORDING_SECONDS
    )
    return plan_documents.RecordedTest(
        test=dict(object_from_json(answer.test, field="test")), source=answer.source
    )


@router.get(
    "/api/v1/runs/{run_id}/events",
    response_class=Response,
    responses=_EVENTS_DOCUMENTED,
    dependencies=[READ],
)
async def watch_run(
    run_id: _RunId,
    request: Request,
    parts: TheParts,
    after: _Sequence = 0,
    last_event_id: _LastEventId = "",
) -> Response:
    """Sends a run's events as they happen, then ends. Comments keep the connection alive in between."""
    executor, waits = parts.services.executor, parts.waits
    start_after = _sequence_of(last_event_id) if last_event_id else after
    # Refused here, while there still is a status to refuse with.
    await _run(parts, run_id)
    events = run_events(
        executor, run_id, after=start_after, reconnect_seconds=waits.reconnect_seconds
    )
    return EventStream(
        event_chunks(events, request_id=str(request.scope["cadre.request_id"])),
        heartbeat_seconds=waits.heartbeat_seconds,
        stopping=parts.stopping,
        metrics=parts.metrics,
    )


async def _run(parts: Parts, run_id: str) -> documents.Run:
    """The run. One that a delivery is about to start, whose sender knows its id already, is waited for a moment."""
    executor, request = parts.services.executor, runs_pb2.GetRunRequest(run_id=run_id)
    for pause in _PAUSES_SECONDS:
        try:
            answer = await executor.call(executor.runs.GetRun, request)
            return conversions.run(answer.run)
        except NotFound:
            if not await parts.inbox.expects(run_id):
                break
        await asyncio.sleep(pause)
    answer = await executor.call(executor.runs.GetRun, request)
    return conversions.run(answer.run)


def _sequence_of(last_event_id: str) -> int:
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise InvalidRequest(
            "the header Last-Event-ID must hold an event's sequence number",
            resolution="Send the `id` of the last event that was received.",
        )
    return int(last_event_id)
