"""Servers of OpenAI's format, asked straight over one pool of connections: a tenth of litellm's CPU for a call."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from cadre_llm_proxy.adapters.failures import (
    error_body,
    failure,
    identifiers,
    meaning,
    seconds_to_wait,
)
from cadre_llm_proxy.adapters.openai_format import (
    Unreadable,
    WrittenReply,
    answer_of,
    body_of,
    embeddings_body,
    embeddings_of,
)
from cadre_llm_proxy.domain import facts
from cadre_llm_proxy.domain.calls import Answer, Ask, Delta, EmbedAsk, Embeddings, Target
from cadre_llm_proxy.domain.providers import OLLAMA

__all__ = ["OpenAiHttp", "Patience"]

_OPENAI_API_BASE = "https://api.openai.com/v1"
_OLLAMA_API_BASE = "http://127.0.0.1:11434"
_REPLY_BYTES = 32 * 1024 * 1024
_LINE_BYTES = 1024 * 1024
_OK = 200
_LAST_WORDS_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long is waited for a connection, and for the first part of a stream; all of it within the call's time."""

    connect_seconds: float
    first_token_seconds: float


class OpenAiHttp:
    """Asks over HTTP. Connections are kept for the next call, and closed when a call is cancelled."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._opened: aiohttp.ClientSession | None = None

    async def ask(self, ask: Ask) -> Answer:
        """One answer. Raises a ProviderFailure; cancelling closes the connection."""
        with _failures(ask.target, ask.seconds):
            async with asyncio.timeout(ask.seconds):
                document = await self._document(ask.target, "chat/completions", _body(ask))
            return answer_of(document, ask)

    async def embed(self, ask: EmbedAsk) -> Embeddings:
        """Vectors of texts. Raises a ProviderFailure."""
        with _failures(ask.target, ask.seconds):
            async with asyncio.timeout(ask.seconds):
                body = {**embeddings_body(ask), "model": ask.target.model}
                document = await self._document(ask.target, "embeddings", body)
            return embeddings_of(document, ask)

    async def stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        """Text as it is written, then the whole answer. Raises a ProviderFailure; closing closes the connection."""
        body = {**_body(ask), "stream": True, "stream_options": {"include_usage": True}}
        now = asyncio.get_running_loop().time()
        first = now + min(ask.seconds, self._patience.first_token_seconds)
        reply = WrittenReply(model=ask.target.model)
        with _failures(ask.target, ask.seconds):
            async with self._sent(ask.target, "chat/completions", body, until=first) as response:
                async for chunk in _chunks(response, first, now + ask.seconds):
                    _refuse_error(chunk, ask.target)
                    for delta in reply.add(chunk):
                        yield delta
        if not reply.ended:
            raise failure(facts.StreamCut, ask.target)
        yield reply.answer()

    async def close(self) -> None:
        """Closes the connections."""
        if self._opened is not None:
            await self._opened.close()

    async def _document(
        self, target: Target, path: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        async with self._sent(target, path, body, until=None) as response:
            document = json.loads(await _read(response))
        if not isinstance(document, dict):
            raise Unreadable("no JSON object")
        _refuse_error(document, target)
        return document

    @asynccontextmanager
    async def _sent(
        self, target: Target, path: str, body: Mapping[str, Any], *, until: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request, once its status is known to be good; a bad one is raised as what it means."""
        async with asyncio.timeout_at(until):
            response = await self._session().post(
                f"{_address(target)}/{path}",
                data=json.dumps(body).encode(),
                headers=_headers(target),
                # A redirect would carry the key to another address.
                allow_redirects=False,
            )
        finished = False
        try:
            if response.status != _OK:
                async with asyncio.timeout_at(until):
                    raise await _refusal(response, target)
            yield response
            finished = True
        finally:
            # Released, its connection is used again; closed, the provider is told to stop.
            if finished:
                response.release()
            else:
                response.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                # The time of a whole call is ours to bound.
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._patience.connect_seconds
                ),
                read_bufsize=_LINE_BYTES,
                trust_env=True,
            )
        return self._opened


def _body(ask: Ask) -> dict[str, Any]:
    return {**body_of(ask), "model": ask.target.model}


def _address(target: Target) -> str:
    if target.provider == OLLAMA:
        return f"{(target.api_base or _OLLAMA_API_BASE).rstrip('/').removesuffix('/v1')}/v1"
    return (target.api_base or _OPENAI_API_BASE).rstrip("/")


def _headers(target: Target) -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if target.api_key is not None:
        headers["authorization"] = f"Bearer {target.api_key.get_secret_value()}"
    return headers


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises Unreadable for one without an end."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > _REPLY_BYTES:
            raise Unreadable("a reply of too many bytes")
        parts.append(part)
    return b"".join(parts)


async def _refusal(response: aiohttp.ClientResponse, target: Target) -> facts.ProviderFailure:
    try:
        body = error_body(json.loads(await _read(response)))
    except (ValueError, RecursionError, Unreadable):
        body = {}
    details = {"status": str(response.status), **identifiers(body)}
    fact = failure(meaning(response.status, body), target, details=details)
    fact.retry_after_seconds = seconds_to_wait(response.headers.get("retry-after", ""))
    return fact


def _refuse_error(document: Mapping[str, Any], target: Target) -> None:
    """Raises the error that a good status turned out to carry."""
    if not document.get("error"):
        return
    body = error_body(document)
    cls = meaning(_status_in(body), body)
    raise failure(cls, target, details=identifiers(body))


def _status_in(body: Mapping[str, Any]) -> int:
    code = body.get("code")
    return code if isinstance(code, int) else 500 if not identifiers(body) else 0


async def _chunks(
    response: aiohttp.ClientResponse, first: float, last: float
) -> AsyncGenerator[Mapping[str, Any]]:
    """The documents of a stream of events. Each wait has its own timeout: the consumer's work is not counted."""
    until, done = first, False
    while True:
        try:
            async with asyncio.timeout_at(until):
                line = await response.content.readline()
        except TimeoutError:
            if done:
                return
            raise
        name, _, data = line.partition(b":")
        if not line:
            return
        if name != b"data":
            continue
        if data.strip() == b"[DONE]":
            # The body's end follows at once, or else the connection is not worth keeping.
            until, done = asyncio.get_running_loop().time() + _LAST_WORDS_SECONDS, True
            continue
        chunk = json.loads(data)
        if not isinstance(chunk, dict):
            raise Unreadable("no JSON object")
        yield chunk
        until = last


@contextmanager
def _failures(target: Target, seconds: float) -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError as exc:
        raise failure(facts.ProviderUnreachable, target) from exc
    except aiohttp.ServerTimeoutError as exc:
        raise failure(facts.ProviderUnreachable, target) from exc
    except TimeoutError as exc:
        raise failure(facts.ProviderTimeout, target, seconds=seconds) from exc
    except aiohttp.InvalidURL as exc:
        raise failure(facts.ProviderUnreachable, target) from exc
    except (aiohttp.ClientPayloadError, aiohttp.ClientOSError) as exc:
        raise failure(facts.StreamCut, target) from exc
    except aiohttp.ServerDisconnectedError as exc:
        raise failure(facts.StreamCut, target) from exc
    except (aiohttp.ClientError, Unreadable, ValueError, RecursionError) as exc:
        raise failure(facts.ReplyMalformed, target) from exc
