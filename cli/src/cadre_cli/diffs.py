"""What changed between two texts, in colour."""

import difflib

from cadre_cli.screen import output

__all__ = ["lines_changed", "show_changes"]

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def lines_changed(before: str, after: str, *, names: tuple[str, str]) -> list[str]:
    """The lines of a unified diff; none when the texts are equal."""
    return list(
        difflib.unified_diff(
            before.splitlines(),
            after.splitlines(),
            fromfile=names[0],
            tofile=names[1],
            lineterm="",
        )
    )


def show_changes(lines: list[str], *, empty: str) -> None:
    """Prints a diff; `empty` is said instead when nothing changed."""
    for line in lines or [empty]:
        output().print(line, markup=False, style=_COLOURS.get(line[:1], ""), soft_wrap=True)
