"""Times that texts name, as days."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadre_memory.domain.times import asks_when, days_named

# A Wednesday.
TODAY = date(2023, 5, 10)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("I went yesterday", (2023, 5, 9), (2023, 5, 9)),
        ("the day before yesterday", (2023, 5, 8), (2023, 5, 8)),
        ("the day after tomorrow", (2023, 5, 12), (2023, 5, 12)),
        ("around March", (2023, 3, 1), (2023, 3, 31)),
        ("last Friday was fun", (2023, 5, 5), (2023, 5, 5)),
        ("next Monday", (2023, 5, 15), (2023, 5, 15)),
        ("we met last week", (2023, 5, 1), (2023, 5, 7)),
        ("this weekend", (2023, 5, 13), (2023, 5, 14)),
        ("last month", (2023, 4, 1), (2023, 4, 30)),
        ("three days ago", (2023, 5, 7), (2023, 5, 7)),
        ("on 7 May 2022", (2022, 5, 7), (2022, 5, 7)),
        ("on March 3rd, 2021", (2021, 3, 3), (2021, 3, 3)),
        ("back in June 2020", (2020, 6, 1), (2020, 6, 30)),
        ("since 2019", (2019, 1, 1), (2019, 12, 31)),
        ("by 2024-02-29", (2024, 2, 29), (2024, 2, 29)),
        ("last summer", (2022, 6, 1), (2022, 8, 31)),
    ],
)
def test_a_time_is_understood_from_the_day_it_was_said(
    text: str, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    (days,) = days_named(text, today=TODAY)

    assert (days.first, days.last) == (date(*first), date(*last))


@pytest.mark.parametrize(
    "text", ["31 February 2023", "I may go", "march on", "900 years ago x3", ""]
)
def test_what_only_looks_like_a_time_names_none_or_an_early_one(text: str) -> None:
    assert all(days.first.year < 2000 for days in days_named(text, today=TODAY))


@given(st.text(), st.dates())
def test_any_text_on_any_day_can_be_read(text: str, today: date) -> None:
    assert all(days.first <= days.last for days in days_named(text, today=today))


def test_a_question_for_a_time_is_known() -> None:
    assert asks_when("When did Ada move?")
    assert asks_when("How long ago was it?")
    assert not asks_when("Where does Ada live?")
