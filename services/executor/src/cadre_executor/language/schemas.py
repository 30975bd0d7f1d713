"""The JSON Schema of workflow files, by which editors complete and check them."""

from collections.abc import Iterator
from typing import Any

from pydantic import AliasChoices

from cadre_executor.language.file_shapes import FileShape
from cadre_executor.language.shapes import Shape

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_EXAMPLE = {
    "schema_version": "1.0",
    "flow": {"name": "hello"},
    "state": {"fields": {"name": {"type": "str", "required": True}, "greeting": "str"}},
    "nodes": [{"id": "greet", "prompt": "Greet {state.name}.", "outputs": ["greeting"]}],
    "edges": [{"from": "START", "to": "greet"}, {"from": "greet", "to": "END"}],
}


def workflow_schema() -> dict[str, Any]:
    """The schema, draft 2020-12. It describes what is built, and nothing else."""
    made: dict[str, Any] = _tidied(FileShape.model_json_schema())
    shapes = {shape.__name__: shape for shape in _shapes_below(Shape)}
    for name, definition in made["$defs"].items():
        _add_other_names(shapes[name], definition)
    return {
        "$schema": DIALECT,
        "title": "Cadre workflow",
        **made,
        "examples": [_EXAMPLE],
    }


def _shapes_below(shape: type[Shape]) -> Iterator[type[Shape]]:
    for inner in shape.__subclasses__():
        yield inner
        yield from _shapes_below(inner)


def _tidied(value: Any) -> Any:
    """Without generated titles, and without null: a key without a value counts as left out."""
    match value:
        case list():
            return [_tidied(item) for item in value]
        case dict():
            return _tidied_mapping(value)
    return value


def _tidied_mapping(schema: dict[str, Any]) -> dict[str, Any]:
    tidied = {
        key: {name: _tidied(inner) for name, inner in item.items()}
        if key in ("properties", "$defs")
        else _tidied(item)
        for key, item in schema.items()
        if not (key == "title" and isinstance(item, str))
        and not (key == "default" and item is None)
    }
    branches = [branch for branch in tidied.get("anyOf", ()) if branch != {"type": "null"}]
    if len(branches) == 1:
        del tidied["anyOf"]
        return {**branches[0], **tidied}
    if branches:
        tidied["anyOf"] = branches
    return tidied


def _add_other_names(shape: type[Shape], definition: dict[str, Any]) -> None:
    """The first generation's names of keys that have a newer one."""
    for info in shape.model_fields.values():
        if isinstance(info.validation_alias, AliasChoices):
            name, *others = (str(choice) for choice in info.validation_alias.choices)
            for other in others:
                definition["properties"][other] = {
                    **definition["properties"][name],
                    "description": f"Another name for {name}.",
                    "deprecated": True,
                }
