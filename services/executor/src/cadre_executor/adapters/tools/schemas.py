"""Arguments held to a tool's JSON Schema."""

from collections.abc import Mapping
from typing import Any

import jsonschema
import referencing

from cadre_executor.domain.tools import ToolFailed
from cadre_kit.errors import InvalidInput

__all__ = [
    "ArgumentsRefused",
    "check_arguments",
    "check_config",
    "is_schema",
    "misfits",
    "without_patterns",
]

_MOST_SHOWN = 5
_LONGEST_SHOWN = 300
# An MCP server writes its own schemas, and `$ref` could name any address.
_NOTHING_ELSE: referencing.Registry[Any] = referencing.Registry()


class ArgumentsRefused(InvalidInput):
    """A tool was called with what does not fit its schema."""

    code = "ARGUMENTS_REFUSED"


def check_arguments(tool: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raises ArgumentsRefused, naming each argument that does not fit."""
    problems = _problems(schema, arguments, tool)
    if problems:
        raise ArgumentsRefused(
            f"the tool {tool!r} was called with arguments that do not fit: {'; '.join(problems)}",
            resolution="Call it with arguments that fit its schema.",
            metadata={"tool": tool},
        )


def check_config(tool: str, schema: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raises ToolFailed: the file says it, not the model."""
    problems = _problems(schema, config, tool)
    if problems:
        raise ToolFailed(
            f"the config of the tool {tool!r} does not fit: {'; '.join(problems)}",
            code="TOOL_CONFIG_REFUSED",
            resolution="docs/tools.md has the config of each tool.",
            metadata={"tool": tool},
        )


def misfits(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What of a value does not fit a schema of ours."""
    validator = jsonschema.Draft202012Validator(dict(schema), registry=_NOTHING_ELSE)
    return [_said(error) for error in list(validator.iter_errors(value))[:_MOST_SHOWN]]


def is_schema(schema: Mapping[str, Any]) -> bool:
    """Whether arguments can be held to it."""
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except (jsonschema.SchemaError, RecursionError):
        return False
    return bool(schema.get("type", "object") == "object")


def without_patterns(schema: Any) -> Any:
    """A schema of somebody else without its regular expressions, which may never end."""
    match schema:
        case dict() if isinstance(schema.get("patternProperties"), dict):
            left_out = ("patternProperties", "additionalProperties", "unevaluatedProperties")
            return without_patterns({k: v for k, v in schema.items() if k not in left_out})
        case dict():
            return {
                key: without_patterns(value)
                for key, value in schema.items()
                if not (key == "pattern" and isinstance(value, str))
            }
        case list():
            return [without_patterns(inner) for inner in schema]
        case _:
            return schema


def _problems(schema: Mapping[str, Any], value: Mapping[str, Any], tool: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(dict(schema), registry=_NOTHING_ELSE)
    try:
        errors = list(validator.iter_errors(dict(value)))
    except (jsonschema.SchemaError, referencing.exceptions.Unresolvable, RecursionError) as exc:
        raise ToolFailed(
            f"the schema of the tool {tool!r} cannot be used",
            code="TOOL_SCHEMA_UNUSABLE",
            metadata={"tool": tool},
        ) from exc
    return [_said_without_value(error) for error in errors[:_MOST_SHOWN]]


def _said(error: jsonschema.ValidationError) -> str:
    return _at(error, error.message)


def _said_without_value(error: jsonschema.ValidationError) -> str:
    """As `_said`, without what was given, which may be a secret, or long."""
    said = error.message.removeprefix(repr(error.instance))
    return _at(error, error.message if said == error.message else f"what is given{said}")


def _at(error: jsonschema.ValidationError, message: str) -> str:
    at, message = error.json_path.removeprefix("$."), message[:_LONGEST_SHOWN]
    return message if at == "$" else f"{at}: {message}"
