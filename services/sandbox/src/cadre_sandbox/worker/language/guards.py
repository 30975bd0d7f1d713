"""What a program reaches objects through at run time, in place of Python's own getattr, type, format and the like.

The guards judge objects by `type(x)` and texts by exact type only: everything else about an object may be the program's
own invention. They keep no state that a program could reach.
"""

import argparse
import configparser
import functools
import importlib
import string
import types
from collections import defaultdict
from collections.abc import Callable, MutableMapping
from decimal import Context
from reprlib import Repr
from typing import Any, NoReturn
from xml.etree import ElementTree

from cadre_sandbox.worker.language.classes import NOT_OF_METACLASSES, type_of
from cadre_sandbox.worker.language.coroutines import LEADS_INSIDE
from cadre_sandbox.worker.language.logs import Logger
from cadre_sandbox.worker.language.ownership import (
    AttributeNotAllowed,
    CallNotAllowed,
    ImportNotAllowed,
    NotAllowed,
    is_class,
    is_own,
)
from cadre_sandbox.worker.language.rules import (
    DEFINABLE_DUNDERS,
    READABLE_DUNDERS,
    WATCHED,
    attribute_problem,
    is_dunder,
)
from cadre_sandbox.worker.language.threads import Local, Thread, Timer

__all__ = [
    "attrgetter",
    "delete_attribute",
    "get_attribute",
    "has_attribute",
    "hint",
    "methodcaller",
    "names",
    "read",
    "refuse_import",
    "refused_builtin",
    "set_attribute",
    "update_wrapper",
    "variables",
    "wraps",
    "write",
]


_NOWHERE = frozenset(
    (types.ModuleType, types.FrameType, types.CodeType, types.TracebackType, types.CellType)
)
_WRITABLE = frozenset(
    (
        types.SimpleNamespace,
        argparse.Namespace,
        Context,
        defaultdict,
        configparser.ConfigParser,
        configparser.RawConfigParser,
        ElementTree.Element,
        Local,
        Logger,
        Repr,
        Thread,
        Timer,
    )
)
_type = type
# What string.Formatter.get_field itself uses; it has no public name.
_split_field: Callable[[str], Any] = importlib.import_module("_string").formatter_field_name_split


def _no_attribute(value: object, name: str) -> NoReturn:
    raise AttributeNotAllowed(f"the attribute {name!r} of {_type(value).__name__!r} is not allowed")


def read(value: Any, name: str) -> Any:
    """`value.name`, where a program may read it. Raises AttributeNotAllowed, or AttributeError as Python would."""
    if name in WATCHED or name[:1] == "_":
        return _read_watched(value, name)
    found = getattr(value, name)
    if _type(found) in _NOWHERE:
        _no_attribute(value, name)
    return found


def _read_watched(value: Any, name: str) -> Any:
    if attribute_problem(name, write=False):
        _no_attribute(value, name)
    if is_dunder(name):
        return _read_dunder(value, name)
    if name in ("format", "format_map"):
        return _read_format(value, name)
    if name == "obj" and issubclass(_type(value), (AttributeError, memoryview)):
        _no_attribute(value, name)
    if name == "mro" and is_class(value):
        _no_attribute(value, name)
    if name in LEADS_INSIDE and not (is_own(value) or _type(value) is super):
        _no_attribute(value, name)
    if name[0] == "_" and not (
        is_own(value) or _type(value) is super or _is_of_tuples(value, name)
    ):
        _no_attribute(value, name)
    found = getattr(value, name)
    if _type(found) in _NOWHERE:
        _no_attribute(value, name)
    return found


def _is_of_tuples(value: object, name: str) -> bool:
    """Named tuples have their methods behind an underscore, so that fields can have every public name."""
    return name in ("_asdict", "_fields", "_replace") and issubclass(_type(value), tuple)


def _read_dunder(value: Any, name: str) -> Any:
    match name:
        case "__class__":
            return type_of(value)
        case "__dict__":
            return variables(value)
        case "__setattr__":
            return _set_from(value)
        case "__delattr__":
            return _delete_from(value)
        case "__annotations__":
            return _annotations(value)
        case "__members__":
            # A view hands what is behind it to whatever it is compared with.
            return types.MappingProxyType(dict(value.__members__))
        case "__module__" if not is_own(value):
            _no_attribute(value, name)
    if name not in READABLE_DUNDERS:
        _no_attribute(value, name)
    found = getattr(value, name)
    if _type(found) in _NOWHERE:
        _no_attribute(value, name)
    if _type(found) is types.FunctionType and is_class(value) and name != "__new__":
        return found if is_own(found) else _of_instances(value, found)
    return found


def _of_instances(cls: type, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that is not the program's, as its class offers it. @dataclass writes methods that read attributes by the
    names of the fields, with no guard: of other objects they are not to read any.
    """

    def call(instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not any(base is cls for base in _type(instance).__mro__):
            raise TypeError(f"{method.__name__}() needs an instance of {cls.__name__!r}")
        return method(instance, *args, **kwargs)

    return call


def _annotations(value: Any) -> dict[str, Any]:
    """A copy: @dataclass writes code out of the names in the original, and would out of any text put there."""
    if not is_own(value):
        _no_attribute(value, "__annotations__")
    return dict(value.__annotations__)


def _set_from(value: Any) -> Callable[..., None]:
    """`super().__setattr__` and `object.__setattr__`, which classes with a __setattr__ of their own need."""
    if _type(value) is super:
        return lambda attribute, new: _object_setattr(_instance(value), attribute, new)
    if value is object:
        return _object_setattr
    return lambda attribute, new: set_attribute(value, attribute, new)


def _delete_from(value: Any) -> Callable[..., None]:
    if _type(value) is super:
        return lambda attribute: _object_delattr(_instance(value), attribute)
    if value is object:
        return _object_delattr
    return lambda attribute: delete_attribute(value, attribute)


def _instance(value: Any) -> Any:
    """Whose super() it is."""
    return value.__self__


def _object_setattr(value: Any, name: str, new: Any) -> None:
    _check_write(value, name)
    object.__setattr__(value, name, new)


def _object_delattr(value: Any, name: str) -> None:
    _check_write(value, name)
    object.__delattr__(value, name)


def write(value: Any, name: str) -> Any:
    """`value` itself, when a program may set that attribute of it; the name by itself was checked before."""
    cls = _type(value)
    if name in DEFINABLE_DUNDERS and not (is_class(value) and is_own(value)):
        _no_attribute(value, name)
    if is_class(value) and issubclass(value, _type) and name in NOT_OF_METACLASSES:
        _no_attribute(value, name)
    if cls in _WRITABLE or _is_plain_exception(cls) or is_own(value):
        return value
    what = value.__name__ if issubclass(cls, _type) else cls.__name__
    raise AttributeNotAllowed(f"attributes of {what!r} may not be changed")


def _is_plain_exception(cls: type) -> bool:
    # except* calls the methods of a group by name, and believes what they answer.
    return issubclass(cls, BaseException) and not issubclass(cls, BaseExceptionGroup)


def _check_name(name: object) -> None:
    if _type(name) is not str:
        raise TypeError("attribute name must be a plain text")


def _check_write(value: Any, name: str) -> None:
    _check_name(name)
    if attribute_problem(name, write=True):
        _no_attribute(value, name)
    write(value, name)


_ABSENT = object()


def get_attribute(value: Any, name: str, default: Any = _ABSENT, /) -> Any:
    """getattr()."""
    _check_name(name)
    if default is _ABSENT:
        return read(value, name)
    try:
        return read(value, name)
    except NotAllowed:
        raise
    except AttributeError:
        return default


def has_attribute(value: Any, name: str, /) -> bool:
    """hasattr()."""
    _check_name(name)
    try:
        read(value, name)
    except AttributeError:
        return False
    return True


def set_attribute(value: Any, name: str, new: Any, /) -> None:
    """setattr()."""
    _check_write(value, name)
    setattr(value, name, new)


def delete_attribute(value: Any, name: str, /) -> None:
    """delattr()."""
    _check_write(value, name)
    delattr(value, name)


class _Variables(dict[str, Any]):
    """The variables of an object as it had them when it was asked; a change is made to the object too."""

    __slots__ = ("_owner",)
    _owner: Any

    def __setitem__(self, name: str, new: Any) -> None:
        _check_write(self._owner, name)
        vars(self._owner)[name] = new
        dict.__setitem__(self, name, new)

    def __delitem__(self, name: str) -> None:
        _check_write(self._owner, name)
        vars(self._owner).pop(name)
        dict.__delitem__(self, name)

    update = MutableMapping.update
    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    setdefault = MutableMapping.setdefault
    clear = MutableMapping.clear

    def __ior__(self, others: Any) -> "_Variables":  # type: ignore[override, misc]  # it takes what update takes
        self.update(others)
        return self

    def __reduce_ex__(self, _: Any) -> Any:
        return dict, (dict(self),)


_Variables.__name__ = _Variables.__qualname__ = "dict"
_Variables.__module__ = "builtins"


def variables(value: Any, /) -> dict[str, Any]:
    """vars() and `__dict__`, without special names."""
    if not is_own(value) and _type(value) not in (types.SimpleNamespace, argparse.Namespace):
        _no_attribute(value, "__dict__")
    if _type(value) is types.FunctionType:
        return {}
    found = _Variables((name, item) for name, item in vars(value).items() if not is_dunder(name))
    found._owner = value
    return found


def names(value: Any = _ABSENT, /) -> list[str]:
    """dir(), without special names, and of what is not the program's own without private ones."""
    if value is _ABSENT:
        raise CallNotAllowed("dir() without an object is not allowed")
    own = is_own(value)
    found = [name for name in dir(value) if _type(name) is str]
    return [name for name in found if name[:1] != "_" or (own and not is_dunder(name))]


# Formatting


class _Formatter(string.Formatter):
    """str.format, whose "{0.attribute}" goes through the guard."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        first, rest = _split_field(field_name)
        value = self.get_value(first, args, kwargs)
        for is_attribute, key in rest:
            value = read(value, key) if is_attribute else value[key]
        return value, first


def _vformat(text: str, args: Any, kwargs: Any) -> str:
    return _Formatter().vformat(str.__str__(text), args, kwargs)


def _read_format(value: Any, name: str) -> Any:
    cls = _type(value)
    if issubclass(cls, str):
        return _bound_format(value, name)
    if issubclass(cls, _type) and issubclass(value, str):
        return _unbound_format(name)
    if cls is super or issubclass(cls, _type):
        # Which class's it would be cannot be told.
        _no_attribute(value, name)
    return getattr(value, name)


def _bound_format(text: str, name: str) -> Callable[..., str]:
    if name == "format_map":
        return lambda mapping: _vformat(text, (), mapping)
    return lambda *args, **kwargs: _vformat(text, args, kwargs)


def _unbound_format(name: str) -> Callable[..., str]:
    def call(text: Any, /, *args: Any, **kwargs: Any) -> str:
        if not issubclass(_type(text), str):
            raise TypeError(f"{name}() needs a text")
        return _bound_format(text, name)(*args, **kwargs)

    return call


# Safe forms of what the standard library offers


def attrgetter(*paths: str) -> Callable[[Any], Any]:
    """operator.attrgetter."""
    for path in paths:
        _check_name(path)
    split = [path.split(".") for path in paths]

    def get(value: Any, /) -> Any:
        found = tuple(functools.reduce(read, path, value) for path in split)
        return found[0] if len(found) == 1 else found

    return get


def methodcaller(name: str, /, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """operator.methodcaller."""
    _check_name(name)
    return lambda value, /: read(value, name)(*args, **kwargs)


def wraps(wrapped: Any) -> Callable[[Any], Any]:
    """functools.wraps, for functions and classes of the program."""
    return lambda wrapper: update_wrapper(wrapper, wrapped)


def update_wrapper(wrapper: Any, wrapped: Any) -> Any:
    """functools.update_wrapper: the name, the description and the type hints."""
    for name in ("__name__", "__qualname__", "__doc__"):
        found = getattr(wrapped, name, None)
        if _type(found) is str and is_own(wrapper):
            setattr(wrapper, name, found)
    if all(_type(each) is types.FunctionType and is_own(each) for each in (wrapper, wrapped)):
        wrapper.__annotations__ = dict(wrapped.__annotations__)
    return wrapper


def hint(evaluate: Callable[[], Any], text: str) -> Any:
    """A type hint of a function; its text where it names what is not there."""
    try:
        return evaluate()
    except (NameError, AttributeError):
        return text


def refuse_import(problem: str) -> NoReturn:
    """In place of an import of `os` that the program may not make."""
    raise ImportNotAllowed(problem, name="os")


def refused_builtin(name: str, why: str) -> Callable[..., NoReturn]:
    """What stands for a built-in function that programs do not have."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise CallNotAllowed(f"{name}() is not allowed: {why}")

    return refuse
