"""Costs and sums: exact, and unknown where something is unknown."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from cadre_llm_proxy.domain.calls import Usage
from cadre_llm_proxy.domain.prices import FREE, Price, Tokens, cost_of

money = st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=20)
counts = st.integers(min_value=0, max_value=10**12)


@given(counts, counts, money, money)
def test_a_cost_is_exact_to_the_last_digit(
    sent: int, written: int, dear: Decimal, cheap: Decimal
) -> None:
    cost = cost_of(Tokens(input=sent, output=written), Price(input=dear, output=cheap))

    expected = (sent * Fraction(dear) + written * Fraction(cheap)) / 1_000_000
    assert Fraction(cost) == expected


@given(st.lists(money, max_size=30))
def test_a_sum_of_groups_is_the_sum_of_all(costs: list[Decimal]) -> None:
    usages = [Usage(cost_usd=cost, calls=1) for cost in costs]
    middle = len(usages) // 2

    halves = sum(usages[:middle], Usage()) + sum(usages[middle:], Usage())

    assert halves == sum(usages, Usage())
    assert Fraction(halves.cost_usd or 0) == sum((Fraction(cost) for cost in costs), Fraction(0))


def test_cached_tokens_have_their_own_price() -> None:
    price = Price(
        input=Decimal(3), output=Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal("3.75")
    )
    tokens = Tokens(input=1_000_000, output=0, cache_read=400_000, cache_write=200_000)

    assert cost_of(tokens, price) == Decimal("2.07")


def test_one_unknown_cost_makes_the_sum_unknown_and_is_counted() -> None:
    known, unknown = (
        Usage(cost_usd=Decimal(1), calls=1),
        Usage(cost_usd=None, calls=1, unpriced_calls=1),
    )

    total = known + unknown + known

    assert (total.cost_usd, total.calls, total.unpriced_calls) == (None, 3, 1)


def test_a_local_model_costs_nothing() -> None:
    assert cost_of(Tokens(input=10, output=10), FREE) == 0
