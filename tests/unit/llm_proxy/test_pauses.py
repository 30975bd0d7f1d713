"""How long is waited before a request is sent again."""

import pytest

from cadre_llm_proxy.domain.tries import pause_seconds

MANY = range(200)


@pytest.mark.parametrize(("tried", "least", "most"), [(0, 0.25, 0.5), (1, 0.5, 1.0), (3, 2.0, 4.0)])
def test_pauses_grow_and_differ(tried: int, least: float, most: float) -> None:
    pauses = [pause_seconds(None, tried) for _ in MANY]

    assert least <= min(pauses) < max(pauses) <= most
    assert len(set(pauses)) > len(MANY) / 2


def test_a_provider_that_says_when_is_never_asked_before_and_not_by_all_at_once() -> None:
    pauses = [pause_seconds(2.0, 0) for _ in MANY]

    assert 2.0 <= min(pauses) < max(pauses) <= 2.2
    assert len(set(pauses)) > len(MANY) / 2
