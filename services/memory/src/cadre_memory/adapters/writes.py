"""Drafts as rows: what one transaction stores goes to the database in few statements, however much it is."""

import json
from collections.abc import Iterable, Sequence

from cadre_memory.adapters.connections import Connection
from cadre_memory.adapters.paths import path_of
from cadre_memory.adapters.rows import ITEM, forget_changes, remove
from cadre_memory.domain.items import VERSIONS, VersionConflict
from cadre_memory.domain.stores import Draft, micros, ttl_micros

# Rows that one statement stores. While a statement is at work other threads run; between two of them, who writes waits
# for its turn among those that convert what comes next.
_TOGETHER = 50

_ITEM = f"id, {ITEM}, ttl"
_ENTRY = (
    "namespace, item_id, expires, said, thread, position, speaker, role, signs, first_day, last_day, model, terms,"
    " embedding"
)
_REPLACE_ENTRY = " ON CONFLICT (namespace, item_id) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in _ENTRY.split(", ")[2:]
)

Row = tuple[object, ...]
Known = tuple[int, int, int, int | None]
"""Id, version, created and expires of an item."""


class Writes:
    """Stores drafts within the transaction of a connection: new items wait for `store`, so that many go together. What
    is there already is looked up at the beginning, for all drafts at once."""

    def __init__(self, connection: Connection, drafts: Sequence[Draft], *, model: str) -> None:
        self._connection = connection
        self._model = model
        self._known = _known(connection, [(path_of(d.namespace), d.key) for d in drafts])
        self._ids = iter(connection.new_ids(len(drafts)))
        self._items: list[Row] = []
        self._entries: dict[int, Row] = {}

    def write(self, draft: Draft, *, now: int) -> list[int | None]:
        """Has a draft stored, and answers version, created, updated and expires. Raises VersionConflict."""
        path = path_of(draft.namespace)
        known = self._in_force(path, draft.key, now=now)
        found = 0 if known is None else known[1]
        if draft.if_version is not None and draft.if_version != found:
            raise VersionConflict(draft.key, expected=draft.if_version, found=found)
        expires = None if draft.expires is None else micros(draft.expires)
        if known is None:
            item_id, version, created = next(self._ids), 1, now
            self._items.append(_item_row(draft, item_id, path, expires=expires, now=now))
        else:
            item_id, version, created = known[0], known[1] + 1, known[2]
            if item_id in self._entries:
                self.store()
            _update(self._connection, draft, item_id, version=version, expires=expires, now=now)
        self._known[path, draft.key] = (item_id, version, created, expires)
        own = draft.entry
        self._entries[item_id] = (
            path, item_id, expires, *own[2:10], self._model, own.terms, own.embedding
        )  # fmt: skip
        return [version, created, now, expires]

    def removed(self, path: str, key: str) -> None:
        """Says that something was removed, after `store`."""
        self._known.pop((path, key), None)

    def store(self) -> None:
        """Stores all that is pending; before anything is removed, and at the end."""
        if not self._entries:
            return
        _insert(self._connection, "item", _ITEM, self._items)
        entries = list(self._entries.values())
        _insert(self._connection, "entry", _ENTRY, entries, _REPLACE_ENTRY)
        _insert(self._connection, "change", "namespace, item_id", [row[:2] for row in entries])
        forget_changes(self._connection, added=len(entries))
        self._items.clear()
        self._entries.clear()

    def _in_force(self, path: str, key: str, *, now: int) -> Known | None:
        """What is there; what expired is removed first."""
        known = self._known.get((path, key))
        if known is None or known[3] is None or known[3] > now:
            return known
        self.store()
        remove(self._connection, known[0], path)
        return None


def _known(
    connection: Connection, places: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Known]:
    found: dict[tuple[str, str], Known] = {}
    for together in _parts(places):
        marks = ", ".join(["(?, ?)"] * len(together))
        # SQLite goes through all of the items for an IN of several pairs, and through the index for this.
        rows = connection.execute(
            "SELECT namespace, key, id, version, created, expires"  # noqa: S608 - marks only
            f" FROM (VALUES {marks}) place JOIN item ON namespace = column1 AND key = column2",
            [part for place in together for part in place],
        )
        found |= {(row[0], row[1]): row[2:] for row in rows}
    return found


def _parts(rows: Sequence[tuple[str, str]]) -> Iterable[Sequence[tuple[str, str]]]:
    # Of two sizes only, so that statements are prepared once.
    whole = len(rows) - len(rows) % _TOGETHER
    yield from (rows[start : start + _TOGETHER] for start in range(0, whole, _TOGETHER))
    yield from ([row] for row in rows[whole:])


def _insert(
    connection: Connection, table: str, columns: str, rows: Sequence[Row], end: str = ""
) -> None:
    start = f"INSERT INTO {table} ({columns}) VALUES "  # noqa: S608 - names of this module
    mark = f"({', '.join('?' * len(columns.split(', ')))})"
    whole = len(rows) - len(rows) % _TOGETHER
    if whole:
        connection.executemany(
            start + ", ".join([mark] * _TOGETHER) + end,
            [
                [value for row in rows[first : first + _TOGETHER] for value in row]
                for first in range(0, whole, _TOGETHER)
            ],
        )
    if whole < len(rows):
        connection.executemany(start + mark + end, rows[whole:])


def _item_row(draft: Draft, item_id: int, path: str, *, expires: int | None, now: int) -> Row:
    turn = draft.turn
    said: Row = (
        (None,) * 5
        if turn is None
        else (turn.position, int(turn.role), turn.name, turn.session, micros(turn.time))
    )
    return (
        item_id,
        path,
        draft.key,
        draft.value,
        draft.metadata,
        json.dumps(draft.tags) if draft.tags else "[]",
        1,
        now,
        now,
        expires,
        *said,
        _fields_of(draft),
        ttl_micros(draft),
    )


def _update(
    connection: Connection,
    draft: Draft,
    item_id: int,
    *,
    version: int,
    expires: int | None,
    now: int,
) -> None:
    connection.execute(
        "INSERT INTO version SELECT id, version, value, metadata, tags, updated FROM item WHERE id = ?",
        (item_id,),
    )
    connection.execute(
        "DELETE FROM version WHERE item_id = ? AND version <= ?", (item_id, version - VERSIONS)
    )
    connection.execute(
        "UPDATE item SET value = ?, metadata = ?, tags = ?, version = ?, updated = ?, expires = ?, fields = ?,"
        " ttl = ? WHERE id = ?",
        (
            draft.value,
            draft.metadata,
            json.dumps(draft.tags),
            version,
            now,
            expires,
            _fields_of(draft),
            ttl_micros(draft),
            item_id,
        ),
    )


def _fields_of(draft: Draft) -> str | None:
    return None if draft.fields is None else json.dumps(draft.fields)
