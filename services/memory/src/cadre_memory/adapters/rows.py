"""Items and entries as rows: read, removed and understood anew, within a transaction under way."""

import json
from collections.abc import Sequence

from cadre_memory.adapters.connections import Connection
from cadre_memory.adapters.paths import namespace_of, path_of
from cadre_memory.domain.entries import Role
from cadre_memory.domain.items import Item, Turn
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import (
    Change,
    Draft,
    IdempotencyKeyReused,
    Once,
    Refreshed,
    Removal,
    moment_of,
)

ITEM = (
    "namespace, key, value, metadata, tags, version, created, updated, expires,"
    " position, role, name, session, said, fields"
)
ENTRY = (
    "item_id, expires, said, thread, position, speaker, role, signs, first_day, last_day, terms,"
    " CASE WHEN model = ? THEN embedding END"
)
_CHANGES_KEPT = 10_000
_ANSWERS_KEPT = 100_000


def item_of(row: Sequence[object]) -> Item:
    """The item of a row of ITEM's columns."""
    path, key, value, metadata, tags, version, created, updated, expires, *turn, fields = row
    return Item(
        namespace=namespace_of(str(path)),
        key=str(key),
        value=str(value),
        metadata=str(metadata),
        tags=tuple(json.loads(str(tags))),
        version=_number(version),
        created=moment_of(_number(created)),
        updated=moment_of(_number(updated)),
        expires=None if expires is None else moment_of(_number(expires)),
        turn=None if turn[0] is None else _turn(turn),
        fields=None if fields is None else tuple(json.loads(str(fields))),
    )


def answered(change: Change, answer: Sequence[int | None]) -> Item | bool:
    """What a change came to, by its numbers: a removal's says whether there was something, `write` says a draft's."""
    match change:
        case Draft():
            return _stored_item(change, answer)
        case Removal():
            return bool(answer[0])


def _stored_item(draft: Draft, answer: Sequence[int | None]) -> Item:
    version, created, updated, expires = answer
    return Item(
        namespace=draft.namespace,
        key=draft.key,
        value=draft.value,
        metadata=draft.metadata,
        tags=draft.tags,
        version=version or 0,
        created=moment_of(created or 0),
        updated=moment_of(updated or 0),
        expires=None if expires is None else moment_of(expires),
        turn=draft.turn,
        fields=draft.fields,
    )


def _turn(columns: Sequence[object]) -> Turn:
    position, role, name, session, said = columns
    return Turn(
        position=_number(position),
        role=Role(_number(role)),
        name=str(name),
        session=str(session),
        time=moment_of(_number(said)),
    )


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def remove(connection: Connection, item_id: int, path: str) -> None:
    """Really removes an item: its row, its versions, and what of it is searched."""
    connection.execute("DELETE FROM item WHERE id = ?", (item_id,))
    connection.execute("DELETE FROM meaning WHERE item_id = ?", (item_id,))
    connection.execute("DELETE FROM version WHERE item_id = ?", (item_id,))
    connection.execute("DELETE FROM entry WHERE namespace = ? AND item_id = ?", (path, item_id))
    log_change(connection, item_id, path)


def refresh(connection: Connection, refreshed: Refreshed, *, model: str) -> None:
    """Puts an entry in the place of a stale one, unless the item changed since."""
    stale, entry = refreshed.stale, refreshed.entry
    path = path_of(stale.item.namespace)
    updated = connection.execute(
        "UPDATE entry SET said = ?, thread = ?, position = ?, speaker = ?, role = ?, signs = ?,"
        " first_day = ?, last_day = ?, model = ?, terms = ?, embedding = ?"
        " WHERE namespace = ? AND item_id = ?"
        " AND ? = (SELECT version FROM item WHERE id = ?) RETURNING item_id",
        (
            *entry[2:10],
            model,
            entry.terms,
            entry.embedding,
            path,
            stale.item_id,
            stale.item.version,
            stale.item_id,
        ),
    ).fetchone()
    if updated is not None:
        log_change(connection, stale.item_id, path)
        _keep_meaning(connection, refreshed, model=model)


def _keep_meaning(connection: Connection, refreshed: Refreshed, *, model: str) -> None:
    if not refreshed.digest or refreshed.entry.embedding is None:
        return
    item_id = refreshed.stale.item_id
    # Those of its earlier texts too, by whatever model.
    connection.execute(
        "DELETE FROM meaning WHERE item_id = ? AND (model = ? OR digest <> ?)",
        (item_id, model, refreshed.digest),
    )
    connection.execute(
        "INSERT INTO meaning VALUES (?, ?, ?, ?)",
        (item_id, model, refreshed.digest, refreshed.entry.embedding),
    )


def touch(connection: Connection, path: str, key: str, *, now: int) -> None:
    """Begins the time anew that an item is there for."""
    row = connection.execute(
        "UPDATE item SET expires = ? + ttl WHERE namespace = ? AND key = ? AND expires > ?"
        " AND ttl IS NOT NULL RETURNING id, expires",
        (now, path, key, now),
    ).fetchone()
    if row is not None:
        connection.execute(
            "UPDATE entry SET expires = ? WHERE namespace = ? AND item_id = ?",
            (row[1], path, row[0]),
        )
        log_change(connection, row[0], path)


def log_change(connection: Connection, item_id: int, path: str) -> None:
    """Tells whoever holds copies that an item changed."""
    connection.execute("INSERT INTO change (item_id, namespace) VALUES (?, ?)", (item_id, path))
    forget_changes(connection, added=1)


def forget_changes(connection: Connection, *, added: int) -> None:
    """Drops the oldest of the log now and then, after so many were added to it."""
    (last,) = connection.execute("SELECT max(sequence) FROM change").fetchone()
    if last // 1_000 > (last - added) // 1_000:
        connection.execute("DELETE FROM change WHERE sequence <= ?", (last - _CHANGES_KEPT,))


def last_turn(connection: Connection, namespace: Namespace) -> Turn | None:
    """The newest message of a conversation, also when it expired."""
    row = connection.execute(
        "SELECT position, role, name, session, said FROM item"
        " WHERE namespace = ? AND position IS NOT NULL ORDER BY position DESC LIMIT 1",
        (path_of(namespace),),
    ).fetchone()
    return None if row is None else _turn(row)


def answer_of(connection: Connection, once: Once | None) -> list[list[int | None]] | None:
    """What the same request was answered before; None when it is new. Raises IdempotencyKeyReused."""
    if once is None:
        return None
    row = connection.execute(
        "SELECT digest, content FROM answer WHERE idempotency_key = ?", (once.key,)
    ).fetchone()
    if row is None:
        return None
    if row[0] != once.digest:
        raise IdempotencyKeyReused(once.key)
    answer: list[list[int | None]] = json.loads(row[1])
    return answer


def remember(
    connection: Connection, once: Once | None, answer: Sequence[object], *, now: int
) -> None:
    """Keeps an answer for repeats of its request."""
    if once is not None:
        connection.execute(
            "INSERT INTO answer (idempotency_key, digest, content, made) VALUES (?, ?, ?, ?)",
            (once.key, once.digest, json.dumps(answer), now),
        )


def forget_answers(connection: Connection, *, before: int) -> None:
    """Drops answers that are too old, or too many."""
    connection.execute("DELETE FROM answer WHERE made < ?", (before,))
    connection.execute(
        "DELETE FROM answer WHERE id <= (SELECT max(id) - ? FROM answer)", (_ANSWERS_KEPT,)
    )
