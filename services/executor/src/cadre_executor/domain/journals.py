"""What a run did since it was last stored: collected, and stored in one transaction a step."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from cadre_executor.domain.runs import Event, Usage
from cadre_kit.errors import CadreError, FailedPrecondition

__all__ = ["Batch", "Journal", "LeaseLost", "StepWrites", "StoreBatch"]

# An event that nothing else stores sooner is stored after this; a step that ends within it needs one transaction.
_LINGER_SECONDS = 0.01


class LeaseLost(FailedPrecondition):
    """The run ended, or another executor drives it: nothing that we do for it counts any more."""

    code = "LEASE_LOST"


@dataclass(frozen=True, kw_only=True)
class StepWrites:
    """What one task of a step that is still going on wrote, so that it is not run again."""

    task_id: str
    document: str


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one transaction stores. A checkpoint replaces the one before it and the writes on that."""

    events: Sequence[Event] = ()
    usage: Usage = field(default_factory=Usage)
    checkpoint: str | None = None
    writes: Sequence[StepWrites] = ()


StoreBatch = Callable[[Batch], Coroutine[Any, Any, None]]
"""Stores a batch. Raises LeaseLost, or what is wrong with the store."""


class Journal:
    """Collects one run's events, checkpoints and usage, and stores them in order.

    `store` is called by one task at a time. `broken` is called once when a storing in the background failed: the run
    must not go on, for the next step's events could not be stored before it starts.
    """

    def __init__(
        self, *, store: StoreBatch, usage: Usage, broken: Callable[[CadreError], None]
    ) -> None:
        self.usage = usage
        self._store = store
        self._broken = broken
        self._events: list[Event] = []
        self._writes: list[StepWrites] = []
        self._checkpoint: str | None = None
        self._held: dict[str, list[Event]] = {}
        self._lock = asyncio.Lock()
        self._lingering: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()

    def emit(self, event: Event) -> None:
        """Takes an event that is stored within 10 ms, or with the next step."""
        self._take(event)
        self._linger()

    def hold(self, task_id: str, event: Event) -> None:
        """Takes an event that is true only once the writes of its task are stored; goes with them."""
        self._held.setdefault(task_id, []).append(event)

    def keep(self, writes: StepWrites) -> None:
        """Takes the writes of a task, and the events that were held for them."""
        for event in self._held.pop(writes.task_id, ()):
            self._take(event)
        self._writes.append(writes)
        self._linger()

    async def step(self, checkpoint: str) -> None:
        """Stores everything with the checkpoint that ends a step; when it returns the next step may start."""
        self._replace_checkpoint(checkpoint)
        await self._flush()

    def put_by(self, checkpoint: str) -> None:
        """Takes a checkpoint that need not be stored before the run goes on; it is within 10 ms."""
        self._replace_checkpoint(checkpoint)
        self._linger()

    async def flush(self) -> None:
        """Stores everything taken so far."""
        await self._flush()

    def close(self) -> Batch:
        """What is not stored yet, for the transaction that ends the run. Nothing may be taken after it."""
        self._stop_lingering()
        return self._batch()

    async def settle(self) -> None:
        """Waits for storing in the background to end, whatever its result."""
        self._stop_lingering()
        if self._background:
            await asyncio.wait(self._background)

    def _take(self, event: Event) -> None:
        if event.usage is not None:
            self.usage = self.usage + event.usage
        self._events.append(event)

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
        task = asyncio.get_running_loop().create_task(self._flush_or_break())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _flush_or_break(self) -> None:
        try:
            await self.flush()
        except CadreError as error:
            self._broken(error)

    def _replace_checkpoint(self, checkpoint: str) -> None:
        # What the tasks of a step wrote is part of the checkpoint that ends it.
        self._writes.clear()
        self._checkpoint = checkpoint

    async def _flush(self) -> None:
        async with self._lock:
            self._stop_lingering()
            batch = self._batch()
            if batch.events or batch.writes or batch.checkpoint is not None:
                await self._store(batch)

    def _batch(self) -> Batch:
        batch = Batch(
            events=tuple(self._events),
            usage=self.usage,
            checkpoint=self._checkpoint,
            writes=tuple(self._writes),
        )
        self._events.clear()
        self._writes.clear()
        self._checkpoint = None
        return batch
