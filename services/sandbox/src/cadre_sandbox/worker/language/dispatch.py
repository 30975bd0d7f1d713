"""functools.singledispatch, which in the standard library would evaluate the text of annotations."""

from collections.abc import Callable
from typing import Any

from cadre_sandbox.worker.language.ownership import is_class

__all__ = ["singledispatch", "singledispatchmethod"]


class _Registry:
    def __init__(self, default: Callable[..., Any]) -> None:
        self._calls: dict[type, Callable[..., Any]] = {object: default}

    def register(self, cls: Any, call: Any = None) -> Any:
        """`@f.register(int)`, or `f.register(int, call)`."""
        if not is_class(cls):
            raise TypeError("register() needs a class here: @function.register(int)")
        if call is None:
            return lambda later: self.register(cls, later)
        self._calls[cls] = call
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
