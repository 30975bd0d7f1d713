"""What happens within nodes, as a person sees it at a terminal: text as it is written, tools, programs, ended items."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cadre_cli.screen import escape
from cadre_cli.words import duration

if TYPE_CHECKING:
    from cadre_client import Event

__all__ = ["WithinNodes"]

_SHOWN = 100
_SHOWN_BELOW = 60
_SHOWN_LINES = 20
# Around every program where the sandbox has all that it wants, in mode docker without the others of mode python.
_USUAL_WALLS = ("network", "user", "privileges", "files", "limits", "syscalls", "processes")
_WALLS_OF_PYTHON = ("language", "process", "landlock")


class WithinNodes:
    """Remembers what is under way in nodes: lines of text that have not ended, and how many items have."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, int], str] = {}
        self._items: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def lines(self, event: "Event") -> Iterator[str]:
        """What to print when an event comes."""
        data = event.data or {}
        match event.type:
            case "node_started" if not event.item:
                self._items[event.node] = _number(data, "items")
                self._done[event.node] = 0
            case "node_text":
                yield from self._written(event, data)
            case "tool_called":
                yield f"  [dim]→ {escape(event.node)} calls {_tool(data)} {_short(data, 'arguments')}[/]"
            case "tool_returned":
                yield f"  {_returned(event, data)}"
            case "agent_task":
                yield f"  [dim]⇄ {escape(event.node)}: agent {escape(str(data.get('agent')))} {_state(data)}[/]"
            case "service_awaited":
                yield f"  [yellow]⏳ {escape(event.node)} waits: {escape(str(data.get('message')))}[/]"
            case "budget_warned":
                yield f"  [yellow]! {escape(str(data.get('message')))}[/]"
            case "node_succeeded" | "node_failed":
                yield from self._ended(event)
            case "node_retried":
                yield from _program(event)

    def state(self, node: str) -> str:
        """A node that is under way: how many of its items have ended, or what is being written."""
        name = escape(node)
        if self._items.get(node):
            return f"{name} {self._done[node]}/{self._items[node]}"
        writes = self._texts.get((node, 0), "")[-_SHOWN_BELOW:].strip()
        return f"{name}: {escape(writes)}" if writes else name

    def _written(self, event: "Event", data: Mapping[str, Any]) -> Iterator[str]:
        """The lines that have ended; a reply that begins anew is a new line."""
        if not data.get("offset"):
            yield from self._left(event)
        key = event.node, event.item
        *ended, rest = (self._texts.get(key, "") + str(data.get("text", ""))).split("\n")
        self._texts[key] = rest
        for line in ended:
            yield _text(line, event.item)

    def _left(self, event: "Event") -> Iterator[str]:
        if left := self._texts.pop((event.node, event.item), ""):
            yield _text(left, event.item)

    def _ended(self, event: "Event") -> Iterator[str]:
        yield from self._left(event)
        yield from _program(event)
        if event.item:
            self._done[event.node] = self._done.get(event.node, 0) + 1
            if event.error is not None:
                reason = escape(f"{event.error.code}: {event.error.message}")
                yield f"  [red]✗[/] {escape(event.node)} item {event.item}  {reason}"


def _text(line: str, item: int) -> str:
    place = f"[dim]{item}[/] " if item else ""
    return f"  [dim]│[/] {place}{escape(line)}"


def _program(event: "Event") -> Iterator[str]:
    """What a program printed, the last lines of it, and what it used; of items only where they printed or failed."""
    said = (event.data or {}).get("program")
    if not isinstance(said, dict):
        return
    lines = [
        line for name in ("stdout", "stderr") for line in str(said.get(name) or "").splitlines()
    ]
    if len(lines) > _SHOWN_LINES:
        yield f"  [dim]│ … {len(lines) - _SHOWN_LINES} lines before, on the run's page[/]"
    for line in lines[-_SHOWN_LINES:]:
        yield _text(line, event.item)
    if lines or not event.item or said.get("outcome") != "succeeded":
        yield f"  [dim]▪ {escape(_place(event))} {escape(_used(said))}[/]"


def _place(event: "Event") -> str:
    return f"{event.node} item {event.item}" if event.item else event.node


def _used(said: Mapping[str, Any]) -> str:
    """How long a program took, what it used, the limits it reached, and which of the usual walls did not hold."""
    usage = said.get("usage")
    used = usage if isinstance(usage, dict) else {}
    parts = [
        f"ran {duration(_number(used, 'wall_ms'))}",
        f"CPU {duration(_number(used, 'cpu_ms'))}",
    ]
    if peak := _number(used, "peak_memory_bytes"):
        parts.append(f"{peak / 2**20:.0f} MiB")
    parts += [f"limit reached: {name}" for name in _names(said, "limits_reached")]
    if missing := _missing_walls(_names(said, "walls")):
        parts.append(f"without the walls: {' '.join(missing)}")
    return ", ".join(parts)


def _missing_walls(held: list[str]) -> list[str]:
    usual = _USUAL_WALLS + (_WALLS_OF_PYTHON if "language" in held else ())
    # A proxy stands where a program may reach hosts of the operator's list.
    stands_in = {"network"} if "proxy" in held else set[str]()
    return [wall for wall in usual if wall not in {*held, *stands_in}] if held else []


def _names(said: Mapping[str, Any], name: str) -> list[str]:
    found = said.get(name)
    return [str(each) for each in found] if isinstance(found, list) else []


def _state(data: Mapping[str, Any]) -> str:
    """What a remote agent's task is doing."""
    return escape(str(data.get("state", "")).replace("_", " "))


def _tool(data: Mapping[str, Any]) -> str:
    return escape(str(data.get("tool", "")))


def _returned(event: "Event", data: Mapping[str, Any]) -> str:
    took = duration(event.duration_ms)
    if event.error is not None:
        # What a program had printed before it failed stands below, as what others print.
        said = escape(f"{event.error.code}: {event.error.message}").replace("\n", "\n  │ ")
        return f"[yellow]← {_tool(data)} failed after {took}: {said}[/]"
    return f"[dim]← {_tool(data)} {took} {_short(data, 'result')}[/]"


def _short(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return escape(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) else 0
