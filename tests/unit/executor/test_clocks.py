"""When schedules are due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadre_executor.domain.clocks import (
    Clock,
    Cron,
    Interval,
    Recurrence,
    next_time,
    times_between,
    times_passed_over,
)
from cadre_executor.domain.timetables import CatchUp, is_missed
from cadre_kit.errors import InvalidInput

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
DAILY = Cron(expression="0 9 * * *")


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (DAILY, "2026-03-29T07:00:00+00:00"),
        (Interval(seconds=3600, anchor=NOON - timedelta(minutes=10)), "2026-03-28T12:50:00+00:00"),
        (Interval(seconds=3600, anchor=NOON), "2026-03-28T13:00:00+00:00"),
        (Recurrence(rule="FREQ=DAILY;BYHOUR=9"), "2026-03-29T07:00:00+00:00"),
        (
            Recurrence(rule="DTSTART:20260325T080000\nRRULE:FREQ=WEEKLY;INTERVAL=2"),
            "2026-04-08T06:00:00+00:00",
        ),
    ],
)
def test_the_next_time_follows_the_zones_wall_clock_also_when_it_changes(
    clock: Clock, expected: str
) -> None:
    found = next_time(clock, "Europe/Berlin", after=NOON)

    assert found is not None
    assert found.isoformat() == expected


@pytest.mark.parametrize(
    ("expression", "times"),
    [("30 2 * * *", ["00:30"]), ("30 * * * *", ["00:30", "01:30"]), ("30 1-3 * * *", ["00:30"])],
)
def test_an_hour_that_comes_twice_is_one_to_who_names_it(expression: str, times: list[str]) -> None:
    night = datetime(2026, 10, 25, tzinfo=UTC)
    found = times_between(
        Cron(expression=expression),
        "Europe/Berlin",
        after=night,
        before=night + timedelta(hours=2),
        most=5,
    )

    assert [time.strftime("%H:%M") for time in found] == times


def test_a_cron_expression_that_no_day_fits_is_never_due() -> None:
    assert next_time(Cron(expression="0 9 31 2 *"), "UTC") is None


@pytest.mark.parametrize(
    "planned",
    [
        ("2026-03-28T01:30", "2026-03-29T00:30", "2026-03-30T00:30"),
        ("2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"),
        ("2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"),
    ],
)
def test_wherever_prefect_puts_a_time_that_the_clock_skips_it_was_not_passed_over(
    planned: tuple[str, str, str],
) -> None:
    first, second, third = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in planned)
    clock = Cron(expression="30 2 * * *")

    for after, before, lost in ((first, second, 0), (second, third, 0), (first, third, 1)):
        found = times_passed_over(clock, "Europe/Berlin", after=after, before=before, most=9)
        assert len(found) == lost


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "hello",
        "FREQ=MINUTELY",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=YEARLY;BYEASTER=400",
        "FREQ=DAILY;BYHOUR=0,1,2,3,4;BYMINUTE=0,10,20,30,40,50",
        "DTSTART:99990101T000000\nRRULE:FREQ=DAILY",
        "RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY",
        "FREQ=DAILY;" * 200,
    ],
)
def test_a_rule_that_cannot_be_read_or_costs_too_much_is_refused(rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        next_time(Recurrence(rule=rule), "UTC")

    assert caught.value.code == "RRULE_INVALID"


@given(text=st.text(max_size=60))
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    for clock in (Cron(expression=text), Recurrence(rule=text)):
        try:
            found = next_time(clock, "UTC", after=NOON)
        except InvalidInput:
            continue
        assert found is None or found > NOON


@pytest.mark.parametrize(
    ("catch_up", "late", "missed"),
    [
        (CatchUp.SKIP, timedelta(minutes=4), False),
        (CatchUp.SKIP, timedelta(minutes=6), True),
        (CatchUp.LATEST, timedelta(hours=23), False),
        (CatchUp.LATEST, timedelta(hours=25), True),
        (CatchUp.ALL, timedelta(days=3), False),
    ],
)
def test_what_is_late_is_left_out_as_the_schedule_says(
    catch_up: CatchUp, late: timedelta, missed: bool
) -> None:
    due = datetime(2026, 3, 2, 9, tzinfo=UTC)

    assert is_missed(DAILY, "UTC", catch_up=catch_up, due=due, now=due + late) is missed


@pytest.mark.parametrize(
    "clock",
    [
        Cron(expression="*/30 * * * *"),
        Interval(seconds=900, anchor=NOON),
        Recurrence(rule="FREQ=DAILY;BYHOUR=1,2,3,9"),
    ],
    ids=["cron", "interval", "rrule"],
)
def test_the_times_between_two_are_the_last_of_those_that_follow_one_another(clock: Clock) -> None:
    # The clocks change in between.
    end = NOON + timedelta(days=2)
    each = []
    passed = next_time(clock, "Europe/Berlin", after=NOON)
    while passed is not None and passed < end:
        each.append(passed)
        passed = next_time(clock, "Europe/Berlin", after=passed)

    found = times_between(clock, "Europe/Berlin", after=NOON, before=end, most=5)
    every = times_between(clock, "Europe/Berlin", after=NOON, before=end, most=1000)

    assert list(found) == each[-5:]
    assert list(every) == each
    assert list(times_between(clock, "UTC", after=end, before=NOON, most=5)) == []
