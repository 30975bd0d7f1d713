"""Collects the problems of one file, each at its place, and suggests the names that were probably meant."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cadre_kit.errors import Problem, Severity

Path: TypeAlias = tuple[str | int, ...]
"""Where in a document: keys and indexes from its root."""

MAX_PROBLEMS = 100
"""More than these help nobody; the last one then says that there are more."""

_MAX_KEPT = 1000
_MAX_SUGGESTIONS = 30
_MAX_NAME = 80


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place in the file, counted from 1."""

    line: int
    column: int


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

    def __init__(self, *, keys: Mapping[Path, Position], values: Mapping[Path, Position]) -> None:
        self._keys = keys
        self._values = values
        self._found: dict[Problem, None] = {}
        self._unkept = 0
        self._suggestions = 0

    def error(
        self, code: str, path: Path, message: str, resolution: str = "", *, at_key: bool = False
    ) -> None:
        """Notes what keeps the file from running."""
        self._add(code, path, message, resolution, Severity.ERROR, at_key=at_key)

    def note(
        self, code: str, path: Path, message: str, resolution: str = "", *, at_key: bool = False
    ) -> None:
        """Notes what is worth knowing and harmless."""
        self._add(code, path, message, resolution, Severity.NOTE, at_key=at_key)

    def nearest(self, name: str, names: Iterable[str]) -> str:
        """The known name most like this one; empty when none is, or when enough were suggested."""
        self._suggestions += 1
        if self._suggestions > _MAX_SUGGESTIONS or len(name) > _MAX_NAME:
            return ""
        known = {known.lower(): known for known in names if len(known) <= _MAX_NAME}
        close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        return known[close[0]] if close else ""

    def did_you_mean(self, name: str, names: Iterable[str], otherwise: str = "") -> str:
        """A resolution that suggests the nearest known name, else one that lists the names or says `otherwise`."""
        known = list(names)
        if near := self.nearest(name, known):
            return f"did you mean `{near}`?"
        if otherwise:
            return otherwise
        return f"known here: {', '.join(known[:20])}" if known else ""

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
        resolution: str,
        severity: Severity,
        *,
        at_key: bool,
    ) -> None:
        position = self._position(path, at_key=at_key)
        problem = Problem(
            code=code,
            message=message,
            path=path_text(path),
            line=position.line,
            column=position.column,
            resolution=resolution,
            severity=severity,
        )
        if len(self._found) < _MAX_KEPT or problem in self._found:
            self._found[problem] = None
        else:
            self._unkept += 1

    def _position(self, path: Path, *, at_key: bool) -> Position:
        """Of the key or value, else of the nearest thing around it that is in the file."""
        if at_key and path in self._keys:
            return self._keys[path]
        for length in range(len(path), -1, -1):
            if position := self._values.get(path[:length]):
                return position
        return Position(line=1, column=1)
