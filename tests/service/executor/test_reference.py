"""Random workflows: the engine ends with the state that a simple interpreter of the same program ends with.

A program is a tree of blocks, so that running it needs no notion of edges; the engine gets the flat graph of it. Each
node counts its own visits in a field of its own, and decides by nothing else: parallel branches do not meet.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.executor import neighbours
from tests.service.executor.conftest import executor_in, outputs

from cadre.executor.v1 import runs_pb2


@dataclass(frozen=True, kw_only=True)
class Task:
    """Counts; is skipped from visit `until` on; breaks, and is passed over, on visit `breaks`."""

    until: int = 99
    breaks: int = 99


@dataclass(frozen=True, kw_only=True)
class Each:
    """Doubles each of so many items; breaks on one of them, which is passed over."""

    items: int
    breaks: int = -1


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Takes one way on odd visits, the other on even ones."""

    odd: "Block"
    even: "Block"


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """Takes all ways side by side."""

    ways: tuple["Block", ...]


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Goes through its body again, `most` times, and not when it was left `until` times before."""

    body: "Block"
    most: int
    until: int


@dataclass(frozen=True, kw_only=True)
class Sequence_:
    """One after the other."""

    blocks: tuple["Block", ...]


Block: TypeAlias = Task | Each | Branch | Parallel | Loop | Sequence_

SIMPLE = st.one_of(
    st.builds(Task, until=st.sampled_from([1, 2, 3, 99]), breaks=st.sampled_from([1, 2, 99])),
    st.builds(Each, items=st.integers(0, 6), breaks=st.integers(-1, 6)),
)


def _larger(blocks: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    pairs = st.lists(blocks, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Branch, odd=blocks, even=blocks),
        st.builds(Parallel, ways=pairs),
        st.builds(Loop, body=blocks, most=st.integers(1, 2), until=st.integers(1, 4)),
        st.builds(Sequence_, blocks=pairs),
    )


PROGRAMS = st.recursive(SIMPLE, _larger, max_leaves=6)


@dataclass
class Graph:
    """The flat form of a program. Names are given in the order in which `Reference` gives them."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: list[dict[str, Any]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)

    def flat(self, block: Block) -> tuple[str, str]:
        """Adds a block; its first and its last node."""
        match block:
            case Task():
                name = self.node(when=block.until, breaks=block.breaks)
                return name, name
            case Each():
                name = self.each(block)
                return name, name
            case Branch():
                first = self.node()
                odd, even = self.flat(block.odd), self.flat(block.even)
                last = self.node()
                condition = f"state.{first} % 2 == 1"
                routes = [
                    {"condition": condition, "to": odd[0]},
                    {"condition": "default", "to": even[0]},
                ]
                self.edges.append({"from": first, "routes": routes})
                self.edges += [{"from": way[1], "to": last} for way in (odd, even)]
                return first, last
            case Parallel():
                first = self.node()
                ways = [self.flat(way) for way in block.ways]
                last = self.node()
                self.edges.append({"from": first, "to": [way[0] for way in ways]})
                self.edges.append({"from": [way[1] for way in ways], "to": last})
                return first, last
            case Loop():
                # A node of its own to go back to: what the body begins with may be the head of another loop.
                first = self.node()
                body = self.flat(block.body)
                last = self.node()
                self.edges.append({"from": first, "to": body[0]})
                self.edges.append({"from": body[1], "to": last})
                until = f"state.{last} >= {block.until}"
                loop = {"to": first, "max_iterations": block.most, "until": until}
                self.edges.append({"from": last, "loop": loop})
                return first, last
            case Sequence_():
                ends = [self.flat(each) for each in block.blocks]
                for before, after in pairwise(ends):
                    self.edges.append({"from": before[1], "to": after[0]})
                return ends[0][0], ends[-1][1]

    def node(self, *, when: int = 99, breaks: int = 99) -> str:
        name = f"n{len(self.nodes)}"
        self.fields[name] = {"type": "int", "default": 0}
        node = {
            "id": name,
            "code": f"result = count + 1 + 0 // (count + 1 - {breaks})",
            "inputs": {"count": f"{{state.{name}}}"},
            "outputs": [name],
            "on_error": "continue",
        }
        if when != 99:
            node["when"] = f"state.{name} < {when}"
        self.nodes.append(node)
        return name

    def each(self, block: Each) -> str:
        name = f"n{len(self.nodes)}"
        self.fields[name] = {"type": "list", "default": []}
        self.nodes.append(
            {
                "id": name,
                "code": f"result = item * 2 + 0 // (item - {block.breaks})",
                "for_each": {"items": list(range(block.items)), "max_concurrency": 3},
                "outputs": [name],
                "on_error": "continue",
            }
        )
        return name

    def source(self, program: Block) -> str:
        """The file of a program."""
        first, last = self.flat(program)
        self.edges += [{"from": "START", "to": first}, {"from": last, "to": "END"}]
        return json.dumps(
            {
                "flow": {"name": "random"},
                "state": {"fields": self.fields},
                "nodes": self.nodes,
                "edges": self.edges,
                "config": {"execution": {"max_steps": 10_000}},
            }
        )


@dataclass
class Reference:
    """Runs a program as it reads: what each node leaves in its field, and how often it was visited."""

    names: dict[tuple[int, ...], str] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)

    def run(self, program: Block) -> None:
        self._name(program, path=())
        self._run(program, ())

    def _name(self, block: Block, path: tuple[int, ...]) -> None:
        """Names nodes as the graph does: a block's first node, its inner blocks, its last one."""
        inner = _inner(block)
        if not isinstance(block, Sequence_):
            self._new((*path, -1), [] if isinstance(block, Each) else 0)
        for place, each in enumerate(inner):
            self._name(each, (*path, place))
        if isinstance(block, Branch | Parallel | Loop):
            self._new((*path, -2), 0)

    def _new(self, path: tuple[int, ...], value: Any) -> None:
        name = f"n{len(self.names)}"
        self.names[path] = name
        self.state[name] = value

    def _visit(self, path: tuple[int, ...]) -> str:
        name = self.names[path]
        self.visits[name] = self.visits.get(name, 0) + 1
        return name

    def _count(self, path: tuple[int, ...]) -> int:
        name = self._visit(path)
        self.state[name] += 1
        count: int = self.state[name]
        return count

    def _run(self, block: Block, path: tuple[int, ...]) -> None:
        inner = _inner(block)
        match block:
            case Task():
                name = self._visit((*path, -1))
                # A node that breaks leaves its count as it was, and breaks again on each further visit.
                if self.state[name] < block.until and self.state[name] + 1 != block.breaks:
                    self.state[name] += 1
            case Each():
                name = self._visit((*path, -1))
                self.state[name] = [
                    None if item == block.breaks else item * 2 for item in range(block.items)
                ]
            case Branch():
                way = 0 if self._count((*path, -1)) % 2 else 1
                self._run(inner[way], (*path, way))
                self._count((*path, -2))
            case Parallel():
                self._count((*path, -1))
                for place, each in enumerate(inner):
                    self._run(each, (*path, place))
                self._count((*path, -2))
            case Loop():
                for _ in range(block.most + 1):
                    self._count((*path, -1))
                    self._run(inner[0], (*path, 0))
                    if self._count((*path, -2)) >= block.until:
                        break
            case Sequence_():
                for place, each in enumerate(inner):
                    self._run(each, (*path, place))


def _inner(block: Block) -> Sequence[Block]:
    match block:
        case Branch():
            return (block.odd, block.even)
        case Parallel():
            return block.ways
        case Loop():
            return (block.body,)
        case Sequence_():
            return block.blocks
        case _:
            return ()


Ran: TypeAlias = tuple[runs_pb2.Run, list[runs_pb2.Event]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ran]]:
    """Runs files on one executor, each to its end."""
    home: Path = tmp_path_factory.mktemp("reference")
    with asyncio.Runner() as runner:
        near = neighbours()
        executing = executor_in(home, runner.run(near.__aenter__()))
        executor = runner.run(executing.__aenter__())

        async def finish(source: str) -> Ran:
            started = await executor.start(source)
            events = await executor.events(started.id)
            return await executor.get(started.id), events

        yield lambda source: runner.run(finish(source))
        runner.run(executing.__aexit__(None, None, None))
        runner.run(near.__aexit__(None, None, None))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(program=PROGRAMS)
def test_the_engine_ends_as_the_reference_does(run: Callable[[str], Ran], program: Block) -> None:
    reference = Reference()
    reference.run(program)

    ended, events = run(Graph().source(program))

    assert ended.status == runs_pb2.RUN_STATUS_SUCCEEDED, ended.error
    assert outputs(ended) == reference.state
    assert _visits(events) == reference.visits


def _visits(events: list[runs_pb2.Event]) -> dict[str, int]:
    ends = (
        runs_pb2.EVENT_TYPE_NODE_SUCCEEDED,
        runs_pb2.EVENT_TYPE_NODE_FAILED,
        runs_pb2.EVENT_TYPE_NODE_SKIPPED,
    )
    found: dict[str, int] = {}
    for event in events:
        if event.type in ends and not event.item:
            found[event.node] = found.get(event.node, 0) + 1
    return found
