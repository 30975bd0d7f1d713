"""Times, tokens and money in words."""

from datetime import UTC, datetime
from decimal import Decimal

from cadre_client import Run, RunStatus, Usage

__all__ = ["STATUS_COLOURS", "ago", "cost", "dollars", "duration", "run_duration", "tokens"]

STATUS_COLOURS = {
    RunStatus.QUEUED: "gray",
    RunStatus.RUNNING: "blue",
    RunStatus.WAITING: "violet",
    RunStatus.SUCCEEDED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "orange",
}


def duration(milliseconds: int | None) -> str:
    """12 ms, 3.4 s, 2 min 5 s, 1 h 12 min; a dash while it is not known."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def run_duration(run: Run) -> str:
    """How long a run took, or has taken so far."""
    if run.duration_ms is None and run.started_time is not None:
        return duration(round((datetime.now(UTC) - run.started_time).total_seconds() * 1000))
    return duration(run.duration_ms)


def ago(moment: datetime | None) -> str:
    """just now, 5 min ago, 3 h ago, then the day."""
    if moment is None:
        return "–"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h ago"
    return f"{moment:%Y-%m-%d}"


def cost(usage: Usage | None) -> str:
    """US dollars; `unknown` when the price of a call is not known."""
    if usage is None or usage.calls == 0:
        return "–"
    return "unknown" if usage.cost_usd is None else dollars(usage.cost_usd)


def dollars(amount: Decimal) -> str:
    """An exact amount, with two digits at least."""
    if amount == 0:
        return "$0"
    exact = f"{amount.normalize():f}"
    whole, _, part = exact.partition(".")
    return f"${whole}.{part:0<2}" if part else f"${whole}"


def tokens(usage: Usage | None) -> str:
    """Tokens in and out."""
    if usage is None or usage.calls == 0:
        return "–"
    return f"{usage.input_tokens:,} in · {usage.output_tokens:,} out"
