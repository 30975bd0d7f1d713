"""The built-in functions and types that programs have."""

import builtins
from collections.abc import Callable
from typing import Any

from cadre_sandbox.worker.language import classes, guards

__all__ = ["program_builtins"]

_PLAIN = [
    "None",
    "False",
    "True",
    "Ellipsis",
    "NotImplemented",
    "abs",
    "aiter",
    "all",
    "anext",
    "any",
    "ascii",
    "bin",
    "bool",
    "bytearray",
    "bytes",
    "callable",
    "chr",
    "classmethod",
    "complex",
    "dict",
    "divmod",
    "enumerate",
    "filter",
    "float",
    "format",
    "frozenset",
    "hash",
    "hex",
    "id",
    "int",
    "isinstance",
    "issubclass",
    "iter",
    "len",
    "list",
    "map",
    "max",
    "memoryview",
    "min",
    "next",
    "object",
    "oct",
    "ord",
    "pow",
    "print",
    "property",
    "range",
    "repr",
    "reversed",
    "round",
    "set",
    "slice",
    "sorted",
    "staticmethod",
    "str",
    "sum",
    "super",
    "tuple",
    "zip",
    "__debug__",
]
_REFUSED = {
    "input": "nobody is there to answer; the inputs are in the variable 'inputs'",
    "eval": "code cannot make code; ast.literal_eval reads data",
    "exec": "code cannot make code",
    "compile": "code cannot make code",
    "globals": "the variables of the program are not an object",
    "locals": "the variables of the program are not an object",
    "breakpoint": "nobody is there to look",
    "help": "nobody is there to read",
}


def _exceptions() -> dict[str, Any]:
    return {
        name: found
        for name in dir(builtins)
        if isinstance(found := getattr(builtins, name), type) and issubclass(found, BaseException)
    }


def program_builtins(
    *,
    import_module: Callable[..., Any],
    open_: Callable[..., Any],
    print_: Callable[..., None],
    leave: Callable[..., Any],
) -> dict[str, Any]:
    """What takes the place of the module `builtins`."""
    return {
        **{name: getattr(builtins, name) for name in _PLAIN},
        **_exceptions(),
        **{name: guards.refused_builtin(name, why) for name, why in _REFUSED.items()},
        "__build_class__": classes.build_class,
        "__import__": import_module,
        "delattr": guards.delete_attribute,
        "dir": guards.names,
        "exit": leave,
        "getattr": guards.get_attribute,
        "hasattr": guards.has_attribute,
        "open": open_,
        "print": print_,
        "quit": leave,
        "setattr": guards.set_attribute,
        "type": classes.type_,
        "vars": guards.variables,
    }
