"""Workflows as diagrams."""

import json
from collections.abc import Mapping

import streamlit as st

from cadre_client import Graph, GraphEdge

__all__ = ["draw", "mermaid"]

_ENDS = {"START": "start", "END": "end_"}
_SHAPES = {
    "llm": ("([", "])"),
    "code": ("[[", "]]"),
    "memory": ("[(", ")]"),
}
_STATES = {
    "succeeded": "fill:#dcf5e3,stroke:#2e9e5b,color:#14532d",
    "running": "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a",
    "failed": "fill:#fde2e2,stroke:#dc2626,color:#7f1d1d",
    "skipped": "fill:#f1f1f4,stroke:#a1a1aa,color:#52525b,stroke-dasharray:4",
}
_LABEL_CHARACTERS = 60
# The colour of the page, on which the words of an edge stand.
_PAGES = {"light": "#ffffff", "dark": "#171614"}


def draw(graph: Graph, states: Mapping[str, str] | None = None) -> None:
    """Draws a workflow; `states` (by node: succeeded, running, failed, skipped) colours its nodes."""
    names = ", ".join(node.label for node in graph.nodes)
    page = _PAGES.get(st.context.theme.type or "light", _PAGES["light"])
    st.mermaid_chart(mermaid(graph, states or {}, page=page), alt=f"Diagram of the steps {names}")


def mermaid(graph: Graph, states: Mapping[str, str], *, page: str = _PAGES["light"]) -> str:
    """The diagram as Mermaid text. Ids are our own, so that no name of a user's can be syntax."""
    ids = {**_ENDS, **{node.id: f"n{place}" for place, node in enumerate(graph.nodes)}}
    wide = any(edge.loop for edge in graph.edges) or len(graph.nodes) <= 4
    direction = "flowchart LR" if wide else "flowchart TD"
    lines = [_init(page), direction, "start((Start))", "end_((End))"]
    for node in graph.nodes:
        opening, closing = _SHAPES.get(node.kind, ("[", "]"))
        lines.append(f'{ids[node.id]}{opening}"{_text(node.label)}"{closing}')
    lines += [_edge(edge, ids, place) for place, edge in enumerate(graph.edges)]
    for name, style in {**_STATES, "words": f"fill:{page},stroke:none"}.items():
        lines.append(f"classDef {name} {style}")
    lines += [f"class {ids[n]} {s}" for n, s in states.items() if n in ids and s in _STATES]
    return "\n".join(lines)


def _init(page: str) -> str:
    # Widths are measured in the page's font and drawn in the system's, which is wider: hence the padding.
    options = {
        "flowchart": {"minNodeWidth": 40, "padding": 24, "wrappingWidth": 180},
        "themeVariables": {"edgeLabelBackground": page},
    }
    return f"%%{{init: {json.dumps(options)}}}%%"


def _edge(edge: GraphEdge, ids: Mapping[str, str], place: int) -> str:
    """A line with its words. Mermaid's own labels let the line be seen through them; a node without a frame does not,
    but would draw a loop around all that it goes back over."""
    source, target, words = ids[edge.source], ids[edge.target], _text(edge.condition)
    if edge.loop:
        return f'{source} -.->|"{words}"| {target}' if words else f"{source} -.-> {target}"
    return (
        f'{source} --- e{place}["{words}"]:::words --> {target}'
        if words
        else f"{source} --> {target}"
    )


def _text(text: str) -> str:
    """A label: Mermaid reads HTML entities written with # and without &."""
    short = text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"
    escaped = {'"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;", "`": "'", "\n": " "}
    return "".join(escaped.get(character, character) for character in short)
