"""Who waits for the events of which run, in this process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Watchers"]


class Watchers:
    """Wakes those who wait for a run's events. The events themselves are read from the store."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

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

    def notify(self, run_id: str) -> None:
        """Says that events of the run were stored."""
        for word in self._waiting.get(run_id, ()):
            word.set()
