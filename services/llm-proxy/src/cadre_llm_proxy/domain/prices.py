"""What tokens cost: exact decimals throughout, unknown where it is unknown."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal, Inexact, localcontext
from functools import cached_property

__all__ = [
    "FREE",
    "Price",
    "Tier",
    "Tokens",
    "asked_service",
    "chooses_service",
    "cost_of",
    "difference",
    "price_served",
    "sum_of",
    "times",
]

_MILLION = Decimal(1_000_000)
# Wide enough for any sum of any prices; were it not, the trap would say so instead of rounding.
_EXACT = Context(prec=200, traps=[Inexact])
# What providers call the service that is everybody's.
_STANDARD = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand"})
# Services that have prices of their own, by OpenAI's names for them.
_OTHERS = frozenset({"flex", "priority", "scale", "ultrafast"})


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What one request used. `input` includes those read from and written to the provider's prompt cache, `output`
    those that the model only thought."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars per million tokens. A cache price of None means that the input price holds. `tiers` are what other
    requests cost than short ones of the standard service."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    tiers: tuple["Tier", ...] = ()

    def of(self, sent: int, service: str) -> "Price | None":
        """What a request with so many tokens of input costs, all of it; None where nobody knows."""
        if self == FREE:
            return self
        begins = max((t.above_tokens for t in self.tiers if sent > t.above_tokens), default=0)
        if not (service or begins):
            return self._plain
        found = (t.price for t in self.tiers if (t.service, t.above_tokens) == (service, begins))
        return next(found, None)

    @property
    def has_long(self) -> bool:
        """Whether long requests cost something else."""
        return any(tier.above_tokens for tier in self.tiers)

    @cached_property
    def _plain(self) -> "Price":
        return replace(self, tiers=()) if self.tiers else self


@dataclass(frozen=True, kw_only=True)
class Tier:
    """The price of requests to a `service` of the provider (empty: the standard one) whose input has more than
    `above_tokens` tokens."""

    price: Price
    service: str = ""
    above_tokens: int = 0


FREE = Price(input=Decimal(0), output=Decimal(0))
"""The price of a model that runs on the user's own machine."""


def asked_service(params: Mapping[str, object]) -> str:
    """The service that a request asks for; empty for the standard one."""
    said = params.get("service_tier") or ""
    return "" if said in _STANDARD else str(said)


def chooses_service(params: Mapping[str, object]) -> bool:
    """Whether a request leaves its service to the provider, which goes by the settings of the account there."""
    return params.get("service_tier") in (None, "", "auto")


def price_served(
    price: Price | None, params: Mapping[str, object], *, said: str, sent: int
) -> Price | None:
    """What a request with `params` and so many tokens of input costs, whose reply says that it got the service `said`:
    providers may give another one than was asked for. None where nobody knows."""
    service = "" if said and said in _STANDARD else asked_service(params)
    return None if price is None else price.of(sent, said if said in _OTHERS else service)


def cost_of(tokens: Tokens, price: Price) -> Decimal:
    """US dollars, exact."""
    cache_read = price.input if price.cache_read is None else price.cache_read
    cache_write = price.input if price.cache_write is None else price.cache_write
    plain = max(0, tokens.input - tokens.cache_read - tokens.cache_write)
    with localcontext(_EXACT):
        micros = (
            plain * price.input
            + tokens.cache_read * cache_read
            + tokens.cache_write * cache_write
            + tokens.output * price.output
        )
        return micros / _MILLION


def sum_of(first: Decimal, second: Decimal) -> Decimal:
    """An exact sum; the default context would round at 28 digits."""
    with localcontext(_EXACT):
        return first + second


def difference(first: Decimal, second: Decimal) -> Decimal:
    """An exact difference."""
    with localcontext(_EXACT):
        return first - second


def times(amount: Decimal, count: int) -> Decimal:
    """An exact multiple."""
    with localcontext(_EXACT):
        return amount * count
