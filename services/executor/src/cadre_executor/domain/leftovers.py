"""What runs leave behind, freed when they ended long enough ago.

It goes by the stored runs, not by a call at a run's end: so it also frees what runs left whose executor was killed.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from cadre_executor.domain.runs import RunNotFound
from cadre_executor.domain.stores import RunStore
from cadre_executor.domain.tools import Tools
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger

__all__ = ["Leftovers"]

_PAUSE_SECONDS = 600.0
log = logger()


class Leftovers:
    """Frees the files of runs that ended `keep` ago."""

    def __init__(self, *, store: RunStore, tools: Tools, keep: timedelta) -> None:
        self._store = store
        self._tools = tools
        self._keep = keep

    async def run(self) -> None:
        """Looks every ten minutes, until cancelled."""
        while True:
            try:
                await self.free()
            except CadreError as error:
                log.warning("leftovers_not_freed", code=error.code, reason=error.message)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def free(self) -> None:
        """Frees what can be freed now."""
        oldest = datetime.now(UTC) - self._keep
        for run_id in await self._tools.held_by():
            if await self._ended_before(run_id, oldest):
                await self._tools.release(run_id)
                log.info("leftovers_freed", run_id=run_id)

    async def _ended_before(self, run_id: str, oldest: datetime) -> bool:
        try:
            run = await self._store.get(run_id)
        except RunNotFound:
            return True
        return run.ended_time is not None and run.ended_time <= oldest
