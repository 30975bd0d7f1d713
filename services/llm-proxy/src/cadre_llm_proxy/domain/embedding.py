"""Turns texts into vectors, metered like every request to a provider."""

from dataclasses import dataclass, field

from cadre_llm_proxy.domain.calls import (
    Answer,
    Attribution,
    CompletionRequest,
    EmbedAsk,
    Embeddings,
    FinishReason,
    Message,
    Options,
    Reply,
    Role,
)
from cadre_llm_proxy.domain.completions import Models
from cadre_llm_proxy.domain.metering import Call, Kept, Metering
from cadre_llm_proxy.domain.providers import Providers

__all__ = ["EmbedRequest", "Embedded", "Embedding"]

# A model for embeddings writes nothing; budgets reserve one token for it.
_WRITTEN_TOKENS = 1


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """What to embed. `dimensions` None leaves their number to the model."""

    options: Options
    texts: tuple[str, ...] = field(repr=False)
    dimensions: int | None
    attribution: Attribution
    timeout_seconds: float


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The vectors, and what they took."""

    embeddings: Embeddings
    reply: Reply


class Embedding:
    """Asks models for embeddings. A failure is not tried again: no more is lost than the request."""

    def __init__(self, *, providers: Providers, models: Models, metering: Metering) -> None:
        self._providers = providers
        self._models = models
        self._metering = metering

    async def embed(self, request: EmbedRequest) -> Embedded:
        """A vector for each text. Raises a ProviderFailure, and what is wrong with the options."""
        call = self._call(request)
        async with self._metering.request(call, call.request.messages) as metered:
            embeddings = await self._models.embed(
                EmbedAsk(
                    target=call.target,
                    texts=request.texts,
                    dimensions=request.dimensions,
                    seconds=request.timeout_seconds,
                )
            )
            metered.answered(_answer(embeddings))
            reply = await metered.succeeded(lambda call_id: _kept(call, embeddings, call_id))
        return Embedded(embeddings=embeddings, reply=reply)

    def _call(self, request: EmbedRequest) -> Call:
        asked = CompletionRequest(
            options=Options(max_tokens=_WRITTEN_TOKENS),
            messages=tuple(Message(role=Role.USER, content=text) for text in request.texts),
            output_schema=None,
            attribution=request.attribution,
            timeout_seconds=request.timeout_seconds,
        )
        target = self._providers.embedder(request.options)
        return Call(
            request=asked, target=target, key="", digest=asked.digest(), may_downgrade=False
        )


def _answer(embeddings: Embeddings) -> Answer:
    return Answer(
        content="",
        finish_reason=FinishReason.STOP,
        model=embeddings.model,
        tokens=embeddings.tokens,
    )


def _kept(call: Call, embeddings: Embeddings, call_id: str) -> Kept:
    reply = Reply(
        content="",
        finish_reason=FinishReason.STOP,
        provider=call.target.provider,
        model=embeddings.model,
        usage=call.usage,
        latency_ms=call.latency_ms(),
        call_id=call_id,
    )
    return Kept(reply=reply)
