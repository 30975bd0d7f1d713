"""json_parse and yaml_parse."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.domain.tools import ToolFailed, ToolResult

__all__ = ["parse_json", "parse_yaml"]

_STEP = re.compile(r"\[(\d{1,9})\]|\.?([^.\[\]]+)")
_MAX_EVENTS = 100_000
_DEEPEST = 100


async def parse_json(asked: Invocation) -> ToolResult:
    """The value that JSON text says."""
    return await _parsed(asked, _json)


async def parse_yaml(asked: Invocation) -> ToolResult:
    """The value that YAML text says."""
    return await _parsed(asked, _yaml)


async def _parsed(asked: Invocation, parse: Callable[[str], Any]) -> ToolResult:
    value = await asyncio.to_thread(parse, asked.arguments["text"])
    return ToolResult(value=_at(value, asked.arguments.get("path", "")))


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as exc:
        raise ToolFailed(
            f"this is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}",
            code="PARSE_FAILED",
            metadata={"line": str(exc.lineno), "column": str(exc.colno)},
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise ToolFailed(
            "this JSON is nested too deep, or names no number", code="PARSE_FAILED"
        ) from exc


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _yaml(text: str) -> Any:
    try:
        _refuse_bomb(text)
        value = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ToolFailed(f"this is not plain YAML: {exc.problem}{at}", code="PARSE_FAILED") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ToolFailed("this is not plain YAML", code="PARSE_FAILED") from exc
    # Dates and the like become text; keys too.
    return json.loads(json.dumps(_with_text_keys(value), default=str))


def _refuse_bomb(text: str) -> None:
    """Aliases multiply what they name, and depth ends the process's stack."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.AliasEvent) or depth > _DEEPEST or count > _MAX_EVENTS:
            raise ToolFailed(
                "this YAML has aliases, or is too deep or too long", code="PARSE_FAILED"
            )


def _with_text_keys(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _with_text_keys(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [_with_text_keys(inner) for inner in value]
        case _:
            return value


def _at(value: Any, path: str) -> Any:
    """The value at a path such as `items[0].name`."""
    for index, name in _steps(path):
        try:
            value = value[int(index)] if index else _member(value, name)
        except (LookupError, TypeError) as exc:
            raise ToolFailed(
                f"there is nothing at {index or name!r} of the path {path!r}",
                code="PATH_NOT_FOUND",
                metadata={"path": path},
            ) from exc
    return value


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise LookupError(name)
    return value[name]


def _steps(path: str) -> list[tuple[str, str]]:
    found = list(_STEP.finditer(path))
    if sum(len(match[0]) for match in found) != len(path):
        raise ToolFailed(
            f"{path!r} is no path",
            code="PATH_NOT_FOUND",
            resolution="Write names and places, such as items[0].name.",
            metadata={"path": path},
        )
    return [(match[1] or "", match[2] or "") for match in found]
