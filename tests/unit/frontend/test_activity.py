"""What the events of a run say of texts and tools."""

from datetime import UTC, datetime
from typing import Any

from streamlit.testing.v1 import AppTest

from cadre_client import Event, EventType, Failure
from cadre_frontend.widgets.activity import tool_uses, writings
from cadre_frontend.widgets.timeline import visits

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: EventType, item: int = 0, error: str = "", **data: Any) -> Event:
    failure = Failure(code="TOOL_FAILED", message=error) if error else None
    return Event(
        sequence=1,
        time=NOW,
        type=kind,
        node="say",
        iteration=1,
        attempt=1,
        item=item,
        data=data,
        error=failure,
    )


def test_a_text_grows_and_one_that_begins_anew_replaces_it() -> None:
    texts = [("a", 0), ("b", 1), ("A", 0), ("B", 1)]

    found = writings([event(EventType.NODE_TEXT, text=t, offset=o, call="1") for t, o in texts])

    assert [written.text for written in found] == ["AB"]


def test_an_item_that_ended_leaves_the_texts_of_the_others_under_way() -> None:
    found = writings(
        [
            event(EventType.NODE_TEXT, 1, text="a", offset=0, call="1"),
            event(EventType.NODE_TEXT, 2, text="b", offset=0, call="1"),
            event(EventType.NODE_SUCCEEDED, 1),
        ]
    )

    assert [(written.item, written.done) for written in found] == [(1, True), (2, False)]


def test_a_call_of_a_tool_has_its_result_or_its_failure() -> None:
    found = tool_uses(
        [
            event(EventType.TOOL_CALLED, tool="shell", call="1.1", arguments={}),
            event(EventType.TOOL_CALLED, tool="shell", call="1.2", arguments={}),
            event(EventType.TOOL_CALLED, tool="shell", call="1.3", arguments={}),
            event(EventType.TOOL_RETURNED, tool="shell", call="1.2", result=7),
            event(EventType.TOOL_RETURNED, error="it broke", tool="shell", call="1.1"),
        ]
    )

    assert [(use.result, use.error, use.duration_ms) for use in found] == [
        (None, "it broke", 0),
        (7, "", 0),
        (None, "", None),
    ]


def test_items_are_counted_in_the_row_of_their_step() -> None:
    found = visits(
        [
            event(EventType.NODE_STARTED, items=3),
            event(EventType.NODE_SUCCEEDED, 1),
            event(EventType.NODE_FAILED, 3, error="no"),
        ]
    )

    assert [(visit.items_done, visit.items, visit.state) for visit in found] == [(2, 3, "running")]


def test_what_a_node_waits_for_is_shown_while_it_waits() -> None:
    def page() -> None:
        import datetime

        from cadre_client import Event, EventType
        from cadre_frontend.widgets.activity import draw_activity

        time = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        kinds = [EventType.SERVICE_AWAITED, EventType.NODE_SUCCEEDED]
        passed = [Event(sequence=n, time=time, type=k, node="a") for n, k in enumerate(kinds, 1)]
        said = {"message": "model 'm' is given no more calls for now"}
        waits = Event(
            sequence=3, time=time, type=EventType.SERVICE_AWAITED, node="b", iteration=1, data=said
        )
        draw_activity([*passed, waits])
        over = Event(sequence=4, time=time, type=EventType.RUN_CANCELLED)
        draw_activity([*passed, waits, over])

    at = AppTest.from_function(page, default_timeout=30).run()

    (info,) = at.info
    assert info.value == "`b` waits: model 'm' is given no more calls for now"
    assert not at.exception


def test_a_budget_that_is_nearly_used_up_is_shown() -> None:
    def page() -> None:
        import datetime

        from cadre_client import Event, EventType
        from cadre_frontend.widgets.activity import draw_activity

        time = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        said = {"message": "the budget 'b' is nearly used up: $8 of $10"}
        draw_activity([Event(sequence=1, time=time, type=EventType.BUDGET_WARNED, data=said)])

    at = AppTest.from_function(page, default_timeout=30).run()

    (warning,) = at.warning
    assert warning.value.startswith("The budget 'b' is nearly used up")
    assert not at.exception


def test_what_programs_printed_and_used_is_shown_also_of_one_that_failed() -> None:
    def page() -> None:
        import datetime

        from cadre_client import Event, EventType
        from cadre_frontend.widgets.activity import draw_activity

        time = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        usage = {"wall_ms": 12, "cpu_ms": 9, "peak_memory_bytes": 24 << 20, "output_bytes": 6}
        said = {"outcome": "limit", "stdout": "$a$", "stderr": "", "usage": usage}
        said |= {"limits_reached": ["cpu"], "walls": ["language", "files"]}
        ends = {"type": EventType.NODE_FAILED, "node": "add", "iteration": 2, "time": time}
        draw_activity(
            [
                Event(sequence=1, data={"route": ["END"]}, **ends),
                Event(sequence=2, data={"program": said}, **ends),
            ]
        )

    at = AppTest.from_function(page, default_timeout=30).run()

    (block,) = at.expander
    assert block.label == "add, visit 2 · 12 ms · CPU 9 ms · 24 MiB · limit reached\\: cpu"
    assert [code.value for code in at.code] == ["$a$"]
    assert at.caption[-1].value == "Walls that held: language, files"
    assert not at.exception
