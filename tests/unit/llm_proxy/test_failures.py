"""What a provider's Retry-After header says."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from cadre_llm_proxy.adapters.failures import seconds_to_wait


def test_seconds_may_have_a_fraction_and_are_never_below_zero() -> None:
    assert [seconds_to_wait(said) for said in ("7", "0.5", "-3")] == [7, 0.5, 0]


def test_a_date_is_how_long_it_is_until_then() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    found = seconds_to_wait(later)

    assert found is not None
    assert 90 < found <= 100
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("said", ["", "soon", "nan", "inf", "21 Oct"])
def test_what_says_no_time_is_passed_over(said: str) -> None:
    assert seconds_to_wait(said) is None
