"""Times, tokens and money as people read them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cadre_client import Usage
from cadre_frontend.widgets.amounts import ago, cost, duration, tokens


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [(None, "–"), (0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (59_940, "59.9 s"),
     (59_960, "1 min 0 s"), (125_000, "2 min 5 s"), (7_380_000, "2 h 3 min")],
)  # fmt: skip
def test_durations_have_the_unit_that_fits(milliseconds: int | None, said: str) -> None:
    assert duration(milliseconds) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(Decimal("0"), "$0"), (Decimal("0.0000001"), "$0.0000001"), (Decimal("12.50"), "$12.50"),
     (Decimal("0.00300"), "$0.003"), (Decimal("100"), "$100"), (None, "unknown")],
)  # fmt: skip
def test_money_is_exact_or_said_to_be_unknown(amount: Decimal | None, said: str) -> None:
    assert cost(Usage(calls=1, cost_usd=amount)) == said


def test_nothing_is_said_where_no_model_was_called() -> None:
    assert (cost(Usage()), tokens(Usage()), cost(None)) == ("–", "–", "–")


def test_tokens_are_grouped() -> None:
    assert tokens(Usage(calls=1, input_tokens=12345, output_tokens=6)) == "12,345 in · 6 out"


@pytest.mark.parametrize(
    ("before", "said"),
    [({"seconds": 5}, "just now"), ({"minutes": 5}, "5 min ago"), ({"hours": 3}, "3 h ago")],
)
def test_moments_are_told_from_now(before: dict[str, int], said: str) -> None:
    assert ago(datetime.now(UTC) - timedelta(**before)) == said
