"""Asks a model, once for each idempotency key, and writes down what every request to a provider used."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from cadre_llm_proxy.domain.calls import (
    Answer,
    Ask,
    Attempt,
    CompletionRequest,
    Delta,
    EmbedAsk,
    Embeddings,
    Reply,
)
from cadre_llm_proxy.domain.facts import (
    OutputInvalid,
    OutputTruncated,
    ProviderFailure,
    ProviderTimeout,
)
from cadre_llm_proxy.domain.forms import Form, form_of
from cadre_llm_proxy.domain.metering import Call, Meter
from cadre_llm_proxy.domain.providers import ListedModel, Providers
from cadre_llm_proxy.domain.schemas import check_schema
from cadre_llm_proxy.domain.turns import Turns, key_reused

__all__ = ["Completions", "Ledger", "Models", "StoredReply"]

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_MENDS = 2


class Models(Protocol):
    """Models, whoever provides them."""

    async def ask(self, ask: Ask) -> Answer:
        """One answer. Raises a ProviderFailure."""
        ...

    def stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        """Text as it is written, then the whole answer. Raises a ProviderFailure."""
        ...

    async def embed(self, ask: EmbedAsk) -> Embeddings:
        """Vectors of texts. Raises a ProviderFailure."""
        ...


@dataclass(frozen=True, kw_only=True)
class StoredReply:
    """The reply to an earlier call, and what that call asked."""

    request_digest: str
    reply: Reply


class Ledger(Protocol):
    """Every request that was ever sent to a provider. Entries are added, never changed."""

    async def add(self, attempt: Attempt, *, reply: Reply | None = None) -> None:
        """Adds an entry and, in the same step, keeps `reply` for the attempt's idempotency key, if it has one."""
        ...

    async def stored(self, key: str) -> StoredReply | None:
        """The reply kept for an idempotency key."""
        ...


class Completions:
    """Answers calls. What fails in passing is tried `retries` more times, within the call's time."""

    def __init__(
        self,
        *,
        providers: Providers,
        models: Models,
        ledger: Ledger,
        retries: int,
    ) -> None:
        self._providers = providers
        self._models = models
        self._ledger = ledger
        self._retries = retries
        self._turns = Turns()

    async def complete(self, request: CompletionRequest, *, key: str = "") -> Reply:
        """The whole reply; the stored one for a key that was answered before."""
        async with self._once(request, key) as found:
            if isinstance(found, Reply):
                return found
            return await self._mended(found, form_of(request, found.target.abilities))

    async def stream(
        self, request: CompletionRequest, *, key: str = ""
    ) -> AsyncGenerator[Delta | Reply]:
        """Text as it is written, then the whole reply. Nothing is tried again once text was sent."""
        async with self._once(request, key) as found:
            if isinstance(found, Reply):
                yield Delta(text=found.content)
                yield found
                return
            form = form_of(request, found.target.abilities)
            sent = False
            for attempt in count():
                try:
                    async with aclosing(self._streamed(found, form)) as parts:
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
        return self._providers.listed()

    @asynccontextmanager
    async def _once(self, request: CompletionRequest, key: str) -> AsyncIterator[Call | Reply]:
        """The call to make, or the reply that its key has already."""
        if request.output_schema is not None:
            check_schema(request.output_schema)
        for tool in request.tools:
            check_schema(tool.parameters)
        digest = request.digest()
        if not key:
            yield await self._call(request, key, digest)
            return
        async with self._turns.of(key, digest):
            stored = await self._ledger.stored(key)
            if stored is None:
                yield await self._call(request, key, digest)
            elif stored.request_digest != digest:
                raise key_reused(key)
            else:
                yield replace(stored.reply, replayed=True)

    async def _call(self, request: CompletionRequest, key: str, digest: str) -> Call:
        target = self._providers.target(request.options)
        return Call(request=request, target=target, key=key, digest=digest)

    async def _mended(self, call: Call, form: Form) -> Reply:
        """A reply that is what was asked for; one that is not is sent back to be mended, a few times."""
        for _ in range(_MENDS):
            try:
                return await self._persistently(call, form)
            except OutputInvalid as failure:
                form = form.asked_again(failure)
        return await self._persistently(call, form)

    async def _persistently(self, call: Call, form: Form) -> Reply:
        for attempt in count():
            try:
                return await self._asked(call, form)
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

    async def _asked(self, call: Call, form: Form) -> Reply:
        meter = Meter(call, form.messages)
        try:
            answer = await self._models.ask(_ask(call, form))
        except ProviderFailure as failure:
            await self._ledger.add(meter.failed(failure))
            raise
        except asyncio.CancelledError:
            await self._note_cancelled(meter)
            raise
        return await self._settled(call, meter, answer, form)

    async def _streamed(self, call: Call, form: Form) -> AsyncGenerator[Delta | Reply]:
        meter = Meter(call, form.messages)
        answer: Answer | None = None
        try:
            async with aclosing(self._models.stream(_ask(call, form))) as parts:
                async for part in parts:
                    if isinstance(part, Answer):
                        answer = part
                        continue
                    meter.written.append(part.text + part.reasoning)
                    if form.shows_text:
                        yield part
        except ProviderFailure as failure:
            await self._ledger.add(meter.failed(failure))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            await self._note_cancelled(meter)
            raise
        assert answer is not None, "a stream ends with the whole answer"
        reply = await self._settled(call, meter, answer, form)
        if reply.content and not form.shows_text:
            yield Delta(text=reply.content)
        yield reply

    async def _settled(self, call: Call, meter: Meter, answer: Answer, form: Form) -> Reply:
        """Writes an answer down, as a reply or, when it is not what was asked for, as a failure."""
        try:
            said = form.read(answer)
        except (OutputInvalid, OutputTruncated) as failure:
            await self._ledger.add(meter.unusable(answer, failure))
            raise
        attempt = meter.succeeded(answer)
        reply = Reply(
            content=said.content,
            finish_reason=said.finish_reason,
            provider=call.target.provider,
            model=answer.model,
            usage=call.usage,
            latency_ms=call.latency_ms(),
            call_id=meter.id,
            tool_calls=said.tool_calls,
            reasoning=answer.reasoning,
            likelihoods=answer.likelihoods,
        )
        await self._ledger.add(attempt, reply=reply)
        return reply

    async def _note_cancelled(self, meter: Meter) -> None:
        # Shielded: whoever cancelled us may do so again before it is written.
        await asyncio.shield(self._ledger.add(meter.cancelled()))


def _ask(call: Call, form: Form) -> Ask:
    seconds = call.seconds_left()
    if seconds <= 0:
        raise ProviderTimeout(
            f"the call's {call.request.timeout_seconds:g} s were used up before another try",
            resolution="Try again, or give the node a longer timeout.",
        )
    return Ask(
        target=call.target,
        options=call.request.options,
        messages=form.messages,
        output_schema=form.output_schema,
        tools=form.tools,
        tool_choice=form.tool_choice,
        seconds=seconds,
    )
