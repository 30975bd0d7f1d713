"""ast for programs: texts of Python are read and looked at, as calculators and checkers do; none is made into code."""

import ast
from typing import Any

__all__ = ["literal_eval", "tree_names"]

_CHARACTERS = 100_000
_SAFE = "NodeVisitor dump get_docstring iter_child_nodes unparse walk".split()


def literal_eval(text: str, /) -> Any:
    """ast.literal_eval, of text only."""
    return ast.literal_eval(_checked(text))


def _parse(source: str, filename: str = "<unknown>", mode: str = "exec") -> ast.AST:
    if type(mode) is not str or mode not in ("exec", "eval", "single"):
        raise ValueError("the mode must be 'exec', 'eval' or 'single'")
    return ast.parse(_checked(source), mode=mode)


def _checked(text: Any) -> str:
    if type(text) is not str or len(text) > _CHARACTERS:
        raise ValueError(f"a text of up to {_CHARACTERS} characters is needed")
    return text


def tree_names() -> dict[str, Any]:
    """The module's names. Of what reads attributes by the names of fields, only what gives back nodes or text."""
    # Those of a class of their own kind stand for nodes of old.
    nodes = {
        name: found
        for name, found in vars(ast).items()
        if type(found) is type and issubclass(found, ast.AST)
    }
    return {
        **nodes,
        **{name: getattr(ast, name) for name in _SAFE},
        "literal_eval": literal_eval,
        "parse": _parse,
    }
