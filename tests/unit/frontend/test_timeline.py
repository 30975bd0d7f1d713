"""What the events of a run say of each visit of each step."""

from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from cadre_client import Event, EventType
from cadre_frontend.widgets.timeline import node_states, visits

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def event(
    second: int,
    kind: EventType,
    node: str = "",
    *,
    visit: int = 1,
    attempt: int = 1,
    data: dict[str, JsonValue] | None = None,
) -> Event:
    return Event(
        sequence=second + 1,
        time=BEGAN + timedelta(seconds=second),
        type=kind,
        node=node,
        iteration=visit,
        attempt=attempt,
        data=data,
    )


def test_each_visit_of_a_loop_is_a_row_of_its_own() -> None:
    found = visits(
        [
            event(0, EventType.NODE_STARTED, "write"),
            event(2, EventType.NODE_SUCCEEDED, "write"),
            event(2, EventType.NODE_STARTED, "write", visit=2),
            event(5, EventType.NODE_SUCCEEDED, "write", visit=2),
        ]
    )

    assert [(v.node, v.iteration, v.end and (v.end - v.start).seconds) for v in found] == [
        ("write", 1, 2),
        ("write", 2, 3),
    ]


def test_a_retried_step_shows_each_try() -> None:
    found = visits(
        [
            event(0, EventType.NODE_STARTED, "ask"),
            event(1, EventType.NODE_RETRIED, "ask", data={"delay_seconds": 2.0}),
            event(4, EventType.NODE_FAILED, "ask", attempt=2),
        ]
    )

    assert [(v.attempt, v.state) for v in found] == [(1, "retried"), (2, "failed")]
    assert [v.end and (v.end - v.start).seconds for v in found] == [1, 1]
    assert node_states(found) == {"ask": "failed"}


def test_a_try_that_waits_to_begin_is_under_way_until_the_run_ends() -> None:
    waits = [
        event(0, EventType.NODE_STARTED, "ask"),
        event(1, EventType.NODE_RETRIED, "ask", data={"delay_seconds": 60.0}),
    ]

    stopped = visits([*waits, event(4, EventType.RUN_CANCELLED)])[-1]

    assert node_states(visits(waits)) == {"ask": "running"}
    assert (stopped.state, stopped.end) == ("stopped", stopped.start)


def test_a_result_that_was_kept_is_told() -> None:
    found = visits([event(0, EventType.NODE_SUCCEEDED, "ask", data={"cached": True})])

    assert [v.cached for v in found] == [True]


def test_a_step_without_an_end_runs_until_the_run_ends() -> None:
    begun = [event(0, EventType.NODE_STARTED, "ask")]

    (running,) = visits(begun)
    (stopped,) = visits([*begun, event(4, EventType.RUN_CANCELLED)])

    assert (running.state, running.end) == ("running", None)
    assert (stopped.state, stopped.end) == ("stopped", BEGAN + timedelta(seconds=4))


def test_a_step_that_was_resumed_after_a_crash_is_one_row() -> None:
    found = visits(
        [
            event(0, EventType.NODE_STARTED, "ask"),
            event(5, EventType.RUN_RESUMED),
            event(5, EventType.NODE_STARTED, "ask"),
            event(7, EventType.NODE_SUCCEEDED, "ask"),
        ]
    )

    assert [v.state for v in found] == ["succeeded"]


def test_a_skipped_step_has_a_row() -> None:
    assert node_states(visits([event(0, EventType.NODE_SKIPPED, "ask")])) == {"ask": "skipped"}
