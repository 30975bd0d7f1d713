"""Who waits for the events of which run, in this process; what many of them ask the store at once is asked once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from cadre_executor.domain.runs import Event, Run

__all__ = ["Watchers"]

_RECENT_SECONDS = 0.5

Answer = TypeVar("Answer")


class Watchers:
    """Wakes those who wait for a run's events. The events themselves are read from the store."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._reading: dict[tuple[str, int], asyncio.Task[Any]] = {}
        self._looked: dict[str, tuple[float, asyncio.Task[Any]]] = {}

    @contextmanager
    def waiting(self, run_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever events of the run were stored."""
        word = asyncio.Event()
        self._waiting.setdefault(run_id, set()).add(word)
        try:
            yield word
        finally:
            self._waiting[run_id].discard(word)
            if not self._waiting[run_id]:
                del self._waiting[run_id]
                self._looked.pop(run_id, None)

    def notify(self, run_id: str) -> None:
        """Says that events of the run were stored."""
        for word in self._waiting.get(run_id, ()):
            word.set()

    async def events(
        self, run_id: str, after: int, read: Callable[[], Awaitable[Sequence[Event]]]
    ) -> Sequence[Event]:
        """What `read` gives, which all who were woken by the same word share."""
        key = (run_id, after)
        if key not in self._reading:
            self._reading[key] = asyncio.create_task(self._read(key, read))
        return await asyncio.shield(self._reading[key])

    async def run(self, run_id: str, read: Callable[[], Awaitable[Run]]) -> Run:
        """What `read` gave at most half a second ago."""
        when, looking = self._looked.get(run_id, (0.0, None))
        if looking is None or time.monotonic() - when > _RECENT_SECONDS:
            looking = asyncio.create_task(_awaited(read))
            self._looked[run_id] = (time.monotonic(), looking)
        return await asyncio.shield(looking)

    async def _read(self, key: tuple[str, int], read: Callable[[], Awaitable[Answer]]) -> Answer:
        # Others may join until the reading begins: what is stored later might not be in it.
        await asyncio.sleep(0)
        del self._reading[key]
        return await read()


async def _awaited(read: Callable[[], Awaitable[Answer]]) -> Answer:
    return await read()
