"""From when to when something holds, as its metadata says, and whether it does at a time that is asked about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from cadre_memory.domain.times import days_named

VALID_FROM = "valid_from"
VALID_TO = "valid_to"


@dataclass(frozen=True, kw_only=True)
class Span:
    """From one moment until before another; None is open."""

    start: datetime | None = None
    end: datetime | None = None

    def meets(self, other: "Span") -> bool:
        """Whether they have a moment in common."""
        return _before(self.start, other.end) and _before(other.start, self.end)


def span_of(metadata: Mapping[str, Any]) -> Span:
    """When an item holds; always, where its metadata does not say it as ISO 8601."""
    return Span(start=_moment(metadata.get(VALID_FROM)), end=_moment(metadata.get(VALID_TO)))


def asked_about(question: str, *, asked: datetime) -> tuple[Span, ...]:
    """The times that a question is about: that of asking it, and those that it names."""
    named = days_named(question, today=asked.astimezone(UTC).date())
    now = Span(start=asked, end=asked + timedelta(microseconds=1))
    return (now, *(Span(start=day_start(d.first), end=_day_after(d.last)) for d in named))


def holds(metadata: str, times: tuple[Span, ...]) -> bool:
    """Whether an item, by the JSON text of its metadata, holds at one of the times."""
    if VALID_FROM not in metadata and VALID_TO not in metadata:
        return True
    own = span_of(json.loads(metadata))
    return any(own.meets(each) for each in times)


def day_start(day: date) -> datetime:
    """The moment a day begins, in UTC."""
    return datetime.combine(day, time(), UTC)


def _day_after(day: date) -> datetime | None:
    return None if day == date.max else day_start(day + timedelta(days=1))


def _before(start: datetime | None, end: datetime | None) -> bool:
    return start is None or end is None or start < end


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
