"""RunService: gRPC to domain and back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, TypeAlias

import grpc

from cadre.executor.v1 import runs_pb2, runs_pb2_grpc
from cadre_executor.domain.answers import Answer, AnswerRun
from cadre_executor.domain.desks import Arrival, Desk, ForkRun, StartRun
from cadre_executor.domain.overruns import raised_budget
from cadre_executor.domain.recordings import Recorder
from cadre_executor.domain.runs import RunQuery
from cadre_executor.entrypoint.messages import (
    checked_name,
    checkpoint_message,
    event_message,
    page_size,
    page_token,
    run_message,
    status_from_message,
    token_key,
)
from cadre_kit.documents import object_from_json, to_json
from cadre_kit.errors import InvalidInput
from cadre_kit.interceptor import idempotency_key

__all__ = ["RunServicer"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_INPUT_BYTES = 4 * 1024 * 1024
_TRIGGER_CHARACTERS = 50
_COMMENT_CHARACTERS = 10_000
_TEST_NAME_CHARACTERS = 200
_RUNS = 50
_RUN_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


class BadRequest(InvalidInput):
    """A field of the request is wrong."""

    code = "BAD_REQUEST"


class RunServicer(runs_pb2_grpc.RunServiceServicer):
    """Answers RunService."""

    def __init__(self, desk: Desk, recorder: Recorder) -> None:
        self._desk = desk
        self._recorder = recorder

    async def StartRun(
        self, request: runs_pb2.StartRunRequest, context: Context
    ) -> runs_pb2.StartRunResponse:
        """Stores a run and returns it."""
        run, created = await self._desk.start(_start(request, idempotency_key(context)))
        return runs_pb2.StartRunResponse(run=run_message(run), created=created)

    async def GetRun(
        self, request: runs_pb2.GetRunRequest, context: Context
    ) -> runs_pb2.GetRunResponse:
        """Returns a run."""
        run = await self._desk.get(request.run_id)
        return runs_pb2.GetRunResponse(run=run_message(run))

    async def ListRuns(
        self, request: runs_pb2.ListRunsRequest, context: Context
    ) -> runs_pb2.ListRunsResponse:
        """Lists runs, newest first."""
        query = RunQuery(
            limit=page_size(request.page_size, default=_RUNS),
            before=token_key(request.page_token),
            workflow=request.workflow,
            status=status_from_message(request.status),
            schedule=request.schedule,
            batch_id=request.batch_id,
        )
        page = await self._desk.list(query)
        return runs_pb2.ListRunsResponse(
            runs=[run_message(run, listed=True) for run in page.runs],
            next_page_token=page_token(page.runs[-1].id) if page.more else "",
        )

    async def WatchRun(
        self, request: runs_pb2.WatchRunRequest, context: Context
    ) -> AsyncIterator[runs_pb2.WatchRunResponse]:
        """Sends events until the last."""
        if request.after_sequence < 0:
            raise BadRequest("after_sequence is less than 0")
        async for event in self._desk.watch(request.run_id, after=request.after_sequence):
            yield runs_pb2.WatchRunResponse(event=event_message(event))

    async def CancelRun(
        self, request: runs_pb2.CancelRunRequest, context: Context
    ) -> runs_pb2.CancelRunResponse:
        """Stops a run."""
        run = await self._desk.cancel(request.run_id)
        return runs_pb2.CancelRunResponse(run=run_message(run))

    async def ResumeRun(
        self, request: runs_pb2.ResumeRunRequest, context: Context
    ) -> runs_pb2.ResumeRunResponse:
        """Goes on with a failed run."""
        raised = raised_budget(request.run_id, usd=request.usd, tokens=request.tokens)
        run = await self._desk.resume(request.run_id, raised)
        return runs_pb2.ResumeRunResponse(run=run_message(run))

    async def AnswerRun(
        self, request: runs_pb2.AnswerRunRequest, context: Context
    ) -> runs_pb2.AnswerRunResponse:
        """Gives a run its answer."""
        run = await self._desk.answer(_answer(request))
        return runs_pb2.AnswerRunResponse(run=run_message(run))

    async def ForkRun(
        self, request: runs_pb2.ForkRunRequest, context: Context
    ) -> runs_pb2.ForkRunResponse:
        """Starts a run from a checkpoint of another."""
        run = await self._desk.fork(_fork(request, idempotency_key(context)))
        return runs_pb2.ForkRunResponse(run=run_message(run))

    async def ListCheckpoints(
        self, request: runs_pb2.ListCheckpointsRequest, context: Context
    ) -> runs_pb2.ListCheckpointsResponse:
        """Lists a run's checkpoints."""
        found = await self._desk.checkpoints(request.run_id)
        return runs_pb2.ListCheckpointsResponse(
            checkpoints=[checkpoint_message(checkpoint) for checkpoint in found]
        )

    async def RecordRun(
        self, request: runs_pb2.RecordRunRequest, context: Context
    ) -> runs_pb2.RecordRunResponse:
        """Writes a run down as a test."""
        if len(request.name) > _TEST_NAME_CHARACTERS:
            raise BadRequest(f"name has more than {_TEST_NAME_CHARACTERS} characters")
        recorded = await self._recorder.record(
            request.run_id, name=request.name, source=request.source
        )
        return runs_pb2.RecordRunResponse(test=to_json(recorded.test), source=recorded.source)


def _start(request: runs_pb2.StartRunRequest, key: str) -> StartRun:
    if not (request.workflow or request.source):
        raise BadRequest(
            "the request names neither a workflow nor a source",
            resolution="Name an applied workflow, or send a workflow file's text as source.",
        )
    if request.version < 0:
        raise BadRequest(f"version is {request.version}; it must be 0 or more")
    if len(request.inputs.text.encode()) > _INPUT_BYTES:
        raise BadRequest("the inputs are larger than 4 MiB", code="INPUTS_TOO_LARGE")
    if len(request.trigger) > _TRIGGER_CHARACTERS:
        raise BadRequest(f"trigger has more than {_TRIGGER_CHARACTERS} characters")
    if request.run_id and not _RUN_ID.fullmatch(request.run_id):
        raise BadRequest("run_id is not a ULID: 26 characters of Crockford's base 32")
    return StartRun(
        workflow=request.workflow,
        version=request.version if request.workflow else 0,
        source=request.source,
        inputs=object_from_json(request.inputs, field="inputs"),
        trigger=request.trigger or ("schedule" if request.schedule else "api"),
        schedule=checked_name(request.schedule, field="schedule"),
        api_key=checked_name(request.api_key, field="api_key"),
        key=key,
        run_id=request.run_id,
        arrival=_arrival(request) if request.HasField("arrival") else None,
    )


def _arrival(request: runs_pb2.StartRunRequest) -> Arrival:
    arrival = request.arrival
    if request.HasField("inputs"):
        raise BadRequest("the request has both inputs and an arrival")
    if len(arrival.content.text.encode()) > _INPUT_BYTES:
        raise BadRequest("what arrived is larger than 4 MiB", code="INPUTS_TOO_LARGE")
    content = object_from_json(arrival.content, field="arrival.content")
    return Arrival(trigger=arrival.trigger, content=content)


def _answer(request: runs_pb2.AnswerRunRequest) -> AnswerRun:
    if len(request.comment) > _COMMENT_CHARACTERS:
        raise BadRequest(f"comment has more than {_COMMENT_CHARACTERS:,} characters")
    if len(request.choice) > _COMMENT_CHARACTERS:
        raise BadRequest(f"choice has more than {_COMMENT_CHARACTERS:,} characters")
    if request.iteration < 0:
        raise BadRequest(f"iteration is {request.iteration}; it must be 0 or more")
    answer = Answer(
        choice=request.choice,
        comment=request.comment,
        by=checked_name(request.answered_by, field="answered_by"),
        time=datetime.now(UTC),
    )
    return AnswerRun(
        run_id=request.run_id, node=request.node, iteration=request.iteration, answer=answer
    )


def _fork(request: runs_pb2.ForkRunRequest, key: str) -> ForkRun:
    if len(request.state.text.encode()) > _INPUT_BYTES:
        raise BadRequest("the state is larger than 4 MiB", code="STATE_TOO_LARGE")
    return ForkRun(
        run_id=request.run_id,
        checkpoint_id=request.checkpoint_id,
        changes=object_from_json(request.state, field="state"),
        api_key=checked_name(request.api_key, field="api_key"),
        key=key,
    )
