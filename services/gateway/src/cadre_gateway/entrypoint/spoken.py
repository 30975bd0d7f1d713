"""Workflows that are spoken to: the field that a message goes into, and the one that answers."""

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from cadre_gateway.entrypoint import documents as d
from cadre_kit.errors import InvalidInput

__all__ = ["FieldUnclear", "inputs_with", "reply_field", "reply_text"]

_END = "END"
_REPLIES = ("reply", "answer")


class FieldUnclear(InvalidInput):
    """A text could be meant for several inputs of a workflow, or for none."""

    code = "MESSAGE_FIELD_UNCLEAR"


def inputs_with(
    text: str, given: Mapping[str, JsonValue], inputs: Sequence[d.Input]
) -> dict[str, JsonValue]:
    """The inputs of a run: what is given, and a text in the one text field that is left for it, a required one first.
    Raises FieldUnclear."""
    free = [one for one in inputs if one.name not in given and one.type.startswith("str")]
    meant = [one for one in free if one.required] or free
    if len(meant) != 1:
        fields = ", ".join(one.name for one in inputs) or "none"
        raise FieldUnclear(
            f"it is not clear which input the text is for; the inputs are: {fields}",
            resolution="Give the workflow one required input of type str, or send its inputs by name.",
        )
    return {**given, meant[0].name: text}


def reply_field(workflow: d.Workflow) -> str:
    """The state field that answers: `reply` or `answer`, else the one that the last nodes write; empty when there is no
    such one."""
    if workflow.graph is None:
        return ""
    written = {field for node in workflow.graph.nodes for field in node.outputs}
    for name in _REPLIES:
        if name in written:
            return name
    last = last_nodes(workflow.graph)
    fields = {field for node in workflow.graph.nodes if node.id in last for field in node.outputs}
    return fields.pop() if len(fields) == 1 else ""


def last_nodes(graph: d.Graph) -> set[str]:
    """The nodes after which nothing comes."""
    going_on = {edge.source for edge in graph.edges if edge.target != _END}
    return {node.id for node in graph.nodes} - going_on


def reply_text(run: d.Run, field: str = "") -> str:
    """What a run that has ended says: a field of its outputs; else `reply` or `answer`, else the one text that it was
    not given, else all that it was not given, as JSON."""
    outputs, given = run.outputs or {}, run.inputs or {}
    made = {name: value for name, value in outputs.items() if name not in given}
    for name in (field, *_REPLIES):
        if isinstance(value := made.get(name), str):
            return value
    if field in made:
        return json.dumps(made[field], ensure_ascii=False)
    texts = [value for value in made.values() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 else json.dumps(made, ensure_ascii=False)
