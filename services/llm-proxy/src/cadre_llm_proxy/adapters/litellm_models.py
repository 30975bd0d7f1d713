"""Models through litellm: one request, one answer or one stream of it."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from copy import deepcopy
from dataclasses import replace
from time import monotonic
from typing import Any

from cadre_llm_proxy.adapters.failures import error_body, failure, identifiers, meaning_within
from cadre_llm_proxy.adapters.litellm_errors import failure_of, is_ours
from cadre_llm_proxy.adapters.litellm_library import (
    REQUEST,
    LitellmLibrary,
    Request,
    litellm_provider,
)
from cadre_llm_proxy.adapters.openai_format import (
    answer_of,
    body_of,
    embeddings_body,
    embeddings_of,
)
from cadre_llm_proxy.adapters.openai_http import DATA, DONE, Patience
from cadre_llm_proxy.adapters.openai_values import Unreadable, tokens_of
from cadre_llm_proxy.adapters.openai_written import WrittenReply
from cadre_llm_proxy.domain.calls import Answer, Ask, Delta, EmbedAsk, Embeddings, Options, Target
from cadre_llm_proxy.domain.facts import (
    OptionUnsupported,
    ProviderTimeout,
    ReplyMalformed,
    StreamCut,
    TimeUsedUp,
)
from cadre_llm_proxy.domain.prices import Tokens
from cadre_llm_proxy.domain.providers import OPENAI_COMPATIBLE
from cadre_llm_proxy.domain.schemas import self_contained, typed

__all__ = ["LitellmModels"]

_LITELLM_SECONDS = 4000.0
# Claude thinks with no fewer tokens.
_LEAST_THINKING = 1024
_OFFER_CLAUDE = frozenset({"anthropic", "bedrock", "vertex_ai"})
_WITH_USAGE = {"include_usage": True}
# What of `params` is passed on: settings of how a model writes. Others of litellm's arguments would change its address,
# its credentials, or what litellm itself does.
_PARAMS = frozenset(
    "top_k min_p frequency_penalty presence_penalty repetition_penalty logit_bias reasoning_effort thinking "
    "parallel_tool_calls service_tier safety_settings web_search_options verbosity user".split()
)
_FIELDS = ("temperature", "max_tokens", "top_p", "seed", "stop", "top_logprobs")
# Those that litellm's own table of what a model takes speaks of.
_IN_TABLE = frozenset(
    "temperature max_tokens max_completion_tokens top_p seed stop logprobs top_logprobs tools tool_choice "
    "frequency_penalty presence_penalty logit_bias reasoning_effort".split()
)


class LitellmModels:
    """Asks any provider that litellm knows."""

    def __init__(self, library: LitellmLibrary, patience: Patience) -> None:
        self._library = library
        self._patience = patience

    async def ask(self, ask: Ask) -> Answer:
        """One answer. Raises a ProviderFailure; cancelling closes the connection."""
        until = _now() + ask.seconds
        litellm = await self._loaded(until)
        with _failures(ask.target, ask.options):
            arguments = _arguments(litellm, ask)
            async with asyncio.timeout_at(until):
                response = await litellm.acompletion(**arguments)
            return answer_of(response.model_dump(), ask)

    async def stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        """Text as it is written, then the whole answer. Raises a ProviderFailure; closing closes the connection."""
        until = _now() + ask.seconds
        litellm = await self._loaded(until)
        first = min(until, _now() + self._patience.first_token_seconds)
        with _failures(ask.target, ask.options):
            arguments = _arguments(litellm, ask)
            async with asyncio.timeout_at(first):
                response = await litellm.acompletion(
                    **arguments, stream=True, stream_options=_WITH_USAGE
                )
            _refuse_unreadable(response, ask.target)
            # Both: that of ours does not close litellm's, nor that of litellm the connection.
            async with (
                aclosing(response),
                aclosing(_parts(response, ask, first, until)) as parts,
            ):
                async for part in parts:
                    yield part

    async def embed(self, ask: EmbedAsk) -> Embeddings:
        """Vectors of texts. Raises a ProviderFailure."""
        until = _now() + ask.seconds
        litellm = await self._loaded(until)
        with _failures(ask.target):
            async with asyncio.timeout_at(until):
                response = await litellm.aembedding(**embeddings_body(ask), **_reached(ask.target))
            return embeddings_of(response.model_dump(), ask)

    async def _loaded(self, until: float) -> Any:
        """litellm. Raises TimeUsedUp where that is not there in time: nothing was sent."""
        REQUEST.set(Request(connect_seconds=self._patience.connect_seconds))
        try:
            async with asyncio.timeout_at(until):
                return await self._library.loaded()
        except TimeoutError as exc:
            raise TimeUsedUp(
                "the call's time was over before litellm was loaded, which takes some seconds once",
                resolution="Try again, or give the node a longer timeout.",
            ) from exc


def _now() -> float:
    return asyncio.get_running_loop().time()


def _arguments(litellm: Any, ask: Ask) -> dict[str, Any]:
    for name in ask.options.params:
        if name not in _PARAMS:
            raise _unsupported(name, ask.target)
    # A copy: litellm changes schemas where they are, and replies are checked against them.
    body = deepcopy(body_of(_followed(ask)))
    provider = litellm_provider(ask.target.provider)
    taken = litellm.get_supported_openai_params(
        model=ask.target.model, custom_llm_provider=provider
    )
    for name in body.keys() & _IN_TABLE:
        if taken and name not in taken:
            raise _unsupported(name, ask.target)
    if body.get("service_tier") == "auto":
        # What is so without it; for Gemini, litellm would make it the dearest.
        del body["service_tier"]
    if provider in _OFFER_CLAUDE and "claude" in ask.target.model:
        body |= _thinking(litellm, ask, provider)
    return {**body, **_reached(ask.target)}


def _thinking(litellm: Any, ask: Ask, provider: str) -> dict[str, Any]:
    """How Claude is to think, within `max_tokens`, of which thinking is a part: an effort is as many tokens as litellm
    says, at most half of them. Raises OptionUnsupported where they do not suffice, which its providers refuse."""
    most, params = ask.options.max_tokens, ask.options.params
    effort = params.get("reasoning_effort")
    if most is None:
        return {}
    said = params.get("thinking")
    if isinstance(effort, str):
        said = litellm.AnthropicConfig.map_reasoning_effort(effort, ask.target.model, provider)
    if not isinstance(said, dict) or not isinstance(tokens := said.get("budget_tokens"), int):
        return {}
    if isinstance(effort, str):
        tokens = min(tokens, max(_LEAST_THINKING, most // 2))
    if tokens >= most:
        raise OptionUnsupported(
            f"max_tokens is {most}, and {tokens} of them are for thinking, which leaves none for the reply",
            resolution="Raise max_tokens, or leave out reasoning_effort and thinking.",
            metadata={"param": "thinking" if effort is None else "reasoning_effort"},
        )
    return {"reasoning_effort": None, "thinking": {**said, "budget_tokens": tokens}}


def _followed(ask: Ask) -> Ask:
    """The request with schemas that litellm can follow."""
    tools = tuple(replace(tool, parameters=_plain(tool.parameters)) for tool in ask.tools)
    schema = None if ask.output_schema is None else _plain(ask.output_schema)
    return replace(ask, tools=tools, output_schema=schema)


def _plain(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return typed(self_contained(schema))


def _unsupported(name: str, target: Target) -> Exception:
    return failure(OptionUnsupported, target, details={"param": name})


def _reached(target: Target) -> dict[str, Any]:
    reached = {"api_base": target.api_base or None, "api_key": _key(target)}
    return {
        "model": f"{litellm_provider(target.provider)}/{target.model}",
        # Never in effect: ours is around the call. litellm keeps an HTTP client for each timeout that it is told, so
        # one that differs from call to call would mean a new connection for each of them.
        "timeout": _LITELLM_SECONDS,
        # Retries are ours: each is an entry in the ledger.
        "max_retries": 0,
        **{name: value for name, value in reached.items() if value is not None},
    }


def _key(target: Target) -> str | None:
    if target.api_key is not None:
        return target.api_key.get_secret_value()
    # Without one, litellm would send the operator's OPENAI_API_KEY to whatever address a workflow names.
    return "none" if target.provider == OPENAI_COMPATIBLE else None


@contextmanager
def _failures(target: Target, options: Options | None = None) -> Iterator[None]:
    began = monotonic()
    try:
        yield
    except TimeoutError as exc:
        raise failure(ProviderTimeout, target, seconds=monotonic() - began) from exc
    except Unreadable as exc:
        raise failure(ReplyMalformed, target) from exc
    except Exception as exc:
        if not is_ours(exc):
            raise
        waited = monotonic() - began
        raise failure_of(
            exc,
            target,
            seconds=waited,
            answered=REQUEST.get().status,
            options=_names(options or Options()),
        ) from exc


def _names(options: Options) -> list[str]:
    """What is set of the options that litellm may refuse by itself."""
    return [*options.params, *(n for n in _FIELDS if getattr(options, n) != getattr(Options(), n))]


def _refuse_unreadable(response: Any, target: Target) -> None:
    """Puts a reader before those of litellm, most of which pass over lines of a stream that are no JSON."""
    if response.completion_stream is not None:
        _read_first(response.completion_stream, target)
        return
    asks = response.make_call

    async def asked(**arguments: Any) -> Any:
        return _read_first(await asks(**arguments), target)

    # The request is not sent yet; litellm does that when the first part is wanted.
    response.make_call = asked


def _read_first(stream: Any, target: Target) -> Any:
    lines = getattr(stream, "streaming_response", None)
    if isinstance(lines, AsyncGenerator):
        stream.streaming_response = _readable(lines, target)
    return stream


async def _readable(
    lines: AsyncGenerator[str | bytes], target: Target
) -> AsyncGenerator[str | bytes]:
    """The lines of a stream of events. Raises Unreadable for data that is no JSON, and the error that data tells of."""
    async with aclosing(lines):
        async for line in lines:
            data = line.encode() if isinstance(line, str) else line
            said = data[len(DATA) :].strip() if data.startswith(DATA) else b""
            if said and said != DONE:
                _check(said, target)
            yield line


def _check(data: bytes, target: Target) -> None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise Unreadable("a line of a stream that is no JSON") from exc
    if isinstance(document, dict) and document.get("error"):
        body = error_body(document)
        raise failure(meaning_within(body), target, details=identifiers(body))


async def _parts(
    response: Any, ask: Ask, first: float, last: float
) -> AsyncGenerator[Delta | Answer]:
    reply = WrittenReply(model=ask.target.model)
    used, seen = None, 0
    async for chunk in _until(response, first, last):
        used, seen = _used(response.chunks[seen:]) or used, len(response.chunks)
        for delta in reply.add(chunk.model_dump()):
            yield replace(delta, used=used)
    if not reply.begun:
        raise Unreadable("no stream of events")
    if REQUEST.get().is_page:
        raise Unreadable("a page in place of a stream of events")
    # litellm ends a stream that was cut as if the model had stopped by itself.
    if response.received_finish_reason is None and not response.intermittent_finish_reason:
        raise failure(StreamCut, ask.target)
    yield reply.answer()


def _used(chunks: Sequence[Any]) -> Tokens | None:
    """What the provider said was used so far, which litellm keeps for the end: Anthropic says it with its first event,
    Google with each."""
    said = [usage for chunk in chunks if (usage := getattr(chunk, "usage", None)) is not None]
    return tokens_of(said[-1].model_dump()) if said else None


async def _until(response: Any, first: float, last: float) -> AsyncIterator[Any]:
    # Each wait has its own timeout: one around the loop would fire while the consumer works on a part.
    iterator = aiter(response)
    until = first
    while True:
        try:
            async with asyncio.timeout_at(until):
                chunk = await anext(iterator)
        except StopAsyncIteration:
            return
        yield chunk
        until = last
