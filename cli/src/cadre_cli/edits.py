"""Makes the changes to a file that its problems carry."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cadre_client import Problem, Validation

__all__ = ["MAX_ROUNDS", "edited", "mended"]

MAX_ROUNDS = 10
"""A change may lay bare the next problem; after so many rounds the rest is left."""

_LINE_END = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")


def mended(
    source: str, validate: Callable[[str], "Validation"]
) -> tuple[str, list["Problem"], "Validation"]:
    """The text with every sure change made, the problems that they mended, and what is then left.

    A round of changes after which more is wrong than before is not made.
    """
    done: list[Problem] = []
    found = validate(source)
    for _ in range(MAX_ROUNDS):
        fixable = [problem for problem in found.problems if problem.fix is not None]
        if not fixable:
            break
        changed, made = edited(source, fixable)
        after = validate(changed)
        if _errors(after) > _errors(found):
            break
        source, found = changed, after
        done += made
    return source, done, found


def edited(source: str, problems: Sequence["Problem"]) -> tuple[str, list["Problem"]]:
    """The text with the problems' changes made, and those whose changes were: one that overlaps another waits."""
    starts = [0, *(match.end() for match in _LINE_END.finditer(source))]
    changes = []
    for problem in problems:
        if problem.fix is not None:
            fix = problem.fix
            start = starts[fix.line - 1] + fix.column - 1
            end = starts[fix.end_line - 1] + fix.end_column - 1
            changes.append((start, end, fix.text, problem))
    made: list[Problem] = []
    pieces: list[str] = []
    at = 0
    for start, end, text, problem in sorted(changes, key=lambda change: change[:2]):
        if start >= at:
            pieces += [source[at:start], text]
            at = end
            made.append(problem)
    return "".join([*pieces, source[at:]]), made


def _errors(found: "Validation") -> int:
    return sum(problem.severity == "error" for problem in found.problems)
