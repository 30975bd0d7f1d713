"""The HTTP requests that litellm makes, within our bounds. Imports litellm: import it where that is wanted."""

from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import httpx
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

from cadre_llm_proxy.adapters.litellm_library import REQUEST
from cadre_llm_proxy.adapters.openai_http import REPLY_BYTES
from cadre_llm_proxy.adapters.openai_values import Unreadable

__all__ = ["bound_requests"]


@cache
def bound_requests() -> None:
    """Has litellm's requests wait for a connection as REQUEST says, which litellm itself bounds as all waits are; go
    nowhere else, as a redirect would carry the key to another address; and read no more than a reply may be."""
    transport: Any = LiteLLMAiohttpTransport
    send = transport.handle_async_request

    async def bounded(self: Any, request: httpx.Request) -> httpx.Response:
        ours = REQUEST.get()
        waits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {**waits, "connect": ours.connect_seconds}
        response: httpx.Response = await send(self, request)
        ours.status = response.status_code
        ours.is_page = response.headers.get("content-type", "").startswith("text/html")
        if response.has_redirect_location:
            del response.headers["location"]
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Bounded(response.stream)
        return response

    transport.handle_async_request = bounded


class _Bounded(httpx.AsyncByteStream):
    """A body. Raises Unreadable for one without an end."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > REPLY_BYTES:
                raise Unreadable("a reply of too many bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
