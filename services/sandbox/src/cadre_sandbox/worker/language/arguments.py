"""argparse for programs: Python's own, without what sets attributes by names, or on objects, that a program chooses."""

import argparse
import os
import shutil
from collections.abc import Callable
from typing import Any

from cadre_sandbox.worker.language.ownership import CallNotAllowed

__all__ = ["close_argparse", "parser_names"]

_NAMES = (
    "ArgumentDefaultsHelpFormatter ArgumentError ArgumentParser ArgumentTypeError BooleanOptionalAction HelpFormatter "
    "MetavarTypeHelpFormatter Namespace ONE_OR_MORE OPTIONAL PARSER RawDescriptionHelpFormatter RawTextHelpFormatter "
    "REMAINDER SUPPRESS ZERO_OR_MORE"
)
_PARSING = ("parse_known_args", "parse_known_intermixed_args")
_add_subparsers = argparse.ArgumentParser.add_subparsers


def close_argparse() -> None:
    """Before any program; none of its classes may be derived from."""
    for name in _PARSING:
        setattr(
            argparse.ArgumentParser, name, _into_namespaces(getattr(argparse.ArgumentParser, name))
        )
    argparse.ArgumentParser.add_subparsers = _add_plain_subparsers  # type: ignore[method-assign]
    argparse.Namespace.__setattr__ = _set_plain  # type: ignore[method-assign]
    # It asks the terminal.
    shutil.get_terminal_size = lambda fallback=(80, 24): os.terminal_size(fallback)


def parser_names() -> dict[str, Any]:
    """The module's names."""
    return {name: getattr(argparse, name) for name in _NAMES.split()}


def _into_namespaces(parse: Callable[..., Any]) -> Callable[..., Any]:
    def checked(self: Any, args: Any = None, namespace: Any = None) -> Any:
        if namespace is not None and type(namespace) is not argparse.Namespace:
            raise CallNotAllowed("arguments are put into a Namespace only")
        return parse(self, args, namespace)

    return checked


def _add_plain_subparsers(self: Any, **options: Any) -> Any:
    if options.get("parser_class", argparse.ArgumentParser) is not argparse.ArgumentParser:
        raise CallNotAllowed("a parser of another class is not allowed")
    return _add_subparsers(self, **options)


def _set_plain(self: Any, name: str, value: Any) -> None:
    if type(name) is not str or name.startswith("__"):
        raise CallNotAllowed(f"an argument may not be called {name!r}")
    object.__setattr__(self, name, value)
