"""What a provider's Retry-After header says."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from cadre_llm_proxy.adapters.failures import seconds_to_wait


def said(retry_after: str) -> float | None:
    """What the header says."""
    return seconds_to_wait({"retry-after": retry_after}, {})


def test_seconds_may_have_a_fraction_and_are_never_below_zero() -> None:
    assert [said(each) for each in ("7", "0.5", "-3")] == [7, 0.5, 0]


def test_a_date_is_how_long_it_is_until_then() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    found = said(later)

    assert found is not None
    assert 90 < found <= 100
    assert said("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "21 Oct"])
def test_what_says_no_time_is_passed_over(text: str) -> None:
    assert said(text) is None


def test_providers_have_other_places_for_it() -> None:
    in_body = {
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    }

    assert seconds_to_wait({"retry-after-ms": "250", "retry-after": "1"}, {}) == 0.25
    assert seconds_to_wait({}, in_body) == 34.5
    assert seconds_to_wait({}, {"details": ["?", {"retryDelay": "soon"}]}) is None
