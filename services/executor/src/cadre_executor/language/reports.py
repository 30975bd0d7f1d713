"""Collects the problems of one file, each at its place, and suggests the names that were probably meant."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cadre_executor.language.edits import Editor
from cadre_executor.language.positions import Inner, Path, Position
from cadre_kit.errors import Problem, Severity, TextEdit

MAX_PROBLEMS = 100
"""More than these help nobody; the last one then says that there are more."""

_MAX_KEPT = 1000
_MAX_SUGGESTIONS = 30
_MAX_NAME = 80
_SURELY = 0.75
_CLEARLY = 0.1
"""How alike a name and the one that is meant are, of 1, and how much more than any other."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What to do about a problem, and how a program can do it at the problem's place.

    Either `old`, found in the key or value there, becomes `new`, or the whole value is put in quotes.
    """

    text: str
    old: str = ""
    new: str = ""
    quotes: bool = False

    def __bool__(self) -> bool:
        return bool(self.text)

    def within(self, whole: str) -> "Suggestion":
        """The same in a longer text, such as a reference with its braces: only there `old` is what is meant."""
        if not self.old:
            return self
        name = rf"(?<!\w){re.escape(self.old)}(?!\w)"
        return replace(self, old=whole, new=re.sub(name, lambda _: self.new, whole, count=1))


def path_text(path: Path) -> str:
    """A path as problems show it: `nodes[2].outputs[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() or part.replace("-", "_").isidentifier():
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text


def shown(name: str) -> str:
    """A name from the file as messages quote it, cut where it is long."""
    return repr(name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…")


class Report:
    """The problems found so far in one file."""

    def __init__(
        self,
        *,
        keys: Mapping[Path, Position] | None = None,
        values: Mapping[Path, Position] | None = None,
        source: str = "",
    ) -> None:
        self._keys = keys or {}
        self._values = values or {}
        self._source = source
        self._editor: Editor | None = None
        self._found: dict[Problem, None] = {}
        self._unkept = 0
        self._suggestions = 0

    def error(
        self,
        code: str,
        path: Path,
        message: str,
        resolution: str | Suggestion = "",
        *,
        at_key: bool = False,
        inner: Inner | None = None,
    ) -> None:
        """Notes what keeps the file from running; `inner` is where in the value."""
        severity = Severity.ERROR
        self._add(code, path, message, resolution, severity, at_key=at_key, inner=inner)

    def note(
        self,
        code: str,
        path: Path,
        message: str,
        resolution: str | Suggestion = "",
        *,
        at_key: bool = False,
        inner: Inner | None = None,
    ) -> None:
        """Notes what is worth knowing and harmless; `inner` is where in the value."""
        severity = Severity.NOTE
        self._add(code, path, message, resolution, severity, at_key=at_key, inner=inner)

    def nearest(self, name: str, names: Iterable[str]) -> str:
        """The known name most like this one; empty when none is, or when enough were suggested."""
        return self._nearest(name, names)[0]

    def did_you_mean(self, name: str, names: Iterable[str], otherwise: str = "") -> Suggestion:
        """A suggestion of the nearest known name, else one that lists the names or says `otherwise`."""
        known = list(names)
        near, is_sure = self._nearest(name, known)
        if near and is_sure:
            return Suggestion(text=f"did you mean `{near}`?", old=name, new=near)
        if near:
            return Suggestion(text=f"did you mean `{near}`?")
        if otherwise:
            return Suggestion(text=otherwise)
        return Suggestion(text=f"known here: {', '.join(known[:20])}" if known else "")

    def _nearest(self, name: str, names: Iterable[str]) -> tuple[str, bool]:
        """The nearest name, and whether it is so near, and no other nearly as near, that it must be meant."""
        self._suggestions += 1
        if self._suggestions > _MAX_SUGGESTIONS or len(name) > _MAX_NAME:
            return "", False
        known = {known.lower(): known for known in names if len(known) <= _MAX_NAME}
        close = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.6)
        if not close:
            return "", False
        likeness = [difflib.SequenceMatcher(None, each, name.lower()).ratio() for each in close]
        is_alone = len(close) == 1 or likeness[0] - likeness[1] >= _CLEARLY
        return known[close[0]], likeness[0] >= _SURELY and is_alone

    @property
    def failed(self) -> bool:
        """Whether any problem is an error."""
        return any(problem.severity is Severity.ERROR for problem in self._found)

    def problems(self) -> tuple[Problem, ...]:
        """All problems, in the file's order, at most MAX_PROBLEMS and one that says so."""
        ordered = sorted(self._found, key=lambda problem: (problem.line, problem.column))
        if len(ordered) <= MAX_PROBLEMS:
            return tuple(ordered)
        errors_first = sorted(ordered, key=lambda problem: problem.severity is Severity.NOTE)
        kept = sorted(errors_first[:MAX_PROBLEMS], key=lambda found: (found.line, found.column))
        more = Problem(
            code="TOO_MANY_PROBLEMS",
            message=f"there are {len(ordered) - MAX_PROBLEMS + self._unkept} problems more",
            resolution="mend those shown, then check again",
        )
        return (*kept, more)

    def _add(
        self,
        code: str,
        path: Path,
        message: str,
        resolution: str | Suggestion,
        severity: Severity,
        *,
        at_key: bool,
        inner: Inner | None,
    ) -> None:
        position = self._position(path, at_key=at_key)
        if inner is not None:
            position = self._edits().inside(position, inner)
        fix = None
        if isinstance(resolution, Suggestion):
            fix = self._fix(resolution, path, at_key=at_key)
            resolution = resolution.text
        problem = Problem(
            code=code,
            message=message,
            path=path_text(path),
            line=position.line,
            column=position.column,
            resolution=resolution,
            severity=severity,
            fix=fix,
        )
        if len(self._found) < _MAX_KEPT or problem in self._found:
            self._found[problem] = None
        else:
            self._unkept += 1

    def _fix(self, suggestion: Suggestion, path: Path, *, at_key: bool) -> TextEdit | None:
        place = (self._keys if at_key else self._values).get(path)
        if place is None or not (suggestion.old or suggestion.quotes):
            return None
        if suggestion.quotes:
            return self._edits().quoting(place)
        return self._edits().replacing(suggestion.old, suggestion.new, place)

    def _edits(self) -> Editor:
        if self._editor is None:
            self._editor = Editor(self._source)
        return self._editor

    def place(self, path: Path) -> Position:
        """Where a value stands in the file."""
        return self._position(path, at_key=False)

    def _position(self, path: Path, *, at_key: bool) -> Position:
        """Of the key or value, else of the nearest thing around it that is in the file."""
        if at_key and path in self._keys:
            return self._keys[path]
        for length in range(len(path), -1, -1):
            if position := self._values.get(path[:length]):
                return position
        return Position(line=1, column=1)
