"""Limits on what a caller may say, each named when it is passed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadre_memory.domain.items import (
    FieldInvalid,
    expiry,
    valid_key,
    valid_key_prefix,
    valid_namespace,
    valid_value,
)
from cadre_memory.domain.pages import key_before, page_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "labels", [(), ("",), ("a",) * 17, ("a", "x" * 129), ("a\x1fb",), ("a\x00",)]
)
def test_a_namespace_outside_of_its_limits_is_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(FieldInvalid) as caught:
        valid_namespace(labels)

    assert caught.value.code == "NAMESPACE_INVALID"
    assert caught.value.metadata == {"field": "namespace"}
    assert caught.value.problems[0].path == "namespace"


def test_limits_of_size_count_what_they_say() -> None:
    assert valid_namespace(("ä" * 128,) * 16)
    assert valid_key("ä" * 256)
    assert valid_value("x" * 1024 * 1024)
    assert valid_key_prefix("") == ""


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (valid_key, "ä" * 257),
        (valid_key, ""),
        (valid_value, "ä" * (512 * 1024 + 1)),
        (valid_key_prefix, "x" * 513),
    ],
)
def test_what_is_too_long_is_refused_with_its_size(check: Callable[[str], str], said: str) -> None:
    with pytest.raises(FieldInvalid, match=f"has {len(said.encode())} bytes"):
        check(said)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 3.2e9])
def test_a_time_to_live_that_no_clock_can_tell_is_refused(seconds: float) -> None:
    with pytest.raises(FieldInvalid) as caught:
        expiry(seconds, now=NOW)

    assert caught.value.code == "TTL_INVALID"


def test_zero_means_for_ever() -> None:
    assert expiry(0, now=NOW) is None
    assert expiry(1.5, now=NOW) == NOW + timedelta(seconds=1.5)


@given(st.text(max_size=50))
def test_a_page_token_names_the_key_that_it_was_made_of(key: str) -> None:
    key = key.encode("utf-8", "replace").decode()

    assert key_before(page_token(("a",), "p", last_key=key), ("a",), "p") == key


@given(st.text())
def test_a_made_up_page_token_is_refused(token: str) -> None:
    if not token:
        assert key_before(token, ("a",), "") == ""
        return
    with pytest.raises(FieldInvalid) as caught:
        key_before(token.encode("utf-8", "replace").decode(), ("a",), "")

    assert caught.value.code == "PAGE_TOKEN_INVALID"


def test_a_page_token_of_another_listing_is_refused() -> None:
    token = page_token(("a",), "p", last_key="pear")

    with pytest.raises(FieldInvalid):
        key_before(token, ("a",), "")
    with pytest.raises(FieldInvalid):
        key_before(token, ("b",), "p")
