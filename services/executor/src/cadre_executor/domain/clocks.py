"""When schedules are due: cron expressions, intervals and recurrence rules (RFC 5545)."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import (  # type: ignore[import-untyped]  # it ships no annotations
    CroniterBadDateError,
    croniter,
)
from dateutil.rrule import (  # type: ignore[import-untyped]  # it ships no annotations
    DAILY,
    rrule,
    rrulestr,
)

from cadre_kit.errors import InvalidInput

__all__ = [
    "Clock",
    "Cron",
    "Interval",
    "Recurrence",
    "next_time",
    "times_between",
    "times_passed_over",
]

_CRON_FIELDS = 5
_SHORTEST_INTERVAL_SECONDS = 10.0
_LONGEST_INTERVAL_SECONDS = 366 * 86_400.0
_RULE_CHARACTERS = 1000
# Rules without a DTSTART are counted from here, as Prefect does.
_RULES_BEGIN = datetime.fromisoformat("2020-01-01")
# A rule is computed by going through its days from its start, here and in Prefect; these keep that short. One that is
# never due, such as the 30th of February, is gone through to the year 9999, which takes some seconds.
_RULE_YEARS = range(2000, 2100)
_TIMES_A_DAY = 24
# As far as Prefect itself plans.
_TIMES_REACH = timedelta(days=100)
_HOUR = timedelta(hours=1)


class CronInvalid(InvalidInput):
    """The cron expression cannot be read."""

    code = "CRON_INVALID"


class IntervalInvalid(InvalidInput):
    """The interval is too short or too long."""

    code = "INTERVAL_INVALID"


class RecurrenceInvalid(InvalidInput):
    """The recurrence rule cannot be read."""

    code = "RRULE_INVALID"


class TimezoneUnknown(InvalidInput):
    """No IANA time zone has the name."""

    code = "TIMEZONE_UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class Cron:
    """A five-field cron expression."""

    expression: str


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Every so many seconds, counted from `anchor`; 10 seconds to 366 days."""

    seconds: float
    anchor: datetime


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """One RRULE of RFC 5545, daily or rarer, at most 24 times a day, after a DTSTART if there is one; its wall clock is
    the time zone's."""

    rule: str


Clock: TypeAlias = Cron | Interval | Recurrence


def next_time(clock: Clock, timezone: str, *, after: datetime | None = None) -> datetime | None:
    """When it is next due after a time, or now, in UTC; None when it is never due again. Up to some seconds for a rule
    that never is.

    Raises CronInvalid, IntervalInvalid, RecurrenceInvalid or TimezoneUnknown.
    """
    zone = _zone(timezone)
    start = (after or datetime.now(UTC)).astimezone(zone)
    found: datetime | None
    match clock:
        case Cron():
            found = _next_of_cron(clock, start)
        case Interval():
            found = _next_of_interval(clock, start)
        case Recurrence():
            found = _next_of_rule(clock, start, zone)
    return None if found is None else found.astimezone(UTC)


def times_between(
    clock: Clock, timezone: str, *, after: datetime, before: datetime, most: int
) -> Sequence[datetime]:
    """The times between two, neither of them included, in UTC and in order: the last `most`. Those of a rule or a cron
    expression that passed more than 100 days before the end are left out.

    Raises as `next_time` does.
    """
    zone = _zone(timezone)
    start = max(after, before - _TIMES_REACH)
    if isinstance(clock, Recurrence):
        return _of_rule_between(clock, zone, start, before)[-most:]
    if isinstance(clock, Interval):
        start = max(after, before - timedelta(seconds=clock.seconds) * (most + 1))
    return deque(_between(clock, timezone, start, before), maxlen=most)


def times_passed_over(
    clock: Clock, timezone: str, *, after: datetime, before: datetime, most: int
) -> Sequence[datetime]:
    """As `times_between`, of two times that were planned: those that were not. Where the zone's clock changes, a time
    within an hour of either is taken for that one: each planner has its own place for what the clock skips or repeats.

    Raises as `next_time` does.
    """
    zone = _zone(timezone)
    times = times_between(clock, timezone, after=after, before=before, most=most)
    return [t for t in times if min(t - after, before - t) > _HOUR or not _changes(zone, t)]


def _changes(zone: ZoneInfo, time: datetime) -> bool:
    """Whether the zone's clock changes within an hour of a time."""
    return (time - _HOUR).astimezone(zone).utcoffset() != (time + _HOUR).astimezone(
        zone
    ).utcoffset()


def _between(clock: Clock, timezone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    found = next_time(clock, timezone, after=start)
    while found is not None and found < end:
        yield found
        found = next_time(clock, timezone, after=found)


def _of_rule_between(
    clock: Recurrence, zone: ZoneInfo, start: datetime, end: datetime
) -> list[datetime]:
    """Found at once: asked for one after the other, each would be searched from the rule's beginning."""
    walls = (time.astimezone(zone).replace(tzinfo=None) for time in (start, end))
    found = (
        time.replace(tzinfo=zone).astimezone(UTC) for time in _rule(clock.rule).between(*walls)
    )
    # When clocks go forward, two wall times are one.
    return list(dict.fromkeys(found))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise TimezoneUnknown(
            f"no time zone {name!r}",
            resolution="Name an IANA time zone, such as Europe/Berlin or UTC.",
            metadata={"timezone": name},
        ) from exc


def _next_of_cron(clock: Cron, start: datetime) -> datetime | None:
    expression = clock.expression
    if len(expression.split()) != _CRON_FIELDS or not croniter.is_valid(expression):
        raise CronInvalid(
            f"the cron expression {expression!r} cannot be read",
            resolution="Give five fields: minute hour day month weekday, such as `*/5 * * * *`.",
            metadata={"cron": expression},
        )
    times = croniter(expression, start)
    try:
        found: datetime = times.get_next(datetime)
        # An hour that comes twice is one to who names it, and two to who says every hour.
        while found.fold and "*" not in expression.split()[1]:
            found = times.get_next(datetime)
    except CroniterBadDateError:
        # The 31st of February: croniter looks 50 years ahead.
        return None
    return found


def _next_of_interval(clock: Interval, start: datetime) -> datetime:
    if not _SHORTEST_INTERVAL_SECONDS <= clock.seconds <= _LONGEST_INTERVAL_SECONDS:
        raise IntervalInvalid(
            f"an interval of {clock.seconds:g} s is too short or too long",
            resolution="Give 10 seconds to 366 days.",
            metadata={"seconds": f"{clock.seconds:g}"},
        )
    every = timedelta(seconds=clock.seconds)
    passed = max((start - clock.anchor) // every + 1, 0)
    return clock.anchor + passed * every


def _next_of_rule(clock: Recurrence, start: datetime, zone: ZoneInfo) -> datetime | None:
    rule = _rule(clock.rule)
    try:
        found: datetime | None = rule.after(start.replace(tzinfo=None))
    except (IndexError, ValueError, OverflowError) as exc:
        # dateutil does not check all parts when it reads them.
        raise _unreadable(clock.rule, "a part of it is out of range") from exc
    return None if found is None else found.replace(tzinfo=zone)


def _rule(text: str) -> rrule:
    if len(text) > _RULE_CHARACTERS:
        raise _unreadable(text, f"it is longer than {_RULE_CHARACTERS} characters")
    try:
        found = rrulestr(text, dtstart=_RULES_BEGIN, ignoretz=True)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as exc:
        raise _unreadable(text, str(exc) or type(exc).__name__) from exc
    if not isinstance(found, rrule):
        raise _unreadable(text, "it has more than one rule")
    if (why := _too_much(found)) is not None:
        raise _unreadable(text, why)
    return found


def _too_much(rule: rrule) -> str | None:
    times = len(rule._byhour or (0,)) * len(rule._byminute or (0,)) * len(rule._bysecond or (0,))
    if rule._freq > DAILY or times > _TIMES_A_DAY:
        return "it is due more than 24 times a day; use a cron expression or an interval"
    if rule._interval < 1:
        return "its INTERVAL is under 1"
    if rule._dtstart.year not in _RULE_YEARS:
        return "its DTSTART is out of reach"
    return None


def _unreadable(text: str, why: str) -> RecurrenceInvalid:
    return RecurrenceInvalid(
        f"the recurrence rule {text[:200]!r} cannot be read: {why}",
        resolution="Give one rule of RFC 5545, such as `FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=9;BYMINUTE=0;BYSECOND=0`.",
        metadata={"rrule": text[:200]},
    )
