"""Server-sent events: sent as they come, kept alive in between, closed when either side goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Response
from starlette.types import Receive, Scope, Send

from cadre_gateway.entrypoint.metrics import Metrics

__all__ = ["EventStream", "Stopping", "aclosed", "sse", "until_disconnected", "with_heartbeats"]

T = TypeVar("T")
_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS: Mapping[str, str] = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Stopping(asyncio.Event):
    """Set when the gateway is about to stop: streams end, so that nobody waits for them."""


def sse(data: str, *, event: str = "", event_id: str = "") -> bytes:
    """One event. `data` must be of one line, as JSON is."""
    lines = [f"id: {event_id}"] if event_id else []
    if event:
        lines.append(f"event: {event}")
    return "\n".join([*lines, f"data: {data}\n\n"]).encode()


class EventStream(Response):
    """Sends chunks until they end, the caller leaves, or the gateway stops; in each case `chunks` is closed.

    Starlette's own streams close theirs when the garbage collector comes by; ours hold calls of other services.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        heartbeat_seconds: float,
        stopping: Stopping,
        metrics: Metrics,
    ) -> None:
        super().__init__(media_type="text/event-stream", headers=_HEADERS)
        # Known of an empty body only.
        del self.headers["content-length"]
        self._chunks = chunks
        self._heartbeat_seconds = heartbeat_seconds
        self._stopping = stopping
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream."""
        self._metrics.stream_opened()
        try:
            await self._begin(send)
            await self._send_until_over(receive, send)
        finally:
            await aclosed(self._chunks)
            self._metrics.stream_closed()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        # Begins the body: some proxies hold back the headers until then.
        await send({"type": "http.response.body", "body": _KEEP_ALIVE, "more_body": True})

    async def _send_until_over(self, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({sending, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await _cancelled(sending, leaving, stopping)

    async def _send(self, send: Send) -> None:
        async with aclosing(with_heartbeats(self._chunks, self._heartbeat_seconds)) as chunks:
            async for chunk in chunks:
                body = _KEEP_ALIVE if chunk is None else chunk
                await send({"type": "http.response.body", "body": body, "more_body": True})


async def with_heartbeats(
    items: AsyncIterator[T], seconds: float
) -> AsyncGenerator[T | None, None]:
    """The items, and None whenever none came for so long."""
    upcoming = asyncio.ensure_future(_next(items))
    try:
        while True:
            await asyncio.wait({upcoming}, timeout=seconds)
            if not upcoming.done():
                yield None
                continue
            found = upcoming.result()
            if not found:
                return
            yield found[0]
            upcoming = asyncio.ensure_future(_next(items))
    finally:
        await _cancelled(upcoming)


async def until_disconnected(receive: Receive, work: asyncio.Task[T]) -> T | None:
    """What the work comes to; None when the caller left first, and then the work is cancelled."""
    leaving = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        await _cancelled(work, leaving)


async def aclosed(items: AsyncIterator[T]) -> None:
    """Closes a generator now, so that what it holds is let go."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


async def _next(items: AsyncIterator[T]) -> tuple[T] | tuple[()]:
    # StopAsyncIteration cannot be the result of a task.
    async for item in items:
        return (item,)
    return ()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        # Looked at, so that asyncio does not report as unseen what failed on its way out.
        if not task.cancelled():
            task.exception()
