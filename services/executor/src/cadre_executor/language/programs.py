"""Reads the programs of code nodes, so that what can only fail is found before a run."""

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator

from cadre_executor.language.positions import Inner, Path
from cadre_executor.language.references import Names
from cadre_executor.language.reports import Report, Suggestion, shown

# What is there without being bound; the last ones within classes.
_GIVEN = frozenset(dir(builtins)) | {
    "inputs",
    "__annotations__",
    "__file__",
    "__class__",
    "__module__",
    "__qualname__",
}
_MAKES_NAMES = frozenset({"exec", "globals", "locals", "vars"})
_OTHERWISE = "define it, import it, or add it to the node's `inputs`"


def check_program(
    code: str, *, in_container: bool, names: Names, report: Report, path: Path
) -> None:
    """Reports a program that is no Python, and what it reads that neither it nor the node's inputs give a value."""
    tree = _parsed(code, report.note if in_container else report.error, path)
    if tree is None:
        return
    parts = [*ast.walk(tree)]
    bound = frozenset(_bound(parts))
    read = {part.id: part for part in reversed(parts) if isinstance(part, ast.Name)}
    if "*" in bound or not _MAKES_NAMES.isdisjoint(read):
        return
    known = bound | names.inputs.keys()
    for name, part in read.items():
        if name in known or name in _GIVEN:
            continue
        message = f"line {part.lineno} of the program: nothing gives {shown(name)} a value"
        suggestion: str | Suggestion
        if name == "state":
            message += ", as programs read the node's inputs only"
            field = _field_of_state(parts)
            suggestion = f"{_as_input(field)}, and read `{field}`"
        elif name in names.state:
            suggestion = _as_input(name)
        else:
            suggestion = report.did_you_mean(name, sorted(known), _OTHERWISE)
        report.error("UNKNOWN_VARIABLE", path, message, suggestion, inner=_place(part, code))


def _place(part: ast.expr, code: str) -> Inner:
    line = ("", *code.split("\n"))[part.lineno] if part.lineno <= code.count("\n") + 1 else ""
    # The tree counts bytes.
    before = line.encode()[: part.col_offset].decode(errors="ignore")
    return Inner(part.lineno, len(before) + 1, line)


def _as_input(field: str) -> str:
    return f'add `inputs: {{{field}: "{{state.{field}}}"}}` to the node'


def _parsed(code: str, tell: Callable[..., None], path: Path) -> ast.Module | None:
    """The program's tree; a container's Python may be newer than ours, so of one there it is only told."""
    try:
        return ast.parse(code)
    except SyntaxError as exc:
        where = f"line {exc.lineno} of the program" if exc.lineno else "the program"
        line = (exc.text or "").rstrip("\n")
        inner = Inner(exc.lineno or 1, max(exc.offset or 1, 1), line)
        tell("CODE_SYNTAX", path, f"{where}: {exc.msg}", "correct the program", inner=inner)
    except (ValueError, RecursionError, MemoryError):
        tell("CODE_SYNTAX", path, "the program is no Python", "correct the program")
    return None


def _field_of_state(parts: Iterable[ast.AST]) -> str:
    """The field of `state` that a program means to read."""
    for part in parts:
        match part:
            case ast.Attribute(value=ast.Name(id="state"), attr=field):
                return field
    return "field"


def _bound(parts: Iterable[ast.AST]) -> Iterator[str]:
    """The names that a program gives a value anywhere; `*` for one that imports all of a module."""
    for part in parts:
        match part:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield part.name
            case ast.arg():
                yield part.arg
            case ast.alias():
                yield part.asname or part.name.partition(".")[0]
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                yield name
