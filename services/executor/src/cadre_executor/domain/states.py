"""The state of a run: how writes combine, and what the engine itself keeps in it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

from cadre_executor.domain.results import Form, Result
from cadre_executor.domain.workflows import (
    LlmAction,
    Node,
    Output,
    Reducer,
    State,
    StateField,
    ValueRefused,
    ValueType,
    Workflow,
)
from cadre_kit.errors import CadreError

__all__ = [
    "Advance",
    "ModelOutputInvalid",
    "OutputInvalid",
    "Progress",
    "advanced",
    "combined",
    "item_of",
    "no_progress",
    "visible",
    "with_writes",
    "writes_of",
    "writes_of_items",
]


class ModelOutputInvalid(CadreError):
    """The model's reply is not what the node's output_schema or the state asks for."""

    code = "MODEL_OUTPUT_INVALID"


class OutputInvalid(CadreError):
    """What the node gave does not fit its output_schema or the state."""

    code = "OUTPUT_INVALID"


class Progress(TypedDict):
    """Where a run is, in JSON.

    `arrivals`: see `routes.Arrivals`. `visits`: how often each node was visited. `loops`: for each node with a loop,
    how often it was taken, and whether it still goes on. `laps`: visits of nodes in cycles that no loop bounds, since a
    loop around them began its lap. `asked`: the visits that wait for a person's answer.
    """

    arrivals: dict[str, list[int]]
    visits: dict[str, int]
    loops: dict[str, list[int]]
    laps: dict[str, int]
    asked: dict[str, int]


class Advance(TypedDict):
    """What one visit changes in the progress: `arrivals` are differences, since several nodes add to one; the rest are
    new values, and a visit that was made no longer asks."""

    arrivals: dict[str, list[int]]
    visits: dict[str, int]
    loops: dict[str, list[int]]
    laps: dict[str, int]
    asked: dict[str, int]


def no_progress() -> Progress:
    """The progress of a run that has not begun."""
    return Progress(arrivals={}, visits={}, loops={}, laps={}, asked={})


def advanced(progress: Progress, advance: Advance) -> Progress:
    """The progress after a visit. The order of the visits of one step makes no difference."""
    arrivals = dict(progress["arrivals"])
    for node, (forward, back) in advance["arrivals"].items():
        was = arrivals.pop(node, [0, 0])
        now = [was[0] + forward, was[1] + back]
        if any(now):
            arrivals[node] = now
    asked = progress["asked"] | advance["asked"]
    return Progress(
        arrivals=arrivals,
        visits=progress["visits"] | advance["visits"],
        loops=progress["loops"] | advance["loops"],
        laps=progress["laps"] | advance["laps"],
        asked={node: visit for node, visit in asked.items() if node not in advance["visits"]},
    )


def visible(workflow: Workflow, fields: State, progress: Progress) -> dict[str, Any]:
    """What templates and conditions see: the fields, and of each node how often its loop went back, or how often it was
    visited when it has none."""
    # Only what was visited: a file may have hundreds of nodes.
    counters = workflow.counters
    state = {**fields, **dict.fromkeys(counters.values(), 0)}
    for node, visits in progress["visits"].items():
        exits = workflow.exits.get(node)
        has_loop = exits is not None and exits.loop is not None
        state[counters[node]] = progress["loops"].get(node, [0])[0] if has_loop else visits
    return state


def combined(reducer: Reducer, old: Any, new: Any) -> Any:
    """The value of a field after a write; the first write to an empty field (None) is taken as it is."""
    if reducer is Reducer.REPLACE or old is None:
        return new
    if new is None:
        return old
    match reducer:
        case Reducer.APPEND:
            return [*old, *new]
        case Reducer.MERGE:
            return {**old, **new}
        case Reducer.SUM:
            return old + new
        case Reducer.MIN:
            return min(old, new)
        case Reducer.MAX:
            return max(old, new)


def with_writes(workflow: Workflow, fields: State, writes: State) -> dict[str, Any]:
    """The fields after one node's writes."""
    after = dict(fields)
    for name, value in writes.items():
        after[name] = combined(workflow.fields[name].reducer, after.get(name), value)
    return after


def writes_of(node: Node, result: Result, fields: Mapping[str, StateField]) -> dict[str, Any]:
    """What a node's result writes, by field. Raises ModelOutputInvalid or OutputInvalid naming what does not fit."""
    with _refusals(node):
        value = _typed(node.result_type, result)
        is_text = result.form is Form.TEXT and node.result_type is None
        return {
            output.field: _fitted(fields[output.field], _part(value, output), is_text=is_text)
            for output in node.outputs
        }


def item_of(node: Node, result: Result) -> list[Any]:
    """What one item of a for_each gave, as it is recorded: the value, and whether it is text that may say another one.
    Raises ModelOutputInvalid or OutputInvalid."""
    with _refusals(node):
        value = _typed(node.result_type, result)
        for output in node.outputs:
            _part(value, output)
        return [value, result.form is Form.TEXT and node.result_type is None]


def writes_of_items(
    node: Node, items: Sequence[list[Any] | None], fields: Mapping[str, StateField]
) -> dict[str, Any]:
    """What the items of a for_each write: lists of their parts, with null for an item that failed. Raises as
    `writes_of`."""
    with _refusals(node):
        return {
            output.field: _fitted_items(
                fields[output.field],
                [None if item is None else (_part(item[0], output), item[1]) for item in items],
            )
            for output in node.outputs
        }


@contextmanager
def _refusals(node: Node) -> Iterator[None]:
    refused = ModelOutputInvalid if isinstance(node.action, LlmAction) else OutputInvalid
    try:
        yield
    except ValueRefused as exc:
        raise refused(
            exc.message,
            resolution=exc.resolution or "Check the node's output_schema and outputs.",
        ) from exc


def _fitted_items(field: StateField, parts: Sequence[tuple[Any, bool] | None]) -> Any:
    """The list as the field takes it; an item that is text may say its value in JSON."""
    values = [None if part is None else part[0] for part in parts]
    if not any(part is not None and part[1] for part in parts):
        return _fitted(field, values, is_text=False)
    try:
        return field.type.accept(values)
    except ValueRefused:
        said = [_said(part[0]) if part is not None and part[1] else part for part in parts]
        return _fitted(field, said, is_text=False)


def _said(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _typed(result_type: ValueType | None, result: Result) -> Any:
    if result_type is None:
        return result.value
    match result.form:
        case Form.VALUE:
            return result_type.accept(result.value)
        case Form.TEXT:
            return _from_text(result_type, result.value)
        case Form.DOCUMENT:
            return result_type.accept(_document(result))
        case Form.MEMBER:
            return result_type.accept(_step_into(_document(result), "value", path="value"))


def _document(result: Result) -> Any:
    try:
        return json.loads(result.value)
    except (ValueError, RecursionError) as exc:
        if result.complete:
            raise ValueRefused(f"the reply is not a JSON document: {exc}") from exc
        raise ValueRefused(
            "the reply was cut off before its end",
            resolution="Allow more tokens with llm.max_tokens, or ask for less.",
        ) from exc


def _fitted(field: StateField, value: Any, *, is_text: bool) -> Any:
    """The value as the field takes it; a field that appends takes one item as well as a list of them."""
    try:
        if field.reducer is Reducer.APPEND:
            return _items(field.type, value, is_text=is_text)
        return _from_text(field.type, value) if is_text else field.type.accept(value)
    except ValueRefused as exc:
        raise ValueRefused(
            f"state field {field.name!r}: {exc.message}", resolution=exc.resolution
        ) from exc


def _items(list_type: ValueType, value: Any, *, is_text: bool) -> Any:
    if not is_text:
        return list_type.accept(value if isinstance(value, list) else [value])
    try:
        return _from_text(list_type, value)
    except ValueRefused:
        return list_type.accept([value])


def _from_text(value_type: ValueType, text: str) -> Any:
    """The value that text says, read as JSON where the type is not text: "[1, 2]" is a list for a list[int]."""
    if value_type.text in ("str", "any"):
        return value_type.accept(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # Not a document: whether "yes" is a bool is the type's own affair.
        return value_type.accept(text)
    return value_type.accept(value)


def _part(value: Any, output: Output) -> Any:
    for depth, name in enumerate(output.path):
        value = _step_into(value, name, path=".".join(output.path[: depth + 1]))
    return value


def _step_into(value: Any, name: str, *, path: str) -> Any:
    if isinstance(value, dict) and name in value:
        return value[name]
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    raise ValueRefused(f"the output has no {path!r}")
