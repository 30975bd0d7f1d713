"""The tries of a visit, or of one item of it: until one succeeds, or none is left."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from cadre_executor.domain.actions import perform
from cadre_executor.domain.caches import cached, keep
from cadre_executor.domain.children import abandon
from cadre_executor.domain.overruns import pauses
from cadre_executor.domain.records import Records
from cadre_executor.domain.results import Result
from cadre_executor.domain.runs import EventType, Usage
from cadre_executor.domain.states import ModelOutputInvalid
from cadre_executor.domain.tasks import Means, Place, Task, try_over
from cadre_executor.domain.workflows import Node, Retry, Scope
from cadre_kit.errors import CadreError, DeadlineExceeded, Kind, StoreFailed

__all__ = ["NodeTimeout", "Tried", "first_attempt", "timed_out", "try_often"]

_LONGEST_BACKOFF_SECONDS = 60.0
_MAY_PASS = frozenset({Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED})
_MAY_PASS_CODES = frozenset({ModelOutputInvalid.code, "RATE_LIMITED"})

Accepted = TypeVar("Accepted")


class NodeTimeout(DeadlineExceeded):
    """A node's try took longer than its timeout."""

    code = "NODE_TIMEOUT"


@dataclass(frozen=True, kw_only=True)
class Tried(Generic[Accepted]):
    """How the tries ended: with what was accepted, or with the error of the last one. `program` as in Task."""

    place: Place
    accepted: Accepted | None = None
    usage: Usage = field(default_factory=Usage)
    error: CadreError | None = None
    cached: bool = False
    program: Mapping[str, Any] | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What the event of their end says beside how they ended."""
        told: dict[str, Any] = {"cached": True} if self.cached else {}
        return told if self.program is None else told | {"program": self.program}


async def try_often(
    place: Place, scope: Scope, accept: Callable[[Result], Accepted], *, means: Means
) -> Tried[Accepted]:
    """Tries from a place on, the retries that the node allows. `accept` raises what is wrong with a result."""
    while True:
        started = time.monotonic()
        tried = await _try(Task(place=place, scope=scope, means=means), accept)
        retry = place.node.retry
        if tried.error is not None and pauses(tried.error):
            # The same try goes on, under the same keys, once a person has answered.
            return tried
        if tried.error is not None and place.item:
            means.records.record(try_over(place.visit, place.attempt), {})
        if tried.error is None or not _tries_again(retry, tried.error, place.attempt):
            return tried
        delay = _backoff(retry, place.attempt, tried.error)
        means.journal.emit(
            place.event(
                EventType.NODE_RETRIED,
                {"delay_seconds": delay, **tried.told},
                usage=tried.usage if tried.usage.calls else None,
                error=tried.error,
                duration_ms=round((time.monotonic() - started) * 1000),
            )
        )
        # Stored before the next try, which has keys of its own: a run that is taken up again goes on with that one.
        await means.journal.flush()
        await means.pause(delay)
        place = replace(place, attempt=place.attempt + 1)


def first_attempt(place: Place, records: Records) -> int:
    """The try that an item goes on with, after those that are recorded."""
    attempt = 1
    while records.find(try_over(place.visit, attempt)) is not None:
        attempt += 1
    return attempt


def timed_out(node: Node, awaited: str = "") -> NodeTimeout:
    """What a node whose time is over fails with, and who had no place for it until then, if anybody."""
    waited = f", and waited at its end: {awaited}" if awaited else ""
    return NodeTimeout(
        f"node {node.id!r} took longer than its timeout of {node.timeout_seconds:g} s{waited}",
        resolution="Raise the node's timeout, or give it less to do.",
        metadata={"node": node.id, "timeout_seconds": f"{node.timeout_seconds:g}"},
    )


async def _try(task: Task, accept: Callable[[Result], Accepted]) -> Tried[Accepted]:
    try:
        async with task.means.gate:
            known = await cached(task)
            result = known if known is not None else await _in_time(task)
        accepted = accept(result)
        if known is None:
            await keep(task, result)
    except StoreFailed:
        # The run is interrupted: it is taken up again, and this try with it.
        raise
    except CadreError as error:
        return Tried(place=task.place, usage=task.usage, error=error, program=task.program)
    return Tried(
        place=task.place,
        accepted=accepted,
        usage=task.usage,
        cached=known is not None,
        program=task.program,
    )


async def _in_time(task: Task) -> Result:
    node = task.place.node
    # The time of a for_each bounds all its items together.
    seconds = None if task.place.item else node.timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            return await perform(task)
    except TimeoutError as exc:
        task.usage = task.usage + await abandon(task.place.visit, task.means)
        raise timed_out(node, task.awaited) from exc


def _tries_again(retry: Retry, error: CadreError, attempt: int) -> bool:
    if attempt >= retry.max_attempts:
        return False
    if retry.on:
        return error.code in retry.on or error.kind.name in retry.on
    return error.kind in _MAY_PASS or error.code in _MAY_PASS_CODES


def _backoff(retry: Retry, attempt: int, error: CadreError) -> float:
    """What the node says, doubled with each try, or what the error says is to be waited, if that is longer."""
    # The exponent is bounded: 2.0 ** 1100 is an error.
    own = retry.backoff_seconds * 2.0 ** min(attempt - 1, 32)
    said = float(error.metadata.get("retry_after_seconds", 0))
    # A pause that the file itself makes longer than a minute is kept as it is.
    return min(max(own, said), max(retry.backoff_seconds, _LONGEST_BACKOFF_SECONDS))
