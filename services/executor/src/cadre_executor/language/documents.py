"""Reads YAML that nobody trusts: plain values only, every size bounded, and where in the text each value stands.

Scalars mean what YAML 1.2 says (`on` and `yes` are text); numbers must be finite; keys are text. Tags, repeated keys,
several documents, and aliases that would unfold into more than the limits are refused.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations

from cadre_executor.language.positions import LINE_END, Path, Position
from cadre_executor.language.reports import path_text, shown
from cadre_kit.errors import Problem

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 30_000
"""Keys and values, aliases unfolded."""
MAX_BRACES = 20_000
"""Opening braces in the text: each may begin a reference."""
MAX_CHARACTERS = 4 * MAX_BYTES
"""Text of all keys and values, aliases unfolded."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_WORDS = _NULL | _BOOLEANS.keys()
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_OTHER_BASE = re.compile(r"0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,5})?"
)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

_HINTS = (
    (
        "mapping values are not allowed",
        "put a space after each ':' of a key, and quotes around text with ': ' in it",
    ),
    ("cannot start any token", "put quotes around the text; indent with spaces, never tabs"),
    ("a tab character", "indent with spaces, never tabs"),
    ("a simple key", "write ': ' between a key and its value"),
    ("an alias", "put quotes around text that begins with *"),
    ("an anchor", "put quotes around text that begins with &"),
    ("'-' indicator", "line up what belongs together: each - of a list, and each key of an entry"),
    ("block mapping", "check the indentation, and that each key is followed by ': '"),
    ("flow", "close every [ and {, and put quotes around text that begins with one"),
    (
        "quoted scalar",
        "close the quotation mark, and write \\\\ for a backslash between double quotes",
    ),
)
_NOTICED_LATER = ("could not find expected ':'", "found unexpected end of stream")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file's values and where they stand. `value` is None and `problems` says why when it could not be read."""

    value: Any
    keys: Mapping[Path, Position]
    values: Mapping[Path, Position]
    problems: tuple[Problem, ...] = ()


class _Positions(Mapping[Path, Position]):
    """Positions by path, made when one is asked for: few are, of tens of thousands."""

    def __init__(self, marks: Mapping[Path, "_Marks"], *, of_keys: bool) -> None:
        self._marks = marks
        self._first = 0 if of_keys else 2

    def __getitem__(self, path: Path) -> Position:
        start, end = self._marks[path][self._first : self._first + 2]
        if start is None:
            raise KeyError(path)
        return Position(start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def __iter__(self) -> Iterator[Path]:
        return (path for path, marks in self._marks.items() if marks[self._first] is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_Marks: TypeAlias = tuple[Any, Any, Any, Any]
"""Where a value's key begins and ends, None without one, and where the value does."""


class _Refused(Exception):
    """Reading ends here."""

    def __init__(
        self, code: str, message: str, resolution: str, mark: Any, path: Path = ()
    ) -> None:
        super().__init__(message)
        self.problem = Problem(
            code=code,
            message=message,
            path=path_text(path),
            line=mark.line + 1 if mark else 1,
            column=mark.column + 1 if mark else 1,
            resolution=resolution,
        )


def read_document(source: str) -> Document:
    """The values of a YAML text. Never raises; what is wrong is in the document's problems."""
    reader = _Reader()
    try:
        _check_text(source)
        value = reader.read(source)
    except _Refused as refused:
        return _unread(reader, refused.problem)
    except yaml.reader.ReaderError as exc:
        return _unread(reader, _bad_character(source, exc))
    except yaml.YAMLError as exc:
        return _unread(reader, _bad_yaml(source, exc))
    return Document(
        value=value,
        keys=_Positions(reader.marks, of_keys=True),
        values=_Positions(reader.marks, of_keys=False),
        problems=tuple(reader.problems),
    )


def _unread(reader: "_Reader", problem: Problem) -> Document:
    return Document(value=None, keys={}, values={}, problems=(*reader.problems, problem))


def _check_text(source: str) -> None:
    if len(source) > MAX_BYTES:
        raise _too_large(source)
    try:
        size = len(source.encode())
    except UnicodeEncodeError as exc:
        raise _Refused(
            "NOT_UTF8", "the file is not UTF-8 text", "save it as UTF-8", _mark(source, exc.start)
        ) from exc
    if size > MAX_BYTES:
        raise _too_large(source)
    if source.count("{") > MAX_BRACES:
        raise _Refused(
            "FILE_TOO_LARGE",
            f"the file has more than {MAX_BRACES} opening braces",
            "pass large data as inputs, or split the workflow",
            None,
        )


def _too_large(source: str) -> _Refused:
    return _Refused(
        "FILE_TOO_LARGE",
        f"the file has {len(source)} characters; a workflow file has at most 1 MiB",
        "pass large data as inputs, or split the workflow",
        None,
    )


def _mark(source: str, index: int) -> Any:
    before = source[: max(index, 0)]
    ends = [match.end() for match in LINE_END.finditer(before)]
    return yaml.Mark("file", index, len(ends), len(before) - (ends or [0])[-1], None, None)


def _bad_character(source: str, exc: Any) -> Problem:
    return _Refused(
        "INVALID_YAML",
        "the file contains a character that YAML does not allow",
        "remove the control character, or write it as an escape between double quotes",
        _mark(source, exc.position if isinstance(exc.position, int) else 0),
    ).problem


def _bad_yaml(source: str, exc: Any) -> Problem:
    begun, noticed = getattr(exc, "context_mark", None), getattr(exc, "problem_mark", None)
    # A missing colon or quotation mark is noticed on a later line than its own.
    is_missing = getattr(exc, "problem", "") in _NOTICED_LATER
    mark = (begun if is_missing else None) or noticed or begun
    # libyaml reads on past a last line without an end, and says the line after it.
    if mark is not None and mark.line > len(LINE_END.findall(source)):
        mark = _mark(source, len(source))
    said = (
        " ".join(filter(None, (getattr(exc, "context", ""), getattr(exc, "problem", ""))))
        or "unreadable"
    )
    hint = next((hint for words, hint in _HINTS if words in said), "check the YAML syntax here")
    return _Refused("INVALID_YAML", f"the file is not YAML: {said[:200]}", hint, mark).problem


@dataclass(frozen=True, kw_only=True)
class _Anchor:
    value: Any
    size: int
    characters: int
    depth: int


@dataclass(kw_only=True)
class _Open:
    """A mapping or list that is being read."""

    container: dict[str, Any] | list[Any]
    is_mapping: bool
    path: Path
    anchor: str | None
    start_size: int
    start_characters: int
    start: Any
    key: str | None = None
    key_marks: tuple[Any, Any] = (None, None)
    depth_below: int = 0
    merged: list[tuple[Any, Any]] = field(default_factory=list)
    merging: bool = False


class _Reader:
    """Builds values from parser events, without recursion."""

    def __init__(self) -> None:
        self.marks: dict[Path, _Marks] = {}
        self.problems: list[Problem] = []
        self._anchors: dict[str, _Anchor] = {}
        self._size = 0
        self._characters = 0
        self._open: list[_Open] = []
        self._root: Any = None
        self._documents = 0

    def read(self, source: str) -> Any:
        # Tens of thousands of events pass here, so each finds its method in one step.
        handlers = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        loader = _LOADER(source)
        try:
            while (event := loader.get_event()) is not None:
                handler = handlers.get(type(event))
                if handler is not None:
                    handler(event)
        finally:
            loader.dispose()
        return self._root

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise _Refused(
                "SEVERAL_DOCUMENTS",
                "the file holds several YAML documents",
                "keep one workflow a file, without a second `---`",
                event.start_mark,
            )

    def _alias(self, event: Any) -> None:
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            raise _Refused(
                "UNKNOWN_ANCHOR",
                f"the alias {shown('*' + event.anchor)} names no anchor before it",
                f"define it with `&{event.anchor[:40]}` first, or put quotes around text that begins with *",
                event.start_mark,
            )
        self._count(event, size=anchor.size, characters=anchor.characters)
        if len(self._open) + anchor.depth > MAX_DEPTH:
            raise self._too_deep(event)
        if self._open:
            self._open[-1].depth_below = max(self._open[-1].depth_below, anchor.depth)
        self._place(anchor.value, event)

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        self._refuse_tag(event)
        self._count(event, size=1, characters=len(text))
        if self._at_key():
            self._key(event)
            return
        value = text if event.style else self._plain(event)
        if event.anchor:
            self._anchors[event.anchor] = _Anchor(
                value=value, size=1, characters=len(text), depth=0
            )
        self._place(value, event)

    def _start(self, event: Any) -> None:
        self._refuse_tag(event)
        self._count(event, size=1, characters=0)
        if self._at_key():
            raise _Refused(
                "KEY_NOT_TEXT", "a key must be text", "write `key: value`", event.start_mark
            )
        if len(self._open) >= MAX_DEPTH:
            raise self._too_deep(event)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        container: dict[str, Any] | list[Any] = {} if is_mapping else []
        path = self._place(container, event)
        self._open.append(
            _Open(
                container=container,
                is_mapping=is_mapping,
                path=path,
                anchor=event.anchor,
                start_size=self._size - 1,
                start_characters=self._characters,
                start=event.start_mark,
            )
        )
        if event.anchor:
            self._anchors.pop(event.anchor, None)

    def _end(self, event: Any) -> None:
        closed = self._open.pop()
        if self._open:
            self._open[-1].depth_below = max(self._open[-1].depth_below, closed.depth_below + 1)
        marks = self.marks[closed.path]
        if marks[2] is closed.start:  # else it is the second value of a repeated key
            self.marks[closed.path] = (*marks[:3], event.end_mark)
        if closed.merged and isinstance(closed.container, dict):
            for merged, event in closed.merged:
                for mapping in _mappings(merged, event):
                    for key, value in mapping.items():
                        closed.container.setdefault(key, value)
        if closed.anchor:
            self._anchors[closed.anchor] = _Anchor(
                value=closed.container,
                size=self._size - closed.start_size,
                characters=self._characters - closed.start_characters,
                depth=closed.depth_below + 1,
            )

    def _at_key(self) -> bool:
        if not self._open:
            return False
        opened = self._open[-1]
        return opened.is_mapping and opened.key is None and not opened.merging

    def _key(self, event: Any) -> None:
        opened = self._open[-1]
        name = event.value
        if name == "<<" and not event.style:
            opened.merging = True
            return
        opened.key = name
        opened.key_marks = event.start_mark, event.end_mark
        if name in opened.container:
            path = (*opened.path, name)
            first = _Positions(self.marks, of_keys=True).get(path)
            self.problems.append(
                _Refused(
                    "DUPLICATE_KEY",
                    f"{shown(name)} is given twice"
                    + (f", first in line {first.line}" if first else ""),
                    "keep one of them",
                    event.start_mark,
                    path,
                ).problem
            )

    def _next_path(self) -> Path:
        if not self._open:
            return ()
        opened = self._open[-1]
        if not opened.is_mapping:
            return (*opened.path, len(opened.container))
        return (*opened.path, "<<" if opened.key is None else opened.key)

    def _place(self, value: Any, event: Any) -> Path:
        """Puts a value where it belongs, and says where; a repeated key keeps its first value."""
        path = self._next_path()
        if not self._open:
            self._root = value
            self.marks[path] = None, None, event.start_mark, event.end_mark
            return path
        opened = self._open[-1]
        self.marks.setdefault(path, (*opened.key_marks, event.start_mark, event.end_mark))
        if isinstance(opened.container, list):
            opened.container.append(value)
        elif opened.merging:
            opened.merging = False
            opened.merged.append((value, event))
        elif opened.key is not None:
            opened.container.setdefault(opened.key, value)
            opened.key = None
            opened.key_marks = None, None
        return path

    def _plain(self, event: Any) -> Any:
        """What an unquoted scalar means in YAML 1.2."""
        text: str = event.value
        if text[:1] in _LETTERS and text not in _WORDS:
            return text
        if text in _NULL:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OTHER_BASE.fullmatch(text):
            return int(text, 0)
        if _NOT_FINITE.fullmatch(text):
            raise self._not_finite(event)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise self._not_finite(event)
            return number
        return text

    def _not_finite(self, event: Any) -> _Refused:
        return _Refused(
            "NUMBER_NOT_FINITE",
            f"{event.value[:40]} is not a finite number",
            "write a finite number, or put quotes around text",
            event.start_mark,
            self._next_path(),
        )

    def _refuse_tag(self, event: Any) -> None:
        if event.tag not in (None, "!"):
            raise _Refused(
                "UNSAFE_TAG",
                f"the YAML tag {shown(event.tag)} is not allowed",
                "remove the tag; types are said by `type:`",
                event.start_mark,
                self._next_path(),
            )

    def _count(self, event: Any, *, size: int, characters: int) -> None:
        self._size += size
        self._characters += characters
        if self._size > MAX_VALUES or self._characters > MAX_CHARACTERS:
            raise _Refused(
                "FILE_TOO_LARGE",
                f"the file unfolds into more than {MAX_VALUES} values or {MAX_CHARACTERS} characters",
                "use fewer aliases, or split the workflow",
                event.start_mark,
            )

    def _too_deep(self, event: Any) -> _Refused:
        return _Refused(
            "NESTED_TOO_DEEP",
            f"the file nests deeper than {MAX_DEPTH} levels",
            "flatten it",
            event.start_mark,
        )


def _mappings(value: Any, event: Any) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in found):
        raise _Refused(
            "INVALID_MERGE",
            "`<<` merges mappings only",
            "give it an alias of a mapping, or quote the key",
            event.start_mark,
        )
    return found
