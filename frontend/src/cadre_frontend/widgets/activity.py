"""What happens within the steps of a run: text while it is written, the tools that are called, and the programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from cadre_client import Event, EventType, JsonObject
from cadre_frontend.widgets.amounts import duration
from cadre_frontend.widgets.texts import plain

__all__ = [
    "ProgramRun",
    "ToolUse",
    "Written",
    "draw_activity",
    "program_runs",
    "tool_uses",
    "writings",
]

_SHOWN_TOOLS = 50
_SHOWN_PROGRAMS = 50
_ENDS = frozenset({EventType.RUN_SUCCEEDED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a model wrote so far in one call, on one visit of a step; `item` counts from 1 in a list, 0 is none."""

    node: str
    text: str
    item: int = 0
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class ToolUse:
    """A call of a tool; `result` is None until it returns."""

    node: str
    tool: str
    arguments: Any
    result: Any = None
    error: str = ""
    duration_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class ProgramRun:
    """A program that a step ran in the sandbox: `place` names the step with its visit, item and try, and `said` is what
    its event says."""

    place: str
    said: JsonObject

    @property
    def succeeded(self) -> bool:
        """Whether it ran to its end."""
        return self.said.get("outcome") == "succeeded"

    @property
    def figures(self) -> list[str]:
        """How long it took, what it used, and the limits that it reached."""
        usage = self.said.get("usage")
        used = {
            name: value
            for name, value in (usage.items() if isinstance(usage, dict) else ())
            if isinstance(value, int)
        }
        said = [duration(used.get("wall_ms")), f"CPU {duration(used.get('cpu_ms'))}"]
        if peak := used.get("peak_memory_bytes"):
            said.append(f"{peak / 2**20:.0f} MiB")
        return said + [f"limit reached: {name}" for name in self.names("limits_reached")]

    def text(self, name: str) -> str:
        """What it printed there."""
        return str(self.said.get(name) or "")

    def names(self, name: str) -> list[str]:
        """A list of names."""
        found = self.said.get(name)
        return [str(each) for each in found] if isinstance(found, list) else []


def writings(events: Sequence[Event]) -> list[Written]:
    """The texts by call, in the order in which they began; a call that was repeated begins anew."""
    found: dict[tuple[object, ...], Written] = {}
    for event in events:
        data = event.data or {}
        if event.type is EventType.NODE_TEXT:
            key = (event.node, event.iteration, event.item, event.attempt, str(data.get("call")))
            before = found[key].text if key in found and data.get("offset") else ""
            text = before + str(data.get("text", ""))
            found[key] = Written(node=event.node, text=text, item=event.item)
        elif event.type in (EventType.NODE_SUCCEEDED, EventType.NODE_FAILED):
            for place, written in found.items():
                if place[:2] == (event.node, event.iteration) and event.item in (0, place[2]):
                    found[place] = replace(written, done=True)
    return list(found.values())


def tool_uses(events: Sequence[Event]) -> list[ToolUse]:
    """The calls of tools, in the order in which they began."""
    found: dict[tuple[object, ...], ToolUse] = {}
    for event in events:
        data = event.data or {}
        key = (event.node, event.iteration, event.item, event.attempt, str(data.get("call")))
        if event.type is EventType.TOOL_CALLED:
            found[key] = ToolUse(
                node=event.node, tool=str(data.get("tool")), arguments=data.get("arguments")
            )
        elif event.type is EventType.TOOL_RETURNED and key in found:
            found[key] = replace(
                found[key],
                result=data.get("result"),
                error=event.error.message if event.error else "",
                duration_ms=event.duration_ms,
            )
    return list(found.values())


def program_runs(events: Sequence[Event]) -> list[ProgramRun]:
    """The programs, in the order in which they ended; earlier versions did not tell of them."""
    found = []
    for event in events:
        said = (event.data or {}).get("program")
        if isinstance(said, dict):
            parts = [event.node]
            parts += [f"visit {event.iteration}"] if event.iteration > 1 else []
            parts += [f"item {event.item}"] if event.item else []
            parts += [f"try {event.attempt}"] if event.attempt > 1 else []
            found.append(ProgramRun(place=", ".join(parts), said=said))
    return found


def draw_activity(events: Sequence[Event]) -> None:
    """Budgets that are nearly used up, texts that are being written, then the tools and programs, each to be opened."""
    draw_budget_warnings(events)
    for written in writings(events):
        if not written.done:
            with st.container(border=True):
                item = f", item {written.item}," if written.item else ""
                st.caption(f"`{written.node}`{item} writes")
                st.text(written.text)
    draw_awaited(events)
    draw_remote_tasks(events)
    uses = tool_uses(events)
    if uses:
        st.subheader("Tools")
    for use in uses[-_SHOWN_TOOLS:]:
        _draw_tool(use)
    if len(uses) > _SHOWN_TOOLS:
        st.caption(f"The last {_SHOWN_TOOLS} of {len(uses)} calls.")
    draw_programs(program_runs(events))


def draw_programs(runs: Sequence[ProgramRun]) -> None:
    """What programs printed and used, each to be opened."""
    if runs:
        st.subheader("Programs")
    for run in runs[-_SHOWN_PROGRAMS:]:
        icon = ":material/terminal:" if run.succeeded else ":material/error:"
        with st.expander(" · ".join([plain(run.place), *map(plain, run.figures)]), icon=icon):
            printed = [name for name in ("stdout", "stderr") if run.text(name)]
            for name in printed:
                st.caption(name)
                st.code(run.text(name), language=None)
            if not printed:
                st.caption("It printed nothing.")
            st.caption(f"Walls that held: {plain(', '.join(run.names('walls')))}")
    if len(runs) > _SHOWN_PROGRAMS:
        st.caption(f"The last {_SHOWN_PROGRAMS} of {len(runs)} programs.")


def draw_budget_warnings(events: Sequence[Event]) -> None:
    """Which budgets the run brought near their limits."""
    for event in events:
        if event.type is EventType.BUDGET_WARNED:
            said = str((event.data or {}).get("message"))
            st.warning(plain(said[:1].upper() + said[1:]), icon=":material/account_balance_wallet:")


def draw_awaited(events: Sequence[Event]) -> None:
    """Which nodes wait for a service or a model that has no place for them, and for what."""
    if events and events[-1].type in _ENDS:
        return
    last = {(event.node, event.iteration, event.item): event for event in events if event.node}
    for event in last.values():
        if event.type is EventType.SERVICE_AWAITED:
            said = str((event.data or {}).get("message"))
            st.info(f"`{event.node}` waits: {plain(said)}", icon=":material/hourglass_top:")


def draw_remote_tasks(events: Sequence[Event]) -> None:
    """What remote agents do, each by what was last heard of it."""
    last = {
        (event.node, event.iteration, event.item): event
        for event in events
        if event.type is EventType.AGENT_TASK
    }
    if last:
        st.subheader("Agents")
    for event in list(last.values())[-_SHOWN_TOOLS:]:
        data = event.data or {}
        state = str(data.get("state", "")).replace("_", " ")
        said = f": {plain(str(data['said']))}" if data.get("said") else ""
        st.caption(f"{plain(str(data.get('agent')))} · {plain(event.node)} · {state}{said}")


def _draw_tool(use: ToolUse) -> None:
    took = "under way" if use.duration_ms is None else duration(use.duration_ms)
    icon = ":material/error:" if use.error else ":material/build:"
    with st.expander(f"{use.tool} · {use.node} · {took}", icon=icon):
        _draw_value("Arguments", use.arguments)
        if use.error:
            st.error(use.error)
        elif use.duration_ms is not None:
            _draw_value("Result", use.result)


def _draw_value(label: str, value: Any) -> None:
    st.caption(label)
    if isinstance(value, dict | list):
        st.json(value, expanded=len(json.dumps(value)) < 1000)
    else:
        st.text(str(value))
