"""Work that was handed to remote agents and has not ended: kept, so that it is handed over once, gone on with after a
crash or a person's answer, and stopped when nobody wants it any more."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cadre_executor.domain.agents import AgentNotFound, AgentRefused, RemoteAgents
from cadre_executor.domain.registries import Registry
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger

__all__ = ["Delegation", "DelegationStore", "Delegations"]

log = logger()

# Whoever cancels a run waits for its agents so long; what they did not hear is said again.
_CANCEL_SECONDS = 1.5
_SWEEP_SECONDS = 10.0
_TOLD_FOR = timedelta(hours=1)
_SWEPT_AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class Delegation:
    """A message to an agent, and the task that it began, once that is known. `key` is the message's id, which begins
    with the run's; `answered` is the last answer of a person that the agent got."""

    key: str
    run_id: str
    agent: str
    begun_time: datetime
    task_id: str = ""
    context_id: str = ""
    answered: str = ""


class DelegationStore(Protocol):
    """Delegations that have not ended. Every method raises what is wrong with the database."""

    async def begin(self, delegation: Delegation) -> Delegation | None:
        """Stores a delegation; the one that was stored by its key before, if there is one."""

    async def keep(self, delegation: Delegation) -> None:
        """Stores what is now known of it."""

    async def drop(self, key: str) -> None:
        """Removes it."""

    async def of_run(self, run_id: str, *, begun_with: Sequence[str]) -> Sequence[Delegation]:
        """Those of a run whose keys begin with one of these."""

    async def orphans(self, *, limit: int) -> Sequence[tuple[Delegation, datetime]]:
        """Those of runs that have ended, with when they did, oldest first."""


class Delegations:
    """What agent nodes need of remote agents."""

    def __init__(self, *, store: DelegationStore, registry: Registry, remote: RemoteAgents) -> None:
        self.store = store
        self.registry = registry
        self.remote = remote

    async def begin(self, key: str, *, run_id: str, agent: str) -> tuple[Delegation, bool]:
        """The delegation of a key, and whether it is new: then nothing was sent yet."""
        new = Delegation(key=key, run_id=run_id, agent=agent, begun_time=datetime.now(UTC))
        known = await self.store.begin(new)
        return (new, True) if known is None else (known, False)

    async def kept(self, delegation: Delegation) -> Delegation:
        """The delegation as it is now known, stored."""
        await self.store.keep(delegation)
        return delegation

    async def end(self, run_id: str, *, begun_with: Sequence[str] = ("",)) -> None:
        """Stops what agents do for a run, or for those of its visits whose keys begin so, as far as they answer in
        1.5 s; the others are told again later."""
        found = await self.store.of_run(run_id, begun_with=begun_with)
        if found:
            tasks = [asyncio.create_task(self._stop(each)) for each in found]
            _, late = await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self) -> None:
        """Stops what agents still do for runs that have ended, until cancelled."""
        while True:
            try:
                await self.sweep()
            except CadreError as error:
                log.warning("delegations_not_swept", code=error.code, reason=error.message)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Tells agents again whom a run's end did not reach, for an hour."""
        for delegation, ended in await self.store.orphans(limit=_SWEPT_AT_ONCE):
            if not await self._stop(delegation) and ended < datetime.now(UTC) - _TOLD_FOR:
                await self.store.drop(delegation.key)

    async def _stop(self, delegation: Delegation) -> bool:
        """Whether the agent was told, or there is nothing to tell it."""
        try:
            await self._cancel(delegation)
        except CadreError as error:
            log.info(
                "remote_task_not_cancelled",
                run_id=delegation.run_id,
                agent=delegation.agent,
                code=error.code,
                reason=error.message,
            )
            if not isinstance(error, AgentRefused | AgentNotFound):
                return False
        await self.store.drop(delegation.key)
        return True

    async def _cancel(self, delegation: Delegation) -> None:
        agent, task_id = await self.registry.get(delegation.agent), delegation.task_id
        if not task_id:
            # It was cut off while it sent its message.
            found = await self.remote.find(agent, delegation.key, since=delegation.begun_time)
            task_id = "" if found is None else found.id
        if task_id:
            await self.remote.cancel(agent, task_id)
