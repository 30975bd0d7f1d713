"""Items, where they are, and every limit on what a caller may say about them."""

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from cadre_kit.errors import InvalidInput, NotFound, Problem

LABELS = 16
LABEL_CHARACTERS = 128
KEY_BYTES = 512
VALUE_BYTES = 1024 * 1024
TTL_SECONDS = 100 * 365.25 * 24 * 3600

Namespace: TypeAlias = tuple[str, ...]

# The stores join labels with one of them; the rest only ever come from a mistake.
_CONTROL = re.compile(r"[\x00-\x1f]")


class FieldInvalid(InvalidInput):
    """A field is outside of its limit; `metadata["field"]` names it."""

    code = "FIELD_INVALID"

    def __init__(self, field: str, message: str, *, code: str, resolution: str = "") -> None:
        super().__init__(
            message,
            code=code,
            resolution=resolution,
            metadata={"field": field},
            problems=[Problem(code=code, message=message, path=field, resolution=resolution)],
        )


class ItemNotFound(NotFound):
    """There is nothing under the key, or it expired."""

    code = "ITEM_NOT_FOUND"

    def __init__(self, namespace: Namespace, key: str) -> None:
        super().__init__(
            f"nothing is stored under {key!r} in {'/'.join(namespace)!r}",
            resolution="Store it first, or list the namespace to see its keys.",
            metadata={"namespace": "/".join(namespace), "key": key},
        )


@dataclass(frozen=True, kw_only=True)
class Item:
    """A stored value: a JSON document as text, with how often and when it was stored."""

    namespace: Namespace
    key: str
    value: str
    version: int
    created: datetime
    updated: datetime
    expires: datetime | None


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of a listing, and whether there is more."""

    items: tuple[Item, ...]
    more: bool


def valid_namespace(labels: tuple[str, ...]) -> Namespace:
    """The labels as a namespace. Raises FieldInvalid."""
    if not 1 <= len(labels) <= LABELS:
        raise _namespace_invalid(f"namespace has {len(labels)} segments; 1 to {LABELS} are allowed")
    for place, label in enumerate(labels):
        if not 1 <= len(label) <= LABEL_CHARACTERS:
            raise _namespace_invalid(
                f"namespace[{place}] has {len(label)} characters; 1 to {LABEL_CHARACTERS} are allowed"
            )
        if _CONTROL.search(label):
            raise _namespace_invalid(f"namespace[{place}] has a control character; none is allowed")
    return labels


def valid_key(key: str) -> str:
    """The key of one item. Raises FieldInvalid."""
    size = len(key.encode())
    if not 1 <= size <= KEY_BYTES:
        raise FieldInvalid(
            "key",
            f"key has {size} bytes; 1 to {KEY_BYTES} are allowed",
            code="KEY_INVALID",
            resolution="Give a shorter key, and keep what is long in the value."
            if size
            else "Give the item a key.",
        )
    return key


def valid_key_prefix(prefix: str) -> str:
    """What keys begin with; may be empty. Raises FieldInvalid."""
    if (size := len(prefix.encode())) > KEY_BYTES:
        raise FieldInvalid(
            "key_prefix",
            f"key_prefix has {size} bytes; at most {KEY_BYTES} are allowed",
            code="KEY_INVALID",
        )
    return prefix


def valid_value(text: str) -> str:
    """The value's JSON text, by size only. Raises FieldInvalid."""
    if (size := len(text.encode())) > VALUE_BYTES:
        raise FieldInvalid(
            "value",
            f"value has {size} bytes; at most {VALUE_BYTES} are allowed",
            code="VALUE_TOO_LARGE",
            resolution="Store it in parts, or store where it is to be found.",
        )
    return text


def expiry(ttl_seconds: float, *, now: datetime) -> datetime | None:
    """When an item stored now stops being there; None for never. Raises FieldInvalid."""
    if not (math.isfinite(ttl_seconds) and 0 <= ttl_seconds <= TTL_SECONDS):
        raise FieldInvalid(
            "ttl_seconds",
            f"ttl_seconds is {ttl_seconds}; 0 (never) to {TTL_SECONDS:.0f} are allowed",
            code="TTL_INVALID",
        )
    return now + timedelta(seconds=ttl_seconds) if ttl_seconds else None


def _namespace_invalid(message: str) -> FieldInvalid:
    return FieldInvalid(
        "namespace",
        message,
        code="NAMESPACE_INVALID",
        resolution='Name a place by a few short segments, such as ["workflow", "triage"].',
    )
