"""Items, where they are, and every limit on what a caller may say about them."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cadre_kit.documents import from_json_text
from cadre_kit.errors import Conflict, InvalidInput, NotFound, Problem
from cadre_memory.domain.entries import Role
from cadre_memory.domain.namespaces import Namespace

LABELS = 16
LABEL_CHARACTERS = 128
KEY_BYTES = 512
VALUE_BYTES = 1024 * 1024
TOGETHER_BYTES = 8 * 1024 * 1024
METADATA_BYTES = 16 * 1024
DEPTH = 100
"""How deep a document may be nested: what is deeper, not everybody can read who is given it."""

TAGS = 64
VERSIONS = 20
"""How many versions of a key can be read: the newest, and those before it."""

MESSAGES_PREFIX = "message/"
"""Begins the keys of messages; nothing else may be stored under such."""
TTL_SECONDS = 100 * 365.25 * 24 * 3600

FIELD = re.compile(
    r"\$|[^.\[\]$\x00-\x1f]+(\[(-?\d+|\*)\])*(\.[^.\[\]\x00-\x1f]+(\[(-?\d+|\*)\])*)*"
)
"""Where a part of a value is."""

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

    def __init__(self, namespace: Namespace, key: str, *, version: int = 0) -> None:
        what = (
            f"version {version} of {key!r} is not kept"
            if version
            else f"nothing is stored under {key!r}"
        )
        super().__init__(
            f"{what} in {'/'.join(namespace)!r}",
            resolution=f"Ask for the newest version, or one of the {VERSIONS - 1} before it."
            if version
            else "Store it first, or list the namespace to see its keys.",
            metadata={"namespace": "/".join(namespace), "key": key},
        )


class VersionConflict(Conflict):
    """What is stored is not the version that the caller expected."""

    code = "VERSION_CONFLICT"

    def __init__(self, key: str, *, expected: int, found: int) -> None:
        super().__init__(
            f"{key!r} has version {found}, not {expected}",
            resolution="Read it again, and store what follows from that; version 0 means that it is not there.",
            metadata={"key": key, "expected": str(expected), "found": str(found)},
        )


@dataclass(frozen=True, kw_only=True)
class Turn:
    """That an item is a message: who said it, when, and as which of its conversation, from 0."""

    position: int
    role: Role
    name: str
    session: str
    time: datetime


@dataclass(frozen=True, kw_only=True)
class Item:
    """A stored value: JSON documents as text, with how often and when it was stored. A message's value is its text.

    `fields` says which parts of the value are searched; None means all of it.
    """

    namespace: Namespace
    key: str
    value: str
    metadata: str
    tags: tuple[str, ...]
    version: int
    created: datetime
    updated: datetime
    expires: datetime | None
    turn: Turn | None
    fields: tuple[str, ...] | None = None


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


def valid_document(text: str, *, field: str) -> object:
    """The document of a JSON text. Raises FieldInvalid for one that is nested too deeply, and NotJson."""
    document = from_json_text(text, field=field)
    if text.count("[") + text.count("{") > DEPTH and _is_deep(document):
        raise FieldInvalid(
            field,
            f"{field} is nested deeper than {DEPTH} levels",
            code="VALUE_TOO_DEEP",
            resolution="Store its parts by themselves, or as text.",
        )
    return document


def _is_deep(document: object) -> bool:
    level = [document]
    for _ in range(DEPTH):
        level = [
            part
            for each in level
            if isinstance(each, dict | list)
            for part in (each.values() if isinstance(each, dict) else each)
        ]
    return any(isinstance(each, dict | list) for each in level)


def valid_together(field: str, values: Iterable[str]) -> None:
    """Refuses values of one call that are too much together. Raises FieldInvalid."""
    if (size := sum(len(value.encode()) for value in values)) > TOGETHER_BYTES:
        raise FieldInvalid(
            field,
            f"{field} has {size} bytes; at most {TOGETHER_BYTES} are allowed together",
            code="REQUEST_TOO_LARGE",
            resolution="Store them in several calls.",
        )


def valid_metadata(text: str) -> str:
    """The JSON text of an object; empty means {}. Raises FieldInvalid and NotJson."""
    if not text:
        return "{}"
    if (size := len(text.encode())) > METADATA_BYTES:
        raise FieldInvalid(
            "metadata",
            f"metadata has {size} bytes; at most {METADATA_BYTES} are allowed",
            code="METADATA_INVALID",
        )
    document = valid_document(text, field="metadata")
    if not isinstance(document, dict):
        raise FieldInvalid("metadata", "metadata must be a JSON object", code="METADATA_INVALID")
    return json.dumps(document, separators=(",", ":"))


def valid_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """The tags, each once, in order. Raises FieldInvalid."""
    if not tags:
        return ()
    if len(tags) > TAGS or any(not 1 <= len(tag) <= LABEL_CHARACTERS for tag in tags):
        raise FieldInvalid(
            "tags",
            f"tags has {len(tags)} entries; up to {TAGS}, of 1 to {LABEL_CHARACTERS} characters, are allowed",
            code="TAGS_INVALID",
        )
    return tuple(sorted(set(tags)))


def valid_fields(fields: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Where what is searched is in a value. Raises FieldInvalid."""
    if fields is None:
        return None
    wrong = [path for path in fields if len(path) > LABEL_CHARACTERS or not FIELD.fullmatch(path)]
    if wrong or len(fields) > TAGS:
        raise FieldInvalid(
            "searched_fields",
            f"searched_fields has {wrong[0]!r}"
            if wrong
            else f"searched_fields has {len(fields)} entries",
            code="SEARCHED_FIELDS_INVALID",
            resolution=f"Give up to {TAGS} such as title, author.name, parts[0].text, parts[*].text or $.",
        )
    return fields


def valid_own_key(key: str) -> str:
    """The key under which a caller may store something. Raises FieldInvalid."""
    if key.startswith(MESSAGES_PREFIX):
        raise FieldInvalid(
            "key",
            f"key begins with {MESSAGES_PREFIX!r}, which is for messages",
            code="KEY_RESERVED",
            resolution="Append messages by AppendMessages, or choose another key.",
        )
    if "\x00" in key:
        # PostgreSQL keeps none, and what one database keeps the others are to take.
        raise FieldInvalid("key", "key has a NUL character; none is allowed", code="KEY_INVALID")
    return valid_key(key)


def message_key(position: int) -> str:
    """The key of a message; keys sort as the messages came."""
    return f"{MESSAGES_PREFIX}{position:010}"


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
