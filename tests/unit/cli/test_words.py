"""Amounts, durations and spans as people read them."""

from decimal import Decimal

import pytest

from cadre_cli.words import as_text, cost, duration, span


@pytest.mark.parametrize(
    ("usd", "words"),
    [
        (None, "unknown"),
        (Decimal("0"), "$0"),
        (Decimal("0.000450"), "$0.00045"),
        (Decimal("0.0000001"), "$0.0000001"),
        (Decimal("120"), "$120"),
    ],
)
def test_money_is_exact_and_never_in_powers_of_ten(usd: Decimal | None, words: str) -> None:
    assert cost(usd) == words


@pytest.mark.parametrize(
    ("milliseconds", "words"), [(None, "-"), (0, "0 ms"), (999, "999 ms"), (1234, "1.2 s")]
)
def test_durations_have_the_unit_that_matters(milliseconds: int | None, words: str) -> None:
    assert duration(milliseconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59.94, "59.9 s"), (61, "1 min 1 s"), (3700, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_spans_have_the_two_units_that_matter(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_text_is_shown_as_it_is_and_anything_else_as_json() -> None:
    assert as_text("[bold]") == "[bold]"
    assert as_text({"a": [1, None]}) == '{"a": [1, null]}'
