"""Asks a model, once for each idempotency key, and writes down what every request to a provider used."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import count
from typing import Protocol

from cadre_llm_proxy.domain.calls import (
    Answer,
    Ask,
    CompletionRequest,
    Delta,
    FinishReason,
    Message,
    Reply,
    Role,
)
from cadre_llm_proxy.domain.facts import (
    OutputInvalid,
    OutputTruncated,
    ProviderFailure,
    ProviderTimeout,
)
from cadre_llm_proxy.domain.metering import Call, Kept, Metered, Metering
from cadre_llm_proxy.domain.providers import ListedModel, Providers
from cadre_llm_proxy.domain.replies import Replies, cache_key
from cadre_llm_proxy.domain.schemas import check_schema, checked_output

__all__ = ["Completions", "Models"]

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class Models(Protocol):
    """Models, whoever provides them."""

    async def ask(self, ask: Ask) -> Answer:
        """One answer. Raises a ProviderFailure."""
        ...

    def stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        """Text as it is written, then the whole answer. Raises a ProviderFailure."""
        ...


class Completions:
    """Answers calls. What fails in passing is tried `retries` more times, within the call's time."""

    def __init__(
        self,
        *,
        providers: Callable[[], Awaitable[Providers]],
        models: Models,
        metering: Metering,
        replies: Replies,
        retries: int,
    ) -> None:
        self._providers = providers
        self._models = models
        self._metering = metering
        self._replies = replies
        self._retries = retries

    async def complete(self, request: CompletionRequest, *, key: str = "") -> Reply:
        """The whole reply; the stored one for a key that was answered before."""
        async with self._once(request, key) as found:
            if isinstance(found, Reply):
                return found
            try:
                return await self._persistently(found, request.messages)
            except OutputInvalid as failure:
                return await self._persistently(found, _asked_again(request, failure))

    async def stream(
        self, request: CompletionRequest, *, key: str = ""
    ) -> AsyncGenerator[Delta | Reply]:
        """Text as it is written, then the whole reply. Nothing is tried again once text was sent."""
        async with self._once(request, key) as found:
            if isinstance(found, Reply):
                yield Delta(text=found.content)
                yield found
                return
            sent = False
            for attempt in count():
                try:
                    async with aclosing(self._streamed(found)) as parts:
                        async for part in parts:
                            sent = True
                            yield part
                    return
                except ProviderFailure as failure:
                    if sent:
                        raise
                    await self._pause(found, failure, attempt)

    async def list_models(self) -> tuple[ListedModel, ...]:
        """The models that can be named."""
        return (await self._providers()).listed()

    @asynccontextmanager
    async def _once(self, request: CompletionRequest, key: str) -> AsyncIterator[Call | Reply]:
        """The call to make, or the reply that its key has already."""
        if request.output_schema is not None:
            check_schema(request.output_schema)
        digest = request.digest()
        async with self._replies.of_key(request, key, digest) as stored:
            if stored is not None:
                yield stored
                return
            call = await self._call(request, key, digest)
            yield await self._replies.cached(call) or call

    async def _call(self, request: CompletionRequest, key: str, digest: str) -> Call:
        providers = await self._providers()
        target = providers.target(request.options)
        return Call(request=request, target=target, key=key, digest=digest)

    async def _persistently(self, call: Call, messages: Sequence[Message]) -> Reply:
        for attempt in count():
            try:
                return await self._asked(call, messages)
            except ProviderFailure as failure:
                await self._pause(call, failure, attempt)
        raise AssertionError("count() does not end")

    async def _pause(self, call: Call, failure: ProviderFailure, attempt: int) -> None:
        """Waits before another try; raises `failure` when there is none."""
        if not failure.passing or attempt >= self._retries:
            raise failure
        pause = failure.retry_after_seconds
        if pause is None:
            pause = random.uniform(0.5, 1) * _FIRST_PAUSE_SECONDS * 2**attempt
        if pause > min(_LONGEST_PAUSE_SECONDS, call.seconds_left()):
            raise failure
        await asyncio.sleep(pause)

    async def _asked(self, call: Call, messages: Sequence[Message]) -> Reply:
        async with self._metering.request(call, messages) as metered:
            answer = await self._models.ask(_ask(call, messages))
            return await self._settled(call, metered, answer)

    async def _streamed(self, call: Call) -> AsyncGenerator[Delta | Reply]:
        async with self._metering.request(call, call.request.messages) as metered:
            answer: Answer | None = None
            async with aclosing(self._models.stream(_ask(call, call.request.messages))) as parts:
                async for part in parts:
                    if isinstance(part, Answer):
                        answer = part
                    else:
                        metered.wrote(part.text)
                        yield part
            assert answer is not None, "a stream ends with the whole answer"
            reply = await self._settled(call, metered, answer)
        yield reply

    async def _settled(self, call: Call, metered: Metered, answer: Answer) -> Reply:
        """Keeps an answer as the reply. Raises what makes it unusable; it was written and counts all the same."""
        metered.answered(answer)
        content = _content(call, answer)

        def kept(call_id: str) -> Kept:
            reply = Reply(
                content=content,
                finish_reason=answer.finish_reason,
                provider=call.target.provider,
                model=answer.model,
                usage=call.usage,
                latency_ms=call.latency_ms(),
                call_id=call_id,
            )
            return Kept(reply=reply, cache_key=cache_key(call))

        return await metered.succeeded(kept)


def _ask(call: Call, messages: Sequence[Message]) -> Ask:
    seconds = call.seconds_left()
    if seconds <= 0:
        raise ProviderTimeout(
            f"the call's {call.request.timeout_seconds:g} s were used up before another try",
            resolution="Try again, or give the node a longer timeout.",
        )
    return Ask(
        target=call.target,
        options=call.request.options,
        messages=tuple(messages),
        output_schema=call.request.output_schema,
        seconds=seconds,
    )


def _content(call: Call, answer: Answer) -> str:
    """The reply's text: as it is, or as the JSON document that was asked for."""
    if call.request.output_schema is None:
        return answer.content
    try:
        return checked_output(answer.content, call.request.output_schema)
    except OutputInvalid as failure:
        if answer.finish_reason is FinishReason.LENGTH:
            raise OutputTruncated(
                "the reply reached its token limit before its JSON document was complete",
                resolution="Raise max_tokens, or bound strings and lists in the output_schema (maxLength, maxItems).",
            ) from failure
        failure.output = answer.content
        raise


def _asked_again(request: CompletionRequest, failure: OutputInvalid) -> tuple[Message, ...]:
    schema = json.dumps(request.output_schema, ensure_ascii=False)
    wish = f"{failure.message}. Answer again, with a JSON document of this JSON Schema and nothing else:\n{schema}"
    return (
        *request.messages,
        Message(role=Role.ASSISTANT, content=failure.output or "(nothing)"),
        Message(role=Role.USER, content=wish),
    )
