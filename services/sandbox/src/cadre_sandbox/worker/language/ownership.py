"""What is the program's own and what is the platform's, and the errors of what a program may not do."""

import types
from typing import Any

__all__ = [
    "AttributeNotAllowed",
    "CallNotAllowed",
    "ImportNotAllowed",
    "NotAllowed",
    "is_class",
    "is_own",
    "know_classes",
]


class NotAllowed(Exception):
    """What a program may not do. A program can catch it, as it could the error of a machine that lacks the thing."""


class AttributeNotAllowed(NotAllowed, AttributeError):
    """An attribute that programs may not reach."""


class CallNotAllowed(NotAllowed, PermissionError):
    """A call that programs may not make."""


class ImportNotAllowed(NotAllowed, ImportError):
    """A module that programs may not have."""


_known: set[int] = set()


def know_classes() -> None:
    """Takes every class that there is now for the platform's. All that come later are the program's own."""
    found: list[type] = [object]
    while found:
        cls = found.pop()
        if id(cls) not in _known:
            _known.add(id(cls))
            found.extend(type.__subclasses__(cls))


def is_class(value: object) -> bool:
    """Whether it is a class, whatever it says of itself."""
    return issubclass(type(value), type)


def is_own(value: Any) -> bool:
    """Whether it is a class of the program, an instance of one, or a function of the program."""
    cls = type(value)
    if cls is types.FunctionType:
        return value.__globals__.get("<program>") is True
    return id(value if issubclass(cls, type) else cls) not in _known
