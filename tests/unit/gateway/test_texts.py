"""Long texts in pieces: none is too long, and no word is lost."""

from hypothesis import given
from hypothesis import strategies as st

from cadre_gateway.domain.rates import Rates, per_second
from cadre_gateway.domain.retries import MOST_TRIES, due_again
from cadre_gateway.domain.texts import pieces


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@given(st.text(max_size=400), st.integers(2, 50))
def test_pieces_fit_and_lose_nothing_but_white_space(text: str, limit: int) -> None:
    found = pieces(text, limit, length=utf16)

    assert all(0 < utf16(piece) <= limit for piece in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_text_is_parted_between_paragraphs_then_words() -> None:
    assert pieces("one two\n\nthree four", 12) == ["one two", "three four"]
    assert pieces("one two three", 8) == ["one two", "three"]
    assert pieces("  \n ", 8) == []


def test_tries_are_spread_as_standard_webhooks_says_and_end() -> None:
    first, second = due_again(1), due_again(2)

    assert first is not None
    assert 5 <= first <= 6
    assert second is not None
    assert 300 <= second <= 360
    assert due_again(MOST_TRIES) is None
    assert 60 <= (due_again(1, after_seconds=60) or 0) <= 72


def test_a_rate_is_kept_for_each_sender() -> None:
    rates = Rates(per_second(10))

    assert [rates.allows("a", now=0) for _ in range(21)] == [True] * 20 + [False]
    assert rates.allows("b", now=0)
    assert [rates.allows("a", now=0.1), rates.allows("a", now=0.1)] == [True, False]
