"""Models with a span around every request to a provider, in OpenTelemetry's GenAI words."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from decimal import Decimal

from opentelemetry.trace import Span, SpanKind, StatusCode

from cadre_kit import semconv
from cadre_kit.tracing import tracer
from cadre_llm_proxy.domain.calls import Answer, Ask, Delta, EmbedAsk, Embeddings
from cadre_llm_proxy.domain.completions import Models
from cadre_llm_proxy.domain.estimates import price_of
from cadre_llm_proxy.domain.facts import ProviderFailure
from cadre_llm_proxy.domain.prices import Price, Tokens, cost_of, price_served

__all__ = ["TracedModels"]

# The conventions' names for what we call otherwise.
_PROVIDER_NAMES = {"google": "gcp.gemini", "openai_compatible": "openai"}


class TracedModels:
    """Models, traced. Prompts and replies are put into spans only `with_content`."""

    def __init__(self, models: Models, *, with_content: bool) -> None:
        self._models = models
        self._with_content = with_content

    async def ask(self, ask: Ask) -> Answer:
        """One answer."""
        with self._span(ask) as span:
            answer = await self._models.ask(ask)
            self._finish(span, ask, answer)
            return answer

    async def stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        """Text as it is written, then the whole answer."""
        with self._span(ask) as span:
            async with aclosing(self._models.stream(ask)) as parts:
                async for part in parts:
                    if isinstance(part, Answer):
                        self._finish(span, ask, part)
                    yield part

    async def embed(self, ask: EmbedAsk) -> Embeddings:
        """Vectors of texts."""
        with self._embedding_span(ask) as span:
            embeddings = await self._models.embed(ask)
            if embeddings.tokens is not None:
                span.set_attribute(semconv.INPUT_TOKENS, embeddings.tokens.input)
            return embeddings

    def _embedding_span(self, ask: EmbedAsk) -> AbstractContextManager[Span]:
        span = tracer().start_span(f"embeddings {ask.target.model}", kind=SpanKind.CLIENT)
        span.set_attributes(
            {
                semconv.OPERATION: "embeddings",
                semconv.PROVIDER: _PROVIDER_NAMES.get(ask.target.provider, ask.target.provider),
                semconv.REQUEST_MODEL: ask.target.model,
                semconv.MLFLOW_SPAN_TYPE: "EMBEDDING",
            }
        )
        return _ended(span)

    def _span(self, ask: Ask) -> AbstractContextManager[Span]:
        # Not made the current span: a stream's consumer would find it current between two parts.
        span = tracer().start_span(f"chat {ask.target.model}", kind=SpanKind.CLIENT)
        if span.is_recording():
            self._describe(span, ask)
        return _ended(span)

    def _describe(self, span: Span, ask: Ask) -> None:
        target, options = ask.target, ask.options
        said = {
            semconv.OPERATION: "chat",
            semconv.PROVIDER: _PROVIDER_NAMES.get(target.provider, target.provider),
            semconv.REQUEST_MODEL: target.model,
            semconv.REQUEST_TEMPERATURE: options.temperature,
            semconv.REQUEST_MAX_TOKENS: options.max_tokens,
            semconv.REQUEST_TOP_P: options.top_p,
            semconv.REQUEST_SEED: options.seed,
            semconv.OUTPUT_TYPE: "text" if ask.output_schema is None else "json",
            semconv.MLFLOW_SPAN_TYPE: "CHAT_MODEL",
        }
        span.set_attributes({name: value for name, value in said.items() if value is not None})
        if self._with_content:
            messages = [{"role": m.role.value, "content": m.content} for m in ask.messages]
            span.set_attribute(semconv.MLFLOW_SPAN_INPUTS, json.dumps({"messages": messages}))

    def _finish(self, span: Span, ask: Ask, answer: Answer) -> None:
        if not span.is_recording():
            return
        span.set_attribute(semconv.RESPONSE_MODEL, answer.model)
        span.set_attribute(semconv.RESPONSE_FINISH_REASONS, [answer.finish_reason.value])
        if answer.tokens is not None:
            span.set_attribute(semconv.INPUT_TOKENS, answer.tokens.input)
            span.set_attribute(semconv.OUTPUT_TOKENS, answer.tokens.output)
            if (price := _price(ask, answer, answer.tokens)) is not None:
                _add_cost(span, answer.tokens, price)
        if self._with_content:
            said = {"role": "assistant", "content": answer.content}
            span.set_attribute(semconv.MLFLOW_SPAN_OUTPUTS, json.dumps(said))


@contextmanager
def _ended(span: Span) -> Iterator[Span]:
    try:
        yield span
    except ProviderFailure as failure:
        span.set_attribute(semconv.ERROR_TYPE, failure.code)
        span.set_status(StatusCode.ERROR, failure.code)
        raise
    finally:
        span.end()


def _price(ask: Ask, answer: Answer, tokens: Tokens) -> Price | None:
    price = price_of(ask.target, ask.options)
    return price_served(price, ask.options.params, said=answer.service, sent=tokens.input)


def _add_cost(span: Span, tokens: Tokens, price: Price) -> None:
    written = cost_of(Tokens(output=tokens.output), price)
    total = cost_of(tokens, price)
    span.set_attribute(semconv.COST_USD, f"{total:f}")
    # MLflow wants numbers here; the exact figure is the attribute above.
    costs: dict[str, Decimal] = {
        "input_cost": total - written,
        "output_cost": written,
        "total_cost": total,
    }
    span.set_attribute(semconv.MLFLOW_COST, json.dumps({k: float(v) for k, v in costs.items()}))
