"""What a request to a provider used and cost, also when it failed or was stopped; never zero for want of knowledge."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

from cadre_kit.ids import new_id
from cadre_llm_proxy.domain.calls import (
    Answer,
    Attempt,
    AttemptStatus,
    CompletionRequest,
    Message,
    Target,
    Usage,
)
from cadre_llm_proxy.domain.facts import ProviderFailure, Spent
from cadre_llm_proxy.domain.prices import FREE, Tokens, cost_of

__all__ = ["Call", "Meter", "estimated_tokens"]

_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


@dataclass(kw_only=True)
class Call:
    """One call while it is under way; `usage` grows with every request to the provider."""

    request: CompletionRequest
    target: Target
    key: str
    digest: str
    began: float = field(default_factory=monotonic)
    usage: Usage = field(default_factory=Usage)

    def seconds_left(self) -> float:
        """How long it may still take, all requests together."""
        return self.request.timeout_seconds - (monotonic() - self.began)

    def latency_ms(self) -> int:
        """How long it has taken."""
        return round((monotonic() - self.began) * 1000)


class Meter:
    """Measures one request to a provider."""

    def __init__(self, call: Call, messages: Sequence[Message]) -> None:
        self._call = call
        self._messages = messages
        self._time = datetime.now(UTC)
        self._began = monotonic()
        self.id = new_id()
        self.written: list[str] = []

    def succeeded(self, answer: Answer) -> Attempt:
        """A reply that can be used."""
        return self._attempt(AttemptStatus.SUCCEEDED, *self._used(answer))

    def unusable(self, answer: Answer, failure: ProviderFailure) -> Attempt:
        """A reply that cannot be used, but was written and counts."""
        return self._attempt(AttemptStatus.FAILED, *self._used(answer), code=failure.code)

    def failed(self, failure: ProviderFailure) -> Attempt:
        """No reply."""
        if failure.spent is Spent.NOTHING and not self.written:
            return self._attempt(AttemptStatus.FAILED, Tokens(), False, code=failure.code)
        return self._attempt(AttemptStatus.FAILED, *self._seen(), code=failure.code)

    def cancelled(self) -> Attempt:
        """Nobody wants the reply any more."""
        return self._attempt(AttemptStatus.CANCELLED, *self._seen(), code="CANCELLED")

    def _used(self, answer: Answer) -> tuple[Tokens, bool]:
        if answer.tokens is not None:
            return answer.tokens, False
        return estimated_tokens(self._messages, answer.content), True

    def _seen(self) -> tuple[Tokens | None, bool]:
        # Without a stream nobody knows how much was written until it was cut.
        if not self.written:
            return None, False
        return estimated_tokens(self._messages, "".join(self.written)), True

    def _attempt(
        self, status: AttemptStatus, tokens: Tokens | None, estimated: bool, *, code: str = ""
    ) -> Attempt:
        call, price = self._call, self._call.target.price
        cost = None if tokens is None or price is None else cost_of(tokens, price)
        if price == FREE or tokens == Tokens():
            cost = cost_of(Tokens(), FREE)
        attempt = Attempt(
            id=self.id,
            time=self._time,
            idempotency_key=call.key,
            request_digest=call.digest,
            attribution=call.request.attribution,
            provider=call.target.provider,
            model=call.target.model,
            tokens=tokens,
            estimated=estimated,
            price=price,
            cost_usd=cost,
            latency_ms=round((monotonic() - self._began) * 1000),
            status=status,
            error_code=code,
        )
        call.usage += attempt.usage()
        return attempt


def estimated_tokens(messages: Sequence[Message], written: str) -> Tokens:
    """About how many tokens these are: four characters each, rounded up."""
    return Tokens(
        input=sum(_TOKENS_PER_MESSAGE + _estimate(m.content) for m in messages),
        output=_estimate(written),
    )


def _estimate(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
