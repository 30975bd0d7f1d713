"""Models through litellm: one request, one answer or one stream of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from cadre_llm_proxy.adapters.embedded import EmbeddedModel
from cadre_llm_proxy.adapters.litellm_errors import failure_of, is_ours
from cadre_llm_proxy.adapters.litellm_library import LitellmLibrary, litellm_provider
from cadre_llm_proxy.domain.calls import Answer, Ask, Delta, FinishReason, Options, Target
from cadre_llm_proxy.domain.facts import ProviderTimeout, ReplyMalformed, StreamCut
from cadre_llm_proxy.domain.prices import Tokens
from cadre_llm_proxy.domain.providers import EMBEDDED, OLLAMA, OPENAI_COMPATIBLE
from cadre_llm_proxy.domain.schemas import bounded, is_strict, tightened

__all__ = ["LitellmModels"]

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}
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
        return _answer(response, ask)

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
    target, options = ask.target, ask.options
    provider = litellm_provider(target.provider)
    said = {
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
        "top_p": options.top_p,
        "seed": options.seed,
        "stop": list(options.stop) or None,
        "api_base": _api_base(target),
        "api_key": _key(ask),
    }
    return {
        "model": f"{provider}/{target.model}",
        "messages": [{"role": m.role.value, "content": m.content} for m in ask.messages],
        # Never in effect: ours is around the call. litellm keeps an HTTP client for each timeout that it is told, so
        # one that differs from call to call would mean a new connection for each of them.
        "timeout": _LITELLM_SECONDS,
        # Retries are ours: each is an entry in the ledger.
        "max_retries": 0,
        **{name: value for name, value in said.items() if value is not None},
        **({} if ask.output_schema is None else _structured(ask.output_schema)),
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


def _structured(schema: Any) -> dict[str, Any]:
    closed = tightened(schema)
    named = {"name": "reply", "schema": closed, "strict": is_strict(closed)}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


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


def _answer(response: Any, ask: Ask) -> Answer:
    if not response.choices:
        raise _malformed(ask)
    choice = response.choices[0]
    return Answer(
        content=choice.message.content or "",
        finish_reason=_FINISH_REASONS.get(choice.finish_reason, FinishReason.UNKNOWN),
        model=response.model or ask.target.model,
        tokens=_tokens(getattr(response, "usage", None)),
    )


async def _parts(response: Any, ask: Ask, deadline: float) -> AsyncGenerator[Delta | Answer]:
    written: list[str] = []
    finish = FinishReason.UNKNOWN
    tokens = None
    model = ask.target.model
    async for chunk in _until(response, deadline):
        model = chunk.model or model
        tokens = _tokens(getattr(chunk, "usage", None)) or tokens
        if not chunk.choices:
            continue
        choice = chunk.choices[0]
        if text := choice.delta.content:
            written.append(text)
            yield Delta(text=text)
        finish = _FINISH_REASONS.get(choice.finish_reason, finish)
    # litellm ends a stream that was cut as if the model had stopped by itself.
    if response.received_finish_reason is None and not response.intermittent_finish_reason:
        raise StreamCut(
            f"the connection to {ask.target.provider} ended in the middle of a reply",
            resolution="Try again.",
            metadata={"provider": ask.target.provider},
        )
    yield Answer(content="".join(written), finish_reason=finish, model=model, tokens=tokens)


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


def _tokens(usage: Any) -> Tokens | None:
    """What the provider said was used; None when it said nothing, which litellm gives as zeros."""
    if usage is None or not (usage.prompt_tokens or usage.completion_tokens):
        return None
    details = getattr(usage, "prompt_tokens_details", None)
    return Tokens(
        input=usage.prompt_tokens or 0,
        output=usage.completion_tokens or 0,
        cache_read=getattr(details, "cached_tokens", None) or 0,
        cache_write=getattr(details, "cache_creation_tokens", None) or 0,
    )


def _malformed(ask: Ask) -> ReplyMalformed:
    return ReplyMalformed(
        f"{ask.target.provider} answered something that is not a reply",
        resolution="Try again; check the provider's address if you set one.",
        metadata={"provider": ask.target.provider},
    )
