"""What a person sees of a run that asks somebody while its other branches go on."""

from datetime import UTC, datetime

import pytest

from cadre_cli.following import Progress
from cadre_client import Event, EventType, Failure

KINDS = (
    (EventType.NODE_STARTED, "ask"),
    (EventType.NODE_WAITING, "ask"),
    (EventType.NODE_STARTED, "second"),
    (EventType.NODE_SUCCEEDED, "second"),
    (EventType.NODE_STARTED, "later"),
)
EVENTS = [
    Event(sequence=sequence, time=datetime(2026, 1, 1, tzinfo=UTC), type=kind, node=node)
    for sequence, (kind, node) in enumerate(KINDS, 1)
]


def test_what_other_branches_did_is_shown_to_the_last_event_that_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress(quiet=False)

    asks = progress.show(iter(EVENTS))
    stopped_at = progress.seen
    progress.show(iter(EVENTS[progress.seen :]), last=4)
    progress.show(iter(EVENTS[progress.seen :]), last=4)

    assert (asks, stopped_at, progress.seen) == (True, 2, 4)
    shown = capsys.readouterr().err
    assert "✓ second" in shown
    assert "later" not in shown


def test_a_retry_says_how_long_it_waits_and_a_kept_result_that_it_is_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failure = Failure(code="RATE_LIMITED", message="too many", resolution="", node="ask")
    retried = EVENTS[0].model_copy(
        update={"type": EventType.NODE_RETRIED, "data": {"delay_seconds": 4.0}, "error": failure}
    )
    kept = EVENTS[3].model_copy(update={"data": {"cached": True}})

    Progress(quiet=False).show(iter([retried, kept]))

    shown = capsys.readouterr().err
    assert "trying again in 4.0 s  RATE_LIMITED: too many" in shown
    assert "✓ second  0 ms  a kept result" in shown
