"""Amounts, durations and times as people read them."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

__all__ = ["as_text", "cost", "count", "duration", "moment", "span"]


def cost(usd: Decimal | None) -> str:
    """An amount of money; `unknown` when a price was."""
    if usd is None:
        return "unknown"
    return f"${format(usd.normalize(), 'f')}" if usd else "$0"


def count(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}"


def duration(milliseconds: int | None) -> str:
    """How long something took; a dash while it goes on."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    return span(milliseconds / 1000)


def span(seconds: float) -> str:
    """A number of seconds, in the two units that matter."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {int(seconds % 60)} s"


def moment(time: datetime | None) -> str:
    """A time in the zone of this machine; a dash when there is none."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else "-"


def as_text(value: Any) -> str:
    """A value of a state field: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
