"""Texts with `{state.x}` in them, compiled once; values are put in as data and never read as a template again."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from cadre_executor.domain.workflows import Scope, Sketch, Template
from cadre_executor.language.positions import Path
from cadre_executor.language.references import (
    Names,
    Reference,
    ReferenceFailed,
    Steps,
    UnknownName,
    find,
)
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.types import (
    Anything,
    ListOf,
    Member,
    ObjectOf,
    Text,
    Type,
    common_type,
    type_of_literal,
)
from cadre_kit.errors import LimitExceeded

MAX_RENDERED = 4 * 1024 * 1024
"""Characters of a rendered template; a model takes no more."""

REFERENCE_TEXT = re.compile(
    r"""[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[-?[0-9]{1,9}\]|\['[^'\]]*'\]|\["[^"\]]*"\])*"""
)
"""What stands between the braces of a reference."""

_REFERENCE = re.compile(rf"\{{[ ]*({REFERENCE_TEXT.pattern})[ ]*\}}")
_STEP = re.compile(r"""\.?([A-Za-z_]\w*)|\[(-?[0-9]+)\]|\['([^']*)'\]|\["([^"]*)"\]""")
_LITERAL = re.compile(r"""\{(?=\s*["'}\[{0-9,\\]|\s*\n|\s*$|-?\d)""")
_DOUBLED = re.compile(rf"\{{\{{[ ]*state\.{REFERENCE_TEXT.pattern}[ ]*\}}\}}")
_NEXT_BRACE = re.compile(r"[{}]")

Piece: TypeAlias = str | Reference


class RenderedTooLong(LimitExceeded):
    """A template with its values in place is longer than anything takes."""

    code = "TEMPLATE_TOO_LONG"


@dataclass(frozen=True, kw_only=True)
class TextTemplate:
    """Text and references in turn."""

    pieces: tuple[Piece, ...]

    def render(self, scope: Scope) -> str:
        """The text, values that are not text written as JSON. Raises ReferenceFailed, RenderedTooLong."""
        rendered = []
        length = 0
        for piece in self.pieces:
            text = piece if isinstance(piece, str) else _as_text(piece.read(scope))
            length += len(text)
            if length > MAX_RENDERED:
                raise RenderedTooLong(
                    f"a template has more than {MAX_RENDERED} characters with its values in place",
                    resolution="shorten the values that it names, or name fewer",
                )
            rendered.append(text)
        return "".join(rendered)

    def sketch(self, scope: Scope) -> Sketch:
        """The text without the values that the scope has not."""
        texts, missing = [], set()
        for piece in self.pieces:
            if isinstance(piece, str):
                texts.append(piece)
                continue
            try:
                texts.append(_as_text(piece.read(scope)) if piece.is_in(scope) else "")
            except ReferenceFailed:
                texts.append("")
            if not piece.is_in(scope):
                missing.add(piece.name if piece.of_inputs else f"state.{piece.name}")
        return Sketch(text="".join(texts), missing=frozenset(missing))

    def resolve(self, scope: Scope) -> Any:
        """The value itself when the template is one lone reference, else the text."""
        match self.pieces:
            case (Reference() as reference,):
                return reference.read(scope)
        return self.render(scope)

    def lacks(self, scope: Scope) -> bool:
        """Whether something that it names is null. Raises ReferenceFailed."""
        return any(
            isinstance(piece, Reference) and piece.read(scope) is None for piece in self.pieces
        )


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A value that names nothing."""

    value: Any

    def render(self, scope: Scope) -> str:
        """The value, as JSON unless it is text."""
        return _as_text(self.value)

    def sketch(self, scope: Scope) -> Sketch:
        """The whole."""
        return Sketch(text=_as_text(self.value))

    def resolve(self, scope: Scope) -> Any:
        """The value."""
        return self.value


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A list or an object with templates in it."""

    parts: tuple[Template, ...] | Mapping[str, Template]

    def render(self, scope: Scope) -> str:
        """The value as JSON."""
        return _as_text(self.resolve(scope))

    def sketch(self, scope: Scope) -> Sketch:
        """The texts of its parts."""
        parts = self.parts.values() if isinstance(self.parts, Mapping) else self.parts
        names = list(self.parts) if isinstance(self.parts, Mapping) else []
        sketches = [part.sketch(scope) for part in parts]
        missing = frozenset(name for sketch in sketches for name in sketch.missing)
        text = " ".join([*names, *(sketch.text for sketch in sketches)])
        return Sketch(text=text, missing=missing)

    def resolve(self, scope: Scope) -> Any:
        """The list or object with each template resolved."""
        if isinstance(self.parts, Mapping):
            return {name: part.resolve(scope) for name, part in self.parts.items()}
        return [part.resolve(scope) for part in self.parts]


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """Compiles the templates at one place of a file, where certain names are known."""

    names: Names
    report: Report

    def text(self, text: str, path: Path) -> TextTemplate:
        """The template that a text writes; what is wrong with it goes into the report."""
        pieces, _ = self._compiled(text, path)
        return TextTemplate(pieces=tuple(pieces))

    def value(self, value: Any, path: Path) -> tuple[Template, Type]:
        """The template of any value, texts in it being templates, and the type of what it resolves to."""
        match value:
            case str():
                pieces, types = self._compiled(value, path)
                lone = len(pieces) == 1 and isinstance(pieces[0], Reference)
                unknown = bool(value) and not pieces
                type_ = types[0] if lone else Anything() if unknown else Text()
                return TextTemplate(pieces=tuple(pieces)), type_
            case list():
                items = [self.value(item, (*path, i)) for i, item in enumerate(value)]
                parts = tuple(template for template, _ in items)
                return Structure(parts=parts), ListOf(items=common_type([t for _, t in items]))
            case dict():
                members = {name: self.value(item, (*path, name)) for name, item in value.items()}
                return (
                    Structure(parts={name: template for name, (template, _) in members.items()}),
                    ObjectOf(members={name: Member(type=t) for name, (_, t) in members.items()}),
                )
        return Constant(value=value), type_of_literal(value)

    def _compiled(self, text: str, path: Path) -> tuple[list[Piece], list[Type]]:
        """The pieces, and the type of each reference among them."""
        pieces: list[Piece] = []
        types: list[Type] = []
        at = literal_depth = 0
        while found := _NEXT_BRACE.search(text, at):
            pieces.append(text[at : found.start()])
            at = found.start()
            if match := _REFERENCE.match(text, at):
                if resolved := self._reference(match, path):
                    pieces.append(resolved[0])
                    types.append(resolved[1])
                at = match.end()
            elif text[at] == "{" and text.startswith("{{", at):
                self._doubled(text, at, path)
                pieces.append("{")
                at += 2
            elif text[at] == "{":
                literal_depth += self._literal(text, at, path)
                pieces.append("{")
                at += 1
            else:
                closes = literal_depth > 0
                literal_depth -= closes
                pieces.append("}")
                at += 1 if closes or not text.startswith("}}", at) else 2
        pieces.append(text[at:])
        return _merged(pieces), types

    def _reference(self, match: re.Match[str], path: Path) -> tuple[Reference, Type] | None:
        written = match[1]
        try:
            return find(self.names, split_reference(written))
        except UnknownName as exc:
            suggestion = self.report.did_you_mean(
                exc.name,
                exc.known,
                "declare it under state.fields, or write {{ and }} for braces",
            )
            self.report.error(
                exc.code,
                path,
                f"{{{written[:80]}}}: {exc}",
                suggestion.within(match[0]),
            )
            return None

    def _doubled(self, text: str, at: int, path: Path) -> None:
        """Notes what other template languages would take for a reference."""
        if match := _DOUBLED.match(text, at):
            written = match[0]
            self.report.note(
                "LITERAL_BRACES",
                path,
                f"{written[:80]} is text: two braces stand for one brace, and no value is put in",
                f"write {written[1:-1][:80]} for the value",
            )

    def _literal(self, text: str, at: int, path: Path) -> int:
        """Judges a `{` that begins no reference: what can only be JSON is text, the rest a mistake."""
        excerpt = shown(text[at : at + 24].split("\n")[0])
        if _LITERAL.match(text, at):
            self.report.note(
                "LITERAL_BRACES",
                path,
                f"the braces at {excerpt} name nothing and are taken as text",
                "write {{ and }} for literal braces",
            )
        else:
            self.report.error(
                "TEMPLATE_SYNTAX",
                path,
                f"{excerpt} is not a reference",
                "write {state.field} for a value, {{ and }} for literal braces",
            )
        return 1


def literal(template: Template) -> Constant | None:
    """The value of a template that names nothing, or None for one that does."""
    match template:
        case Constant():
            return template
        case TextTemplate(pieces=pieces) if all(isinstance(piece, str) for piece in pieces):
            return Constant(value="".join(str(piece) for piece in pieces))
        case Structure(parts=Mapping() as parts):
            found = {name: literal(part) for name, part in parts.items()}
            if all(found.values()):
                return Constant(value={name: part.value for name, part in found.items() if part})
        case Structure(parts=tuple() as items):
            listed = [literal(item) for item in items]
            if all(listed):
                return Constant(value=[item.value for item in listed if item])
    return None


def split_reference(written: str) -> Steps:
    """`a.b[0]['c']` as its parts."""
    steps: list[str | int] = []
    for name, index, single, double in _STEP.findall(written):
        steps.append(int(index) if index else name or single or double)
    return tuple(steps)


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces with texts that follow each other joined, and empty ones left out."""
    merged: list[Piece] = []
    for is_text, run in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        if not is_text:
            merged += run
        elif text := "".join(str(piece) for piece in run):
            merged.append(text)
    return merged


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
