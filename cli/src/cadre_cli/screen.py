"""What people see: tables, marks and errors for them, or one JSON document for programs."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cadre_cli.errors import CliError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "errors",
    "escape",
    "is_interactive",
    "output",
    "print_error",
    "print_json",
    "print_table",
    "set_wants_json",
]

# Where the output goes into a file or a pipe, lines are not folded to a width that nobody looks at.
_FILE_COLUMNS = 200
_wants_json = ContextVar("wants_json", default=False)


def set_wants_json(wanted: bool) -> None:
    """Says whether this command was asked for JSON: then its errors are JSON too, also those about its arguments."""
    _wants_json.set(wanted)


def is_interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def output() -> "Console":
    """The console of standard output."""
    return _console(stderr=False)


def errors() -> "Console":
    """The console of standard error: progress, questions, errors."""
    return _console(stderr=True)


def escape(text: str) -> str:
    """Text that others wrote, for a table's cell: as it is, no markup."""
    from rich.markup import escape

    return escape(text)


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    print(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table; `empty` is said instead when there is no row. Cells may hold Rich markup: escape what others wrote."""
    from rich.table import Table

    rows = list(rows)
    if not rows:
        output().print(empty, markup=False)
        return
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        show_header=any(columns),
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    output().print(table)


def print_error(error: CliError) -> None:
    """An error: for people on standard error; as JSON, on standard output, when JSON was asked for."""
    if _wants_json.get():
        print_json({"error": error.document()})
    console = errors()
    console.print("[bold red]Error:[/]", end=" ")
    console.print(error.message, markup=False, highlight=False)
    for line in [error.resolution, *error.details]:
        if line:
            console.print(line, markup=False, highlight=False)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty() or "COLUMNS" in os.environ:
        return Console(stderr=stderr, highlight=False)
    return Console(stderr=stderr, highlight=False, width=_FILE_COLUMNS)
