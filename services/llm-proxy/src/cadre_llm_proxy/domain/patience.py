"""A ledger that loses no entry to a database that is full or locked for a while."""

import asyncio

from cadre_kit.errors import CadreError, Unavailable
from cadre_kit.logs import logger
from cadre_llm_proxy.domain.calls import Attempt, Reply
from cadre_llm_proxy.domain.completions import Ledger, StoredReply

__all__ = ["PatientLedger"]

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
log = logger()


class PatientLedger:
    """Writes an entry until it is written, also when whoever waits for that gives up; only the end of the process, or
    damage to the database, loses one.

    While any waits, calls with a key are refused before they cost something: their replies could not be kept either.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._writing: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, CadreError] = {}

    async def add(self, attempt: Attempt, *, reply: Reply | None = None) -> None:
        """Returns when the entry is written. Raises what cannot pass."""
        writing = asyncio.create_task(self._write(attempt, reply))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        await asyncio.shield(writing)

    async def stored(self, key: str) -> StoredReply | None:
        """The reply kept for a key. Raises what keeps entries from being written now."""
        for error in self._waiting.values():
            raise error
        return await self._ledger.stored(key)

    async def _write(self, attempt: Attempt, reply: Reply | None) -> None:
        pause = _FIRST_PAUSE_SECONDS
        try:
            while True:
                try:
                    return await self._ledger.add(attempt, reply=reply)
                except Unavailable as error:
                    log.warning("ledger_waits", call_id=attempt.id, reason=error.message)
                    self._waiting[attempt.id] = error
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        finally:
            self._waiting.pop(attempt.id, None)
