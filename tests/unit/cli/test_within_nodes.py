"""What a person sees of text, tools and items."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cadre_cli.within_nodes import WithinNodes
from cadre_client import Event, EventType, Failure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROGRAM: dict[str, Any] = {
    "outcome": "limit",
    "stdout": "a [b]\n",
    "stderr": "oh",
    "usage": {"wall_ms": 1200, "cpu_ms": 3, "peak_memory_bytes": 24 << 20, "output_bytes": 9},
    "limits_reached": ["time"],
    "walls": [*"network user privileges files limits syscalls processes".split()],
}


def event(kind: EventType, item: int = 0, error: str = "", **data: Any) -> Event:
    failure = Failure(code="TOOL_FAILED", message=error) if error else None
    return Event(sequence=1, time=NOW, type=kind, node="say", item=item, data=data, error=failure)


def shown(*events: Event) -> tuple[list[str], str]:
    within = WithinNodes()
    lines = [line for each in events for line in within.lines(each)]
    return lines, within.state("say")


def test_lines_of_text_are_printed_as_they_end_and_the_rest_is_under_way() -> None:
    lines, state = shown(
        event(EventType.NODE_TEXT, text="one\ntw", offset=0),
        event(EventType.NODE_TEXT, text="o\nthree", offset=6),
    )

    assert lines == ["  [dim]│[/] one", "  [dim]│[/] two"]
    assert state == "say: three"


def test_the_rest_of_a_text_is_printed_when_its_node_ends() -> None:
    lines, _ = shown(
        event(EventType.NODE_TEXT, text="all", offset=0), event(EventType.NODE_SUCCEEDED)
    )

    assert lines == ["  [dim]│[/] all"]


def test_texts_of_items_that_are_written_side_by_side_stay_apart() -> None:
    lines, _ = shown(
        event(EventType.NODE_TEXT, 1, text="one ", offset=0),
        event(EventType.NODE_TEXT, 2, text="two", offset=0),
        event(EventType.NODE_TEXT, 1, text="more", offset=4),
        event(EventType.NODE_SUCCEEDED, 1),
        event(EventType.NODE_SUCCEEDED, 2),
    )

    assert lines == ["  [dim]│[/] [dim]1[/] one more", "  [dim]│[/] [dim]2[/] two"]


def test_items_are_counted_and_only_those_that_failed_are_printed() -> None:
    ended = [event(EventType.NODE_SUCCEEDED, item) for item in range(1, 38)]

    lines, state = shown(
        event(EventType.NODE_STARTED, items=1000), *ended, event(EventType.NODE_FAILED, 38, "no")
    )

    assert lines == ["  [red]✗[/] say item 38  TOOL_FAILED: no"]
    assert state == "say 38/1000"


def test_tools_are_shown_with_what_they_were_given_and_gave() -> None:
    lines, _ = shown(
        event(EventType.TOOL_CALLED, tool="shell", arguments={"command": "ls [x]"}),
        event(EventType.TOOL_RETURNED, tool="shell", result="a" * 200),
        event(EventType.TOOL_RETURNED, error="it broke", tool="shell"),
    )

    assert lines[0] == '  [dim]→ say calls shell {"command": "ls \\[x]"}[/]'
    assert lines[1].endswith("a…[/]")
    assert "failed after" in lines[2]


def test_what_a_failed_tool_had_printed_stands_below_its_error() -> None:
    failed = "it broke\nBefore that it printed:\nrows: 3"

    lines, _ = shown(event(EventType.TOOL_RETURNED, error=failed, tool="python"))

    assert lines[0].endswith("it broke\n  │ Before that it printed:\n  │ rows: 3[/]")


def test_what_a_node_waits_for_is_printed() -> None:
    lines, _ = shown(event(EventType.SERVICE_AWAITED, message="model 'm' is given no more calls"))

    assert lines == ["  [yellow]⏳ say waits: model 'm' is given no more calls[/]"]


def test_a_budget_that_is_nearly_used_up_is_printed() -> None:
    lines, _ = shown(event(EventType.BUDGET_WARNED, message="the budget 'b' is nearly used up"))

    assert lines == ["  [yellow]! the budget 'b' is nearly used up[/]"]


def test_what_a_program_printed_and_used_is_printed() -> None:
    lines, _ = shown(event(EventType.NODE_FAILED, program=PROGRAM))

    assert lines == [
        "  [dim]│[/] a \\[b]",
        "  [dim]│[/] oh",
        "  [dim]▪ say ran 1.2 s, CPU 3 ms, 24 MiB, limit reached: time[/]",
    ]


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([*PROGRAM["walls"], "language", "process", "landlock"], "time[/]"),
        (["proxy", *PROGRAM["walls"][1:]], "time[/]"),
        (PROGRAM["walls"][1:], "time, without the walls: network[/]"),
        (
            [*PROGRAM["walls"][1:], "language", "process"],
            "time, without the walls: network landlock[/]",
        ),
    ],
)
def test_walls_are_printed_only_where_one_of_them_is_missing(held: list[str], said: str) -> None:
    lines, _ = shown(event(EventType.NODE_FAILED, program={**PROGRAM, "walls": held}))

    assert lines[-1].endswith(f"limit reached: {said}")


def test_of_many_lines_of_a_program_the_last_are_printed() -> None:
    said = {**PROGRAM, "stdout": "line\n" * 30}

    lines, _ = shown(event(EventType.NODE_SUCCEEDED, 3, program=said))

    assert lines[0] == "  [dim]│ … 11 lines before, on the run's page[/]"
    assert lines[-1].startswith("  [dim]▪ say item 3 ran")


def test_items_whose_programs_printed_nothing_are_not_printed() -> None:
    silent = {**PROGRAM, "outcome": "succeeded", "stdout": "", "stderr": ""}

    lines, _ = shown(event(EventType.NODE_SUCCEEDED, 3, program=silent))

    assert lines == []
