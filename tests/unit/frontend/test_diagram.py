"""Diagrams hold any names and conditions without reading them as syntax."""

import pytest

from cadre_client import Graph, GraphEdge, GraphNode
from cadre_frontend.widgets.diagram import mermaid


def graph(label: str = "ask", condition: str = "", *, loop: bool = False) -> Graph:
    return Graph(
        nodes=[GraphNode(id="end", kind="llm", label=label)],
        edges=[
            GraphEdge(source="START", target="end"),
            GraphEdge(source="end", target="END", condition=condition, loop=loop),
        ],
    )


@pytest.mark.parametrize("text", ['"] --> x["', "a|b|c", "#quot;", "<img src=x>", "`code`", "a\nb"])
def test_labels_and_conditions_are_text(text: str) -> None:
    drawn = mermaid(graph(text, text), {}).split("\n", 1)[1]

    lines = drawn.splitlines()
    assert lines[1:3] == ["start((Start))", "end_((End))"]
    assert all(c not in lines[3].removeprefix('n0(["').removesuffix('"])') for c in '"<>`')
    assert len([line for line in lines if "-->" in line]) == 2


def test_a_node_may_be_named_as_syntax_is() -> None:
    assert 'n0(["ask"])' in mermaid(graph(), {})


def test_long_conditions_are_cut() -> None:
    assert "x" * 59 + "…" in mermaid(graph(condition="x" * 200), {})


def test_loops_are_dashed() -> None:
    assert "n0 -.->|" in mermaid(graph(condition="not good", loop=True), {})
    assert "n0 -.-> end_" in mermaid(graph(loop=True), {})


def test_states_colour_the_steps_that_there_are() -> None:
    drawn = mermaid(graph(), {"end": "failed", "gone": "failed"})

    assert [line for line in drawn.splitlines() if line.startswith("class ")] == ["class n0 failed"]


def test_the_words_on_lines_stand_on_the_colour_of_the_page() -> None:
    drawn = mermaid(graph(condition="good"), {}, page="#171614")

    assert '"edgeLabelBackground": "#171614"' in drawn
    assert 'n0 --- e1["good"]:::words --> end_' in drawn
    assert "classDef words fill:#171614,stroke:none" in drawn
