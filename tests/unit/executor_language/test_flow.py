"""Edges become ways out, and a flow that cannot work is found before it runs."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadre_executor.domain.definitions import GraphEdge
from cadre_executor.domain.workflows import END, START, Exits, Rule, Scope, Workflow
from cadre_executor.language import parse_workflow

MakeFile = Callable[..., str]
Codes = Callable[[str], set[str]]


def nodes(*ids: str, **outputs: list[str]) -> list[dict[str, Any]]:
    return [{"id": node, "prompt": "x", "outputs": outputs.get(node, [])} for node in ids]


def workflow_of(source: str) -> Workflow:
    parsed = parse_workflow(source)
    assert parsed.workflow is not None, parsed.problems
    return parsed.workflow


def edge(source: Any, to: Any, condition: Any = None) -> dict[str, Any]:
    return {"from": source, "to": to, **({} if condition is None else {"condition": condition})}


def test_without_edges_nodes_run_in_the_file_s_order(make_file: MakeFile) -> None:
    exits = workflow_of(make_file(nodes=nodes("a", "b"))).exits

    assert {node: each.rules[0].targets for node, each in exits.items()} == {
        START: ("a",), "a": ("b",), "b": (END,)
    }  # fmt: skip


def test_edges_without_condition_are_taken_together(make_file: MakeFile) -> None:
    edges = [edge(START, "a"), edge("a", "b"), edge("a", ["c", "b"]), edge(["b", "c"], END)]

    exits = workflow_of(make_file(nodes=nodes("a", "b", "c"), edges=edges)).exits

    assert exits["a"] == Exits(rules=(Rule(targets=("b", "c")),))


def test_edges_with_conditions_are_asked_in_order_and_the_default_last(make_file: MakeFile) -> None:
    routes = [
        {"condition": {"logic": "default"}, "to": "c"},
        {"condition": "state.score > 5", "to": ["a", "b"]},
        {"condition": "{state.done}", "to": END},
    ]
    edges = [edge(START, "s"), {"from": "s", "routes": routes}, edge(["a", "b", "c"], END)]

    rules = workflow_of(make_file(nodes=nodes("s", "a", "b", "c"), edges=edges)).exits["s"].rules

    assert [rule.targets for rule in rules] == [("a", "b"), (END,), ("c",)]
    assert rules[0].condition is not None
    assert rules[0].condition.holds(Scope(state={"score": 6}))
    assert rules[2].condition is None


def test_a_loop_has_its_target_bound_and_exit(make_file: MakeFile) -> None:
    loop = {"to": "a", "max_iterations": 3, "until": "state.done", "exit_to": "c"}
    edges = [edge(START, "a"), edge("a", "b"), {"from": "b", "loop": loop}, edge("c", END)]

    parsed = parse_workflow(make_file(nodes=nodes("a", "b", "c"), edges=edges))

    assert parsed.workflow is not None
    found = parsed.workflow.exits["b"].loop
    assert found is not None
    assert (found.to, found.max_iterations, found.exits) == ("a", 3, ("c",))
    assert found.until is not None
    assert found.until.holds(Scope(state={"done": True}))
    assert (
        GraphEdge(source="b", target="a", condition="not (state.done)", loop=True)
        in parsed.graph.edges
    )


def test_a_first_generation_loop_goes_back_to_its_own_node_and_on_to_end(
    make_file: MakeFile,
) -> None:
    edges = [edge(START, "a"), {"from": "a", "loop": {"condition_field": "done"}}]

    found = workflow_of(make_file(nodes=nodes("a"), edges=edges)).exits["a"].loop

    assert found is not None
    assert (found.to, found.max_iterations, found.exits) == ("a", 10, (END,))


def test_a_drawing_has_the_file_s_nodes_and_edges(make_file: MakeFile) -> None:
    made = nodes("a", "b")
    made[0] |= {"name": "First", "on_error": "goto:b"}
    edges = [
        edge(START, "a"),
        edge("a", "b", "state.done"),
        edge("a", END, "default"),
        edge("b", END),
    ]

    graph = parse_workflow(make_file(nodes=made, edges=edges)).graph

    assert [(node.id, node.kind, node.label) for node in graph.nodes] == [
        ("a", "llm", "First"),
        ("b", "llm", "b"),
    ]
    assert [(each.source, each.target, each.condition) for each in graph.edges] == [
        (START, "a", ""), ("a", "b", "state.done"), ("a", END, "default"), ("b", END, ""), ("a", "b", "on_error")
    ]  # fmt: skip


_S = edge(START, "a")
_LOOP = {"until": "state.done"}


@pytest.mark.parametrize(
    ("edges", "code"),
    [
        ([edge("a", "b"), edge("b", END)], "START_MISSING"),
        ([_S, edge("a", "b")], "DEAD_END"),
        ([_S, edge("a", "b", "false"), edge("a", END, "1 == 2"), edge("b", END)], "DEAD_END"),
        ([edge(START, "a", "len('') > 0"), edge("a", "b"), edge("b", END)], "DEAD_END"),
        ([_S, edge("a", END), edge("b", END)], "UNREACHABLE_NODE"),
        ([_S, edge("a", "bb"), edge("b", END)], "UNKNOWN_NODE"),
        ([_S, edge("A", "b"), edge("b", END)], "UNKNOWN_NODE"),
        ([_S, edge("a", "b"), edge("b", "a")], "UNBOUNDED_CYCLE"),
        ([_S, edge("a", ["b", END]), edge("b", "a")], "UNBOUNDED_CYCLE"),
        ([_S, edge("a", "b"), edge("b", END), edge(END, "a")], "INVALID_EDGE"),
        ([_S, edge("a", "b"), edge("b", START)], "INVALID_EDGE"),
        ([_S, edge("a", []), edge("a", "b"), edge("b", END)], "INVALID_EDGE"),
        ([_S, {"from": "a"}, edge("a", "b"), edge("b", END)], "INVALID_EDGE"),
        ([_S, {"from": "a", "to": "b", "loop": _LOOP}, edge("b", END)], "INVALID_EDGE"),
        ([_S, edge("a", "b"), edge("a", END, "state.done"), edge("b", END)], "UNREACHABLE_EDGE"),
        (
            [_S, edge("a", "b", "default"), edge("a", END, "default"), edge("b", END)],
            "UNREACHABLE_EDGE",
        ),
        ([_S, edge("a", "b"), {"from": "a", "loop": {"to": "b"}}, edge("b", END)], "NOT_A_LOOP"),
        (
            [
                _S,
                edge("a", "b"),
                edge("b", END),
                {"from": "b", "loop": {"condition_field": "score"}},
            ],
            "TYPE_MISMATCH",
        ),
        (
            [_S, edge("a", "b", "state.scor > 1"), edge("a", END, "default"), edge("b", END)],
            "UNKNOWN_STATE_FIELD",
        ),
        (
            [_S, {"from": "a", "parallel": {"items_field": "x"}}, edge("a", "b"), edge("b", END)],
            "MISSING_FIELD",
        ),
    ],
)
def test_a_flow_that_cannot_work_is_refused(
    make_file: MakeFile, codes: Codes, edges: list[dict[str, Any]], code: str
) -> None:
    assert code in codes(make_file(nodes=nodes("a", "b"), edges=edges))


def test_a_conditional_cycle_without_loop_is_noted(make_file: MakeFile) -> None:
    edges = [_S, edge("a", "b"), edge("b", "a", "state.score < 3"), edge("b", END, "default")]

    parsed = parse_workflow(make_file(nodes=nodes("a", "b"), edges=edges))

    assert parsed.valid
    assert [note.code for note in parsed.notes] == ["CYCLE_WITHOUT_LOOP"]


def test_a_cycle_that_counts_its_visits_needs_no_note(make_file: MakeFile) -> None:
    edges = [
        _S,
        edge("a", "b"),
        edge("b", "a", "{state._loop_iteration_a} < 3"),
        edge("b", END, "default"),
    ]

    assert parse_workflow(make_file(nodes=nodes("a", "b"), edges=edges)).problems == ()


_FAN = [edge(START, ["a", "b"])]


@pytest.mark.parametrize(
    ("edges", "clashes"),
    [
        ([*_FAN, edge(["a", "b"], END)], True),
        ([edge(START, "s"), edge("s", "a", "state.done"), edge("s", "b", "default"), edge(["a", "b"], END)], False),
        ([edge(START, "a"), edge("a", "b"), edge("b", END)], False),
        ([edge(START, ["a", "c"]), edge(["a", "c"], "b"), edge("b", END)], False),
        ([edge(START, ["a", "c"]), edge("c", "b"), edge(["a", "b"], END)], True),
        ([edge(START, ["a", "b"]), edge("a", "b"), edge("b", END)], False),
        ([edge(START, ["c", "d"]), edge(["c", "d"], "s"), edge("s", "a", "state.done"), edge("s", "b", "default"),
          edge(["a", "b"], END)], False),
        ([edge(START, ["c", "d"]), edge("c", "a", "state.done"), edge("c", END, "default"), edge("d", "b"),
          edge(["a", "b"], END)], True),
        ([edge(START, "a"), edge("a", "b"), {"from": "b", "loop": {"to": "a", "until": "state.done"}}], False),
        ([edge(START, "s"), edge("s", ["a", "c"], "state.done"), edge("s", "b", "default"),
          edge(["a", "b", "c"], END)], False),
        ([edge(START, "s"), edge("s", "a", "state.done"), edge("s", "b", "default"), edge("c", ["a", "b"]),
          edge(["a", "b"], END)], False),
    ],
)  # fmt: skip
def test_two_branches_that_run_at_once_may_not_write_one_field(
    make_file: MakeFile, codes: Codes, edges: list[dict[str, Any]], clashes: bool
) -> None:
    used = {
        name
        for each in edges
        for name in str(each).replace("'", " ").split()
        if name in {"s", "c", "d"}
    }
    made = nodes("a", "b", *sorted(used), a=["reply"], b=["reply"])

    assert ("PARALLEL_WRITE" in codes(make_file(nodes=made, edges=edges))) is clashes


def test_a_reducer_lets_branches_write_one_field(make_file: MakeFile) -> None:
    fields = {"opinions": {"type": "list[str]", "reducer": "append"}}
    made = nodes("a", "b", a=["opinions"], b=["opinions"])

    assert parse_workflow(
        make_file(nodes=made, edges=[*_FAN, edge(["a", "b"], END)], fields=fields)
    ).valid


def _may_run_at_once(ways: dict[int, tuple[bool, list[int]]], one: int, other: int) -> bool:
    """By trying every outcome of every choice: both live, and neither before the other."""
    options = [range(len(targets)) if choice else range(1) for choice, targets in ways.values()]
    for picked in itertools.product(*options):
        live = {0}
        taken: dict[int, list[int]] = {}
        for node, (choice, targets), pick in zip(ways, ways.values(), picked, strict=True):
            if node in live:
                taken[node] = [targets[pick]] if choice else targets
                live |= set(taken[node])
        if one in live and other in live:
            return True
    return False


def _leads(ways: dict[int, tuple[bool, list[int]]], start: int) -> set[int]:
    found = {start}
    for node, (_, targets) in ways.items():
        if node in found:
            found |= set(targets)
    return found


@settings(max_examples=60, deadline=2000)
@given(st.data())
def test_parallel_writes_are_those_that_some_outcome_runs_at_once(data: st.DataObject) -> None:
    size = data.draw(st.integers(3, 6))
    ways: dict[int, tuple[bool, list[int]]] = {}
    for node in range(size):
        later = st.integers(node + 1, size)
        ways[node] = (
            data.draw(st.booleans()),
            data.draw(st.lists(later, min_size=1, max_size=3, unique=True)),
        )
    one, other = sorted(
        data.draw(st.lists(st.integers(1, size - 1), min_size=2, max_size=2, unique=True))
    )

    found = {problem.code for problem in parse_workflow(_file(ways, one, other)).problems}

    ordered = other in _leads(ways, one)
    assert ("PARALLEL_WRITE" in found) is (not ordered and _may_run_at_once(ways, one, other))


def _file(ways: dict[int, tuple[bool, list[int]]], one: int, other: int) -> str:
    """A file of nodes n1.. in which START is 0, the last number END, and two nodes write one field."""
    size = len(ways)
    name = {0: START, size: END} | {node: f"n{node}" for node in range(1, size)}
    lines = ["flow: {name: x}", "state: {fields: {score: int, shared: str}}", "nodes:"]
    for node in range(1, size):
        outputs = "[shared]" if node in (one, other) else "[]"
        lines.append(f"  - {{id: n{node}, prompt: x, outputs: {outputs}}}")
    lines.append("edges:")
    for node, (choice, targets) in ways.items():
        for place, target in enumerate(targets):
            condition = f', condition: "state.score == {place}"' if choice else ""
            lines.append(f"  - {{from: {name[node]}, to: {name[target]}{condition}}}")
    return "\n".join(lines)
