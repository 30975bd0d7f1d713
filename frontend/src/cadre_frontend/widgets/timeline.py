"""What happened in a run, drawn as bars along time."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import streamlit as st

from cadre_client import Event, EventType, Failure, Usage
from cadre_frontend.widgets.amounts import cost, duration, tokens

__all__ = ["Visit", "draw_timeline", "node_states", "visits"]

_ENDS = {
    EventType.NODE_SUCCEEDED: "succeeded",
    EventType.NODE_FAILED: "failed",
    EventType.NODE_RETRIED: "retried",
    EventType.NODE_SKIPPED: "skipped",
}
_COLOURS = {
    "succeeded": "#2e9e5b",
    "failed": "#dc2626",
    "retried": "#d97706",
    "skipped": "#a1a1aa",
    "running": "#2563eb",
    "stopped": "#a1a1aa",
}
_STYLE = """<style>
.cadre-timeline {display: grid; grid-template-columns: max-content 1fr max-content max-content max-content;
  gap: .35rem 1rem; align-items: center; font-size: .9rem; font-variant-numeric: tabular-nums;}
.cadre-timeline .track {position: relative; height: .9rem; border-radius: .25rem;
  background: color-mix(in srgb, currentColor 8%, transparent);}
.cadre-timeline .bar {position: absolute; top: 0; bottom: 0; border-radius: .25rem; min-width: 3px;}
.cadre-timeline .dim {opacity: .65;} .cadre-timeline .right {text-align: right;}
</style>"""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One try of one visit of a node; `end` is None while it runs. `items` are those of a for_each, 0 without one;
    `cached` says that a kept result was taken."""

    node: str
    iteration: int
    attempt: int
    start: datetime
    end: datetime | None
    state: str
    usage: Usage | None = None
    error: Failure | None = None
    items: int = 0
    items_done: int = 0
    cached: bool = False


def visits(events: Sequence[Event]) -> list[Visit]:
    """What the events say of each visit, in the order in which they began."""
    last = events[-1] if events else None
    found: dict[tuple[str, int, int], Visit] = {}
    for event in events:
        if event.item:
            _count(event, found)
            continue
        key = (event.node, event.iteration, event.attempt)
        if event.type is EventType.NODE_STARTED or event.type is EventType.NODE_SKIPPED:
            found[key] = _begun(event)
        if event.type in _ENDS:
            begun = found.get(key) or _begun(event)
            found[key] = _ended(begun, event)
        if event.type is EventType.NODE_RETRIED:
            found[(*key[:2], event.attempt + 1)] = _next(found[key], event)
    stopped = last is not None and last.is_last
    return [_cut(visit, last.time) if stopped and last else visit for visit in found.values()]


def node_states(found: Sequence[Visit]) -> dict[str, str]:
    """Each node's state, that of its last visit."""
    return {visit.node: visit.state for visit in found}


def draw_timeline(found: Sequence[Visit], now: datetime) -> None:
    """One row a visit: name, bar, duration, tokens, cost."""
    if not found:
        return
    first = min(visit.start for visit in found)
    last = max(visit.end or now for visit in found)
    span = max((last - first).total_seconds(), 0.001)
    rows = "".join(_row(visit, first, span, now) for visit in found)
    head = '<b>Step</b><span></span><b class="right">Time</b><b class="right">Tokens</b><b class="right">Cost</b>'
    st.html(f'{_STYLE}<div class="cadre-timeline" role="table">{head}{rows}</div>')


def _row(visit: Visit, first: datetime, span: float, now: datetime) -> str:
    start = (visit.start - first).total_seconds()
    length = max(((visit.end or now) - visit.start).total_seconds(), 0.0)
    left, width = 100 * start / span, 100 * length / span
    name = html.escape(visit.node)
    if visit.iteration > 1:
        name += f' <span class="dim">visit {visit.iteration}</span>'
    if visit.items:
        name += f' <span class="dim">{visit.items_done}/{visit.items}</span>'
    if visit.cached:
        name += ' <span class="dim">a kept result</span>'
    if visit.attempt > 1:
        name += f' <span class="dim">try {visit.attempt}</span>'
    bar = f"left:{min(left, 99.5):.2f}%;width:{width:.2f}%;background:{_COLOURS[visit.state]}"
    taken = "skipped" if visit.state == "skipped" else duration(round(length * 1000))
    return (
        f'<span>{name}</span><span class="track" title="{visit.state}"><span class="bar" style="{bar}"></span></span>'
        f'<span class="right">{taken}</span><span class="right dim">{tokens(visit.usage)}</span>'
        f'<span class="right dim">{html.escape(cost(visit.usage))}</span>'
    )


def _count(event: Event, found: dict[tuple[str, int, int], Visit]) -> None:
    """Counts an item that ended, for the visit that goes through the items."""
    if event.type not in (EventType.NODE_SUCCEEDED, EventType.NODE_FAILED):
        return
    for key, visit in found.items():
        if key[:2] == (event.node, event.iteration):
            found[key] = replace(visit, items_done=visit.items_done + 1)


def _begun(event: Event) -> Visit:
    items = (event.data or {}).get("items")
    return Visit(
        node=event.node,
        iteration=event.iteration,
        attempt=event.attempt,
        start=event.time,
        end=None,
        state="running",
        items=items if isinstance(items, int) else 0,
    )


def _ended(visit: Visit, event: Event) -> Visit:
    return replace(
        visit,
        end=event.time,
        state=_ENDS[event.type],
        usage=event.usage,
        error=event.error,
        cached=bool((event.data or {}).get("cached")),
    )


def _next(visit: Visit, retried: Event) -> Visit:
    """The try after one that failed, which begins when the wait between them is over; no event says so."""
    delay = (retried.data or {}).get("delay_seconds")
    wait = timedelta(seconds=delay if isinstance(delay, int | float) else 0)
    return Visit(
        node=visit.node,
        iteration=visit.iteration,
        attempt=visit.attempt + 1,
        start=retried.time + wait,
        end=None,
        state="running",
    )


def _cut(visit: Visit, end: datetime) -> Visit:
    """A visit that the run's end cut off."""
    if visit.end is not None:
        return visit
    return replace(visit, end=max(end, visit.start), state="stopped")
