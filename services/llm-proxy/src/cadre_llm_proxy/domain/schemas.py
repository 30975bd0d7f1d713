"""JSON Schemas for replies: checked, put as providers want them, and held against what a model wrote."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from string import ascii_letters
from typing import Any

import regex  # type: ignore[import-untyped]  # ships no annotations
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from cadre_llm_proxy.domain.facts import OutputInvalid, OutputSchemaInvalid

__all__ = [
    "bounded",
    "check_schema",
    "checked_output",
    "is_strict",
    "moved",
    "self_contained",
    "tightened",
    "typed",
]

_FENCE = "```"
_SUBSCHEMAS = (
    *("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_SUBSCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SUBSCHEMA_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_TYPES: Mapping[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
_NAMED = re.compile(r"#/\$defs/[^/]+")
_MOST_PARTS = 20_000
_REMEMBERED = 500
_LONGEST_REMEMBERED = 20_000
# Longer than any honest pattern takes; nothing else is done meanwhile.
_PATTERN_SECONDS = 0.2
# One of each kind: a schema that only refers to itself comes to no end with any of them.
_PROBES: tuple[Any, ...] = ({}, [], "", 0, None)
_LONGEST_STRING = 400
_LONGEST_LIST = 8

Change = Callable[[dict[str, Any]], dict[str, Any]]


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises OutputSchemaInvalid for what is no JSON Schema (2020-12), refers to what is not in it, or has no end."""
    try:
        text = json.dumps(schema)
    except RecursionError as exc:
        raise _endless() from exc
    (_check if len(text) <= _LONGEST_REMEMBERED else _check.__wrapped__)(text)


@lru_cache(_REMEMBERED)
def _check(text: str) -> None:
    # A check takes some milliseconds, and most calls come with a schema that another came with before.
    schema = json.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
        _check_parts(schema)
        for probe in _PROBES:
            _problem(probe, schema)
    except SchemaError as exc:
        raise OutputSchemaInvalid(
            f"the schema is not a JSON Schema: {exc.message[:200]} (at {exc.json_path})",
            resolution="Correct the node's output_schema.",
            metadata={"path": exc.json_path},
        ) from exc
    except RecursionError as exc:
        raise _endless() from exc
    except Unresolvable as exc:
        raise _refers_elsewhere() from exc


def checked_output(text: str, schema: Mapping[str, Any], *, of: str = "the output schema") -> str:
    """The JSON document in a model's reply, without a fence around it. Raises OutputInvalid, which says of what the
    schema is."""
    document = _unfenced(text.strip())
    try:
        value = json.loads(document, parse_constant=_refuse_constant)
        # What Python reads and JSON cannot say: numbers beyond all bounds, halves of characters.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        problem = _problem(value, schema)
    except (ValueError, RecursionError, OverflowError) as exc:
        raise _invalid(of, "it is not a JSON document") from exc
    except Unresolvable as exc:
        raise _refers_elsewhere() from exc
    if problem is not None:
        # The validator's own message quotes the reply; only which rule and where are said.
        raise _invalid(of, f"{problem.json_path} breaks the rule {problem.validator!r}")
    return document


def moved(schema: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The schema with its references put right for when it stands at `place` (`#/...`) in another document."""

    def move(node: dict[str, Any]) -> dict[str, Any]:
        said = str(node.get("$ref", ""))
        # An anchor's name holds for the whole document.
        if said == "#" or said.startswith("#/"):
            return {**node, "$ref": place + said.removeprefix("#")}
        return node

    return _mapped(schema, move)


def self_contained(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with all that it refers to under `$defs`, with a name: litellm follows no other reference, and one to
    the schema itself without end."""
    found = _resolver(schema)
    parts: dict[str, Any] = {}

    def name(node: dict[str, Any]) -> dict[str, Any]:
        said = str(node.get("$ref", ""))
        if not said or _NAMED.fullmatch(said):
            return node
        if said not in parts:
            parts[said] = {}
            contents = found.lookup(said).contents
            parts[said] = _mapped(contents, name) if isinstance(contents, dict) else contents
        return {**node, "$ref": f"#/$defs/{_part(said)}"}

    named = _mapped(schema, name)
    if not parts:
        return schema
    return {**named, "$defs": {**named.get("$defs", {}), **{_part(n): p for n, p in parts.items()}}}


def _part(reference: str) -> str:
    return "part_" + reference.encode().hex()


def typed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with each one value as a list of values, and the type of those that it lists without one: for Google,
    litellm would leave the one out, and make objects of any kind of the others."""

    def add(node: dict[str, Any]) -> dict[str, Any]:
        if "const" in node and "enum" not in node:
            node = {**node, "enum": [node["const"]]}
        types = {_TYPES.get(type(value)) for value in node.get("enum", ())}
        if "type" in node or len(types) != 1 or None in types:
            return node
        return {"type": types.pop(), **node}

    return _mapped(schema, add)


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


def _check_parts(schema: Mapping[str, Any]) -> None:
    """Raises Unresolvable, and OutputSchemaInvalid for a pattern that is none."""
    found = _resolver(schema)

    def check(node: dict[str, Any]) -> dict[str, Any]:
        for word in ("$ref", "$dynamicRef"):
            if word in node:
                found.lookup(str(node[word]))
        for pattern in (node.get("pattern", ""), *node.get("patternProperties", ())):
            _check_pattern(pattern)
        return node

    _mapped(schema, check)
    _check_size(schema, found)


def _check_size(schema: Mapping[str, Any], found: Any) -> None:
    """Raises OutputSchemaInvalid for what grows beyond all bounds once its references are followed, each until it comes
    to itself, as validators and providers do."""
    parts = 0

    def follow(node: Any, within: frozenset[str]) -> None:
        def count(part: dict[str, Any]) -> dict[str, Any]:
            nonlocal parts
            parts += 1
            if parts > _MOST_PARTS:
                raise OutputSchemaInvalid(
                    f"the schema has more than {_MOST_PARTS} parts once its references are followed",
                    resolution="Write it with fewer references to what has references itself.",
                )
            said = str(part.get("$ref", ""))
            if said and said not in within:
                follow(found.lookup(said).contents, within | {said})
            return part

        if isinstance(node, dict):
            _mapped(node, count)

    follow(schema, frozenset())


def _resolver(schema: Mapping[str, Any]) -> Any:
    whole = DRAFT202012.create_resource(dict(schema))
    return Registry[Any]().with_resource("", whole).resolver()


def _check_pattern(pattern: str) -> None:
    try:
        regex.compile(pattern)
    except regex.error as exc:
        raise OutputSchemaInvalid(
            f"the schema has a pattern that is no regular expression: {exc}",
            resolution="Correct the node's output_schema.",
        ) from exc


def _problem(value: object, schema: Mapping[str, Any]) -> ValidationError | None:
    # A registry of its own: without one, a "$ref" to an address would be fetched.
    validator = _Validator(dict(schema), registry=Registry())
    problem: ValidationError | None = best_match(validator.iter_errors(value))
    return problem


def _matches(pattern: str, text: str) -> bool:
    try:
        return regex.search(pattern, text, timeout=_PATTERN_SECONDS) is not None
    except TimeoutError as exc:
        raise OutputSchemaInvalid(
            "a pattern in the schema takes too long to be matched",
            resolution="Write the pattern without repetitions within repetitions, such as (a+)+.",
        ) from exc


Errors = Iterator[ValidationError]


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Errors:
    if validator.is_type(value, "string") and not _matches(pattern, value):
        yield ValidationError("no match")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Errors:
    if validator.is_type(value, "object"):
        for pattern, name in ((p, n) for p in patterns for n in value if _matches(p, n)):
            yield from validator.descend(value[name], patterns[pattern], path=name)


def _additional_properties(validator: Any, rule: Any, value: Any, schema: Any) -> Errors:
    if not validator.is_type(value, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", ())
    others = (n for n in value if n not in named and not any(_matches(p, n) for p in patterns))
    for name in others:
        if rule is False:
            yield ValidationError("not named")
        else:
            yield from validator.descend(value[name], rule, path=name)


# jsonschema's own use a matcher that some patterns keep busy for years, and with it this process.
_Validator = extend(  # type: ignore[no-untyped-call]  # jsonschema ships no annotations for it
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    },
)


def _unfenced(text: str) -> str:
    """The text without a fence around it, such as ```json has."""
    word, newline, rest = text[len(_FENCE) : -len(_FENCE)].partition("\n")
    is_fenced = text.startswith(_FENCE) and text.endswith(_FENCE) and newline
    return rest.strip() if is_fenced and not word.strip(ascii_letters + " \t\r") else text


def _endless() -> OutputSchemaInvalid:
    return OutputSchemaInvalid(
        "the schema is nested too deeply, or only refers to itself",
        resolution="Correct the node's output_schema.",
    )


def _refers_elsewhere() -> OutputSchemaInvalid:
    return OutputSchemaInvalid(
        "the schema refers to what is not in it",
        resolution="Put the schema that $ref names under $defs, and refer to it as #/$defs/NAME.",
    )


def _invalid(of: str, what: str) -> OutputInvalid:
    return OutputInvalid(
        f"the model's reply does not match {of}: {what}",
        resolution="Try again, simplify the schema, or use a more capable model.",
    )
