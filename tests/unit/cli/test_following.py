"""What a person sees of a run that asks somebody while its other branches go on."""

from datetime import UTC, datetime

import pytest

from cadre_cli.following import Progress
from cadre_client import Event, EventType

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
