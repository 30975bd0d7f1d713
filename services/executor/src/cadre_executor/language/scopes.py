"""Points out memories whose place a model chooses: what it writes could then reach those of anybody."""

from collections.abc import Iterable, Iterator, Mapping

from cadre_executor.domain.workflows import (
    AgentAction,
    LlmAction,
    MemoryAction,
    MemoryPlace,
    Node,
    Scope,
    Template,
    ToolAction,
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
                    f"whose memories the node {shown(node.id)} reaches comes from `{field}`, which the model of"
                    f" {shown(writers[field])} writes",
                    "take it from an input of the run, or let the field have only certain values, by `enum`",
                )


def _writers(nodes: Mapping[str, Node], declared: Mapping[str, DeclaredField]) -> dict[str, str]:
    """Which node's model writes a field, for those of which it may write anything."""
    return {
        output.field: node.id
        for node in nodes.values()
        if isinstance(node.action, (LlmAction, AgentAction))
        for output in node.outputs
        if output.field in declared and bare(declared[output.field].type).limits.enum is None
    }


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
    """The fields of the state that a place depends on, directly or by the node's own inputs."""
    if place.of_run:
        return set()
    named = _named(place.segments)
    own = [node.inputs[name] for name in named if name in node.inputs]
    if node.for_each is not None and node.for_each.item_name in named:
        own.append(node.for_each.items)
    return {name.removeprefix(_STATE) for name in named | _named(own) if name.startswith(_STATE)}


def _named(templates: Iterable[Template]) -> set[str]:
    return {name for template in templates for name in template.sketch(_NOTHING).missing}
