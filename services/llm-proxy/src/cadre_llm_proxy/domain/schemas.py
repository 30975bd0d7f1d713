"""JSON Schemas for replies: checked, put as providers want them, and held against what a model wrote."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from cadre_llm_proxy.domain.facts import OutputInvalid, OutputSchemaInvalid

__all__ = [
    "bounded",
    "check_schema",
    "checked_output",
    "is_strict",
    "moved",
    "tightened",
]

_FENCED = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
_SUBSCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else")
_SUBSCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SUBSCHEMA_MAPS = ("properties", "$defs", "definitions", "patternProperties")
_LONGEST_STRING = 400
_LONGEST_LIST = 8

Change = Callable[[dict[str, Any]], dict[str, Any]]


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises OutputSchemaInvalid for what is no JSON Schema (2020-12), or refers to what is not in it."""
    try:
        Draft202012Validator.check_schema(dict(schema))
        _mapped(schema, _check_reference)
    except SchemaError as exc:
        raise OutputSchemaInvalid(
            f"the output schema is not a JSON Schema: {exc.message[:200]} (at {exc.json_path})",
            resolution="Correct the node's output_schema.",
            metadata={"path": exc.json_path},
        ) from exc
    except RecursionError as exc:
        raise OutputSchemaInvalid("the output schema is nested too deeply") from exc


def checked_output(text: str, schema: Mapping[str, Any]) -> str:
    """The JSON document in a model's reply, without a fence around it. Raises OutputInvalid."""
    fenced = _FENCED.match(text)
    document = fenced.group(1) if fenced else text.strip()
    try:
        value = json.loads(document, parse_constant=_refuse_constant)
        # A registry of its own: without one, a "$ref" to an address would be fetched.
        validator = Draft202012Validator(dict(schema), registry=Registry())
        problem = best_match(validator.iter_errors(value))
    except (ValueError, RecursionError) as exc:
        raise _invalid("it is not a JSON document") from exc
    except Unresolvable as exc:
        raise OutputSchemaInvalid("the output schema refers to what is not in it") from exc
    if problem is not None:
        # The validator's own message quotes the reply; only which rule and where are said.
        raise _invalid(f"{problem.json_path} breaks the rule {problem.validator!r}")
    return document


def moved(schema: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The schema with its references put right for when it stands at `place` (`#/...`) in another document."""

    def move(node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            return {**node, "$ref": place + str(node["$ref"]).removeprefix("#")}
        return node

    return _mapped(schema, move)


def tightened(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with objects closed to properties that it does not name, where it leaves that open.

    Providers' strict modes want that said; a reply to it is valid for the original as well.
    """

    def close(node: dict[str, Any]) -> dict[str, Any]:
        if "properties" in node and "additionalProperties" not in node:
            return {**node, "additionalProperties": False}
        return node

    return _mapped(schema, close)


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether every object of the schema requires all it names and nothing else, as strict modes demand."""
    found: list[bool] = []

    def look(node: dict[str, Any]) -> dict[str, Any]:
        if node.get("type") == "object" or "properties" in node:
            named = set(node.get("properties", {}))
            closed = node.get("additionalProperties") is False
            found.append(closed and named == set(node.get("required", ())))
        return node

    _mapped(schema, look)
    return all(found)


def bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with a length for every string and list that has none: a small model would not find an end."""

    def bound(node: dict[str, Any]) -> dict[str, Any]:
        kinds = node.get("type", ())
        kinds = {kinds} if isinstance(kinds, str) else set(kinds)
        closed = node.keys() & {"enum", "const", "pattern", "format"}
        if "string" in kinds and "maxLength" not in node and not closed:
            node = {**node, "maxLength": max(_LONGEST_STRING, node.get("minLength", 0))}
        if "array" in kinds and "maxItems" not in node and "prefixItems" not in node:
            node = {**node, "maxItems": max(_LONGEST_LIST, node.get("minItems", 0))}
        return node

    return _mapped(schema, bound)


def _mapped(schema: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """The schema with `change` applied to it and to every schema in it."""

    def walk(node: Any) -> Any:
        return _mapped(node, change) if isinstance(node, dict) else node

    changed = dict(schema)
    for word in _SUBSCHEMAS:
        if word in changed:
            changed[word] = walk(changed[word])
    for word in _SUBSCHEMA_LISTS:
        if word in changed:
            changed[word] = [walk(each) for each in changed[word]]
    for word in _SUBSCHEMA_MAPS:
        if word in changed:
            changed[word] = {name: walk(each) for name, each in changed[word].items()}
    result: dict[str, Any] = change(changed)
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are not JSON, but Python's reader takes them.


def _check_reference(node: dict[str, Any]) -> dict[str, Any]:
    if not str(node.get("$ref", "#")).startswith("#"):
        raise OutputSchemaInvalid(
            "the output schema refers to what is not in it",
            resolution="Put the schema that $ref names under $defs, and refer to it as #/$defs/NAME.",
        )
    return node


def _invalid(what: str) -> OutputInvalid:
    return OutputInvalid(
        f"the model's reply does not match the output schema: {what}",
        resolution="Try again, simplify the schema, or use a more capable model.",
    )
