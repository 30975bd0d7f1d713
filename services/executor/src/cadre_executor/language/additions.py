"""Adds a test to the text of a file, and leaves the rest of it as its author wrote it."""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations

from cadre_executor.language.documents import Document, read_document
from cadre_executor.language.positions import LINE_END, Position
from cadre_kit.errors import FailedPrecondition

_TESTS = ("tests",)
_WIDTH = 100
# Whatever else a word may mean to some reader of YAML is put in quotes.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[ -][A-Za-z0-9_]+)*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


class CannotAdd(FailedPrecondition):
    """A file is written in a way in which nothing can be added to it."""

    code = "TEST_NOT_ADDED"


def with_test_added(source: str, test: Mapping[str, Any]) -> str:
    """The text of a valid file with a test behind its own. Raises CannotAdd."""
    document = read_document(source)
    text = _added(source, document, test).replace("\r\n", "\n")
    text = text.replace("\n", "\r\n") if "\r\n" in source else text
    own = document.value.get("tests") or []
    if read_document(text).value != {**document.value, "tests": [*own, test]}:
        raise CannotAdd(
            "the test cannot be put into the file as it is written",
            resolution="Write `tests:` as a list with a line for each entry, or record into another file.",
        )
    return text


def _added(source: str, document: Document, test: Mapping[str, Any]) -> str:
    listed = document.value.get("tests")
    root, tests = document.values[()], document.values.get(_TESTS)
    flow = json.dumps(test, ensure_ascii=False)
    if tests is not None and listed and source[_index(source, tests)] != "[":
        return _after_the_last(source, tests, test)
    if tests is not None and listed is not None:
        return _before_the_end(source, tests, flow)
    if source[_index(source, root)] == "{":
        return _before_the_end(source, root, f'"tests": [{flow}]')
    indent = " " * (root.column - 1)
    entry = _block(test, indent + "  ")
    if "tests" in document.value:
        line = document.keys[_TESTS].line
        lines = source.splitlines(keepends=True)
        return "".join([*lines[:line], entry, *lines[line:]])
    end = "" if source.endswith("\n") else "\n"
    return f"{source}{end}{indent}tests:\n{entry}"


def _after_the_last(source: str, tests: Position, test: Mapping[str, Any]) -> str:
    """Behind the last line of the list that says something: comments behind it are of what follows."""
    lines = source.splitlines(keepends=True)
    end = tests.end_line if tests.end_column > 1 else tests.end_line - 1
    while end > tests.line and lines[min(end, len(lines)) - 1].strip()[:1] in ("", "#"):
        end -= 1
    if end > tests.line and _begins_a_key(lines, end, tests):
        end -= 1
    before = "".join(lines[:end])
    before += "" if before.endswith("\n") else "\n"
    entry = _block(test, " " * (tests.column - 1))
    return "".join([before, entry, *lines[end:]])


def _begins_a_key(lines: list[str], line: int, tests: Position) -> bool:
    """Whether a line is behind the list: less indented, and no entry of it."""
    text = lines[min(line, len(lines)) - 1]
    return len(text) - len(text.lstrip()) < tests.column - 1


def _before_the_end(source: str, place: Position, entry: str) -> str:
    """Before the bracket that closes a list or a mapping."""
    end = _index(source, Position(place.end_line, place.end_column)) - 1
    before = source[:end].rstrip()
    comma = "" if before[-1] in "[{," else ", "
    return f"{before}{comma}{entry}{source[end:]}"


def _index(source: str, place: Position) -> int:
    starts = [0, *(match.end() for match in LINE_END.finditer(source))]
    return starts[place.line - 1] + place.column - 1


def _block(test: Mapping[str, Any], indent: str) -> str:
    text = yaml.dump(
        [dict(test)],
        Dumper=_Dumper,
        allow_unicode=True,
        sort_keys=False,
        default_flow_style=None,
        width=_WIDTH,
    )
    return "".join(f"{indent}{line}\n" if line else "\n" for line in text.splitlines())


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no annotations
    """Writes what this language's reader reads back as it was."""

    def ignore_aliases(self, data: Any) -> bool:
        """Values that are equal are written out."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    style = None if is_plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
