"""Points out memories whose place a model chooses: what it writes could then reach those of anybody."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from cadre_executor.domain.workflows import (
    AgentAction,
    CodeAction,
    LlmAction,
    MemoryAction,
    MemoryPlace,
    Node,
    Scope,
    Template,
    ToolAction,
    WorkflowAction,
)
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.states import DeclaredField
from cadre_executor.language.types import bare

_NOTHING = Scope(state={}, inputs={})
_STATE = "state."


def note_chosen_places(
    nodes: Mapping[str, Node],
    indexes: Mapping[str, int],
    declared: Mapping[str, DeclaredField],
    report: Report,
) -> None:
    """Notes each namespace, but those of one run, that comes from a field which a model writes as it likes."""
    writers = _writers(nodes, declared)
    for node in nodes.values():
        for place, key in _places(node):
            for field in sorted(_fields_of(place, node) & writers.keys()):
                report.note(
                    "NAMESPACE_FROM_MODEL",
                    ("nodes", indexes[node.id], *key),
                    f"whose memories the node {shown(node.id)} reaches comes from `{field}`, which"
                    f" {writers[field]}",
                    "take it from an input of the run, or let the field have only certain values, by `enum`",
                )


def _writers(nodes: Mapping[str, Node], declared: Mapping[str, DeclaredField]) -> dict[str, str]:
    """Who writes a field, as a clause, for those of which a model may write anything, itself or through what programs,
    tools and other workflows make of its words."""
    models: dict[str, str] = {}
    clauses: dict[str, str] = {}
    readers: defaultdict[str, list[Node]] = defaultdict(list)
    for node in nodes.values():
        for field in _read_by(node):
            readers[field].append(node)
        if isinstance(node.action, (LlmAction, AgentAction)):
            for field in _free_outputs(node, declared):
                models[field], clauses[field] = node.id, f"the model of {shown(node.id)} writes"
    waiting = list(models)
    while waiting:
        read = waiting.pop()
        for node in readers[read]:
            for field in _free_outputs(node, declared) - models.keys():
                models[field] = model = models[read]
                clauses[field] = (
                    f"{shown(node.id)} makes of what the model of {shown(model)} writes"
                )
                waiting.append(field)
    return clauses


def _free_outputs(node: Node, declared: Mapping[str, DeclaredField]) -> set[str]:
    """The fields that a node writes, but those of certain values only."""
    fields = {output.field for output in node.outputs if output.field in declared}
    return {field for field in fields if bare(declared[field].type).limits.enum is None}


def _read_by(node: Node) -> set[str]:
    """The fields of the state that a program, a tool or another workflow is given."""
    match node.action:
        case CodeAction(limits=limits):
            given = [*node.inputs.values(), *limits.files.values()]
        case ToolAction(arguments=arguments):
            given = list(arguments.values())
        case WorkflowAction():
            given = list(node.inputs.values())
        case _:
            return set()
    return _fields(given, node)


def _places(node: Node) -> Iterator[tuple[MemoryPlace, Path]]:
    """The places that a node reaches, and where the file says so."""
    match node.action:
        case MemoryAction(place=place):
            yield place, ("memory", "namespace")
        case LlmAction(recall=recall, tools=tools):
            if recall is not None:
                yield recall.place, ("memory", "namespace")
            yield from ((tool.place, ("tools",)) for tool in tools if tool.place is not None)
        case ToolAction(tool=tool):
            if tool.place is not None:
                yield tool.place, ("tool",)


def _fields_of(place: MemoryPlace, node: Node) -> set[str]:
    """The fields of the state that a place depends on."""
    return set() if place.of_run else _fields(place.segments, node)


def _fields(templates: Iterable[Template], node: Node) -> set[str]:
    """The fields of the state that a node's templates name, directly or by its own inputs."""
    named = _named(templates)
    named |= _named([node.inputs[name] for name in named if name in node.inputs])
    if node.for_each is not None and node.for_each.item_name in named:
        named |= _named([node.for_each.items])
    return {name.removeprefix(_STATE) for name in named if name.startswith(_STATE)}


def _named(templates: Iterable[Template]) -> set[str]:
    return {name for template in templates for name in template.sketch(_NOTHING).missing}
