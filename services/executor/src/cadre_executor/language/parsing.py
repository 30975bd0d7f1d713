"""From the text of a workflow file to a checked workflow, or to everything that is wrong with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cadre_executor.domain.agents import NamedAgent
from cadre_executor.domain.cases import Case
from cadre_executor.domain.definitions import Graph, GraphEdge, GraphNode
from cadre_executor.domain.triggers import Trigger
from cadre_executor.domain.workflows import END, START, AgentAction, Exits, Goto, Node, Workflow
from cadre_executor.language.cases import CaseCompiler
from cadre_executor.language.configs import (
    compile_budget,
    compile_limits,
    compile_secrets,
    compile_servers,
    note_unlearned,
)
from cadre_executor.language.documents import Document, read_document
from cadre_executor.language.edges import compile_edges, loops_without_exit
from cadre_executor.language.features import take_out_unbuilt
from cadre_executor.language.file_shapes import ConfigShape, FileShape
from cadre_executor.language.flows import FlowChecker
from cadre_executor.language.inputs import Input, inputs_of
from cadre_executor.language.iterations import written_at_edges
from cadre_executor.language.memories import keeps_all
from cadre_executor.language.nodes import NodeCompiler, check_ids, with_memory_defaults
from cadre_executor.language.references import Names
from cadre_executor.language.reports import Report, path_text, shown
from cadre_executor.language.scopes import note_chosen_places
from cadre_executor.language.states import compile_fields
from cadre_executor.language.structure import Structure, read_structure, without_nulls
from cadre_executor.language.triggers import compile_triggers
from cadre_executor.language.types import bare
from cadre_kit.errors import Problem, Severity

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a file says. `workflow` is None when a problem is an error; the graph is then what could be read."""

    workflow: Workflow | None
    problems: tuple[Problem, ...] = ()
    graph: Graph = field(default_factory=Graph)
    inputs: tuple[Input, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    cases: tuple[Case, ...] = ()
    agents: tuple[NamedAgent, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether it can be run."""
        return self.workflow is not None

    @property
    def notes(self) -> tuple[Problem, ...]:
        """The problems that keep nothing from running."""
        return tuple(each for each in self.problems if each.severity is Severity.NOTE)


def parse_workflow(source: str) -> Parsed:
    """Checks a file, calling and running nothing. Never raises: all that is wrong is in its problems."""
    document = read_document(source)
    if document.value is None and document.problems:
        return Parsed(workflow=None, problems=document.problems)
    report = Report(keys=document.keys, values=document.values, source=source)
    parsed = _checked(document, report)
    problems = _merged(document.problems, report.problems())
    failed = any(problem.severity is Severity.ERROR for problem in problems)
    return replace(parsed, workflow=None if failed else parsed.workflow, problems=problems)


def _merged(first: tuple[Problem, ...], second: tuple[Problem, ...]) -> tuple[Problem, ...]:
    if not first:
        return second
    return tuple(sorted((*first, *second), key=lambda problem: (problem.line, problem.column)))


def _checked(document: Document, report: Report) -> Parsed:
    if not isinstance(document.value, dict):
        empty = document.value is None
        report.error(
            "NOT_A_WORKFLOW",
            (),
            "the file is empty" if empty else "the file is not a mapping of keys to values",
            "begin with flow:, state:, nodes: and edges:; `cadre init` writes an example",
        )
        return Parsed(workflow=None)
    written: dict[str, Any] = without_nulls(document.value)
    take_out_unbuilt(written, report)
    structure = read_structure(written, report)
    if structure.file is None:
        return Parsed(workflow=None)
    return _compiled(structure, structure.file, report)


def _compiled(structure: Structure, file: FileShape, report: Report) -> Parsed:
    name = _name(file, report)
    declared = compile_fields(file.state.fields, report)
    config = file.config or ConfigShape()
    servers = compile_servers(config, report)
    secrets = compile_secrets(config, report)
    ids = list(dict.fromkeys(shape.id for shape in file.nodes))
    names = Names(state={field.name: field.type for field in declared.values()}, nodes=ids)
    compiler = NodeCompiler(
        workflow=name,
        declared=declared,
        names=names,
        config=config,
        servers=servers,
        secrets=secrets,
        iterations=written_at_edges(file.edges or (), report),
        keeps_all=keeps_all(config.memory, file.nodes),
        report=report,
        whole=structure.whole,
    )
    nodes, indexes = _nodes(file, compiler)
    note_unlearned(config, nodes.values(), report)
    note_chosen_places(nodes, indexes, declared, report)
    flow = compile_edges(file.edges, ids, names, report, misnamed=structure.misnamed)
    exits = loops_without_exit(flow)
    if structure.flow_known and flow.complete:
        checker = FlowChecker(nodes=nodes, exits=exits, flow=flow, indexes=indexes, report=report)
        checker.check(declared)
    workflow = Workflow(
        name=name,
        fields={
            field: declared[field].as_domain(type_)
            for field, type_ in with_memory_defaults(declared, nodes.values()).items()
        },
        nodes=nodes,
        exits=exits,
        description=file.flow.description or "",
        tags=tuple(file.flow.tags or ()),
        limits=compile_limits(config.execution),
        budget=compile_budget(config.budget, report),
        mcp_servers=servers,
        secrets=secrets,
    )
    cases = CaseCompiler(declared=declared, nodes=nodes, names=names, report=report)
    enums = {field.name: bare(field.type).limits.enum for field in declared.values()}
    return Parsed(
        workflow=workflow,
        graph=_graph(nodes, flow.lines, exits),
        inputs=inputs_of(workflow, enums),
        triggers=compile_triggers(file, declared, report),
        cases=cases.cases(file.tests or []),
        agents=_agents(nodes, indexes, report),
    )


def _name(file: FileShape, report: Report) -> str:
    """The workflow's name; (1.0) one with other characters is written with `-` in their place."""
    written = file.flow.name.strip()
    name = _NOT_IN_NAMES.sub("-", written).strip("-")
    if not name:
        report.error(
            "INVALID_NAME",
            ("flow", "name"),
            f"{shown(written)} cannot name a workflow",
            "use letters, digits, _ and -",
        )
    elif name != written:
        report.note(
            "NAME_CHANGED",
            ("flow", "name"),
            f"the workflow is called {name!r} here",
            "use letters, digits, _ and - only",
        )
    return name


def _nodes(file: FileShape, compiler: NodeCompiler) -> tuple[dict[str, Node], dict[str, int]]:
    """The nodes by id, and where each stands in the file; a repeated id keeps its first node."""
    check_ids(file.nodes, compiler.report)
    nodes: dict[str, Node] = {}
    indexes: dict[str, int] = {}
    for index, shape in enumerate(file.nodes):
        node = compiler.compile(shape, ("nodes", index))
        if shape.id not in nodes:
            nodes[shape.id] = node
            indexes[shape.id] = index
    return nodes, indexes


def _agents(
    nodes: Mapping[str, Node], indexes: Mapping[str, int], report: Report
) -> tuple[NamedAgent, ...]:
    """The agents that nodes hand work to; only a registry knows whether they are there."""
    named = []
    for node in nodes.values():
        if isinstance(node.action, AgentAction):
            path = ("nodes", indexes[node.id], "agent")
            place = report.place(path)
            found = NamedAgent(
                name=node.action.agent,
                path=path_text(path),
                line=place.line,
                column=place.column,
            )
            named.append(found)
    return tuple(named)


def _graph(
    nodes: Mapping[str, Node], lines: tuple[GraphEdge, ...], exits: Mapping[str, Exits]
) -> Graph:
    drawn = [
        GraphNode(
            id=node.id,
            kind=node.kind,
            label=node.label or node.id,
            outputs=tuple(output.field for output in node.outputs),
            structured=node.result_type is not None,
        )
        for node in nodes.values()
    ]
    failures = [
        GraphEdge(source=node.id, target=node.on_error.node, condition="on_error")
        for node in nodes.values()
        if isinstance(node.on_error, Goto)
    ]
    known = {(line.source, line.target) for line in lines}
    implied = [
        GraphEdge(source=node, target=END, condition="default")
        for node, ways in exits.items()
        if node != START
        and ways.loop is not None
        and ways.loop.exits == (END,)
        and (node, END) not in known
    ]
    return Graph(nodes=tuple(drawn), edges=(*lines, *implied, *failures))
