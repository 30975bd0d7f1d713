"""Models through litellm: one request, one answer or one stream of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from cadre_llm_proxy.adapters.embedded import EmbeddedModel
from cadre_llm_proxy.adapters.litellm_errors import failure_of, is_ours
from cadre_llm_proxy.adapters.litellm_library import LitellmLibrary, litellm_provider
from cadre_llm_proxy.adapters.openai_format import Unreadable, WrittenReply, answer_of, body_of
from cadre_llm_proxy.domain.calls import Answer, Ask, Delta, Options, Target
from cadre_llm_proxy.domain.facts import ProviderTimeout, ReplyMalformed, StreamCut
from cadre_llm_proxy.domain.providers import EMBEDDED, OLLAMA, OPENAI_COMPATIBLE
from cadre_llm_proxy.domain.schemas import bounded

__all__ = ["LitellmModels"]

_LITELLM_SECONDS = 4000.0
_WITH_USAGE = {"include_usage": True}
_OLLAMA_API_BASE = "http://127.0.0.1:11434"
_EMBEDDED_TEXT_TOKENS = 256
_EMBEDDED_JSON_TOKENS = 512


class LitellmModels:
    """Asks any provider. The embedded model is one of them, at an address that is known when it runs."""

    def __init__(self, *, library: LitellmLibrary, embedded: EmbeddedModel) -> None:
        self._library = library
        self._embedded = embedded

    async def ask(self, ask: Ask) -> Answer:
        """One answer. Raises a ProviderFailure; cancelling closes the connection."""
        litellm = await self._library.loaded()
        async with self._reached(ask) as reached:
            with _failures(ask):
                async with asyncio.timeout(ask.seconds):
                    response = await litellm.acompletion(**_arguments(reached))
        try:
            return answer_of(response.model_dump(), ask)
        except Unreadable as exc:
            raise _malformed(ask) from exc

    async def stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        """Text as it is written, then the whole answer. Raises a ProviderFailure; closing closes the connection."""
        litellm = await self._library.loaded()
        async with self._reached(ask) as reached:
            deadline = asyncio.get_running_loop().time() + ask.seconds
            with _failures(ask):
                async with asyncio.timeout_at(deadline):
                    response = await litellm.acompletion(
                        **_arguments(reached), stream=True, stream_options=_WITH_USAGE
                    )
                async with aclosing(_parts(response, ask, deadline)) as parts:
                    async for part in parts:
                        yield part

    @asynccontextmanager
    async def _reached(self, ask: Ask) -> AsyncIterator[Ask]:
        if ask.target.provider != EMBEDDED:
            yield ask
            return
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(ask.seconds):
                    endpoint = await stack.enter_async_context(self._embedded.slot())
            except TimeoutError as exc:
                raise ProviderTimeout(
                    f"no place at the embedded model came free within {ask.seconds:g} s",
                    resolution="Try again later, or give the node a longer timeout.",
                ) from exc
            target = replace(ask.target, api_base=endpoint.api_base, api_key=endpoint.api_key)
            yield replace(
                ask,
                target=target,
                options=_embedded_options(ask),
                output_schema=None if ask.output_schema is None else bounded(ask.output_schema),
            )


def _embedded_options(ask: Ask) -> Options:
    """A small model rambles: it is kept short and to what is likeliest, where the caller said nothing."""
    options = ask.options
    default = _EMBEDDED_TEXT_TOKENS if ask.output_schema is None else _EMBEDDED_JSON_TOKENS
    return replace(
        options,
        temperature=0.0 if options.temperature is None else options.temperature,
        max_tokens=default if options.max_tokens is None else options.max_tokens,
    )


def _arguments(ask: Ask) -> dict[str, Any]:
    provider = litellm_provider(ask.target.provider)
    reached = {"api_base": _api_base(ask.target), "api_key": _key(ask)}
    return {
        **body_of(ask),
        "model": f"{provider}/{ask.target.model}",
        # Never in effect: ours is around the call. litellm keeps an HTTP client for each timeout that it is told, so
        # one that differs from call to call would mean a new connection for each of them.
        "timeout": _LITELLM_SECONDS,
        # Retries are ours: each is an entry in the ledger.
        "max_retries": 0,
        **{name: value for name, value in reached.items() if value is not None},
    }


def _api_base(target: Target) -> str | None:
    if target.provider != OLLAMA:
        return target.api_base or None
    return f"{(target.api_base or _OLLAMA_API_BASE).rstrip('/').removesuffix('/v1')}/v1"


def _key(ask: Ask) -> str | None:
    if ask.target.api_key is not None:
        return ask.target.api_key.get_secret_value()
    # Without one, litellm would send the operator's OPENAI_API_KEY to whatever address a workflow names.
    return "none" if ask.target.provider in (OPENAI_COMPATIBLE, OLLAMA) else None


@contextmanager
def _failures(ask: Ask) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise ProviderTimeout(
            f"{ask.target.provider} did not answer within {ask.seconds:g} s",
            resolution="Try again, or give the node a longer timeout.",
            metadata={"provider": ask.target.provider},
        ) from exc
    except Exception as exc:
        if not is_ours(exc):
            raise
        raise failure_of(exc, ask.target, seconds=ask.seconds) from exc


async def _parts(response: Any, ask: Ask, deadline: float) -> AsyncGenerator[Delta | Answer]:
    reply = WrittenReply(model=ask.target.model)
    async for chunk in _until(response, deadline):
        if text := reply.add(chunk.model_dump()):
            yield Delta(text=text)
    # litellm ends a stream that was cut as if the model had stopped by itself.
    if response.received_finish_reason is None and not response.intermittent_finish_reason:
        raise StreamCut(
            f"the connection to {ask.target.provider} ended in the middle of a reply",
            resolution="Try again.",
            metadata={"provider": ask.target.provider},
        )
    yield reply.answer()


async def _until(response: Any, deadline: float) -> AsyncIterator[Any]:
    # Each wait has its own timeout: one around the loop would fire while the consumer works on a part.
    iterator = aiter(response)
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(iterator)
        except StopAsyncIteration:
            return
        yield chunk


def _malformed(ask: Ask) -> ReplyMalformed:
    return ReplyMalformed(
        f"{ask.target.provider} answered something that is not a reply",
        resolution="Try again; check the provider's address if you set one.",
        metadata={"provider": ask.target.provider},
    )
