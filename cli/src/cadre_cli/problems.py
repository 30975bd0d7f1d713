"""Problems of a workflow file, each shown at its place in the file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cadre_cli.screen import errors

if TYPE_CHECKING:
    from cadre_client import Problem

__all__ = ["document", "documents", "show", "shown"]

_LEAST_SHOWN = 20
_FIELDS = {"code", "message", "path", "line", "column", "resolution"}


def document(problem: "Problem") -> dict[str, object]:
    """A problem as JSON."""
    return problem.model_dump(include=_FIELDS)


def documents(problems: Sequence["Problem"]) -> list[dict[str, object]]:
    """Problems as JSON."""
    return [document(problem) for problem in problems]


def show(problems: Sequence["Problem"], *, source: str, file: str) -> None:
    """Prints each problem with its line of the file and a caret under its column."""
    lines = source.splitlines()
    for problem in problems:
        _show(problem, lines, file)


@contextmanager
def shown(*, source: str, file: str) -> Iterator[None]:
    """Shows what the gateway finds wrong with a file, and lets its refusal through."""
    from cadre_client import ApiError

    try:
        yield
    except ApiError as error:
        show(error.problems, source=source, file=file)
        raise


def _show(problem: "Problem", lines: list[str], file: str) -> None:
    console = errors()
    colour = "red" if problem.severity == "error" else "yellow"
    place = f"{file}:{problem.line}:{problem.column}" if problem.line else file
    where = f" ({problem.path})" if problem.path else ""
    console.print(f"[{colour}]{problem.severity}[/] [bold]{problem.code}[/]", end=" ")
    console.print(f"{place}{where}", markup=False, highlight=False)
    console.print(f"  {problem.message}", markup=False, highlight=False)
    if 0 < problem.line <= len(lines):
        number = f"{problem.line:>5} | "
        room = console.width - len(number)
        excerpt, column = _excerpt(lines[problem.line - 1], max(problem.column, 1), room=room)
        console.print(number + excerpt, markup=False, highlight=False, style="dim")
        console.print(" " * (len(number) + column - 1) + "^", style=colour)
    if problem.resolution:
        console.print(f"  → {problem.resolution}", markup=False, highlight=False)


def _excerpt(line: str, column: int, *, room: int) -> tuple[str, int]:
    """What there is room to show of a line, so that the caret stays below its column, and where that is then. A file
    may be one line of a megabyte."""
    if len(line) <= room:
        return line, column
    shown = max(room - len("… ") * 2, _LEAST_SHOWN)
    start = max(0, min(column - shown // 2, len(line) - shown))
    ahead, after = "… " if start else "", " …" if start + shown < len(line) else ""
    return f"{ahead}{line[start : start + shown]}{after}", column - start + len(ahead)
