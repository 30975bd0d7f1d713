"""Small workflow files, and what a test wants to know of the answer."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations

from cadre_executor.language import Parsed, parse_workflow
from cadre_kit.errors import Problem, Severity

MakeFile = Callable[..., str]

_NODE = {"id": "ask", "prompt": "Say hello to {state.name}.", "outputs": ["reply"]}
_FIELDS = {
    "name": {"type": "str", "required": True},
    "reply": {"type": "str", "default": ""},
    "score": {"type": "int", "default": 0},
    "done": {"type": "bool", "default": False},
    "items": {"type": "list[str]", "default": []},
}


@pytest.fixture
def make_file() -> MakeFile:
    """A valid file of one node, with the parts that are given in place of its own."""

    def make(
        *,
        nodes: list[dict[str, Any]] | None = None,
        edges: list[dict[str, Any]] | None = None,
        fields: dict[str, Any] | None = None,
        **more: Any,
    ) -> str:
        document: dict[str, Any] = {
            "schema_version": "1.0",
            "flow": {"name": "greeting"},
            "state": {"fields": {**_FIELDS, **(fields or {})}},
            "nodes": [_NODE] if nodes is None else nodes,
            **({} if edges is None else {"edges": edges}),
            **more,
        }
        return str(yaml.safe_dump(document, sort_keys=False))

    return make


def errors(parsed: Parsed) -> list[Problem]:
    """The problems that keep a file from running."""
    return [problem for problem in parsed.problems if problem.severity is Severity.ERROR]


@pytest.fixture
def codes() -> Callable[[str], set[str]]:
    """The codes of a file's errors."""
    return lambda source: {problem.code for problem in errors(parse_workflow(source))}


@pytest.fixture
def only_error() -> Callable[[str], Problem]:
    """The one error that a file has."""

    def only(source: str) -> Problem:
        (problem,) = errors(parse_workflow(source))
        return problem

    return only
