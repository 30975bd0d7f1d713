"""Connections to MCP servers: each opened once for all who use it, closed when idle, opened again when lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from cadre_executor.domain.tools import ToolFailed
from cadre_kit.logs import logger

if TYPE_CHECKING:
    from mcp import Client

__all__ = ["Connection", "ConnectionLost", "Connections", "Opener", "lost"]

Opener: TypeAlias = "Callable[[], AbstractAsyncContextManager[Client]]"
Answer = TypeVar("Answer")
_CONNECT_SECONDS = 20.0
_CLOSE_SECONDS = 8.0


class ConnectionLost(ToolFailed):
    """A server went away, or was never there."""

    code = "MCP_CONNECTION_LOST"


class Connection:
    """One open client. The SDK wants it closed by the task that opened it, so it has a task of its own."""

    def __init__(self, name: str, opener: Opener, *, idle_seconds: float) -> None:
        self._name = name
        self._opener = opener
        self._idle_seconds = idle_seconds
        self._closing = asyncio.Event()
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._keep_open())

    @property
    def is_open(self) -> bool:
        """Whether it can be used, or is being opened."""
        return not self._task.done() and not self._closing.is_set()

    @asynccontextmanager
    async def used(self) -> "AsyncIterator[Client]":
        """The client. Raises ConnectionLost when it cannot be opened in 20 s."""
        self._users += 1
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                client = await asyncio.shield(self._client)
            yield client
        except TimeoutError as exc:
            if self._client.done():
                raise
            self.end()
            raise lost(self._name) from exc
        finally:
            self._users -= 1
            self._start_timer()

    def end(self) -> None:
        """Closes it soon; whoever asks next opens another."""
        self._closing.set()
        if self._timer is not None:
            self._timer.cancel()
        if not self._client.done():
            self._task.cancel()

    async def close(self) -> None:
        """Closes it, and waits until its process, if it is one, is gone: 8 s at most."""
        self.end()
        done, _ = await asyncio.wait([self._task], timeout=_CLOSE_SECONDS)
        if not done:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _start_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._idle_seconds, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self._users == 0:
            self._closing.set()

    async def _keep_open(self) -> None:
        try:
            async with self._opener() as client:
                self._client.set_result(client)
                await self._closing.wait()
        except Exception as exc:  # noqa: BLE001 - the task's outermost frame; the SDK raises whatever went wrong
            logger().info("mcp_connection_lost", server=self._name, reason=type(exc).__name__)
        finally:
            if not self._client.done():
                self._client.set_exception(lost(self._name))
                # Nobody may be waiting for it.
                self._client.exception()


class Connections:
    """The open connections by what they lead to."""

    def __init__(self, *, idle_seconds: float = 300.0) -> None:
        self._idle_seconds = idle_seconds
        self._open: dict[object, Connection] = {}

    async def ask(
        self,
        key: object,
        name: str,
        opener: Opener,
        use: "Callable[[Client], Awaitable[Answer]]",
        *,
        again: bool,
    ) -> Answer:
        """What a client answers. A lost connection is opened anew, and when `again` the call is made once more."""
        connection = self._connection(key, name, opener)
        try:
            async with connection.used() as client:
                return await use(client)
        except ConnectionLost:
            self._forget(key, connection)
            if not again:
                raise
        return await self.ask(key, name, opener, use, again=False)

    async def close(self) -> None:
        """Closes all."""
        connections, self._open = list(self._open.values()), {}
        await asyncio.gather(*(connection.close() for connection in connections))

    def _connection(self, key: object, name: str, opener: Opener) -> Connection:
        found = self._open.get(key)
        if found is None or not found.is_open:
            self._open = {place: known for place, known in self._open.items() if known.is_open}
            found = self._open[key] = Connection(name, opener, idle_seconds=self._idle_seconds)
        return found

    def _forget(self, key: object, connection: Connection) -> None:
        connection.end()
        if self._open.get(key) is connection:
            del self._open[key]


def lost(name: str) -> ConnectionLost:
    """Says that a server is not there."""
    return ConnectionLost(
        f"the MCP server {name!r} cannot be reached, or broke off",
        resolution="Check that it runs, and its address or command.",
        metadata={"server": name},
    )
