"""MCP over streamable HTTP at /mcp, for clients of the protocol 2026-07-28 and of those before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from cadre_gateway.domain.api_keys import Scope
from cadre_gateway.entrypoint.access import require
from cadre_gateway.entrypoint.dependencies import Parts
from cadre_kit.errors import PermissionDenied, Unavailable
from cadre_kit.logs import logger

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

__all__ = ["McpDoor"]

log = logger()
_SESSIONS = 200
_IDLE_SECONDS = 1800.0
_INSTRUCTIONS = (
    "Each tool without the prefix cadre_ runs a workflow and answers with what it gave. "
    "A run that asks a person something waits: answer with cadre_answer."
)


class ForeignOrigin(PermissionDenied):
    """A page of another origin sent the request."""

    code = "ORIGIN_FOREIGN"


class McpDoor:
    """The ASGI application at /mcp. Loads the protocol's library, which takes a moment and 20 MB, with the first
    request."""

    path = "/mcp"

    def __init__(self, parts: Parts, *, body_bytes: int) -> None:
        self._parts = parts
        self._body_bytes = body_bytes
        self._manager: asyncio.Task[StreamableHTTPSessionManager] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Ends what is under way when the block ends."""
        try:
            yield
        finally:
            self._over.set()
            if self._serving is not None:
                await self._serving

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serves a request whose key was checked. Raises ScopeMissing: what it will ask is not known yet; and
        ForeignOrigin: the protocol has servers look at it."""
        require(HTTPConnection(scope), Scope.RUN)
        # As FastAPI notes it for its own routes; metrics and the audit log name it.
        scope["route"] = self
        _check_origin(Headers(scope=scope))
        if self._over.is_set():
            raise _stops()
        if self._manager is None:
            self._manager = asyncio.ensure_future(self._loaded())
        manager = await asyncio.shield(self._manager)
        work = asyncio.ensure_future(manager.handle_request(scope, receive, send))
        stopping = asyncio.ensure_future(self._parts.stopping.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                # Said to those who have no answer yet; streams that have begun are broken off.
                raise _stops()
            work.result()
        finally:
            work.cancel()
            stopping.cancel()
            await asyncio.wait({work, stopping})

    async def _loaded(self) -> StreamableHTTPSessionManager:
        manager = await asyncio.to_thread(_made, self._parts, self._body_bytes)
        ready = asyncio.Event()
        self._serving = asyncio.ensure_future(self._serve(manager, ready))
        await ready.wait()
        return manager

    async def _serve(self, manager: StreamableHTTPSessionManager, ready: asyncio.Event) -> None:
        # Its task group has to be left by the task that entered it.
        async with manager.run():
            ready.set()
            await self._over.wait()


def _made(parts: Parts, body_bytes: int) -> StreamableHTTPSessionManager:
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from cadre_gateway.entrypoint.mcp_tools import Tools

    tools = Tools(parts)
    server: Server[Any] = Server(
        "cadre",
        version=parts.version,
        title="Cadre",
        instructions=_INSTRUCTIONS,
        on_list_tools=tools.list_tools,
        on_call_tool=tools.call_tool,
    )
    # A request has its span from the gateway already.
    server.middleware.clear()
    return StreamableHTTPSessionManager(
        server,
        max_request_body_size=body_bytes,
        max_sessions=_SESSIONS,
        session_idle_timeout=_IDLE_SECONDS,
    )


def _stops() -> Unavailable:
    return Unavailable(
        "the gateway stops; runs go on", code="GATEWAY_STOPPING", resolution="Ask again shortly."
    )


def _check_origin(headers: Headers) -> None:
    # Any name that the gateway is reached by is its own: pages cannot send the key, so no name needs to be known.
    origin = headers.get("origin")
    if origin and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise ForeignOrigin(
            f"a page of {origin} may not use this address",
            resolution="Use an MCP client that is no page, or one of this gateway's own origin.",
        )
