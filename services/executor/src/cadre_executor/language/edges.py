"""Compiles edges into each node's ways out, and into the lines of a drawing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cadre_executor.domain.definitions import GraphEdge
from cadre_executor.domain.workflows import END, START, Condition, Exits, Loop, Rule
from cadre_executor.language.conditions import Expression, compile_condition, unknown
from cadre_executor.language.file_shapes import EdgeShape, LogicShape, LoopShape
from cadre_executor.language.nodes import condition_text
from cadre_executor.language.positions import Path
from cadre_executor.language.references import Names
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.types import Anything, Boolean, bare

DEFAULT = "default"
DEFAULT_ITERATIONS = 10
_WAYS_ON = ("to", "routes", "loop", "parallel")
MAX_WAYS = 5000
"""Ways from one node to one node, lists on either side of an edge multiplied out."""
MAX_CONDITIONS = 200_000
"""Characters of all conditions on edges."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way out of a node as the file says it. `is_choice` when it is one of several of which the first is taken."""

    targets: tuple[str, ...]
    path: Path
    condition: Expression | None = None
    text: str = ""
    is_choice: bool = False
    is_default: bool = False


@dataclass(kw_only=True)
class Leaving:
    """All that leaves one node."""

    ways: list[Way] = field(default_factory=list)
    loop: Loop | None = None
    loop_path: Path = ()


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The compiled ways of a file, START's too, and where the file says them.

    `complete` says that every edge could be read, so that what is missing is missing in the file.
    """

    exits: Mapping[str, Exits]
    leaving: Mapping[str, Leaving]
    lines: tuple[GraphEdge, ...]
    complete: bool = True


def compile_edges(
    shapes: Sequence[EdgeShape] | None,
    ids: Sequence[str],
    names: Names,
    report: Report,
    *,
    misnamed: Mapping[str, str],
) -> Flow:
    """Each node's ways out. Without edges the nodes run in the file's order. `misnamed` is what the file calls those of
    `ids` that stand in for an id which is none."""
    if not shapes:
        return _in_order(ids)
    compiler = _EdgeCompiler(ids, names, report, misnamed)
    lines: list[GraphEdge] = []
    for index, shape in enumerate(shapes):
        lines += compiler.edge(shape, ("edges", index))
    exits = {node: compiler.exits_of(node) for node in (START, *ids)}
    return Flow(
        exits=exits, leaving=compiler.leaving, lines=tuple(lines), complete=compiler.complete
    )


def _in_order(ids: Sequence[str]) -> Flow:
    stops = (START, *ids, END)
    steps = list(pairwise(stops))
    ways = {
        source: Leaving(ways=[Way(targets=(target,), path=("nodes",))]) for source, target in steps
    }
    return Flow(
        exits={source: Exits(rules=(Rule(targets=(target,)),)) for source, target in steps},
        leaving=ways,
        lines=tuple(GraphEdge(source=source, target=target) for source, target in steps),
    )


class _EdgeCompiler:
    def __init__(
        self, ids: Sequence[str], names: Names, report: Report, misnamed: Mapping[str, str]
    ) -> None:
        self._ids = set(ids)
        self._misnamed = misnamed
        self._names = names
        self._report = report
        self.complete = True
        self._count = self._characters = 0
        self._room = True
        self.leaving: dict[str, Leaving] = {node: Leaving() for node in (START, *ids)}

    def edge(self, shape: EdgeShape, path: Path) -> list[GraphEdge]:
        """Adds one edge of the file; the lines that draw it."""
        sources = list(self._sources(shape.from_, (*path, "from")))
        if not self._few_enough(shape, len(sources), path):
            return []
        said = [key for key in _WAYS_ON if getattr(shape, key) is not None]
        if len(said) != 1:
            self._report.error(
                "INVALID_EDGE",
                path,
                f"an edge has one of {', '.join(_WAYS_ON)}, not {' and '.join(said) or 'none'}",
                "make each an edge of its own" if said else "add `to: <node>`",
            )
        if shape.condition is not None and shape.to is None:
            self._report.error(
                "INVALID_EDGE",
                (*path, "condition"),
                "a condition belongs to an edge with `to`",
                "write it in the route, or as the loop's until",
            )
        lines: list[GraphEdge] = []
        if shape.loop is None or shape.to is not None or shape.routes is not None:
            lines += self._add_ways(sources, list(self._ways(shape, path)))
        if shape.loop is not None:
            for source in sources:
                lines += self._add_loop(source, shape.loop, (*path, "loop"))
        return lines

    def _few_enough(self, shape: EdgeShape, sources: int, path: Path) -> bool:
        """Counts an edge's ways and conditions; the edges after too many are left out, and one problem says so."""
        targets = [shape.to or [], *(route.to for route in shape.routes or ())]
        conditions = [shape.condition, *(route.condition for route in shape.routes or ())]
        self._characters += sum(len(str(each)) for each in conditions if each is not None)
        self._count += sources * sum(1 if isinstance(to, str) else len(to) for to in targets)
        few = self._count <= MAX_WAYS and self._characters <= MAX_CONDITIONS
        if not few and self._room:
            self._room = False
            self.complete = False
            self._report.error(
                "TOO_MANY_EDGES",
                path,
                f"the edges make more than {MAX_WAYS} ways, or have {MAX_CONDITIONS} characters of conditions",
                "lead branches through a common node, or split the workflow",
            )
        return few

    def exits_of(self, node: str) -> Exits:
        """The rules of one node: either one choice, or all its ways at once."""
        leaving = self.leaving[node]
        if any(way.is_choice for way in leaving.ways):
            rules = self._choice(leaving.ways)
        else:
            targets = _unique(target for way in leaving.ways for target in way.targets)
            rules = (Rule(targets=targets),) if targets else ()
        return Exits(rules=rules, loop=leaving.loop)

    def _choice(self, ways: list[Way]) -> tuple[Rule, ...]:
        """The rules in order; a `default` comes last wherever it stands, an edge without condition where it stands."""
        asked = [way for way in ways if not way.is_default]
        defaults = [way for way in ways if way.is_default]
        last = next((i for i, way in enumerate(asked) if way.condition is None), None)
        unreachable = [] if last is None else [*asked[last + 1 :], *defaults]
        for way in unreachable + defaults[1:]:
            self._report.error(
                "UNREACHABLE_EDGE",
                way.path,
                "this way is never taken: another without condition comes before it",
                "put the edge without condition last, and keep one default",
            )
        kept = asked + defaults[:1]
        return tuple(Rule(targets=way.targets, condition=way.condition) for way in kept)

    def _sources(self, written: str | list[str], path: Path) -> Iterator[str]:
        for name, at in _with_paths(written, path):
            if name == END:
                self._report.error("INVALID_EDGE", at, "nothing leaves END", "swap from and to")
            elif name in self.leaving:
                yield name
            else:
                self._unknown(name, at, START)

    def _targets(self, written: str | list[str], path: Path) -> tuple[str, ...]:
        found = []
        for name, at in _with_paths(written, path):
            if name == START:
                self._report.error(
                    "INVALID_EDGE", at, "nothing leads to START", "name the first node instead"
                )
            elif name == END or name in self._ids:
                found.append(name)
            else:
                self._unknown(name, at, END)
        if not _with_paths(written, path):
            self._report.error(
                "INVALID_EDGE", path, "the list of nodes is empty", "name a node or END"
            )
        return _unique(found)

    def _unknown(self, name: str, path: Path, other: str) -> None:
        self.complete = False
        if name in self._misnamed.values():
            # What is wrong with its id is said where that is.
            return
        known = {*self._ids.difference(self._misnamed), other}
        self._report.error(
            "UNKNOWN_NODE",
            path,
            f"there is no node {shown(name)}",
            self._report.did_you_mean(name, sorted(known)),
        )

    def _ways(self, shape: EdgeShape, path: Path) -> Iterator[Way]:
        if shape.to is not None:
            written = shape.condition
            yield self._way(written, shape.to, path, (*path, "condition"))
        if shape.parallel is not None:
            at = (*path, "parallel", "target_node")
            yield Way(targets=self._targets(shape.parallel.target_node, at), path=path)
        for index, route in enumerate(shape.routes or ()):
            at = (*path, "routes", index)
            yield self._way(route.condition, route.to, at, (*at, "condition"))

    def _way(
        self,
        written: "str | bool | LogicShape | None",
        to: str | list[str],
        path: Path,
        condition_path: Path,
    ) -> Way:
        targets = self._targets(to, (*path, "to"))
        if written is None:
            return Way(targets=targets, path=path)
        if isinstance(written, LogicShape):
            written = written.logic
            condition_path = (*condition_path, "logic")
        text = condition_text(written)
        if text.strip() == DEFAULT:
            return Way(targets=targets, path=path, text=DEFAULT, is_choice=True, is_default=True)
        condition = compile_condition(
            text, self._names, self._report, condition_path
        ) or Expression(text=text, compute=unknown)
        return Way(targets=targets, path=path, condition=condition, text=text, is_choice=True)

    def _add_ways(self, sources: list[str], ways: list[Way]) -> list[GraphEdge]:
        lines = []
        for source in sources:
            self.leaving[source].ways += ways
            lines += [
                GraphEdge(source=source, target=target, condition=way.text)
                for way in ways
                for target in way.targets
            ]
        return lines

    def _add_loop(self, source: str, shape: LoopShape, path: Path) -> list[GraphEdge]:
        leaving = self.leaving[source]
        if leaving.loop is not None or source == START:
            self._report.error(
                "INVALID_EDGE",
                path,
                f"{source} has a loop already" if leaving.loop else "START cannot loop",
                "keep one loop a node",
            )
            return []
        until, text = self._until(shape, path)
        targets = self._targets(shape.to if shape.to is not None else source, (*path, "to"))
        exits = () if shape.exit_to is None else self._targets(shape.exit_to, (*path, "exit_to"))
        leaving.loop_path = path
        leaving.loop = Loop(
            to=targets[0] if targets and targets[0] != END else source,
            max_iterations=shape.max_iterations or DEFAULT_ITERATIONS,
            until=until,
            exits=exits,
        )
        back = f"not ({text})" if text else ""
        return [
            GraphEdge(source=source, target=leaving.loop.to, condition=back, loop=True),
            *(GraphEdge(source=source, target=target, condition=DEFAULT) for target in exits),
        ]

    def _until(self, shape: LoopShape, path: Path) -> tuple[Condition | None, str]:
        if shape.until is not None and shape.condition_field is not None:
            self._report.error(
                "SAME_KEY_TWICE",
                (*path, "condition_field"),
                "`condition_field` and `until` say the same",
                "keep `until`",
                at_key=True,
            )
        if shape.until is not None:
            text = condition_text(shape.until)
            return compile_condition(text, self._names, self._report, (*path, "until")), text
        if shape.condition_field is None:
            return None, ""
        return self._field(shape.condition_field.strip(), (*path, "condition_field"))

    def _field(self, written: str, path: Path) -> tuple[Condition | None, str]:
        name = written.strip("{}").removeprefix("state.")
        type_ = self._names.state.get(name)
        if type_ is not None and not isinstance(bare(type_), (Boolean, Anything)):
            self._report.error(
                "TYPE_MISMATCH",
                path,
                f"condition_field {shown(name)} is of type {type_.text}, not bool",
                "write until: with a comparison instead",
            )
            return None, ""
        text = f"state.{name}"
        return compile_condition(text, self._names, self._report, path), text


def loops_without_exit(flow: Flow) -> dict[str, Exits]:
    """The exits, a loop that names no way on and has no other edges going on to END."""
    mended = {}
    for node, exits in flow.exits.items():
        if exits.loop is not None and not exits.loop.exits and not exits.rules:
            loop = Loop(
                to=exits.loop.to,
                max_iterations=exits.loop.max_iterations,
                until=exits.loop.until,
                exits=(END,),
            )
            exits = Exits(loop=loop)
        mended[node] = exits
    return mended


def _with_paths(written: str | list[str], path: Path) -> list[tuple[str, Path]]:
    if isinstance(written, str):
        return [(written.strip(), path)]
    return [(name.strip(), (*path, index)) for index, name in enumerate(written)]


def _unique(names: "Iterator[str] | list[str]") -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
