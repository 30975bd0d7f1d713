"""The most that a request can use, before it is sent."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Protocol
from urllib.parse import urlsplit

from cadre_llm_proxy.domain.calls import CompletionRequest, Message, Options, Target
from cadre_llm_proxy.domain.entries import Bound
from cadre_llm_proxy.domain.forms import MENDS
from cadre_llm_proxy.domain.prices import (
    FREE,
    Price,
    Tokens,
    asked_service,
    chooses_service,
    cost_of,
)
from cadre_llm_proxy.domain.providers import host_of

__all__ = ["Estimate", "Tokenizer", "bound_of", "estimate_of", "price_of"]

_TOKENS_PER_REQUEST = 16
# Templates of open models put a system message of their own before a conversation that has none.
_TOKENS_PER_TEMPLATE = 64
_TOKENS_PER_MESSAGE = 8
# The largest picture, as the hungriest of the common models sees it.
_TOKENS_PER_IMAGE = 8_000
_LIKELY_PER_IMAGE = 1_000
_LIKELY_PER_MESSAGE = 4
# Other providers cut texts into up to half as many tokens more than the public tokenizer does.
_MARGIN = {"openai": Decimal(1)}
_OTHERS_MARGIN = Decimal("1.5")


class Tokenizer(Protocol):
    """Counts tokens as a public tokenizer cuts them."""

    async def count(self, texts: Sequence[str]) -> int:
        """How many tokens the texts have together."""
        ...

    def likely(self, text: str) -> int:
        """About how many tokens a text has, at once. Only after a `count`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a request would cost: from that of an empty reply to that of the longest; None where unknown.

    At most `max_requests` like it are answered: further ones mend a reply. `context_tokens` is 0 when unknown;
    `unavailable` says why the model cannot be asked; `host` is empty for a model within, and when unknown.
    """

    provider: str
    model: str
    context_tokens: int
    max_requests: int
    bound: Bound
    min_usd: Decimal | None
    max_usd: Decimal | None
    host: str = ""
    unavailable: str = ""
    tokens_per_second: float | None = None


async def bound_of(
    target: Target,
    request: CompletionRequest,
    messages: Sequence[Message],
    *,
    tokenizer: Tokenizer,
) -> Bound:
    """The most that one request to `target` with `messages` can use."""
    counted = await tokenizer.count(_texts_of(request, messages))
    margin = _MARGIN.get(target.provider, _OTHERS_MARGIN)
    overhead = _TOKENS_PER_REQUEST + _TOKENS_PER_MESSAGE * len(messages)
    overhead += 0 if target.provider in _MARGIN else _TOKENS_PER_TEMPLATE
    images = sum(len(message.images) for message in messages)
    overhead += _TOKENS_PER_IMAGE * images
    return Bound(
        input_tokens=int(counted * margin) + overhead,
        output_tokens=request.options.max_tokens or target.max_output_tokens or None,
        price=price_of(target, request.options),
        service=asked_service(request.options.params),
        any_service=chooses_service(request.options.params),
        likely_input_tokens=counted
        + _LIKELY_PER_MESSAGE * len(messages)
        + _LIKELY_PER_IMAGE * images,
    )


def price_of(target: Target, options: Options) -> Price | None:
    """What a model costs when it is asked so; None when unknown, as searches of the web are billed beside tokens."""
    searches = "web_search_options" in options.params and target.price != FREE
    return None if searches else target.price


def estimate_of(target: Target, request: CompletionRequest, bound: Bound) -> Estimate:
    """The range of its cost. Retries and repairs come on top."""
    is_checked = request.output_schema is not None or bool(request.tools)
    price = bound.price and bound.price.of(0, bound.service)
    empty = None if price is None else cost_of(Tokens(input=bound.input_tokens), price)
    return Estimate(
        provider=target.provider,
        model=target.model,
        context_tokens=target.context_tokens,
        max_requests=1 + MENDS if is_checked else 1,
        bound=bound,
        min_usd=empty,
        max_usd=bound.usd,
        host=urlsplit(target.api_base).netloc.rpartition("@")[2] or host_of(target.provider),
    )


def _texts_of(request: CompletionRequest, messages: Sequence[Message]) -> list[str]:
    """The texts that a request with `messages` puts before a model."""
    texts = [message.content for message in messages]
    texts += [json.dumps(asdict(tool), ensure_ascii=False) for tool in request.tools]
    texts += [
        json.dumps(asdict(call), ensure_ascii=False)
        for message in messages
        for call in message.tool_calls
    ]
    if request.output_schema is not None:
        # A model without a mode for schemas is shown it, and a reply that has to be mended quotes it.
        texts.append(json.dumps(request.output_schema, ensure_ascii=False))
    return texts
