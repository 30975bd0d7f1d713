"""Memory in Redis: which keys there are, what they hold, and records as they are kept there."""

from __future__ import annotations

import json
from typing import NamedTuple

from cadre_memory.adapters.rows import item_of
from cadre_memory.domain.entries import Entry
from cadre_memory.domain.items import Item, Turn
from cadre_memory.domain.stores import Draft, micros, ttl_micros

_OWN = "cadre:memory:"

SEQUENCE = f"{_OWN}sequence"
"""The number of the newest change, which every write counts up; an item's id is the number of its first one."""
NAMESPACES = f"{_OWN}namespaces"
"""Sorted set of the paths that hold something, by their bytes."""
WHERE = f"{_OWN}where"
"""Hash: for each id the item's path and key."""
EXPIRING = f"{_OWN}expiring"
"""Sorted set of the ids of what expires, by when."""
MODELS = f"{_OWN}models"
"""Set of the models by which something was understood."""
CHANGES = f"{_OWN}changes"
"""Stream of the newest changes: an id and its path each."""
ANSWERS = f"{_OWN}answers"
"""Sorted set of the idempotency keys whose answers are kept, by when they were given."""


def keys_of(path: str) -> str:
    """Sorted set of the keys of a namespace, by their bytes."""
    return f"{_OWN}keys:{path}"


def rows_of(path: str) -> str:
    """Hash: the Row of each key of a namespace."""
    return f"{_OWN}rows:{path}"


def values_of(path: str) -> str:
    """Hash: the value of each key of a namespace."""
    return f"{_OWN}values:{path}"


def ids_of(path: str) -> str:
    """Sorted set of the ids of a namespace, by themselves."""
    return f"{_OWN}ids:{path}"


def entries_of(path: str) -> str:
    """Hash: for each id of a namespace what of it is searched."""
    return f"{_OWN}entries:{path}"


def turns_of(path: str) -> str:
    """Sorted set of the keys of a conversation's messages, by position."""
    return f"{_OWN}turns:{path}"


def versions_of(item_id: int) -> str:
    """Hash of an item's earlier versions: for each number its Row, and under `NUMBER:value` its value."""
    return f"{_OWN}versions:{item_id}"


def meanings_of(item_id: int) -> str:
    """Hash: for each model the digest of the item's text, and its embedding."""
    return f"{_OWN}meanings:{item_id}"


def digests_of(model: str) -> str:
    """Hash: for the digest of a text an item whose text a model understood."""
    return f"{_OWN}digests:{model}"


def understood_by(model: str) -> str:
    """Set of the ids whose entries a model made."""
    return f"{_OWN}understood:{model}"


def answer_to(idempotency_key: str) -> str:
    """What a request was answered, with its digest."""
    return f"{_OWN}answer:{idempotency_key}"


def placed(path: str, key: str) -> str:
    """The path and key of an item as WHERE has them; no path has the character between them."""
    return f"{path}\x00{key}"


def place_of(placed: bytes) -> tuple[str, str]:
    """The path and key of an item."""
    path, _, key = placed.decode().partition("\x00")
    return path, key


class Row(NamedTuple):
    """An item without its value: times in microseconds since 1970, and what is known of it as a message."""

    item_id: int
    version: int
    created: int
    updated: int
    expires: int | None
    ttl: int | None
    metadata: str
    tags: list[str]
    turn: tuple[int, int, str, str, int] | None
    fields: list[str] | None
    model: str

    @classmethod
    def read(cls, text: bytes) -> Row:
        """A row as it is kept."""
        return cls(*json.loads(text))

    def text(self) -> str:
        """The row as it is kept."""
        return json.dumps(self, separators=(",", ":"))

    def in_force(self, now: int) -> bool:
        """Whether it has not expired."""
        return self.expires is None or self.expires > now

    def item(self, path: str, key: str, value: bytes) -> Item:
        """The item."""
        turn = self.turn or (None,) * 5
        times = (self.created, self.updated, self.expires)
        said = (self.metadata, json.dumps(self.tags), self.version)
        fields = None if self.fields is None else json.dumps(self.fields)
        return item_of((path, key, value.decode(), *said, *times, *turn, fields))


def row_of(draft: Draft, *, item_id: int, version: int, created: int, now: int, model: str) -> Row:
    """A draft as it is kept."""
    return Row(
        item_id=item_id,
        version=version,
        created=created,
        updated=now,
        expires=None if draft.expires is None else micros(draft.expires),
        ttl=ttl_micros(draft),
        metadata=draft.metadata,
        tags=list(draft.tags),
        turn=None if draft.turn is None else _kept(draft.turn),
        fields=None if draft.fields is None else list(draft.fields),
        model=model,
    )


def _kept(turn: Turn) -> tuple[int, int, str, str, int]:
    return turn.position, int(turn.role), turn.name, turn.session, micros(turn.time)


def entry_text(entry: Entry, *, expires: int | None, model: str) -> bytes:
    """An entry as it is kept: a line of JSON, the terms, the embedding."""
    head = [expires, *entry[2:10], model, len(entry.terms), entry.embedding is not None]
    line = json.dumps(head, separators=(",", ":")).encode()
    return line + b"\n" + entry.terms + (entry.embedding or b"")


def entry_of(item_id: int, text: bytes, *, model: str) -> Entry:
    """An entry as it was kept; without its embedding when that is another model's."""
    line, _, rest = text.partition(b"\n")
    expires, *about, own_model, terms, meant = json.loads(line)
    embedding = rest[terms:] if meant and own_model == model else None
    return Entry._make((item_id, expires, *about, rest[:terms], embedding))
