"""Asks providers for what came, where they cannot send it, and lets connectors learn what they must know."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from cadre_gateway.accepting import Reception
from cadre_gateway.adapters.turns import Turns
from cadre_gateway.domain.connectors import Connector, Incoming, Listener
from cadre_kit.errors import CadreError, InvalidInput
from cadre_kit.logs import logger

__all__ = ["Listening"]

log = logger()

_LOOK_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0

_Source = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Works in the background while `running` is entered: one task for each connection that a workflow names. Of
    several gateways one listens to it; another takes over when that one stops or was killed, two minutes later if that
    was on another machine."""

    connectors: Mapping[str, Connector]
    reception: Reception
    turns: Turns

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works until the block is left. What was fetched and not stored by then comes again."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> None:
        """Keeps a task for each connection there is."""
        tasks: dict[_Source, asyncio.Task[None]] = {}
        try:
            while True:
                wanted = await self._sources(frozenset(tasks))
                for source in wanted - set(tasks):
                    tasks[source] = asyncio.create_task(self._attend(*source))
                for source in set(tasks) - wanted:
                    tasks.pop(source).cancel()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _sources(self, known: frozenset[_Source]) -> frozenset[_Source]:
        """Every connection that messages come to; those known before while nobody can say."""
        try:
            triggers = await self.reception.triggers.now()
        except CadreError as error:
            log.debug("listening_waits", code=error.code, reason=error.message)
            return known
        found = [each for each in triggers.all() if each.enabled and each.connection]
        return frozenset(
            (each.kind, each.connection) for each in found if each.kind in self.connectors
        )

    async def _attend(self, kind: str, name: str) -> None:
        """Prepares a connection, and listens to it if it is one that is listened to."""
        pause = _PAUSE_SECONDS
        while True:
            begun = time.monotonic()
            try:
                connector = self.connectors[kind]
                await connector.prepare(name)
                listening = connector.listener(name)
                if listening is None:
                    return
                await self._listened(kind, name, listening)
            except CadreError as error:
                log.warning(
                    "connection_failed",
                    connection=f"{kind}/{name}",
                    code=error.code,
                    reason=error.message,
                    resolution=error.resolution,
                )
            except Exception as exc:
                log.error("listening_failed", connection=f"{kind}/{name}", exc_info=exc)
            else:
                # It is another gateway's turn, which ends sooner or later.
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            if time.monotonic() - begun > _LONGEST_PAUSE_SECONDS:
                pause = _PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _listened(
        self, kind: str, name: str, listening: AbstractAsyncContextManager[Listener]
    ) -> None:
        """Listens as long as it is our turn."""
        source = f"{kind}/{name}"
        if not await self.turns.take(source):
            return
        try:
            async with listening as listener:
                while await self.turns.take(source):
                    await self._take_all(kind, listener)
        finally:
            await self.turns.end(source)

    async def _take_all(self, kind: str, listener: Listener) -> None:
        for request in await listener.fetch():
            await self._take(kind, request)
            await listener.confirm(request)

    async def _take(self, kind: str, request: Incoming) -> None:
        try:
            await self.reception.take_fetched(kind, request)
        except InvalidInput as error:
            # It will never be readable, and must not keep those behind it.
            log.warning("delivery_unreadable", connection=f"{kind}/{request.name}", code=error.code)
        except CadreError:
            raise
        except Exception as exc:
            # A mistake of ours that it brings out, and would every time.
            log.error("delivery_unreadable", connection=f"{kind}/{request.name}", exc_info=exc)
