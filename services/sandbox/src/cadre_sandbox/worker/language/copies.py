"""copy for programs: Python's own, which asks no object's variables how it is rebuilt, and hands out no notes."""

import copy
import functools
from typing import Any

from cadre_sandbox.worker.language.ownership import CallNotAllowed, is_own

__all__ = ["close_copy", "deepcopy"]

_deepcopy = copy.deepcopy


class Memo:
    """What `__deepcopy__` is given: the notes of a copy, of which a program sees what is its own."""

    # A name that programs may not read, not even of their own objects.
    __slots__ = ("__notes__",)
    __notes__: dict[int, Any]

    def __new__(cls, *_: Any) -> "Memo":
        raise CallNotAllowed("a memo is what __deepcopy__ is given")

    def __contains__(self, key: int) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: int) -> Any:
        if (found := self.get(key)) is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: int, value: Any) -> None:
        # There Python keeps what it copies, by the `append` of what it finds.
        if type(key) is not int or key == id(self.__notes__):
            raise CallNotAllowed("a memo notes copies by the id() of what they are of")
        self.__notes__[key] = value

    def get(self, key: int, default: Any = None) -> Any:
        """As that of a dict."""
        found = self.__notes__.get(key)
        return found if is_own(found) else default


def deepcopy(value: Any, memo: Any = None) -> Any:
    """copy.deepcopy()."""
    return _deepcopy(value, memo.__notes__ if type(memo) is Memo else None)


def close_copy() -> None:
    """copy asks an object how it is rebuilt, and a program can put an answer among the variables of some."""
    # The module's own name goes before the built-in one.
    copy.getattr = _ask  # type: ignore[attr-defined]


def _ask(value: Any, name: str, default: Any = None) -> Any:
    if name == "__reduce_ex__":
        return _rebuilt if isinstance(value, type) else functools.partial(_rebuilt, value)
    found = getattr(value, name, default)
    if name == "__deepcopy__" and found is not None and is_own(value):
        return lambda notes: found(_memo_of(notes))
    return found


def _memo_of(notes: dict[int, Any]) -> Memo:
    memo: Memo = object.__new__(Memo)
    memo.__notes__ = notes
    return memo


def _rebuilt(value: Any, protocol: int) -> Any:
    for name in ("__reduce_ex__", "__reduce__", "__getstate__"):
        if name in getattr(value, "__dict__", ()):
            raise CallNotAllowed(f"an object with the variable {name!r} may not be copied")
    return type(value).__reduce_ex__(value, protocol)  # type: ignore[call-arg]  # unbound
