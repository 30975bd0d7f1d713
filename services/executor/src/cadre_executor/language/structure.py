"""Turns a document into its shape, and what is wrong with it into problems that say where and what to write."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import ValidationError

from cadre_executor.language.file_shapes import FileShape
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import MAX_PROBLEMS, Report, Suggestion, shown
from cadre_executor.language.shapes import LONG, SHORT
from cadre_executor.language.types import kind_of

_TYPE_ERRORS = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
}
_LIMIT_ERRORS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entry",
    "finite_number": "must be a finite number",
}
_ANYTHING_KEYS = frozenset({"default", "value", "enum"})
"""Keys whose null, or whose content, is the user's own."""

_MAX_EXPLAINED = 2 * MAX_PROBLEMS
_ATTEMPTS = 3
"""Taking something out may show the next mistake, but a file that was never close is left at that."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A file's shape; None when too little of it is left to check.

    `whole` says that nothing was taken out, `flow_known` that all edges and the ids of all nodes are left. `misnamed`
    are the ids that could not be left, by what stands in for them.
    """

    file: FileShape | None
    whole: bool
    flow_known: bool
    misnamed: Mapping[str, str] = field(default_factory=dict)


def without_nulls(value: Any) -> Any:
    """A copy of a document, whose keys without a value count as left out.

    What was meant as a reference is left, to be explained. Places that share a value by an alias do not in the copy.
    """
    match value:
        case dict() if _was_braces(value):
            return value
        case dict():
            return {
                key: item if key in _ANYTHING_KEYS else without_nulls(item)
                for key, item in value.items()
                if item is not None or key in _ANYTHING_KEYS
            }
        case list():
            return [without_nulls(item) for item in value]
    return value


def read_structure(document: dict[str, Any], report: Report) -> Structure:
    """The shape of a document. What does not fit is reported and taken out of it, so that the rest can be checked."""
    _check_old_names(document, report)
    flow_known = True
    misnamed: dict[str, str] = {}
    for attempt in range(_ATTEMPTS):
        try:
            file = FileShape.model_validate(document)
        except ValidationError as exc:
            errors = [(error, _path(error["loc"])) for error in exc.errors(include_url=False)]
        else:
            return Structure(
                file=file, whole=attempt == 0, flow_known=flow_known, misnamed=misnamed
            )
        for error, path in errors[:_MAX_EXPLAINED]:
            _explain(error, path, report)
        for error, path in errors:
            if path[2:] == ("id",) and isinstance(error["input"], str):
                misnamed[str(_placeholder(path))] = error["input"]
            _mend(error, path, document)
            flow_known = flow_known and path[:1] != ("edges",) and path[2:] != ("id",)
    return Structure(file=None, whole=False, flow_known=False)


def _path(loc: tuple[int | str, ...]) -> Path:
    """A pydantic location without the branches of unions."""
    return tuple(part for part in loc if part not in (SHORT, LONG, "[key]"))


_OLD_NAMES = {
    "node": {"timeout_seconds": "timeout"},
    "sandbox": {
        "timeout_seconds": "timeout",
        "resource_preset": "preset",
        "network_enabled": "network",
    },
    "memory": {"ttl": "ttl_seconds", "default_ttl": "ttl_seconds"},
    "execution": {"timeout_seconds": "timeout"},
}
"""What the first generation called keys that have a newer name, by the mapping that holds them."""


def _check_old_names(document: Any, report: Report) -> None:
    """Notes old names; a key that is given by both its names is refused, as one of them would silently win."""
    for path, kind, mapping in _mappings(document):
        for old, name in _OLD_NAMES[kind].items():
            if old in mapping and name in mapping:
                del mapping[old]
                report.error(
                    "SAME_KEY_TWICE",
                    (*path, old),
                    f"`{old}` and `{name}` say the same",
                    f"keep `{name}`",
                    at_key=True,
                )
            elif old in mapping:
                report.note(
                    "OLD_NAME",
                    (*path, old),
                    f"`{old}` is an old name of `{name}`",
                    Suggestion(text=f"write `{name}`", old=old, new=name),
                    at_key=True,
                )


def _mappings(document: Any) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """The mappings of a file in which keys have two names, with what each is."""
    config = document.get("config")
    places: list[tuple[Path, str, Any]] = []
    if isinstance(config, dict):
        places += [(("config", key), key, config.get(key)) for key in ("execution", "memory")]
    nodes = document.get("nodes")
    for index, node in enumerate(nodes if isinstance(nodes, list) else []):
        if isinstance(node, dict):
            places.append((("nodes", index), "node", node))
            places += [(("nodes", index, key), key, node.get(key)) for key in ("sandbox", "memory")]
    for path, kind, mapping in places:
        if isinstance(mapping, dict):
            yield path, kind, mapping


def _explain(error: Any, path: Path, report: Report) -> None:
    """Reports one of pydantic's errors in the language's words."""
    name = str(path[-1]) if path else "file"
    kind = error["type"]
    if kind == "missing":
        report.error("MISSING_FIELD", path, f"`{name}` is missing", f"add `{name}:`{_about(path)}")
    elif kind == "extra_forbidden":
        known = _keys_at(path[:-1])
        report.error(
            "UNKNOWN_FIELD",
            path,
            f"{shown(name)} is not known here",
            report.did_you_mean(name, known),
            at_key=True,
        )
    elif expected := _TYPE_ERRORS.get(kind):
        _explain_type(expected, path, error["input"], report)
    elif kind in ("literal_error", "enum"):
        _explain_choice(error, path, report)
    elif wording := _LIMIT_ERRORS.get(kind):
        said = f"`{name}` {wording.format(**error['ctx'])}"
        report.error("INVALID_VALUE", path, said, _description(path) or "write another value")
    elif kind == "string_pattern_mismatch":
        report.error(
            "INVALID_VALUE", path, f"`{name}` is not written as it must be", _description(path)
        )
    else:
        report.error("INVALID_VALUE", path, f"`{name}`: {error['msg'][:200]}")


def _explain_type(expected: str, path: Path, value: Any, report: Report) -> None:
    resolution: str | Suggestion = ""
    if expected == "text" and _was_braces(value):
        resolution = Suggestion(text="put quotes around text that begins with {", quotes=True)
    elif expected == "text" and not isinstance(value, (dict, list)):
        resolution = Suggestion(text="put quotes around it", quotes=True)
    elif expected == "a list":
        resolution = "write [a, b], or one `- entry` a line"
    elif expected == "a mapping" and (keys := _keys_at(path)):
        resolution = f"write its keys, each with a value: {', '.join(keys[:20])}"
    else:
        resolution = _description(path) or f"write {expected}"
    name = str(path[-1]) if path else "the file"
    what = f"entry {name}" if isinstance(path[-1] if path else "", int) else f"`{name}`"
    report.error("WRONG_TYPE", path, f"{what} must be {expected}, not {kind_of(value)}", resolution)


def _was_braces(value: Any) -> bool:
    """Whether a value is what YAML makes of an unquoted {state.x}."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((key, inner),) = value.items()
    return inner is None and "." in key


def _explain_choice(error: Any, path: Path, report: Report) -> None:
    choices = [
        choice.strip("'") for choice in error["ctx"]["expected"].replace(" or ", ", ").split(", ")
    ]
    value = error["input"]
    said = shown(value) if isinstance(value, str) else kind_of(value)
    if not isinstance(value, str) and str(value) in choices:
        resolution = Suggestion(text="put quotes around it", quotes=True)
        report.error("INVALID_VALUE", path, f"`{path[-1]}` is text, not {said}", resolution)
        return
    otherwise = f"write {'one of ' if choices[1:] else ''}{', '.join(choices)}"
    nearest = (
        report.did_you_mean(value, choices, otherwise) if isinstance(value, str) else otherwise
    )
    report.error("INVALID_VALUE", path, f"`{path[-1]}` cannot be {said}", nearest)


def _mend(error: Any, path: Path, document: dict[str, Any]) -> None:
    """Takes out what does not fit, or fills in what is missing, so that the rest can be checked."""
    if path[:1] == ("edges",):
        document.pop("edges", None)
        return
    holders = _along(document, path)
    if error["type"] == "extra_forbidden":
        if isinstance(holders[-1], dict):
            holders[-1].pop(path[-1], None)
        return
    for depth in range(len(path) - 1, -1, -1):
        holder, key = holders[depth] if depth < len(holders) else None, path[depth]
        if not isinstance(holder, dict) or isinstance(key, int):
            continue
        if placeholder := _placeholder(path[: depth + 1]):
            holder[key] = placeholder
            return
        if not _required(path[: depth + 1]):
            holder.pop(key, None)
            return


def _along(document: Any, path: Path) -> list[Any]:
    """The values that hold each part of a path, as far as they are there."""
    found = [document]
    for part in path[:-1]:
        try:
            found.append(found[-1][part])
        except (KeyError, IndexError, TypeError):
            break
    return found


def _placeholder(path: Path) -> str | None:
    """What stands in for a missing name or type."""
    match path:
        case ("flow", "name"):
            return "unnamed"
        case ("nodes", int() as index, "id"):
            return f"unnamed_{index}"
        case ("state", *_, "type") | ("nodes", _, "output_schema", *_, "type"):
            return "any"
    return None


@cache
def _schema() -> dict[str, Any]:
    return FileShape.model_json_schema()


def _shapes_at(path: Path) -> list[dict[str, Any]]:
    """The JSON Schemas that apply at a path."""
    found = [_schema()]
    for part in path:
        found = [inner for outer in _unfolded(found) for inner in _below(outer, part)]
    return _unfolded(found)


def _unfolded(schemas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """References followed, unions taken apart."""
    unfolded: list[dict[str, Any]] = []
    for schema in schemas:
        if "$ref" in schema:
            unfolded += _unfolded([_schema()["$defs"][schema["$ref"].rpartition("/")[2]]])
        elif branches := schema.get("anyOf") or schema.get("oneOf"):
            unfolded += _unfolded(branches)
        else:
            unfolded.append(schema)
    return unfolded


def _below(schema: dict[str, Any], part: str | int) -> list[dict[str, Any]]:
    if isinstance(part, int):
        return [schema["items"]] if "items" in schema else []
    if part in schema.get("properties", {}):
        return [schema["properties"][part]]
    other = schema.get("additionalProperties")
    return [other] if isinstance(other, dict) else []


def _keys_at(path: Path) -> list[str]:
    return [key for shape in _shapes_at(path) for key in shape.get("properties", {})]


def _required(path: Path) -> bool:
    return any(path[-1] in shape.get("required", ()) for shape in _shapes_at(path[:-1]))


def _description(path: Path) -> str:
    found = [_schema()]
    for part in path[:-1]:
        found = [inner for outer in _unfolded(found) for inner in _below(outer, part)]
    for shape in _unfolded(found):
        if path[-1] in shape.get("properties", {}):
            return str(shape["properties"][path[-1]].get("description", ""))
    return ""


def _about(path: Path) -> str:
    text = _description(path)
    return f" ({text.rstrip('.')})" if text else ""
