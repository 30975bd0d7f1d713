"""A run's events from the executor, without gap or repetition, across the executor's restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from cadre.executor.v1 import runs_pb2
from cadre_gateway.adapters.services import Executor
from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint.documents import Event
from cadre_gateway.entrypoint.errors import details_of
from cadre_gateway.entrypoint.streams import aclosed, sse
from cadre_kit.errors import CadreError, Kind
from cadre_kit.logs import logger

__all__ = ["event_chunks", "run_events"]

log = logger()

# An executor that is killed, stops, or hangs; all else will not pass.
_PASSING = (Kind.UNAVAILABLE, Kind.CANCELLED, Kind.DEADLINE_EXCEEDED)
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


async def event_chunks(
    events: AsyncGenerator[Event, None], *, request_id: str
) -> AsyncIterator[bytes]:
    """The events as server-sent ones; an error ends them with one named `problem`."""
    async with aclosing(events):
        try:
            async for event in events:
                yield sse(
                    event.model_dump_json(), event=event.type.value, event_id=str(event.sequence)
                )
        except CadreError as error:
            log.warning("event_stream_failed", code=error.code, reason=error.message)
            details = details_of(error, request_id=request_id)
            yield sse(details.model_dump_json(), event="problem")


async def run_events(
    executor: Executor, run_id: str, *, after: int, reconnect_seconds: float
) -> AsyncGenerator[Event, None]:
    """The events after a sequence number as they happen, to the last one.

    A lost executor is asked again for up to `reconnect_seconds`; then its error is raised.
    """
    give_up, pause, ended = 0.0, _FIRST_PAUSE_SECONDS, False
    while True:
        news = last = False
        try:
            async with aclosing(_watched(executor, run_id, after=after)) as watched:
                async for event in watched:
                    give_up, pause, news = 0.0, _FIRST_PAUSE_SECONDS, True
                    after, last = event.sequence, event.type.is_last
                    yield event
            if ended and not news:
                return
            # An executor that stops may end the stream in good order; so does a run without further events.
            ended = await _has_ended(executor, run_id)
            if ended and last:
                return
        except CadreError as error:
            give_up = give_up or time.monotonic() + reconnect_seconds
            if error.kind not in _PASSING or time.monotonic() > give_up:
                raise
            log.info("executor_lost_while_watching", run_id=run_id, after=after, code=error.code)
        if not ended:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _watched(executor: Executor, run_id: str, *, after: int) -> AsyncGenerator[Event, None]:
    request = runs_pb2.WatchRunRequest(run_id=run_id, after_sequence=after)
    responses = executor.stream(executor.runs.WatchRun, request)
    try:
        async for response in responses:
            if response.event.sequence > after:
                yield conversions.event(response.event)
    finally:
        await aclosed(responses)


async def _has_ended(executor: Executor, run_id: str) -> bool:
    answer = await executor.call(executor.runs.GetRun, runs_pb2.GetRunRequest(run_id=run_id))
    return conversions.run(answer.run).status.is_final
