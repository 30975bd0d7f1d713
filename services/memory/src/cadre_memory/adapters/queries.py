"""What the store asks of its tables beside single rows: conditions, pages, and what is removed."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from cadre_memory.adapters.connections import Connection, Rows
from cadre_memory.adapters.paths import path_of, scope_of
from cadre_memory.adapters.rows import item_of, remove
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.items import Item
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import micros

IN_FORCE = "(expires IS NULL OR expires > ?)"


def delete(connection: Connection, namespace: Namespace, key: str, *, now: int) -> bool:
    """Removes an item, and says whether there was one."""
    path = path_of(namespace)
    row = connection.execute(
        "SELECT id, expires FROM item WHERE namespace = ? AND key = ?", (path, key)
    ).fetchone()
    if row is None:
        return False
    remove(connection, row[0], path)
    return row[1] is None or row[1] > now


def earlier(connection: Connection, newest: tuple[object, ...], version: int) -> Item | None:
    """An earlier version of an item, whose row of ITEM's columns is given; it expires when the newest does."""
    row = connection.execute(
        "SELECT v.value, v.metadata, v.tags, v.version, i.created, v.updated"
        " FROM item i JOIN version v ON v.item_id = i.id"
        " WHERE i.namespace = ? AND i.key = ? AND v.version = ?",
        (newest[0], newest[1], version),
    ).fetchone()
    return None if row is None else item_of((*newest[:2], *row, *newest[8:]))


def ids_of(
    connection: Connection,
    namespace: Namespace,
    matching: Filter,
    now: datetime,
    *,
    limit: int = -1,
) -> Iterator[tuple[int, str]]:
    """Ids and paths of what passes a filter; times are told by the database, the rest by the filter itself."""
    conditions = ["namespace >= ?", "namespace < ?", IN_FORCE]
    values: list[object] = [*scope_of(namespace), micros(now)]
    for sign, moment in ((">=", matching.since), ("<", matching.before)):
        if moment is not None:
            conditions.append(f"coalesce(said, updated) {sign} ?")
            values.append(micros(moment))
    value = "value" if matching.needs_value else "''"
    query = (
        f"SELECT id, namespace, tags, metadata, {value} FROM item WHERE {' AND '.join(conditions)}"  # noqa: S608 - values are bound
    )
    found = 0
    for item_id, path, tags, metadata, document in connection.execute(query, values):
        if found == limit:
            return
        if matching.says(tags=json.loads(tags), metadata=metadata, value=document):
            found += 1
            yield item_id, path


def passing(cursor: Rows, matching: Filter) -> Iterator[Item]:
    """The items of rows that pass a filter."""
    return (item for item in map(item_of, cursor) if matching.passes(item))


def holds_something(connection: Connection, path: str, *, now: int) -> bool:
    """Whether a namespace has an item that is there."""
    row = connection.execute(
        f"SELECT 1 FROM item WHERE namespace = ? AND {IN_FORCE} LIMIT 1",  # noqa: S608 - constants
        (path, now),
    ).fetchone()
    return row is not None


def up_to(found: Iterable[Item], *, limit: int, max_bytes: int) -> tuple[list[Item], bool]:
    """The first items, to a limit or until their values fill the bytes, and whether there are more."""
    items: list[Item] = []
    room = max_bytes
    for item in found:
        room -= len(item.value.encode())
        if len(items) == limit or (room < 0 and items):
            return items, True
        items.append(item)
    return items, False
