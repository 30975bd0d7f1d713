"""Asks a model, once for each idempotency key, and writes down what every request to a provider used."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Protocol

from cadre_kit.errors import CadreError
from cadre_llm_proxy.domain.calls import (
    Answer,
    Ask,
    CompletionRequest,
    Delta,
    EmbedAsk,
    Embeddings,
    FinishReason,
    Reply,
    ToolDefinition,
)
from cadre_llm_proxy.domain.facts import (
    ContentRefused,
    OutputSchemaInvalid,
    ProviderFailure,
    ToolSchemaInvalid,
)
from cadre_llm_proxy.domain.forms import Said
from cadre_llm_proxy.domain.metering import Call, Kept, Metered, Metering, Unanswered
from cadre_llm_proxy.domain.providers import ListedModel, Providers
from cadre_llm_proxy.domain.replies import Replies, cache_key
from cadre_llm_proxy.domain.routes import Group, Routes, Standing
from cadre_llm_proxy.domain.schemas import check_schema
from cadre_llm_proxy.domain.tries import Tries

__all__ = ["Completions", "Models"]

_CHARACTERS_PER_TOKEN = 4


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


class Completions:
    """Answers calls. What fails in passing is tried `retries` more times, within the call's time; `drops` leaves out
    options that a model does not take, and says so in the reply. What fails after a request was sent is Unanswered."""

    def __init__(
        self,
        *,
        providers: Providers,
        models: Models,
        metering: Metering,
        replies: Replies,
        routes: Routes,
        retries: int,
        drops: bool,
    ) -> None:
        self._providers = providers
        self._models = models
        self._metering = metering
        self._replies = replies
        self._routes = routes
        self._retries = retries
        self._drops = drops

    async def complete(self, request: CompletionRequest, *, key: str = "") -> Reply:
        """The whole reply; the stored one for a key that was answered before."""
        async with self._once(request, key) as found:
            if isinstance(found, Reply):
                return found
            while True:
                try:
                    return await self._asked(found)
                except ProviderFailure as failure:
                    await found.after(failure)

    async def stream(
        self, request: CompletionRequest, *, key: str = ""
    ) -> AsyncGenerator[Delta | Reply]:
        """Text as it is written, then the whole reply. Nothing is tried again once text was sent."""
        async with self._once(request, key) as found:
            if isinstance(found, Reply):
                yield Delta(text=found.content, reasoning=found.reasoning)
                yield found
                return
            sent = False
            while True:
                try:
                    async with aclosing(self._streamed(found)) as parts:
                        async for part in parts:
                            sent = True
                            yield part
                    return
                except ProviderFailure as failure:
                    if sent:
                        raise
                    await found.after(failure)

    def list_models(self) -> tuple[ListedModel, ...]:
        """The models that can be named."""
        return self._providers.listed()

    def list_groups(self) -> tuple[tuple[Group, tuple[Standing, ...]], ...]:
        """The groups that can be named instead of a model, and how their models are now."""
        return tuple(
            (
                group,
                tuple(
                    self._routes.standing(each, self._providers.refusal)
                    for each in group.deployments
                ),
            )
            for group in self._routes.groups
        )

    @asynccontextmanager
    async def _once(self, request: CompletionRequest, key: str) -> AsyncIterator[Tries | Reply]:
        """The call to make, or the reply that its key has already."""
        if request.output_schema is not None:
            check_schema(request.output_schema)
        for tool in request.tools:
            _check_tool(tool)
        digest = request.digest() if key or request.cache_seconds else ""
        async with self._replies.of_key(request, key, digest) as stored:
            if stored is not None:
                yield stored
                return
            tries = self._tries(request, key, digest)
            with _counted(tries.call):
                yield await self._replies.cached(tries.call) or tries

    def _tries(self, request: CompletionRequest, key: str, digest: str) -> Tries:
        return Tries(
            request,
            key=key,
            digest=digest,
            providers=self._providers,
            routes=self._routes,
            retries=self._retries,
            drops=self._drops,
        )

    async def _asked(self, tries: Tries) -> Reply:
        async with self._sent(tries) as metered:
            answer = await self._models.ask(tries.ask())
            return await self._settled(tries, metered, answer)

    async def _streamed(self, tries: Tries) -> AsyncGenerator[Delta | Reply]:
        async with self._sent(tries) as metered:
            answer: Answer | None = None
            async with aclosing(self._models.stream(tries.ask())) as parts:
                async for part in parts:
                    if isinstance(part, Answer):
                        answer = part
                        continue
                    metered.wrote(part)
                    if tries.form.shows_text and part.is_shown:
                        yield part
            assert answer is not None, "a stream ends with the whole answer"
            reply = await self._settled(tries, metered, answer)
        if reply.content and not tries.form.shows_text:
            yield Delta(text=reply.content)
        yield reply

    @asynccontextmanager
    async def _sent(self, tries: Tries) -> AsyncIterator[Metered]:
        """A request to the provider, once the model has a place for it; in the ledger before it is sent."""
        call = tries.call
        async with (
            self._routes.admitted(
                tries.route, tokens=_size(call), seconds=max(0.0, call.seconds_left())
            ),
            self._metering.request(call, tries.form.messages) as metered,
        ):
            yield metered

    async def _settled(self, tries: Tries, metered: Metered, answer: Answer) -> Reply:
        """Keeps an answer as the reply. Raises what makes it unusable; it was written and counts all the same."""
        metered.answered(answer)
        if answer.finish_reason is FinishReason.CONTENT_FILTER and tries.has_others:
            raise ContentRefused.of_reply()
        said = tries.form.read(answer)
        tries.worked()
        return await metered.succeeded(lambda call_id: _kept(tries, answer, said, call_id))


def _check_tool(tool: ToolDefinition) -> None:
    try:
        check_schema(tool.parameters)
    except OutputSchemaInvalid as exc:
        raise ToolSchemaInvalid(
            f"the parameters of the tool {tool.name!r} cannot be used: {exc.message}",
            resolution="Correct the tool's parameters, or leave the tool out.",
            metadata={"tool": tool.name},
        ) from exc


@contextmanager
def _counted(call: Call) -> Iterator[None]:
    try:
        yield
    except CadreError as error:
        if call.usage.calls:
            raise Unanswered(error, call) from error
        raise


def _kept(tries: Tries, answer: Answer, said: Said, call_id: str) -> Kept:
    call = tries.call
    reply = Reply(
        content=said.content,
        finish_reason=said.finish_reason,
        provider=call.target.provider,
        model=answer.model,
        usage=call.usage,
        latency_ms=call.latency_ms(),
        call_id=call_id,
        tool_calls=said.tool_calls,
        reasoning=answer.reasoning,
        likelihoods=answer.likelihoods,
        dropped_options=tries.dropped,
        warnings=call.warnings,
    )
    return Kept(reply=reply, cache_key=cache_key(call))


def _size(call: Call) -> int:
    """About how many tokens a request may use, for limits of tokens a minute."""
    characters = sum(len(message.content) for message in call.request.messages)
    return characters // _CHARACTERS_PER_TOKEN + (call.request.options.max_tokens or 0)
