"""Which nodes run when: each at most once a visit, exactly when a live path reaches it, after all that lead to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cadre_executor.domain.routes import Plan, plan_routes
from cadre_executor.domain.workflows import (
    END,
    START,
    Exits,
    LlmAction,
    Loop,
    Node,
    Rule,
    Scope,
    Sketch,
    Workflow,
)

Choices = Mapping[str, Sequence[tuple[str, ...]]]


class Text:
    """A template of plain text."""

    def render(self, scope: Scope) -> str:
        return ""

    def resolve(self, scope: Scope) -> str:
        return ""

    def sketch(self, scope: Scope) -> Sketch:
        return Sketch(text="")


def workflow(exits: Mapping[str, Exits]) -> Workflow:
    nodes = {
        name: Node(id=name, action=LlmAction(prompt=Text())) for name in exits if name != START
    }
    return Workflow(name="w", fields={}, nodes=nodes, exits=exits)


def ways(*targets: str) -> Exits:
    return Exits(rules=(Rule(targets=targets),))


@dataclass
class Walk:
    """Takes steps through a plan, with the targets that each visit chooses, in turn."""

    plan: Plan
    choices: Choices

    def run(self) -> list[frozenset[str]]:
        steps: list[frozenset[str]] = []
        visits: dict[str, int] = {}
        arrivals = self._arrive({}, START, self.choices[START][0])
        while arrivals:
            ready = self.plan.ready(arrivals)
            assert not any(self.plan.waits(node, arrivals) for node in ready)
            steps.append(ready)
            assert len(steps) < 1000
            left = {node: count for node, count in arrivals.items() if node not in ready}
            for node in ready:
                options = self.choices[node]
                chosen = options[min(visits.get(node, 0), len(options) - 1)]
                visits[node] = visits.get(node, 0) + 1
                left = self._arrive(left, node, chosen)
            arrivals = left
        return steps

    def _arrive(
        self, arrivals: Mapping[str, tuple[int, int]], source: str, targets: tuple[str, ...]
    ) -> dict[str, tuple[int, int]]:
        after = dict(arrivals)
        for target in targets:
            if target != END:
                forward, back = after.get(target, (0, 0))
                is_back = (source, target) in self.plan.back_edges
                after[target] = (forward + (not is_back), back + is_back)
        return after


def walk(exits: Mapping[str, Exits], choices: Choices | None = None) -> list[str]:
    choices = choices or {}
    plan = plan_routes(workflow(exits))
    every = {
        node: choices.get(node, [tuple(t for r in e.rules for t in r.targets)])
        for node, e in exits.items()
    }
    return ["+".join(sorted(step)) for step in Walk(plan=plan, choices=every).run()]


def test_a_join_of_branches_of_unequal_length_runs_once_after_the_longest() -> None:
    exits = {
        START: ways("a", "b"),
        "a": ways("join"),
        "b": ways("c"),
        "c": ways("join"),
        "join": ways(END),
    }

    assert walk(exits) == ["a+b", "c", "join"]


def test_a_branch_not_taken_is_not_waited_for() -> None:
    exits = {
        START: ways("a", "b"),
        "a": ways("join", "x"),
        "x": ways("join"),
        "b": ways("join"),
        "join": ways(END),
    }

    assert walk(exits, {"a": [("join",)]}) == ["a+b", "join"]
    assert walk(exits, {"a": [("x",)]}) == ["a+b", "x", "join"]
    assert walk(exits, {"a": [(END,)]}) == ["a+b", "join"]


def test_a_loop_runs_its_joins_once_each_lap() -> None:
    exits = {
        START: ways("head"),
        "head": ways("a", "b"),
        "a": ways("slow"),
        "slow": ways("join"),
        "b": ways("join"),
        "join": Exits(loop=Loop(to="head", max_iterations=2), rules=(Rule(targets=(END,)),)),
    }
    steps = walk(exits, {"join": [("head",), (END,)]})

    assert steps == ["head", "a+b", "slow", "join"] * 2


def test_what_follows_a_loop_waits_until_it_is_left_by_whichever_exit() -> None:
    exits = {
        START: ways("head", "side"),
        "head": ways("body", "after"),
        "body": ways("head", "after"),
        "side": ways("after"),
        "after": ways(END),
    }

    choices = {"head": [("body",)], "body": [("head",), ("head",), ("after",)]}
    assert walk(exits, choices) == ["head+side", *["body", "head"] * 2, "body", "after"]
    choices = {"head": [("body",), ("after",)], "body": [("head",)]}
    assert walk(exits, choices) == ["head+side", "body", "head", "after"]


def test_an_inner_loop_is_waited_for_by_a_join_of_the_loop_around_it() -> None:
    exits = {
        START: ways("outer"),
        "outer": ways("inner", "side"),
        "inner": ways("work"),
        "work": ways("inner", "join"),
        "side": ways("join"),
        "join": ways("outer", END),
    }
    choices = {"work": [("inner",), ("join",)], "join": [("outer",), (END,)]}

    lap = ["inner+side", "work", "inner", "work", "join"]
    assert walk(exits, choices) == ["outer", *lap, "outer", "inner+side", "work", "join"]


def test_a_lap_begins_once_when_several_branches_lead_back_to_the_head() -> None:
    exits = {
        START: ways("head"),
        "head": ways("a", "b", END),
        "a": ways("long"),
        "long": ways("head"),
        "b": ways("head"),
    }

    assert walk(exits, {"head": [("a", "b"), (END,)]}) == ["head", "a+b", "long", "head"]


def test_cycles_that_a_loop_bounds_have_no_limit_of_their_own() -> None:
    exits = {
        START: ways("a"),
        "a": ways("b"),
        "b": Exits(loop=Loop(to="a", max_iterations=50), rules=(Rule(targets=("c",)),)),
        "c": ways("d", END),
        "d": ways("c"),
    }
    plan = plan_routes(workflow(exits))

    assert plan.unbounded == {"c", "d"}


def test_an_inner_cycle_counts_anew_in_each_lap_of_the_loop_around_it() -> None:
    exits = {
        START: ways("a"),
        "a": ways("x"),
        "x": ways("a", "b"),
        "b": Exits(loop=Loop(to="a", max_iterations=50), rules=(Rule(targets=(END,)),)),
    }

    assert plan_routes(workflow(exits)).restarts["b"] == {"a", "x"}


@st.composite
def acyclic(draw: st.DrawFn) -> tuple[dict[str, Exits], dict[str, list[tuple[str, ...]]]]:
    """A graph without cycles, and what each node chooses."""
    count = draw(st.integers(1, 9))
    names = [f"n{i}" for i in range(count)]
    exits: dict[str, Exits] = {}
    choices: dict[str, list[tuple[str, ...]]] = {}
    for place, node in enumerate([START, *names]):
        later = names[place:]
        targets = draw(st.sets(st.sampled_from([*later, END]), min_size=1)) if later else {END}
        exits[node] = ways(*sorted(targets))
        choices[node] = [tuple(draw(st.sets(st.sampled_from(sorted(targets)), min_size=1)))]
    return exits, choices


@given(acyclic())
def test_in_any_graph_each_live_node_runs_once_after_all_its_live_predecessors(
    drawn: tuple[dict[str, Exits], dict[str, list[tuple[str, ...]]]],
) -> None:
    exits, choices = drawn
    live, queue = {START}, [START]
    for node in queue:
        for target in choices[node][0]:
            if target != END and target not in live:
                live.add(target)
                queue.append(target)

    steps = Walk(plan=plan_routes(workflow(exits)), choices=choices).run()

    at = {node: place for place, step in enumerate(steps) for node in step}
    assert sorted(n for step in steps for n in step) == sorted(live - {START})
    for node in live - {START}:
        for target in choices[node][0]:
            assert target == END or at[node] < at[target]


@st.composite
def cyclic(draw: st.DrawFn) -> tuple[dict[str, Exits], dict[str, list[tuple[str, ...]]]]:
    """Any graph, where each node chooses among all its ways a few times and then ends."""
    names = [f"n{i}" for i in range(draw(st.integers(1, 7)))]
    exits = {START: ways(names[0])}
    choices: dict[str, list[tuple[str, ...]]] = {START: [(names[0],)]}
    for node in names:
        targets = sorted(draw(st.sets(st.sampled_from([*names, END]), min_size=1)))
        exits[node] = ways(*targets)
        chosen = st.sets(st.sampled_from(targets), min_size=1).map(tuple)
        choices[node] = [*draw(st.lists(chosen, max_size=3)), (END,)]
    return exits, choices


@given(cyclic())
def test_in_any_graph_with_cycles_no_run_stands_still_and_the_order_is_never_forced(
    drawn: tuple[dict[str, Exits], dict[str, list[tuple[str, ...]]]],
) -> None:
    exits, choices = drawn

    steps = Walk(plan=plan_routes(workflow(exits)), choices=choices).run()

    assert all(steps)


def test_a_knot_of_many_ways_is_planned_in_seconds() -> None:
    names = [f"n{i}" for i in range(200)]
    exits = {START: ways(names[0])}
    for place, node in enumerate(names):
        exits[node] = ways(*(names[(place * 7 + step * step) % 200] for step in range(1, 11)))

    assert len(plan_routes(workflow(exits)).lap) > 50
