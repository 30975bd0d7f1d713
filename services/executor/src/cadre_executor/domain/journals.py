"""What a run did since it was last stored: collected, and stored in one transaction a step."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from cadre_executor.domain.answers import waiting_event
from cadre_executor.domain.checkpoints import Checkpoint, Position
from cadre_executor.domain.effects import Effect
from cadre_executor.domain.runs import Event, Question, Usage
from cadre_kit.errors import CadreError, FailedPrecondition, StoreFailed

__all__ = ["Batch", "Journal", "LeaseLost", "StoreBatch", "VisitWrites"]

# An event that nothing else stores sooner is stored after this; a step that ends within it needs one transaction.
_LINGER_SECONDS = 0.01


class LeaseLost(StoreFailed, FailedPrecondition):
    """The run ended, or another executor drives it: nothing that we do for it counts any more."""

    code = "LEASE_LOST"


class Documented(Protocol):
    """What can be stored."""

    @property
    def document(self) -> str:
        """The whole as JSON."""


@dataclass(frozen=True, kw_only=True)
class VisitWrites:
    """What a visit of a step that is still going on changed, so that it is not made again."""

    node: str
    iteration: int
    step: Documented


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one transaction stores. A checkpoint makes void what visits wrote before it; `forgets` says whether any of
    that was stored. `busy_visits` is how many visits are under way that do not wait for a run below."""

    events: Sequence[Event] = ()
    usage: Usage = field(default_factory=Usage)
    checkpoint: Checkpoint | None = None
    writes: Sequence[VisitWrites] = ()
    effects: Sequence[Effect] = ()
    questions: Sequence[Question] = ()
    forgets: bool = False
    busy_visits: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.events or self.writes or self.effects) and self.checkpoint is None


StoreBatch = Callable[[Batch], Coroutine[Any, Any, None]]
"""Stores a batch. Raises LeaseLost, or what is wrong with the store."""


class Journal:
    """Collects one run's events, checkpoints and usage, and stores them in order.

    `visits` are those of the position that the run goes on from. `store` is called by one task at a time. Once it
    failed, nothing more is stored, and whatever would be raises that failure: a checkpoint without the events before it
    would say that they never happened. `broken` is called when a storing in the background failed, as the run must not
    go on then.
    """

    def __init__(
        self,
        *,
        store: StoreBatch,
        usage: Usage,
        visits: Mapping[str, int],
        broken: Callable[[CadreError], None],
    ) -> None:
        self.usage = usage
        self.busy_visits = 0
        self._visits = visits
        self._store = store
        self._broken = broken
        self._events: list[Event] = []
        self._writes: list[VisitWrites] = []
        self._effects: list[Effect] = []
        self._questions: list[Question] = []
        self._checkpoint: Checkpoint | None = None
        # A run that is taken up may have stored some before.
        self._has_stored_writes = True
        self._failure: CadreError | None = None
        self._lock = asyncio.Lock()
        self._lingering: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A visit is under way; stored with the events that it begins and ends with."""
        self.busy_visits += 1
        try:
            yield
        finally:
            self.busy_visits -= 1

    def emit(self, event: Event) -> None:
        """Takes an event that is stored within 10 ms, or with the next step."""
        self._events.append(event)
        self._linger()

    def count(self, usage: Usage) -> None:
        """Takes what the run used; stored with whatever is stored next."""
        self.usage = self.usage + usage

    def record(self, effect: Effect) -> None:
        """Takes what was done within a visit; `flush` before what depends on it. What it used counts once, with it."""
        self.count(effect.usage)
        self._effects.append(effect)
        self._linger()

    def keep(self, writes: VisitWrites, event: Event) -> None:
        """Takes what a visit changed, with the event that is true only together with it."""
        self._writes.append(writes)
        self.emit(event)

    def ask(self, question: Question) -> None:
        """Takes a question, with the event that says so."""
        self._questions.append(question)
        self.emit(waiting_event(question))

    def reach(self, position: Position) -> bool:
        """Takes the checkpoint of a step that begins; whether the position is a new one."""
        if position.progress["visits"] == self._visits:
            return False
        self.stand(position)
        return True

    def stand(self, position: Position) -> None:
        """Takes the checkpoint of a position, in place of one of the same step."""
        visits = position.progress["visits"]
        nodes = tuple(node for node in visits if visits[node] != self._visits.get(node, 0))
        if self._checkpoint is not None:
            nodes = (*self._checkpoint.nodes, *nodes)
        # What the visits of the step before changed is part of it; one that waits goes on from what it did.
        self._writes.clear()
        if not position.progress["asked"]:
            self._effects.clear()
        self._visits = visits
        self._checkpoint = Checkpoint(position=position, time=datetime.now(UTC), nodes=nodes)

    async def secure(self) -> None:
        """Returns when the last checkpoint is stored, and all that was taken with it: the next step may act."""
        if self._checkpoint is not None or self._lock.locked():
            # The other visits of the step say first what they begin with; then one transaction has it all.
            await asyncio.sleep(0)
            await self._flush()

    async def flush(self) -> None:
        """Stores everything taken so far. Who is cancelled meanwhile takes nothing back."""
        await asyncio.shield(self._in_background(self._flush()))

    def take(self) -> Batch:
        """What is not stored yet, for the caller to store; only while no storing is under way. Raises the failure of
        one."""
        self._stop_lingering()
        self._check()
        return self._batch()

    async def settle(self) -> None:
        """Waits for storing in the background to end, whatever its result."""
        self._stop_lingering()
        if self._background:
            await asyncio.wait(self._background)

    def _linger(self) -> None:
        if self._lingering is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(_LINGER_SECONDS, self._flush_in_background)

    def _stop_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def _flush_in_background(self) -> None:
        self._lingering = None
        self._in_background(self._flush_or_break())

    def _in_background(self, storing: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(storing)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _flush_or_break(self) -> None:
        try:
            await self._flush()
        except CadreError as error:
            self._broken(error)

    async def _flush(self) -> None:
        async with self._lock:
            self._stop_lingering()
            self._check()
            batch = self._batch()
            if batch.is_empty:
                return
            try:
                await self._store(batch)
            except CadreError as error:
                self._failure = error
                raise

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _batch(self) -> Batch:
        batch = Batch(
            events=tuple(self._events),
            usage=self.usage,
            checkpoint=self._checkpoint,
            writes=tuple(self._writes),
            effects=tuple(self._effects),
            questions=tuple(self._questions),
            forgets=self._has_stored_writes and self._checkpoint is not None,
            busy_visits=self.busy_visits,
        )
        if self._checkpoint is not None:
            self._has_stored_writes = bool(self._checkpoint.position.progress["asked"])
        self._has_stored_writes |= bool(self._writes or self._effects)
        self._events.clear()
        self._writes.clear()
        self._effects.clear()
        self._questions.clear()
        self._checkpoint = None
        return batch
