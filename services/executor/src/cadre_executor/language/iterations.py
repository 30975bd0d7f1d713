"""Compiles for_each: which list a node goes through, and what it calls an item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from keyword import iskeyword

from cadre_executor.domain.workflows import ForEach
from cadre_executor.language.file_shapes import EdgeShape
from cadre_executor.language.node_shapes import ForEachShape
from cadre_executor.language.positions import Path
from cadre_executor.language.references import Names
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.templates import REFERENCE_TEXT, Compiler
from cadre_executor.language.types import Anything, Integer, ListOf, Type, bare

DEFAULT_ITEM = "item"
DEFAULT_CONCURRENCY = 8


@dataclass(frozen=True, kw_only=True)
class WrittenIteration:
    """A for_each as the file says it, at the node or (1.0) at the edge that leads there, and where its parts stand."""

    shape: ForEachShape
    items_path: Path
    item_path: Path
    collect_path: Path


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """A node's for_each, the names that it adds to the node's inputs, and the field that takes the results whole."""

    for_each: ForEach
    item_types: Mapping[str, Type]
    collect: str
    collect_path: Path


def written_at_node(shape: ForEachShape, path: Path) -> WrittenIteration:
    """The for_each of a node."""
    return WrittenIteration(
        shape=shape,
        items_path=(*path, "items"),
        item_path=(*path, "as"),
        collect_path=(*path, "collect"),
    )


def written_at_edges(edges: Sequence[EdgeShape], report: Report) -> dict[str, WrittenIteration]:
    """(1.0) What edges say with `parallel`, by the node that goes through the list."""
    found: dict[str, WrittenIteration] = {}
    for index, edge in enumerate(edges):
        if edge.parallel is None:
            continue
        path: Path = ("edges", index, "parallel")
        target = edge.parallel.target_node.strip()
        if target in found:
            report.error(
                "INVALID_EDGE",
                (*path, "target_node"),
                f"the node {shown(target)} goes through a list already",
                "write for_each on the node, and lead to it with `to`",
            )
        field = edge.parallel.items_field.strip().strip("{}").removeprefix("state.")
        found[target] = WrittenIteration(
            shape=ForEachShape(items=f"state.{field}", collect=edge.parallel.collect_field),
            items_path=(*path, "items_field"),
            item_path=path,
            collect_path=(*path, "collect_field"),
        )
    return found


def compile_iteration(written: WrittenIteration, names: Names, report: Report) -> Iteration:
    """The list must be one, and its items have its element type."""
    shape = written.shape
    item = shape.as_ or DEFAULT_ITEM
    if not item.isidentifier() or iskeyword(item) or item.startswith("_") or item == "state":
        report.error(
            "INVALID_NAME",
            written.item_path,
            f"{shown(item)} cannot name an item",
            "use letters, digits and _, beginning with a letter, and no Python keyword",
        )
    items = shape.items
    if isinstance(items, str) and REFERENCE_TEXT.fullmatch(items.strip()):
        items = f"{{{items.strip()}}}"
    template, type_ = Compiler(names=names, report=report).value(items, written.items_path)
    element = _element(type_, written.items_path, report)
    return Iteration(
        for_each=ForEach(
            items=template,
            item_name=item,
            max_concurrency=shape.max_concurrency or DEFAULT_CONCURRENCY,
        ),
        item_types={item: element, f"{item}_index": Integer()},
        collect=(shape.collect or "").strip(),
        collect_path=written.collect_path,
    )


def _element(type_: Type, path: Path, report: Report) -> Type:
    match bare(type_):
        case ListOf(items=items):
            return items
        case Anything() as anything:
            return anything
    report.error(
        "TYPE_MISMATCH",
        path,
        f"for_each goes through a list, not through a value of type {type_.text}",
        "name a field of type list, such as {state.urls}",
    )
    return Anything()


def with_items(names: Names, iteration: Iteration | None) -> Names:
    """The names with those of the item."""
    if iteration is None:
        return names
    return replace(names, inputs={**names.inputs, **iteration.item_types})
