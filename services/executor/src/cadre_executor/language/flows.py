"""Checks the ways of a workflow as a whole: everything is reached, everything ends, nothing overwrites by chance."""

from collections.abc import Iterator, Mapping, Sequence

from cadre_executor.domain.workflows import END, START, Exits, Goto, Node, Reducer
from cadre_executor.language.edges import Flow
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.states import DeclaredField


class FlowChecker:
    """Checks one file's flow. `indexes` says where each node stands in the file."""

    def __init__(
        self,
        *,
        nodes: Mapping[str, Node],
        exits: Mapping[str, Exits],
        flow: Flow,
        indexes: Mapping[str, int],
        report: Report,
    ) -> None:
        self._nodes = nodes
        self._exits = exits
        self._flow = flow
        self._indexes = indexes
        self._report = report
        self._next = {node: self._successors(node) for node in (START, *nodes)}

    def check(self, declared: Mapping[str, DeclaredField]) -> None:
        """Reports what is wrong with the flow."""
        if not self._exits[START].rules:
            self._report.error(
                "START_MISSING",
                ("edges",),
                "no edge leaves START",
                f"add {{from: START, to: {next(iter(self._nodes), 'first')}}}",
            )
            return
        self._check_dead_ends()
        self._check_reached()
        self._check_loops()
        self._check_endings()
        self._check_writes(declared)

    def _successors(self, node: str) -> tuple[str, ...]:
        """Every node that may come next, failures and loops included."""
        exits = self._exits[node]
        found = [target for rule in exits.rules for target in rule.targets]
        if exits.loop is not None:
            found += [exits.loop.to, *exits.loop.exits]
        if node in self._nodes and isinstance(goto := self._nodes[node].on_error, Goto):
            found.append(goto.node)
        return tuple(dict.fromkeys(found))

    def _path(self, node: str) -> Path:
        return ("nodes", self._indexes[node]) if node in self._indexes else ("edges",)

    def _check_dead_ends(self) -> None:
        for node in (START, *self._nodes):
            ways = self._flow.leaving[node].ways
            if self._exits[node].loop is not None:
                continue
            if ways and all(way.condition is not None and way.condition.is_never for way in ways):
                self._report.error(
                    "DEAD_END",
                    ways[-1].path,
                    f"no way out of {shown(node)} is ever taken: each condition is false whatever happens",
                    "mend the condition, or add an edge without one",
                )
            elif not self._exits[node].rules:
                self._report.error(
                    "DEAD_END",
                    self._path(node),
                    f"no edge leaves the node {shown(node)}",
                    f"add {{from: {node}, to: END}}",
                )

    def _check_reached(self) -> None:
        reached = _reachable(START, self._next)
        for node in self._nodes:
            if node not in reached:
                self._report.error(
                    "UNREACHABLE_NODE",
                    self._path(node),
                    f"no way leads from START to the node {shown(node)}",
                    f"add an edge to it, such as {{from: START, to: {node}}}, or remove it",
                )

    def _check_loops(self) -> None:
        for node, exits in self._exits.items():
            if exits.loop is not None and node not in _reachable(exits.loop.to, self._next):
                self._report.error(
                    "NOT_A_LOOP",
                    (*self._flow.leaving[node].loop_path, "to"),
                    f"no way leads from {shown(exits.loop.to)} back to {shown(node)}",
                    "loop back to a node that comes before, or use `to`",
                )

    def _check_endings(self) -> None:
        """Every cycle must be able to end, and those that no `loop` bounds are pointed out."""
        before = _reversed(self._next)
        ends = _reachable(END, before)
        stuck = {node for node in self._nodes if node not in ends and self._next[node]}
        always = _on_cycles({node: self._always_next(node) for node in self._nodes})
        for component in _cycles(self._next):
            first = min(component, key=lambda node: self._indexes.get(node, 0))
            names = ", ".join(sorted(component, key=lambda node: self._indexes.get(node, 0))[:10])
            if component & stuck or component & always:
                self._report.error(
                    "UNBOUNDED_CYCLE",
                    self._path(first),
                    f"the cycle of {names} never ends",
                    "go back with loop: {to, max_iterations, until}, or under a condition",
                )
            elif not self._has_bound(component):
                self._report.note(
                    "CYCLE_WITHOUT_LOOP",
                    self._path(first),
                    f"the cycle of {names} has no loop: a run visits each of them 10 times at most",
                    "go back with loop: {to, max_iterations, until}",
                )

    def _always_next(self, node: str) -> tuple[str, ...]:
        """What a node leads to under no condition at all."""
        exits = self._exits[node]
        if exits.loop is None and exits.rules and exits.rules[0].condition is None:
            return exits.rules[0].targets
        return ()

    def _has_bound(self, component: frozenset[str]) -> bool:
        """Whether a loop closes the cycle, or a condition counts its visits."""
        for node in component:
            exits = self._exits[node]
            if exits.loop is not None and exits.loop.to in component:
                return True
            ways = self._flow.leaving[node].ways
            if any(way.condition is not None and way.condition.counts_loops for way in ways):
                return True
        return False

    def _check_writes(self, declared: Mapping[str, DeclaredField]) -> None:
        """Refuses two nodes that may run at once and write one field that keeps only one value."""
        writers: dict[str, list[str]] = {}
        for node in self._nodes.values():
            for name in {output.field for output in node.outputs}:
                if declared[name].reducer is Reducer.REPLACE:
                    writers.setdefault(name, []).append(node.id)
        if not any(len(nodes) > 1 for nodes in writers.values()):
            return
        together = _Concurrency(self._exits, self._nodes, self._next)
        for name, nodes in writers.items():
            for later in range(1, len(nodes)):
                clashing = [other for other in nodes[:later] if together.may(other, nodes[later])]
                if clashing:
                    self._report_write(name, clashing[0], nodes[later])

    def _report_write(self, name: str, first: str, second: str) -> None:
        written = [output.field for output in self._nodes[second].outputs]
        self._report.error(
            "PARALLEL_WRITE",
            (*self._path(second), "outputs", written.index(name)),
            f"{shown(first)} and {shown(second)} may write {shown(name)} at the same time",
            f"give each a field of its own, or give {name} a reducer (append, merge, sum, min, max)",
        )


class _Concurrency:
    """Which nodes may run at once.

    Two may when a fan-out leads to them on paths that share no node, and neither comes before the other: paths that
    meet in a join go on as one, and the ways of a choice exclude each other. Ways back are left out: an iteration
    follows the one before it.
    """

    def __init__(
        self,
        exits: Mapping[str, Exits],
        nodes: Mapping[str, Node],
        following: Mapping[str, Sequence[str]],
    ) -> None:
        self._order = _forward_order(following)
        self._forward = {
            node: tuple(
                target
                for target in following.get(node, ())
                if target != END and self._order.get(target, -1) > place
            )
            for node, place in self._order.items()
        }
        self._below = self._masks()
        self._beside = self._walk(exits)

    def may(self, first: str, second: str) -> bool:
        """Whether the two nodes may run at the same time."""
        if first not in self._order or second not in self._order:
            return False
        one, other = self._bit(first), self._bit(second)
        if self._below[first] & other or self._below[second] & one:
            return False
        return bool(self._beside.get(first, 0) & other or self._beside.get(second, 0) & one)

    def _bit(self, node: str) -> int:
        return 1 << self._order[node]

    def _masks(self) -> dict[str, int]:
        """For each node the nodes that it leads to, itself included, as bits."""
        masks: dict[str, int] = {}
        for node in sorted(self._order, key=lambda each: -self._order[each]):
            mask = self._bit(node)
            for target in self._forward[node]:
                mask |= masks[target]
            masks[node] = mask
        return masks

    def _walk(self, exits: Mapping[str, Exits]) -> dict[str, int]:
        """For each node those that run beside it or come after such, as bits.

        Follows pairs of nodes on separate paths from one fan-out, always advancing the earlier of the two, so that
        paths that share a node are seen to meet there.
        """
        # A node that is never reached starts nothing.
        waiting = [pair for node in self._order for pair in self._fanned_out(exits[node])]
        seen: set[tuple[str, str]] = set()
        beside: dict[str, int] = {}
        while waiting:
            one, other = waiting.pop()
            early, late = (one, other) if self._order[one] < self._order[other] else (other, one)
            if early == late or (early, late) in seen:
                continue
            seen.add((early, late))
            beside[early] = beside.get(early, 0) | self._below[late]
            beside[late] = beside.get(late, 0) | self._below[early]
            waiting += [(target, late) for target in self._forward[early]]
        return beside

    def _fanned_out(self, exits: Exits) -> Iterator[tuple[str, str]]:
        groups = [rule.targets for rule in exits.rules]
        if exits.loop is not None:
            groups.append(exits.loop.exits)
        for targets in groups:
            known = [target for target in targets if target in self._order]
            for index, one in enumerate(known):
                for other in known[index + 1 :]:
                    yield one, other


def _reachable(start: str, following: Mapping[str, Sequence[str]]) -> set[str]:
    found = {start}
    waiting = [start]
    while waiting:
        for target in following.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def _reversed(following: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    before: dict[str, list[str]] = {}
    for node, targets in following.items():
        for target in targets:
            before.setdefault(target, []).append(node)
    return before


def _forward_order(following: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """A place for each node reached from START, later than all that lead to it except by ways back."""
    finished: list[str] = []
    seen = {START}
    stack = [(START, iter(following[START]))]
    while stack:
        node, targets = stack[-1]
        target = next((each for each in targets if each != END and each not in seen), None)
        if target is None:
            finished.append(node)
            stack.pop()
        else:
            seen.add(target)
            stack.append((target, iter(following.get(target, ()))))
    return {node: place for place, node in enumerate(reversed(finished))}


def _cycles(following: Mapping[str, Sequence[str]]) -> list[frozenset[str]]:
    """The groups of nodes that lead to each other, single nodes only when they lead to themselves."""
    order = _postorder(following)
    before = _reversed(following)
    grouped: set[str] = set()
    cycles = []
    for root in reversed(order):
        if root in grouped:
            continue
        group = {root}
        waiting = [root]
        while waiting:
            for source in before.get(waiting.pop(), ()):
                if source not in grouped and source not in group and source in following:
                    group.add(source)
                    waiting.append(source)
        grouped |= group
        if len(group) > 1 or root in following.get(root, ()):
            cycles.append(frozenset(group))
    return cycles


def _postorder(following: Mapping[str, Sequence[str]]) -> list[str]:
    finished: list[str] = []
    seen: set[str] = set()
    for root in following:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(following[root]))]
        while stack:
            node, targets = stack[-1]
            target = next(
                (each for each in targets if each in following and each not in seen), None
            )
            if target is None:
                finished.append(node)
                stack.pop()
            else:
                seen.add(target)
                stack.append((target, iter(following[target])))
    return finished


def _on_cycles(following: Mapping[str, Sequence[str]]) -> set[str]:
    return {node for cycle in _cycles(following) for node in cycle}
