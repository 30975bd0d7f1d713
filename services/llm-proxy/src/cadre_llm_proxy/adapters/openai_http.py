"""Servers of OpenAI's format, asked straight over one pool of connections: a tenth of litellm's CPU for a call."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from cadre_kit.addresses import AddressRefused, AddressRules, HostUnknown
from cadre_llm_proxy.adapters.failures import (
    error_body,
    failure,
    identifiers,
    meaning,
    meaning_within,
    seconds_to_wait,
)
from cadre_llm_proxy.adapters.judged_connections import JudgedResolver, judge_literal
from cadre_llm_proxy.adapters.openai_format import (
    answer_of,
    body_of,
    embeddings_body,
    embeddings_of,
)
from cadre_llm_proxy.adapters.openai_values import Unreadable
from cadre_llm_proxy.adapters.openai_written import WrittenReply
from cadre_llm_proxy.domain import facts
from cadre_llm_proxy.domain.calls import Answer, Ask, Delta, EmbedAsk, Embeddings, Target
from cadre_llm_proxy.domain.providers import OLLAMA, OPENAI_COMPATIBLE

__all__ = ["DATA", "DONE", "REPLY_BYTES", "OpenAiHttp", "Patience"]

_OPENAI_API_BASE = "https://api.openai.com/v1"
_OLLAMA_API_BASE = "http://127.0.0.1:11434"
_LINE_BYTES = 1024 * 1024
_OK = 200
_LAST_WORDS_SECONDS = 0.5
_CUT = (
    aiohttp.ClientPayloadError,
    aiohttp.ClientOSError,
    aiohttp.ServerDisconnectedError,
    TimeoutError,
)
_JSON = "application/json"
_NEAR = AddressRules(near=True)
# What some servers put before a text, to say that it is UTF-8.
_MARK = b"\xef\xbb\xbf"
DATA = b"data:"
DONE = b"[DONE]"
"""How a line of a stream of events begins, and the data of the last one."""
REPLY_BYTES = 32 * 1024 * 1024
"""How many bytes of a reply, or of a stream, are read."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long is waited for a connection, and for the first part of a stream; all of it within the call's time."""

    connect_seconds: float
    first_token_seconds: float


class OpenAiHttp:
    """Asks over HTTP. Connections are kept for the next call, and closed when a call is cancelled.

    An address that a workflow names is asked only if the `rules` allow it; by a proxy of HTTP_PROXY, names are for that
    to judge.
    """

    def __init__(self, patience: Patience, rules: AddressRules = _NEAR) -> None:
        self._patience = patience
        self._rules = rules
        self._opened: aiohttp.ClientSession | None = None
        self._judged: aiohttp.ClientSession | None = None

    async def ask(self, ask: Ask) -> Answer:
        """One answer. Raises a ProviderFailure; cancelling closes the connection."""
        with _failures(ask.target):
            async with asyncio.timeout(ask.seconds):
                document = await self._document(ask.target, "chat/completions", _body(ask))
            return answer_of(document, ask)

    async def embed(self, ask: EmbedAsk) -> Embeddings:
        """Vectors of texts. Raises a ProviderFailure."""
        with _failures(ask.target):
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
        with _failures(ask.target):
            async with self._sent(ask.target, "chat/completions", body, until=first) as response:
                if response.content_type == _JSON:
                    async with asyncio.timeout_at(now + ask.seconds):
                        answer = answer_of(await _document(response, ask.target), ask)
                    yield Delta(text=answer.content, reasoning=answer.reasoning)
                    yield answer
                    return
                with _whole_suffices(reply):
                    async for said in _said(response, first, now + ask.seconds):
                        delta, error = _added(reply, said, ask.target)
                        if delta is not None:
                            yield delta
                        if error is not None:
                            raise error
            if not reply.begun:
                raise Unreadable("no stream of events")
        if not reply.ended:
            raise failure(facts.StreamCut, ask.target)
        yield reply.answer()

    async def close(self) -> None:
        """Closes the connections."""
        for session in (self._opened, self._judged):
            if session is not None:
                await session.close()

    async def _document(
        self, target: Target, path: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        async with self._sent(target, path, body, until=None) as response:
            return await _document(response, target)

    @asynccontextmanager
    async def _sent(
        self, target: Target, path: str, body: Mapping[str, Any], *, until: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request, once its status is known to be good; a bad one is raised as what it means."""
        url = _url(target, path)
        async with asyncio.timeout_at(until):
            response = await self._session(target, url).post(
                url,
                data=json.dumps(body).encode(),
                headers=_headers(target),
                proxy=self._proxy_for(url),
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

    def _session(self, target: Target, url: URL) -> aiohttp.ClientSession:
        if target.provider == OPENAI_COMPATIBLE:
            judge_literal(url, self._rules)
            if self._judged is None:
                self._judged = self._new_session(JudgedResolver(self._rules))
            return self._judged
        if self._opened is None:
            self._opened = self._new_session(None)
        return self._opened

    def _new_session(self, resolver: JudgedResolver | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            # The time of a whole call is ours to bound.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._patience.connect_seconds),
            read_bufsize=_LINE_BYTES,
        )

    @cached_property
    def _proxies(self) -> Mapping[str, str]:
        return getproxies()

    def _proxy_for(self, url: URL) -> str | None:
        """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name. aiohttp's own `trust_env` reads them, and a file of
        passwords in a thread, at each request."""
        proxy = self._proxies.get(url.scheme)
        return None if proxy is None or proxy_bypass(url.host or "") else proxy


def _body(ask: Ask) -> dict[str, Any]:
    return {**body_of(ask), "model": ask.target.model}


def _url(target: Target, path: str) -> URL:
    address = f"{_address(target)}/{path}"
    try:
        return URL(address)
    except ValueError as exc:
        raise aiohttp.InvalidURL(address) from exc


def _address(target: Target) -> str:
    if target.provider == OLLAMA:
        return f"{(target.api_base or _OLLAMA_API_BASE).rstrip('/').removesuffix('/v1')}/v1"
    return (target.api_base or _OPENAI_API_BASE).rstrip("/")


def _headers(target: Target) -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if target.api_key is not None:
        headers["authorization"] = f"Bearer {target.api_key.get_secret_value()}"
    return headers


async def _document(response: aiohttp.ClientResponse, target: Target) -> Mapping[str, Any]:
    """The object that the body is. Raises Unreadable, and the error that a good status turned out to carry."""
    document = _loaded(await _read(response))
    _refuse_error(document, target)
    return document


def _loaded(body: bytes) -> Mapping[str, Any]:
    # A byte that is no UTF-8 spoils its character, and not the reply.
    document = json.loads(body.decode("utf-8-sig", errors="replace"))
    if not isinstance(document, dict):
        raise Unreadable("no JSON object")
    return document


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises Unreadable for one without an end."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > REPLY_BYTES:
            raise Unreadable("a reply of too many bytes")
        parts.append(part)
    return b"".join(parts)


async def _refusal(response: aiohttp.ClientResponse, target: Target) -> facts.ProviderFailure:
    try:
        body = error_body(json.loads(await _read(response)))
    except (ValueError, RecursionError, Unreadable):
        body = {}
    details = {"status": str(response.status), **identifiers(body)}
    wait = seconds_to_wait(response.headers, body)
    cls = meaning(response.status, body)
    return failure(cls, target, details=details, retry_after_seconds=wait)


def _refuse_error(document: Mapping[str, Any], target: Target) -> None:
    """Raises the error that a good status turned out to carry."""
    if document.get("error") or document.get("object") == "error":
        body = error_body(document)
        raise failure(meaning_within(body), target, details=identifiers(body))


def _added(
    reply: WrittenReply, said: Sequence[bytes], target: Target
) -> tuple[Delta | None, Exception | None]:
    """Takes in what came at once: what was written with it, if anything, and the error that it ends with, if any."""
    deltas: list[Delta] = []
    error: Exception | None = None
    try:
        for each in said:
            if each == DONE:
                # Servers that do not say why a reply ended say at least that it did.
                reply.ended = reply.begun
                continue
            chunk = _loaded(each)
            _refuse_error(chunk, target)
            deltas += reply.add(chunk)
    except (facts.ProviderFailure, Unreadable, ValueError, RecursionError) as exc:
        error = exc
    if not deltas:
        return None, error
    written = Delta(
        text="".join(delta.text for delta in deltas),
        reasoning="".join(delta.reasoning for delta in deltas),
        calls="".join(delta.calls for delta in deltas),
    )
    return written, error


async def _said(
    response: aiohttp.ClientResponse, first: float, last: float
) -> AsyncGenerator[Sequence[bytes]]:
    """The documents of a stream of events, all that came at once together. Each wait has its own timeout: the
    consumer's work is not counted. Raises Unreadable for a document, and for a stream, without an end."""
    until, rest, size = first, b"", 0
    while True:
        async with asyncio.timeout_at(until):
            part = await response.content.readany()
        size += len(part)
        *lines, rest = (rest + part).split(b"\n")
        if not part:
            lines, rest = [rest], b""
        if len(rest) > _LINE_BYTES or size > REPLY_BYTES:
            raise Unreadable("a reply of too many bytes")
        data = [each for line in lines if (each := _data(line))]
        done = data[-1:] == [DONE]
        if data:
            yield data
            until = last
        if done:
            await _end(response)
        if done or not part:
            return


def _data(line: bytes) -> bytes:
    """The data in a line of a stream of events; empty in one without any."""
    line = line.removeprefix(_MARK)
    return line[len(DATA) :].strip() if line.startswith(DATA) else b""


async def _end(response: aiohttp.ClientResponse) -> None:
    """Waits for the body's end, which follows at once, or else the connection is not worth keeping."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_SECONDS):
            while await response.content.readany():
                pass


@contextmanager
def _whole_suffices(reply: WrittenReply) -> Iterator[None]:
    """Takes no harm from a connection that is lost after the reply's last word: asked again, it would be paid again."""
    try:
        yield
    except _CUT:
        if not reply.ended:
            raise


@contextmanager
def _failures(target: Target) -> Iterator[None]:
    began = monotonic()
    try:
        yield
    except AddressRefused as exc:
        raise failure(facts.ApiBaseRefused, target) from exc
    except (aiohttp.ClientConnectorError, HostUnknown) as exc:
        raise failure(facts.ProviderUnreachable, target) from exc
    except aiohttp.ServerTimeoutError as exc:
        raise failure(facts.ProviderUnreachable, target) from exc
    except TimeoutError as exc:
        raise failure(facts.ProviderTimeout, target, seconds=monotonic() - began) from exc
    except aiohttp.InvalidURL as exc:
        raise failure(facts.ProviderUnreachable, target) from exc
    except (aiohttp.ClientPayloadError, aiohttp.ClientOSError) as exc:
        raise failure(facts.StreamCut, target) from exc
    except aiohttp.ServerDisconnectedError as exc:
        raise failure(facts.StreamCut, target) from exc
    except (aiohttp.ClientError, Unreadable, ValueError, RecursionError) as exc:
        raise failure(facts.ReplyMalformed, target) from exc
