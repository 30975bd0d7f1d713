"""A ledger that loses no entry to a database that is full or locked for a while."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from cadre_kit.errors import CadreError, Unavailable
from cadre_kit.logs import logger
from cadre_llm_proxy.domain.calls import BudgetWarning, Reply
from cadre_llm_proxy.domain.entries import Bound, Entry, EntryStatus, StoredReply
from cadre_llm_proxy.domain.metering import Kept
from cadre_llm_proxy.domain.prices import FREE, Tokens, cost_of
from cadre_llm_proxy.domain.replies import Claim

__all__ = ["Ledger", "PatientLedger"]

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_SETTLED_SECONDS = 5.0
_ANOTHER_TRY_SECONDS = 1.0
Result = TypeVar("Result")
log = logger()


class Ledger(Protocol):
    """Every request that was ever sent to a provider, and the replies that are kept.

    Writes are done in the order in which they were begun, also those that whoever waited for them gave up.
    """

    async def open(self, entry: Entry, bound: Bound) -> bool:
        """As of Entries."""
        ...

    async def settle(self, entry: Entry, kept: Kept | None) -> tuple[BudgetWarning, ...]:
        """Ends an opened entry and keeps its reply, in one step; the warnings of budgets that are due now. Doing it
        twice does no harm."""
        ...

    async def add(self, entry: Entry) -> None:
        """Adds an entry for which nothing was sent."""
        ...

    async def claim(self, key: str, digest: str) -> StoredReply | Claim:
        """As of Shelf."""
        ...

    async def release(self, key: str) -> None:
        """As of Shelf."""
        ...

    async def cached(self, key: str, *, since: datetime) -> Reply | None:
        """As of Shelf."""
        ...


class PatientLedger:
    """Settles an entry until it is settled, also when whoever waits for that gives up. When the process ends before,
    the entry stays as it was sent, with its worst case counted.

    While any waits, a further call has it tried at once, and is refused before it costs something unless that works.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._working: set[asyncio.Task[Any]] = set()
        self._waiting: dict[str, CadreError] = {}
        self._failures = 0
        self._woken, self._tried = asyncio.Event(), asyncio.Condition()

    async def open(self, entry: Entry, bound: Bound) -> bool:
        """Adds a request that is about to be sent. Raises what keeps entries from being written now."""
        await self._refuse_while_waiting()
        try:
            return await self._ledger.open(entry, bound)
        except asyncio.CancelledError:
            # It may be written all the same. Ending one that is not does no harm.
            self._begin(self._settle(_unsent(entry), None))
            raise

    async def settle(
        self, entry: Entry, *, kept: Kept | None, durable: bool
    ) -> tuple[BudgetWarning, ...]:
        """Returns when the entry is settled or, unless it has to be `durable`, when it will be."""
        settling = self._begin(self._settle(entry, kept))
        return await asyncio.shield(settling) if durable else ()

    async def claim(self, key: str, digest: str) -> StoredReply | Claim:
        """The reply kept for a key, or the claim to it. Raises what keeps entries from being written now."""
        await self._refuse_while_waiting()
        try:
            return await self._ledger.claim(key, digest)
        except asyncio.CancelledError:
            # It may be ours all the same. Giving up one that is not does no harm.
            await self.release(key)
            raise

    async def release(self, key: str) -> None:
        """Gives a claim up, in its own time."""
        self._begin(self._persist(key, lambda: self._ledger.release(key)))

    async def cached(self, key: str, *, since: datetime) -> Reply | None:
        """The reply cached under a key."""
        return await self._ledger.cached(key, since=since)

    async def note_reuse(self, entry: Entry) -> None:
        """Adds the entry of a reply that is given again, in its own time."""
        self._begin(self._persist(entry.id, lambda: self._ledger.add(entry)))

    async def settled(self) -> None:
        """Returns when everything that was begun so far is written, or does not get written for some seconds."""
        if self._working:
            await asyncio.wait(set(self._working), timeout=_SETTLED_SECONDS)

    async def _refuse_while_waiting(self) -> None:
        if self._waiting:
            await self._another_try()
        for error in self._waiting.values():
            raise error

    async def _another_try(self) -> None:
        """Has what waits tried now: the last try may be seconds old, and the room back since."""
        failures = self._failures
        self._woken.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANOTHER_TRY_SECONDS), self._tried:
                await self._tried.wait_for(lambda: not self._waiting or self._failures > failures)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    def _begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return task

    async def _settle(self, entry: Entry, kept: Kept | None) -> tuple[BudgetWarning, ...]:
        return await self._persist(entry.id, lambda: self._ledger.settle(entry, kept))

    async def _persist(self, name: str, write: Callable[[], Awaitable[Result]]) -> Result:
        pause = _FIRST_PAUSE_SECONDS
        try:
            while True:
                try:
                    return await write()
                except Unavailable as error:
                    if name not in self._waiting:
                        log.warning("ledger_waits", waiting=name, reason=error.message)
                    self._waiting[name] = error
                    self._failures += 1
                    await self._tell()
                await self._pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        finally:
            if self._waiting.pop(name, None):
                await self._tell()

    async def _tell(self) -> None:
        async with self._tried:
            self._tried.notify_all()


def _unsent(entry: Entry) -> Entry:
    """An entry whose request was not sent after all."""
    return replace(
        entry,
        status=EntryStatus.CANCELLED,
        error_code="CANCELLED",
        tokens=Tokens(),
        cost_usd=cost_of(Tokens(), FREE),
    )
