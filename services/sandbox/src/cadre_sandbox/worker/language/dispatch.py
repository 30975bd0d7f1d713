"""functools.singledispatch, which in the standard library would evaluate the text of annotations."""

import types
import typing
from collections.abc import Callable
from typing import Any

from cadre_sandbox.worker.language.ownership import is_class, is_own

__all__ = ["singledispatch", "singledispatchmethod"]


def _first_hint(call: Any) -> Any:
    """The type hint of the first argument that has one. Of those that are text only names are looked up."""
    hint = next(iter(call.__annotations__.values()), None)
    if type(hint) is not str:
        return hint
    return call.__globals__.get(hint, call.__globals__["__builtins__"].get(hint))


class _Registry:
    def __init__(self, default: Callable[..., Any]) -> None:
        self._calls: dict[type, Callable[..., Any]] = {object: default}

    def register(self, cls: Any, call: Any = None) -> Any:
        """`@f.register(int)`, `f.register(int, call)`, or `@f.register` before a function with a type hint."""
        if call is None and type(cls) is types.FunctionType and is_own(cls):
            return self.register(_first_hint(cls), cls)
        is_union = typing.get_origin(cls) in (typing.Union, types.UnionType)
        classes = typing.get_args(cls) if is_union else (cls,)
        if not all(is_class(one) for one in classes):
            raise TypeError("register() needs a class: @function.register(int)")
        if call is None:
            return lambda later: self.register(cls, later)
        self._calls |= dict.fromkeys(classes, call)
        return call

    def dispatch(self, cls: type) -> Callable[..., Any]:
        """What is called for the class: the nearest by inheritance, then an abstract class that it belongs to."""
        for parent in type.mro(cls)[:-1]:
            if parent in self._calls:
                return self._calls[parent]
        abstract = [
            known for known in self._calls if known is not object and issubclass(cls, known)
        ]
        return self._calls[abstract[-1] if abstract else object]


class singledispatch:
    """A function that is chosen by the class of its first argument."""

    def __init__(self, default: Callable[..., Any]) -> None:
        self.__registry = _Registry(default)
        self.__name__ = getattr(default, "__name__", "")

    def register(self, cls: Any, call: Any = None) -> Any:
        """Adds a function for a class."""
        return self.__registry.register(cls, call)

    def dispatch(self, cls: type) -> Callable[..., Any]:
        """What is called for a class."""
        return self.__registry.dispatch(cls)

    def __call__(self, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.__registry.dispatch(type(value))(value, *args, **kwargs)


class singledispatchmethod:
    """A method that is chosen by the class of its first argument."""

    def __init__(self, default: Callable[..., Any]) -> None:
        self.__registry = _Registry(default)

    def register(self, cls: Any, call: Any = None) -> Any:
        """Adds a method for a class."""
        return self.__registry.register(cls, call)

    def __get__(self, instance: Any, owner: Any = None) -> Callable[..., Any]:
        return lambda value, /, *args, **kwargs: self.__registry.dispatch(type(value))(
            instance, value, *args, **kwargs
        )
