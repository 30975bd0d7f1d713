"""The ledger's entries: each request to a provider from before it is sent, and each reply that was used again."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from cadre_llm_proxy.domain.calls import Attribution, Reply, Usage
from cadre_llm_proxy.domain.prices import FREE, Price, Tokens, cost_of, difference, sum_of

__all__ = ["NOTHING", "Amount", "Bound", "Entry", "EntryStatus", "KeptReply", "StoredReply"]


class EntryStatus(Enum):
    """How an entry stands. SENT is under way; UNCERTAIN was sent by a process that died before it saw the reply;
    REPLAYED and CACHED are replies used again, for which nothing was sent."""

    SENT = "sent"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNCERTAIN = "uncertain"
    REPLAYED = "replayed"
    CACHED = "cached"


@dataclass(frozen=True, kw_only=True)
class Amount:
    """What budgets count."""

    usd: Decimal
    tokens: int

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(usd=sum_of(self.usd, other.usd), tokens=self.tokens + other.tokens)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(usd=difference(self.usd, other.usd), tokens=self.tokens - other.tokens)


NOTHING = Amount(usd=Decimal(0), tokens=0)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The most that a request can use. `output_tokens` is None when the reply has no known bound; `service` is what is
    asked for of the provider's (empty: the standard one, which may be given instead); with `any_service` it may give
    each that has a price. `likely_input_tokens` is what the input takes rather than may take."""

    input_tokens: int
    output_tokens: int | None
    price: Price | None
    service: str = ""
    any_service: bool = False
    likely_input_tokens: int = 0

    @property
    def tokens(self) -> int | None:
        """Input and output together; None when unbounded."""
        return None if self.output_tokens is None else self.input_tokens + self.output_tokens

    @property
    def usd(self) -> Decimal | None:
        """US dollars; None when unbounded, or when the price is unknown."""
        if self.price == FREE:
            return Decimal(0)
        if self.price is None or self.output_tokens is None:
            return None
        asked = self._prices({"", self.service})
        if None in asked:
            return None
        given = self._prices({t.service for t in self.price.tiers}) if self.any_service else []
        may_be = (each for each in [*asked, *given] if each is not None)
        return max(_dearest(self.input_tokens, self.output_tokens, each) for each in may_be)

    def _prices(self, services: Set[str]) -> list[Price | None]:
        if self.price is None:
            return []
        # The input is counted generously, and may be too short for the price of long ones.
        lengths = (0, self.input_tokens) if self.price.has_long else (0,)
        return [self.price.of(sent, each) for sent in lengths for each in services]


def _dearest(sent: int, written: int, price: Price) -> Decimal:
    # A prompt that the provider puts into its cache may cost more than a plain one.
    caches = price.cache_write is not None and price.cache_write > price.input
    return cost_of(Tokens(input=sent, output=written, cache_write=sent if caches else 0), price)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One request to a provider, or one reply used again.

    `tokens` is None while, or when, nobody knows what was used; `estimated` marks tokens that were counted here and not
    by the provider; `cost_usd` is None where tokens or price are unknown; `saved_usd` is what a reused reply would have
    cost again, `saved_tokens` what it took when it was new. `first_token_ms` is of streams only.
    """

    id: str
    time: datetime
    idempotency_key: str
    request_digest: str
    attribution: Attribution
    provider: str
    model: str
    price: Price | None
    reserved_usd: Decimal | None
    reserved_tokens: int
    status: EntryStatus = EntryStatus.SENT
    error_code: str = ""
    tokens: Tokens | None = None
    estimated: bool = False
    cost_usd: Decimal | None = None
    latency_ms: int = 0
    first_token_ms: int | None = None
    saved_usd: Decimal | None = None
    saved_tokens: int = 0

    @property
    def was_sent(self) -> bool:
        """Whether it is of a request to a provider."""
        return self.status not in (EntryStatus.REPLAYED, EntryStatus.CACHED)

    def counted(self) -> Amount:
        """What budgets count: what it used or, as long as nobody knows that, the most that it could use."""
        usd = self.reserved_usd if self.cost_usd is None else self.cost_usd
        known = self.tokens
        tokens = self.reserved_tokens if known is None else known.input + known.output
        return Amount(usd=usd or Decimal(0), tokens=tokens)

    def reserved(self) -> Amount:
        """What budgets counted while it was under way."""
        return Amount(usd=self.reserved_usd or Decimal(0), tokens=self.reserved_tokens)

    def usage(self) -> Usage:
        """What it used, for sums."""
        tokens = self.tokens or Tokens()
        return Usage(
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cost_usd=self.cost_usd,
            calls=1,
            unpriced_calls=int(self.cost_usd is None),
        )


@dataclass(frozen=True, kw_only=True)
class StoredReply:
    """The reply to an earlier call, and what that call asked. `model` is the one that was asked, which may answer under
    a longer name."""

    request_digest: str
    model: str
    reply: Reply


@dataclass(frozen=True, kw_only=True)
class KeptReply:
    """A reply to a call, and the idempotency key that it is kept for."""

    call_id: str
    key: str
    reply: Reply
