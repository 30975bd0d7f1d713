"""typing.get_type_hints and inspect.signature, of the program's own functions and classes only.

The library's evaluate text as code, and read what any function has for its defaults.
"""

import ast
import dataclasses
import functools
import inspect
import operator
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from cadre_sandbox.worker.language import guards
from cadre_sandbox.worker.language.ownership import CallNotAllowed, is_class, is_own
from cadre_sandbox.worker.language.rules import variable_problem

__all__ = ["Signature", "signature", "type_hints"]

_Empty = inspect.Parameter.empty


# Hints


def type_hints(value: Any, *_: Any, include_extras: bool = False, **__: Any) -> dict[str, Any]:
    """typing.get_type_hints. Raises NameError, SyntaxError, and CallNotAllowed for a hint that is text and says more
    than names, brackets and bars."""
    if type(value) is types.MethodType:
        value = value.__func__
    if not is_own(value) or not (is_class(value) or type(value) is types.FunctionType):
        raise CallNotAllowed("get_type_hints() is of functions and classes of the program only")
    if is_class(value):
        # The caller's: a class does not say where it was written.
        names = sys._getframe(1).f_globals
        holders = [cls for cls in reversed(type.mro(value)) if is_own(cls)]
        found = {n: hint for cls in holders for n, hint in vars(cls).get(_HINTS, {}).items()}
    else:
        names, found = value.__globals__, value.__annotations__
    names = names if names.get(_PROGRAM) is True else {}
    hints = {name: _meant(hint, names) for name, hint in found.items()}
    if include_extras:
        return hints
    return {name: _without_extras(hint) for name, hint in hints.items()}


_HINTS, _PROGRAM = "__annotations__", "<program>"


def _meant(hint: Any, names: Mapping[str, Any]) -> Any:
    if hint is None:
        return types.NoneType
    if type(hint) is not str:
        return hint
    return _value(ast.parse(hint, mode="eval").body, names)


def _value(node: ast.expr, names: Mapping[str, Any], *, of_hint: bool = True) -> Any:
    """What a part of a hint stands for; a text in it is a hint too, unless it is no part `of_hint`."""
    match node:
        case ast.Name(id=name) if not variable_problem(name):
            for known in (names, names.get("__builtins__", {})):
                if name in known:
                    return known[name]
            raise NameError(f"name {name!r} is not defined", name=name)
        case ast.Constant(value=value):
            return _meant(value, names) if of_hint and type(value) in _HINTS_THEMSELVES else value
        case ast.Attribute(value=of, attr=name):
            return guards.read(_value(of, names), name)
        case ast.Tuple(elts=parts):
            return tuple(_value(part, names, of_hint=of_hint) for part in parts)
        case ast.List(elts=parts):
            return [_value(part, names, of_hint=of_hint) for part in parts]
        case ast.Subscript(value=of, slice=inside):
            return _of_generic(_value(of, names), inside, names)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return operator.or_(_value(left, names), _value(right, names))
    raise CallNotAllowed("a hint that is text may say names, brackets and bars only")


def _of_generic(generic: Any, inside: ast.expr, names: Mapping[str, Any]) -> Any:
    if generic is typing.Annotated and isinstance(inside, ast.Tuple) and inside.elts:
        hint, *notes = inside.elts
        said = [_value(note, names, of_hint=False) for note in notes]
        return generic[(_value(hint, names), *said)]
    return generic[_value(inside, names, of_hint=generic is not typing.Literal)]


_HINTS_THEMSELVES = (str, types.NoneType)


def _without_extras(hint: Any) -> Any:
    return hint.__origin__ if typing.get_origin(hint) is typing.Annotated else hint


# Signatures


class BoundArguments:
    """Arguments, by the parameters that they are for."""

    # A name that programs may not read, not even of their own objects.
    __slots__ = ("__bound__", "signature")
    __bound__: inspect.BoundArguments
    signature: "Signature"

    def __deepcopy__(self, _: Any) -> "BoundArguments":
        raise TypeError("bound arguments are not copied")

    @property
    def arguments(self) -> dict[str, Any]:
        return self.__bound__.arguments

    @property
    def args(self) -> tuple[Any, ...]:
        return self.__bound__.args

    @property
    def kwargs(self) -> dict[str, Any]:
        return self.__bound__.kwargs

    def apply_defaults(self) -> None:
        self.__bound__.apply_defaults()


class Signature:
    """inspect.Signature, without the way from any function to one."""

    __slots__ = ("__real__",)
    __real__: inspect.Signature
    empty = _Empty

    def __deepcopy__(self, _: Any) -> "Signature":
        # Where a copy is asked for, its parts are left for who asked to see.
        return self

    def __str__(self) -> str:
        return str(self.__real__)

    def __repr__(self) -> str:
        return repr(self.__real__)

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return self.__real__.parameters

    @property
    def return_annotation(self) -> Any:
        return self.__real__.return_annotation

    def bind(self, /, *args: Any, **kwargs: Any) -> BoundArguments:
        return self._bound(self.__real__.bind(*args, **kwargs))

    def bind_partial(self, /, *args: Any, **kwargs: Any) -> BoundArguments:
        return self._bound(self.__real__.bind_partial(*args, **kwargs))

    def _bound(self, real: inspect.BoundArguments) -> BoundArguments:
        bound = BoundArguments()
        bound.__bound__, bound.signature = real, self
        return bound


def signature(value: Any, /, **_: Any) -> Signature:
    """inspect.signature, of a function, a method or a class of the program."""
    found = Signature()
    found.__real__ = inspect.Signature(list(_parameters(value)), return_annotation=_returns(value))
    return found


def _parameters(value: Any) -> Iterator[inspect.Parameter]:
    if type(value) is types.MethodType:
        yield from list(_parameters(value.__func__))[1:]
    elif type(value) is functools.partial:
        raise CallNotAllowed("signature() of a partial is not allowed; ask it of the function")
    elif not is_own(value):
        raise CallNotAllowed("signature() is of functions, methods and classes of the program only")
    elif type(value) is types.FunctionType:
        yield from _of_function(value)
    elif is_class(value):
        yield from _of_class(value)
    else:
        call = next(
            (vars(c)["__call__"] for c in type.mro(type(value)) if "__call__" in vars(c)), None
        )
        yield from list(_parameters(call))[1:]


def _of_class(cls: type) -> Iterator[inspect.Parameter]:
    for base in type.mro(cls):
        made = vars(base).get("__init__")
        if type(made) is types.FunctionType and is_own(made):
            yield from list(_of_function(made))[1:]
            return
        if is_own(base) and "__dataclass_fields__" in vars(base):
            yield from _of_dataclass(base)
            return


def _of_dataclass(cls: Any) -> Iterator[inspect.Parameter]:
    fields = [field for field in dataclasses.fields(cls) if field.init]
    for field in sorted(fields, key=lambda field: bool(field.kw_only)):
        default = field.default
        if default is dataclasses.MISSING:
            has_factory = field.default_factory is not dataclasses.MISSING
            default = field.default_factory if has_factory else _Empty
        kind = inspect.Parameter.KEYWORD_ONLY if field.kw_only is True else _BY_PLACE_OR_NAME
        yield inspect.Parameter(field.name, kind, default=default, annotation=field.type)


_BY_PLACE_OR_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD


def _of_function(function: Any) -> Iterator[inspect.Parameter]:
    """By its code alone: what a program puts among its variables could lead the library to another function."""
    code, hints = function.__code__, function.__annotations__
    count, optional = code.co_argcount, function.__defaults__ or ()
    names = list(code.co_varnames)
    defaults = dict(zip(names[count - len(optional) : count], optional, strict=True))
    defaults |= function.__kwdefaults__ or {}
    kinds: list[Any] = [inspect.Parameter.POSITIONAL_ONLY] * code.co_posonlyargcount
    kinds += [_BY_PLACE_OR_NAME] * (count - code.co_posonlyargcount)
    kinds += [inspect.Parameter.KEYWORD_ONLY] * code.co_kwonlyargcount
    order = list(zip(names, kinds, strict=False))
    stars = names[len(order) :]
    if code.co_flags & inspect.CO_VARARGS:
        order.insert(count, (stars.pop(0), inspect.Parameter.VAR_POSITIONAL))
    if code.co_flags & inspect.CO_VARKEYWORDS:
        order.append((stars.pop(0), inspect.Parameter.VAR_KEYWORD))
    for name, kind in order:
        default, hint = defaults.get(name, _Empty), hints.get(name, _Empty)
        yield inspect.Parameter(name, kind, default=default, annotation=hint)


def _returns(value: Any) -> Any:
    function = value.__func__ if type(value) is types.MethodType else value
    if type(function) is not types.FunctionType:
        return _Empty
    return function.__annotations__.get("return", _Empty)
