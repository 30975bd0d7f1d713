"""Which nodes run next.

A node that branches reach runs once, when every branch that still can reach it has arrived. So what is asked of a
reached node is not "which of my edges were taken" but "is any other reached node on its way to me", and that needs only
the graph's shape: `plan_routes` works it out once for each workflow, `Plan.ready` asks it at each step.

Cycles are taken apart from the outside in: a cycle has a header (where it is entered), the edges back to the header are
its back edges, and what is left of it without them is taken apart again. A node waits for the nodes before it in that
order. A header reached by a back edge begins the next lap: it waits for what is left of this one, and nothing in the
cycle waits for it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cadre_executor.domain.workflows import END, START, Goto, Workflow

__all__ = ["Arrivals", "Edge", "Plan", "edges_of", "plan_routes"]

Edge = tuple[str, str]
Arrivals = Mapping[str, tuple[int, int]]
"""Reached nodes that have not run yet: how many arrivals by forward edges, and how many by back edges."""

_Following = Mapping[int, Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a workflow's shape says about the order of its nodes. Sets of nodes are numbers with a bit for each.

    `before`: for each node, those it waits for. `headers`: the headers of the cycles around it, which it waits for
    only when they were reached from outside. `lap`: for each header, the rest of its cycle. `unbounded`: the nodes in
    cycles that no loop bounds. `restarts`: for each node with a loop, the nodes in such cycles inside that loop, which
    count their visits anew on each lap.
    """

    place: Mapping[str, int]
    before: Mapping[str, int]
    headers: Mapping[str, int]
    lap: Mapping[str, int]
    back_edges: frozenset[Edge]
    unbounded: frozenset[str]
    restarts: Mapping[str, frozenset[str]]

    def ready(self, arrivals: Arrivals) -> frozenset[str]:
        """The reached nodes that wait for none of the others; at least one when any is reached."""
        if len(arrivals) == 1:
            return frozenset(arrivals)
        found = frozenset(node for node in arrivals if not self.waits(node, arrivals))
        # The order has no cycles, so this is not expected; a run standing still is worse than a node too early.
        return found or frozenset(sorted(arrivals)[:1])

    def waits(self, node: str, arrivals: Arrivals) -> bool:
        """Whether a reached node has to wait for another one."""
        others = self._set(other for other in arrivals if other != node)
        if others & self.before[node]:
            return True
        if arrivals[node][0] == 0 and others & self.lap.get(node, 0):
            return True
        from_outside = self._set(other for other in arrivals if arrivals[other][0])
        return bool(others & from_outside & self.headers[node])

    def _set(self, nodes: Iterable[str]) -> int:
        return sum(1 << self.place[node] for node in nodes)


def plan_routes(workflow: Workflow) -> Plan:
    """Works out the plan of a workflow: a millisecond for usual ones, some seconds for 500 nodes with 5,000 ways all
    in one knot."""
    edges = edges_of(workflow)
    names = _breadth_first(edges, workflow.nodes)
    place = {name: number for number, name in enumerate(names)}
    planner = _Planner(len(names))
    following: dict[int, list[int]] = {number: [] for number in range(len(names))}
    for source, target in edges:
        following[place[source]].append(place[target])
    planner.take_apart(following)
    loops = {n: exits.loop.to for n, exits in workflow.exits.items() if exits.loop is not None}
    unbounded, restarts = _bounds(following, {place[n]: place[to] for n, to in loops.items()})
    return Plan(
        place=place,
        before=dict(zip(names, planner.before, strict=True)),
        headers=dict(zip(names, planner.headers, strict=True)),
        lap={names[entry]: rest for entry, rest in planner.lap.items()},
        back_edges=frozenset((names[s], names[t]) for s, t in planner.back_edges),
        unbounded=frozenset(names[n] for n in unbounded),
        restarts={names[n]: frozenset(names[i] for i in inside) for n, inside in restarts.items()},
    )


def edges_of(workflow: Workflow) -> dict[Edge, None]:
    """Every way from a node to another, END left out, in the file's order."""
    return {
        (node, target): None
        for node in (START, *workflow.nodes)
        for target in _targets(workflow, node)
        if target != END
    }


def _targets(workflow: Workflow, node: str) -> Iterator[str]:
    exits = workflow.exits.get(node)
    if exits is not None:
        for rule in exits.rules:
            yield from rule.targets
        if exits.loop is not None:
            yield exits.loop.to
            yield from exits.loop.exits
    if node != START and isinstance(on_error := workflow.nodes[node].on_error, Goto):
        yield on_error.node


def _breadth_first(edges: Iterable[Edge], nodes: Iterable[str]) -> list[str]:
    """The nodes by distance from START, then by the file's order; those that it does not reach last."""
    following: dict[str, list[str]] = {}
    for source, target in edges:
        following.setdefault(source, []).append(target)
    order = {START: None}
    queue = [START]
    for node in queue:
        for target in following.get(node, ()):
            if target not in order:
                order[target] = None
                queue.append(target)
    return list(order | dict.fromkeys(nodes))


class _Planner:
    """Takes a graph apart, from the outermost cycles inwards."""

    def __init__(self, nodes: int) -> None:
        self.before = [0] * nodes
        self.headers = [0] * nodes
        self.lap: dict[int, int] = {}
        self.back_edges: set[tuple[int, int]] = set()

    def take_apart(self, following: _Following) -> None:
        """Orders the nodes, then those inside of each cycle, and so on."""
        graphs: list[tuple[_Following, int]] = [(following, 0)]
        while graphs:
            graph, header = graphs.pop()
            graphs.extend(self._order(graph, header))

    def _order(self, following: _Following, header: int) -> list[tuple[_Following, int]]:
        """Orders one graph; `header` is the set of the header that it is the inside of. The insides of its cycles."""
        sources = _turned(following)
        reached_from: dict[int, int] = {}
        inner = []
        for component in reversed(_components(following)):
            members = frozenset(component)
            outside = {n: [s for s in sources[n] if s not in members] for n in component}
            ancestors = _union(reached_from[s] for found in outside.values() for s in found)
            bits = _union(1 << n for n in component)
            for node in component:
                reached_from[node] = ancestors | bits
                self._wait(node, ancestors, header)
            if len(component) > 1 or component[0] in following[component[0]]:
                entry = min((n for n in component if outside[n]), default=min(component))
                # A header that is reached from outside does not wait for what leads only to the rest of its cycle.
                self.before[entry] &= ~ancestors
                self._wait(entry, _union(reached_from[s] for s in outside[entry]), header)
                inner.append(self._open(following, members, entry))
        return inner

    def _open(
        self, following: _Following, members: frozenset[int], entry: int
    ) -> tuple[_Following, int]:
        """The inside of a cycle: its back edges left out."""
        self.lap[entry] = _union(1 << n for n in members if n != entry)
        self.back_edges |= {(n, entry) for n in members if entry in following[n]}
        inside = {n: [t for t in following[n] if t in members and t != entry] for n in members}
        return inside, 1 << entry

    def _wait(self, node: int, ancestors: int, header: int) -> None:
        self.headers[node] |= ancestors & header
        self.before[node] |= ancestors & ~header


def _union(sets: Iterable[int]) -> int:
    found = 0
    for each in sets:
        found |= each
    return found


def _turned(following: _Following) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {node: [] for node in following}
    for source, targets in following.items():
        for target in targets:
            found[target].append(source)
    return found


def _components(following: _Following) -> list[list[int]]:
    """The strongly connected components, each after those that it leads to (Tarjan's algorithm, without recursion)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    open_nodes: list[int] = []
    closed: set[int] = set()
    found: list[list[int]] = []
    for root in following:
        work = [] if root in number else [(root, iter(following[root]))]
        while work:
            node, targets = work[-1]
            if node not in number:
                number[node] = low[node] = len(number)
                open_nodes.append(node)
            target = next((t for t in targets if t not in closed), None)
            if target is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    first = open_nodes.index(node)
                    found.append(open_nodes[first:])
                    closed.update(open_nodes[first:])
                    del open_nodes[first:]
            elif target in number:
                low[node] = min(low[node], number[target])
            else:
                work.append((target, iter(following[target])))
    return found


def _bounds(
    following: _Following, loops: Mapping[int, int]
) -> tuple[frozenset[int], dict[int, frozenset[int]]]:
    """The nodes in cycles that no loop bounds, and for each loop those of them that begin anew with its laps."""
    without = {n: [t for t in ts if loops.get(n) != t] for n, ts in following.items()}
    sources = _turned(without)
    ancestors: dict[int, int] = {}
    cycle_of: dict[int, int] = {}
    for component in reversed(_components(without)):
        bits = _union(1 << n for n in component)
        before = _union(ancestors.get(s, 0) for n in component for s in sources[n])
        for node in component:
            ancestors[node] = before | bits
            if len(component) > 1 or node in without[node]:
                cycle_of[node] = bits
    restarts = {
        node: frozenset(
            inside
            for inside, cycle in cycle_of.items()
            if not cycle >> node & 1
            and ancestors[node] >> inside & 1
            and ancestors[inside] >> to & 1
        )
        for node, to in loops.items()
    }
    return frozenset(cycle_of), restarts
