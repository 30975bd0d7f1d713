"""What tokens cost: exact decimals throughout, unknown where it is unknown."""

from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, localcontext

__all__ = ["FREE", "Price", "Tokens", "cost_of", "difference", "sum_of", "times"]

_MILLION = Decimal(1_000_000)
# Wide enough for any sum of any prices; were it not, the trap would say so instead of rounding.
_EXACT = Context(prec=200, traps=[Inexact])


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
    """US dollars per million tokens. A cache price of None means that the input price holds."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None


FREE = Price(input=Decimal(0), output=Decimal(0))
"""The price of a model that runs on the user's own machine."""


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
