"""The classes that programs make, by statement or by call: whatever makes them, what they define is checked."""

import argparse
import ast
import asyncio
import builtins
import collections
import dataclasses
import functools
import inspect
import pprint
import string
import types
import typing
from abc import ABCMeta
from asyncio.mixins import _LoopBoundMixin
from collections.abc import Mapping, Sequence
from typing import Any

from cadre_sandbox.worker.language.ownership import CallNotAllowed, NotAllowed, is_class
from cadre_sandbox.worker.language.paths import PurePath
from cadre_sandbox.worker.language.rules import (
    DEFINABLE_DUNDERS,
    field_problem,
    is_dunder,
    match_args,
    pattern_problem,
)

__all__ = [
    "ABSTRACT",
    "NOT_OF_METACLASSES",
    "build_class",
    "dataclass",
    "namedtuple",
    "type_",
    "type_of",
]

_python_build_class = builtins.__build_class__
# Generic[T], list[int], NamedTuple and the like put classes in their place.
_STANDS_FOR_A_CLASS = frozenset(
    (
        types.GenericAlias,
        types.FunctionType,
        *(type(getattr(typing, name)) for name in ("List", "Tuple", "Callable")),
        type(typing.Generic[typing.AnyStr]),  # type: ignore[index]  # an alias, made only to see its class
    )
)
# CPython believes the methods of an exception group and of what a loop runs, and @dataclass writes code out of what a
# Field says of itself; Formatter and what looks at ast's nodes walk attributes, and so do the private methods of
# PrettyPrinter. argparse sets attributes of whatever its private methods are given.
_CLOSED = (
    NotAllowed,
    BaseExceptionGroup,
    string.Formatter,
    asyncio.Future,
    _LoopBoundMixin,
    asyncio.Handle,
    asyncio.TaskGroup,
    asyncio.Timeout,
    dataclasses.Field,
    inspect.Parameter,
    argparse.Action,
    argparse.ArgumentParser,
    argparse.HelpFormatter,
    argparse.Namespace,
    ast.AST,
    pprint.PrettyPrinter,
    PurePath,
)
# What the statement itself puts into a class: its name, and the exact type it has.
_OF_THE_STATEMENT: Mapping[str, type] = {
    "__module__": str,
    "__qualname__": str,
    "__doc__": str,
    "__annotations__": dict,
    "__classcell__": types.CellType,
    "__orig_bases__": tuple,
    "__static_attributes__": tuple,
    "__firstlineno__": int,
}
_NAME_LISTS = {"__slots__": field_problem, "__match_args__": pattern_problem}
# On a class of classes these would answer for its classes' own special names, which the standard library believes.
NOT_OF_METACLASSES = frozenset(("__getattr__", "__get__", "__set__", "__delete__", "mro"))


class _OnlyAsks(type):
    """`isinstance(x, type)` as ever."""

    def __instancecheck__(cls, value: object) -> bool:
        return is_class(value)

    def __subclasscheck__(cls, other: object) -> bool:
        return is_class(other) and issubclass(other, type)  # type: ignore[arg-type]


class type_(metaclass=_OnlyAsks):
    """The `type` of programs: tells what something is, and makes classes that are checked."""

    def __new__(cls, *values: Any, **keywords: Any) -> Any:
        """type(x), type(name, bases, namespace), and `type.__new__` in a metaclass of the program."""
        match values:
            case [value]:
                return type_of(value)
            case [name, bases, namespace] if cls is type_:
                return _made(name, bases, namespace, keywords)
            case [name, bases, namespace] if is_class(cls) and issubclass(cls, _Metaclass):
                return _Metaclass.__new__(cls, name, bases, namespace, **keywords)
        raise TypeError("type() takes 1 or 3 arguments")

    def __class_getitem__(cls, item: Any) -> Any:
        return types.GenericAlias(type, item)


type_.__name__ = type_.__qualname__ = "type"
type_.__module__ = "builtins"


class _Metaclass(type):
    """What a program's `class Meta(type)` is built on."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **keywords: Any
    ) -> Any:
        """As type.__new__, of what a class statement could say too."""
        _check_bases(bases)
        return super().__new__(cls, _text(name), bases, _checked(namespace), **keywords)


class _AbstractMetaclass(_Metaclass, ABCMeta):
    """What a program's `class Meta(ABCMeta)` is built on."""


class _Abstract:
    """What programs get as abc.ABCMeta: good for `metaclass=ABCMeta`, and to build a metaclass on."""


ABSTRACT = _Abstract()
_STANDS_FOR: Mapping[int, type] = {id(type_): _Metaclass, id(ABSTRACT): _AbstractMetaclass}


def type_of(value: Any, /) -> Any:
    """The class of a value; of a class `type`, but for the program's own metaclasses."""
    cls = type(value)
    if not issubclass(cls, type):
        return cls
    return cls if _is_programs(cls) else type_


def _is_programs(cls: type) -> bool:
    return issubclass(cls, _Metaclass) and cls not in (_Metaclass, _AbstractMetaclass)


def build_class(body: Any, name: str, /, *bases: Any, **keywords: Any) -> Any:
    """The class statement: as ever, with what `type` and `ABCMeta` stand for."""
    bases = tuple(_STANDS_FOR.get(id(base), base) for base in bases)
    _check_bases(bases)
    if any(is_class(base) and issubclass(base, _Metaclass) for base in bases):
        return _python_build_class(body, name, *bases, metaclass=_MetaclassOfMetaclasses)
    metaclass = keywords.pop("metaclass", None)
    if metaclass is ABSTRACT:
        keywords["metaclass"] = ABCMeta
    elif metaclass is not None and metaclass is not type_:
        if not (is_class(metaclass) and _is_programs(metaclass)):
            raise CallNotAllowed("a metaclass must be a class that is derived from type")
        keywords["metaclass"] = metaclass
    return _python_build_class(body, name, *bases, **keywords)


class _MetaclassOfMetaclasses(type):
    """Makes the program's metaclasses, and looks at what is in them."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **keywords: Any
    ) -> Any:
        """As type.__new__."""
        # What another base defines was not looked at for a metaclass, and may be defined later.
        if not all(issubclass(base, _Metaclass) for base in bases):
            raise CallNotAllowed("a metaclass may be derived from type and from metaclasses only")
        for forbidden in NOT_OF_METACLASSES & namespace.keys():
            raise CallNotAllowed(f"a metaclass may not define {forbidden!r}")
        return super().__new__(cls, name, bases, _checked(namespace), **keywords)


def _made(name: Any, bases: Any, namespace: Any, keywords: Mapping[str, Any]) -> Any:
    if type(bases) is not tuple or type(namespace) is not dict:
        raise TypeError("type() takes a name, a tuple of bases and a dict")
    _check_bases(bases)
    if any(_STANDS_FOR.get(id(base)) or issubclass(base, type) for base in bases):
        raise CallNotAllowed("a metaclass must be made by a class statement")
    contents = _checked(namespace) | {"__module__": "__main__"}
    return types.new_class(_text(name), bases, dict(keywords), lambda body: body.update(contents))


def _check_bases(bases: Sequence[Any]) -> None:
    for base in bases:
        if not is_class(base) and type(base) not in _STANDS_FOR_A_CLASS:
            raise TypeError(f"{type(base).__name__!r} is no class")
    # list[int] and its like are asked for what they stand for, as the class statement will.
    for base in types.resolve_bases(bases):
        if not is_class(base):
            raise TypeError(f"{type(base).__name__!r} is no class")
        if issubclass(base, type) and not issubclass(base, _Metaclass):
            raise CallNotAllowed("a class that makes classes must be derived from type itself")
        if issubclass(base, (*_CLOSED, _OnlyAsks)):
            raise CallNotAllowed(f"a subclass of {base.__name__!r} is not allowed")


def _text(name: Any) -> str:
    if type(name) is not str or is_dunder(name):
        raise TypeError("a class's name must be a plain text")
    return name


def _checked(namespace: Any) -> dict[str, Any]:
    """A plain copy, in which nothing is what a class statement could not say. Raises CallNotAllowed."""
    if type(namespace) is not dict:
        raise TypeError("a class's namespace must be a dict")
    contents = dict(namespace)
    for name, value in contents.items():
        if type(name) is not str:
            raise TypeError("names in a class must be plain texts")
        if not is_dunder(name) or name in DEFINABLE_DUNDERS:
            continue
        if name in _NAME_LISTS:
            contents[name] = _checked_names(name, value)
        elif value is not None and type(value) is not _OF_THE_STATEMENT.get(name):
            raise CallNotAllowed(f"a class may not define {name!r}")
    if contents.get("__module__", "__main__") != "__main__":
        raise CallNotAllowed("a class may not define '__module__'")
    if "__annotations__" in contents:
        contents["__annotations__"] = _checked_annotations(contents["__annotations__"])
    return contents


def _checked_names(name: str, value: Any) -> tuple[str, ...]:
    names = (value,) if type(value) is str else tuple(value) if type(value) in (tuple, list) else ()
    if not names and value not in ((), []):
        raise CallNotAllowed(f"{name} must be a tuple of names in quotes")
    for one in names:
        if type(one) is not str or _NAME_LISTS[name](one):
            raise CallNotAllowed(f"{name} holds what is no allowed name")
    return names


def _checked_annotations(value: Any) -> dict[str, Any]:
    annotations = dict(value or {})
    if not all(_is_plain(name) for name in annotations):
        raise CallNotAllowed("a class's types are of plain names")
    return annotations


def _is_plain(name: Any) -> bool:
    return type(name) is str and name.isidentifier() and not field_problem(name)


# Patterns read the fields of these by their place, and of whatever calls itself an instance.


def dataclass(cls: Any = None, /, **options: Any) -> Any:
    """dataclasses.dataclass; slots=True would hand a metaclass what the standard library writes code from."""
    if cls is None:
        return functools.partial(dataclass, **options)
    if options.get("slots") and _is_programs(type(cls)):
        raise CallNotAllowed("slots=True is not allowed on a class with a metaclass")
    made = dataclasses.dataclass(cls, **options | {"match_args": False})
    if options.get("match_args", True) and "__match_args__" not in vars(made):
        by_place = [f.name for f in dataclasses.fields(made) if f.init and not f.kw_only]
        type.__setattr__(made, "__match_args__", match_args(by_place))
    return made


_python_namedtuple = collections.namedtuple


def namedtuple(typename: str, field_names: Any, *, module: Any = None, **options: Any) -> Any:
    """collections.namedtuple, of no module but the program."""
    made: Any = _python_namedtuple(typename, field_names, module="__main__", **options)
    type.__setattr__(made, "__match_args__", match_args(made._fields))
    return made
