"""Namespaces as single texts, in an order in which all that is below one is a range."""

from cadre_memory.domain.items import LABEL_CHARACTERS
from cadre_memory.domain.namespaces import Namespace

_SEPARATOR = "\x1f"
_AFTER_SEPARATOR = "\x20"
_LAST_CHARACTER = "\U0010ffff"


def path_of(namespace: Namespace) -> str:
    """The text of a namespace: its labels, each ended by U+001F."""
    # The separator ends each label, so that what lies below ["a", "b"] never begins like what lies below ["a", "bc"].
    return _SEPARATOR.join((*namespace, ""))


def namespace_of(path: str) -> Namespace:
    """The namespace of a text."""
    return tuple(path.split(_SEPARATOR)[:-1])


def scope_of(namespace: Namespace) -> tuple[str, str]:
    """The texts that a namespace and all below it are at or after, and before; () is above all."""
    if not namespace:
        return "", _LAST_CHARACTER * (LABEL_CHARACTERS + 1)
    path = path_of(namespace)
    return path, path[:-1] + _AFTER_SEPARATOR


def after_prefix(prefix: str) -> str | None:
    """The least text after all that begin with a prefix; None when there is none."""
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # SQLite compares UTF-8, which has no surrogates.
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)
