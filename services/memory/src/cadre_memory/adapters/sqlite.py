"""Memory in one SQLite file: rows by key, their words in FTS5, their vectors beside them."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from cadre_memory.adapters.lanes import Lane
from cadre_memory.adapters.vectors import Vectors, stored
from cadre_memory.domain.items import Item, Namespace, Page
from cadre_memory.domain.ranking import Candidate
from cadre_memory.domain.stores import Draft, IdempotencyKeyReused, Once, Question

_SEPARATOR = "\x1f"
_AFTER_SEPARATOR = "\x20"
_CHANGES_KEPT = 10_000
_ANSWERS_KEPT = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_CHARACTER = "\U0010ffff"

_Row = tuple[str, str, str, int, int, int, int | None]


class SqliteStore:
    """A Store. One thread writes; some read, and others search, so that a long search holds up no read."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, vector_bytes: int) -> None:
        self._writes = Lane("writes", threads=1, connect=connect)
        self._reads = Lane("reads", threads=2, connect=connect)
        self._searches = Lane("searches", threads=2, connect=connect)
        self._vectors = Vectors(held_bytes=vector_bytes)

    @property
    def vector_bytes_held(self) -> int:
        """Memory that copies of vectors take."""
        return self._vectors.bytes_held

    async def close(self) -> None:
        """Ends what is under way, and closes the file."""
        for lane in (self._writes, self._reads, self._searches):
            await lane.close()

    async def put(self, draft: Draft, *, now: datetime, once: Once | None) -> Item:
        """As Store says."""

        def job(connection: sqlite3.Connection) -> Item:
            with _writing(connection):
                answer = _answer_of(connection, once)
                if answer is None:
                    answer = write(connection, draft, now=_micros(now))
                    _remember(connection, once, answer, now=_micros(now))
            return _stored_item(draft, answer)

        return await self._writes.run(job)

    async def get(self, namespace: Namespace, key: str, *, now: datetime) -> Item | None:
        """As Store says."""

        def job(connection: sqlite3.Connection) -> Item | None:
            row = connection.execute(
                "SELECT namespace, key, value, version, created, updated, expires FROM item"
                " WHERE namespace = ? AND key = ? AND (expires IS NULL OR expires > ?)",
                (_path(namespace), key, _micros(now)),
            ).fetchone()
            return _item(row) if row else None

        return await self._reads.run(job)

    async def delete(
        self, namespace: Namespace, key: str, *, now: datetime, once: Once | None
    ) -> bool:
        """As Store says."""

        def job(connection: sqlite3.Connection) -> bool:
            with _writing(connection):
                answer = _answer_of(connection, once)
                if answer is None:
                    answer = [_delete(connection, namespace, key, now=_micros(now))]
                    _remember(connection, once, answer, now=_micros(now))
            return bool(answer[0])

        return await self._writes.run(job)

    async def page(
        self,
        namespace: Namespace,
        *,
        key_prefix: str,
        after: str,
        limit: int,
        max_bytes: int,
        now: datetime,
    ) -> Page:
        """As Store says."""

        def job(connection: sqlite3.Connection) -> Page:
            first, beyond = key_prefix, _after_prefix(key_prefix)
            cursor = connection.execute(
                "SELECT namespace, key, value, version, created, updated, expires FROM item"
                " WHERE namespace = ? AND key >= ? AND key > ? AND (? IS NULL OR key < ?)"
                " AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?",
                (_path(namespace), first, after, beyond, beyond, _micros(now), limit + 1),
            )
            items, more = _up_to(cursor, limit=limit, max_bytes=max_bytes)
            cursor.close()
            return Page(items=tuple(items), more=more)

        return await self._reads.run(job)

    async def candidates(self, question: Question, *, now: datetime) -> Sequence[Candidate]:
        """As Store says."""
        scope = _scope(question.namespace)
        at = _micros(now)

        def job(connection: sqlite3.Connection) -> list[Candidate]:
            if question.vector is None:
                return _joined(_by_words(connection, question, now=at), {})
            with self._vectors.reserved(scope) as vectors, _reading(connection):
                by_words = _by_words(connection, question, now=at)
                cosines = vectors.cosines(
                    connection, question.vector, also=by_words, limit=question.limit, now=at
                )
            return _joined(by_words, cosines)

        return await self._searches.run(job)

    async def items(self, ids: Sequence[int], *, max_bytes: int, now: datetime) -> dict[int, Item]:
        """As Store says."""

        def job(connection: sqlite3.Connection) -> dict[int, Item]:
            found: dict[int, Item] = {}
            room = max_bytes
            for item_id in ids:
                row = connection.execute(
                    "SELECT namespace, key, value, version, created, updated, expires FROM item"
                    " WHERE id = ? AND (expires IS NULL OR expires > ?)",
                    (item_id, _micros(now)),
                ).fetchone()
                if row is None:
                    continue
                room -= len(row[2].encode())
                if room < 0 and found:
                    break
                found[item_id] = _item(row)
            return found

        return await self._searches.run(job)

    async def sweep(self, *, now: datetime, answers_before: datetime, limit: int) -> int:
        """As Store says."""

        def job(connection: sqlite3.Connection) -> int:
            with _writing(connection):
                expired = connection.execute(
                    "SELECT id, namespace FROM item WHERE expires <= ? LIMIT ?",
                    (_micros(now), limit),
                ).fetchall()
                for item_id, path in expired:
                    _remove(connection, item_id, path)
                _forget_answers(connection, before=_micros(answers_before))
            return len(expired)

        return await self._writes.run(job)


def write(connection: sqlite3.Connection, draft: Draft, *, now: int) -> list[int | None]:
    """Stores a draft in the transaction under way, and answers version, created, updated and expires."""
    path, expires = _path(draft.namespace), _micros_or_none(draft.expires)
    row = connection.execute(
        "SELECT id, version, created, expires FROM item WHERE namespace = ? AND key = ?",
        (path, draft.key),
    ).fetchone()
    if row is not None and row[3] is not None and row[3] <= now:
        _remove(connection, row[0], path)
        row = None
    if row is None:
        version, created = 1, now
        cursor = connection.execute(
            "INSERT INTO item (namespace, key, value, version, created, updated, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (path, draft.key, draft.value, version, created, now, expires),
        )
        item_id = cursor.lastrowid
    else:
        item_id, version, created = row[0], row[1] + 1, row[2]
        connection.execute(
            "UPDATE item SET value = ?, version = ?, updated = ?, expires = ? WHERE id = ?",
            (draft.value, version, now, expires, item_id),
        )
        _unindex(connection, item_id, path)
    _index(connection, item_id, path, draft, expires=expires)
    return [version, created, now, expires]


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    with _ending(connection):
        yield


@contextmanager
def _reading(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    with _ending(connection):
        yield


@contextmanager
def _ending(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
        connection.execute("COMMIT")
    finally:
        # Some failures, a full disk among them, end the transaction by themselves.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _index(
    connection: sqlite3.Connection,
    item_id: int | None,
    path: str,
    draft: Draft,
    *,
    expires: int | None,
) -> None:
    connection.execute(
        "INSERT INTO word (rowid, scopes, key, body) VALUES (?, ?, ?, ?)",
        (item_id, _scope_words(draft.namespace), draft.key, draft.text),
    )
    if draft.vector is not None:
        connection.execute(
            "INSERT INTO vector (namespace, item_id, expires, embedding) VALUES (?, ?, ?, ?)",
            (path, item_id, expires, stored(draft.vector)),
        )
    _log_change(connection, item_id, path)


def _unindex(connection: sqlite3.Connection, item_id: int, path: str) -> None:
    connection.execute("DELETE FROM word WHERE rowid = ?", (item_id,))
    connection.execute("DELETE FROM vector WHERE namespace = ? AND item_id = ?", (path, item_id))


def _delete(connection: sqlite3.Connection, namespace: Namespace, key: str, *, now: int) -> bool:
    path = _path(namespace)
    row = connection.execute(
        "SELECT id, expires FROM item WHERE namespace = ? AND key = ?", (path, key)
    ).fetchone()
    if row is None:
        return False
    _remove(connection, row[0], path)
    return row[1] is None or row[1] > now


def _remove(connection: sqlite3.Connection, item_id: int, path: str) -> None:
    connection.execute("DELETE FROM item WHERE id = ?", (item_id,))
    _unindex(connection, item_id, path)
    _log_change(connection, item_id, path)


def _log_change(connection: sqlite3.Connection, item_id: int | None, path: str) -> None:
    cursor = connection.execute(
        "INSERT INTO change (item_id, namespace) VALUES (?, ?)", (item_id, path)
    )
    sequence = cursor.lastrowid or 0
    if sequence % 1_000 == 0:
        connection.execute("DELETE FROM change WHERE sequence <= ?", (sequence - _CHANGES_KEPT,))


def _answer_of(connection: sqlite3.Connection, once: Once | None) -> list[int | None] | None:
    """What the same request was answered before; None when it is new."""
    if once is None:
        return None
    row = connection.execute(
        "SELECT digest, content FROM answer WHERE idempotency_key = ?", (once.key,)
    ).fetchone()
    if row is None:
        return None
    if row[0] != once.digest:
        raise IdempotencyKeyReused(once.key)
    answer: list[int | None] = json.loads(row[1])
    return answer


def _remember(
    connection: sqlite3.Connection, once: Once | None, answer: Sequence[int | None], *, now: int
) -> None:
    if once is not None:
        connection.execute(
            "INSERT INTO answer (idempotency_key, digest, content, made) VALUES (?, ?, ?, ?)",
            (once.key, once.digest, json.dumps(answer), now),
        )


def _forget_answers(connection: sqlite3.Connection, *, before: int) -> None:
    connection.execute("DELETE FROM answer WHERE made < ?", (before,))
    connection.execute(
        "DELETE FROM answer WHERE id <= (SELECT max(id) - ? FROM answer)", (_ANSWERS_KEPT,)
    )


def _by_words(connection: sqlite3.Connection, question: Question, *, now: int) -> dict[int, float]:
    """The items with the best BM25, those that expired or are elsewhere left out."""
    if not question.words:
        return {}
    # Each word in quotes is a text to FTS5, whatever it says.
    words = " OR ".join(f'"{word}"' for word in question.words)
    match = f"scopes : {_scope_word(question.namespace)} AND {{key body}} : ({words})"
    limit = question.limit
    while True:
        rows = connection.execute(
            "SELECT w.rowid, w.rank, i.id IS NOT NULL FROM"
            " (SELECT rowid, rank FROM word WHERE word MATCH ? ORDER BY rank LIMIT ?) w"
            " LEFT JOIN item i ON i.id = w.rowid AND i.namespace >= ? AND i.namespace < ?"
            " AND (i.expires IS NULL OR i.expires > ?)",
            (match, limit, *_scope(question.namespace), now),
        ).fetchall()
        there = {item_id: -rank for item_id, rank, is_there in rows if is_there}
        if len(rows) < limit or len(there) >= question.limit:
            return dict(list(there.items())[: question.limit])
        limit *= 4


def _joined(by_words: dict[int, float], cosines: dict[int, float]) -> list[Candidate]:
    return [
        Candidate(item_id=each, bm25=by_words.get(each, 0.0), cosine=cosines.get(each, 0.0))
        for each in by_words.keys() | cosines.keys()
    ]


def _up_to(cursor: sqlite3.Cursor, *, limit: int, max_bytes: int) -> tuple[list[Item], bool]:
    items: list[Item] = []
    room = max_bytes
    for row in cursor:
        room -= len(row[2].encode())
        if len(items) == limit or (room < 0 and items):
            return items, True
        items.append(_item(row))
    return items, False


def _item(row: _Row) -> Item:
    path, key, value, version, created, updated, expires = row
    return Item(
        namespace=tuple(path.split(_SEPARATOR)[:-1]),
        key=key,
        value=value,
        version=version,
        created=_time(created),
        updated=_time(updated),
        expires=None if expires is None else _time(expires),
    )


def _stored_item(draft: Draft, answer: Sequence[int | None]) -> Item:
    version, created, updated, expires = answer
    return _item(
        (
            _path(draft.namespace),
            draft.key,
            draft.value,
            version or 0,
            created or 0,
            updated or 0,
            expires,
        )
    )


def _path(namespace: Namespace) -> str:
    # The separator ends each label, so that what lies below ["a", "b"] never begins like what lies below ["a", "bc"].
    return _SEPARATOR.join((*namespace, ""))


def _scope(namespace: Namespace) -> tuple[str, str]:
    """The texts that a namespace and all below it are at or after, and before."""
    path = _path(namespace)
    return path, path[:-1] + _AFTER_SEPARATOR


def _scope_words(namespace: Namespace) -> str:
    """A word for a namespace and for each above it, so that FTS5 itself keeps to one of them."""
    return " ".join(_scope_word(namespace[:depth]) for depth in range(1, len(namespace) + 1))


def _scope_word(namespace: Namespace) -> str:
    # All digits: the stemmer leaves them alone, and the query's syntax takes them as they are.
    digest = hashlib.blake2b(_path(namespace).encode(), digest_size=16).digest()
    return str(int.from_bytes(digest, "big"))


def _after_prefix(prefix: str) -> str | None:
    """The least text after all that begin with a prefix; None when there is none."""
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # SQLite compares UTF-8, which has no surrogates.
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _micros_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else _micros(moment)


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
