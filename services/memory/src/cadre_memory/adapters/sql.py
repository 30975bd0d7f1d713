"""Memory in SQLite or PostgreSQL: rows by key and by conversation, and what of them is searched beside them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice

from cadre_kit.databases import BUSY_SECONDS, DatabaseFull, DatabaseLocked
from cadre_kit.errors import CadreError
from cadre_memory.adapters.connections import Connection
from cadre_memory.adapters.lanes import Answer, Lane, Shortcut
from cadre_memory.adapters.paths import after_prefix, namespace_of, path_of, scope_of
from cadre_memory.adapters.queries import (
    IN_FORCE,
    delete,
    earlier,
    holds_something,
    ids_of,
    passing,
    up_to,
)
from cadre_memory.adapters.rows import (
    ENTRY,
    ITEM,
    answer_of,
    answered,
    forget_answers,
    item_of,
    last_turn,
    refresh,
    remember,
    remove,
    touch,
)
from cadre_memory.adapters.writes import Writes
from cadre_memory.domain.entries import Entry
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.items import Item, Page, Turn
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import (
    Change,
    Changes,
    Draft,
    Once,
    Refreshed,
    Removal,
    Stale,
    micros,
)

Job = Callable[[Connection], Answer]

_SHORT_CHARACTERS = 4_096
_SHORT_ITEMS = 16
_CHECKPOINT_WRITES = 128
"""Short writes between checkpoints: some 1,000 pages, as many as SQLite itself lets gather."""

_EMPTYING_MS = 500
"""How long the log waits for those who read it before it is emptied; meanwhile nobody writes."""


class SqlStore:
    """A Store. One thread writes; some read, and others search, so that a long search holds up no read.

    What is stored was understood by `model`, unless `understood` says that it will be later. `at_hand` says that the
    database is a file: then single short items are read and written without another thread.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        model: str,
        understood: bool = True,
        at_hand: bool = False,
    ) -> None:
        self._shortcut = Shortcut(connect) if at_hand else None
        self._short_writes = 0
        self._log_holds_removed = False
        self._writes = Lane("writes", threads=1, connect=connect)
        self._reads = Lane("reads", threads=2, connect=connect)
        self._searches = Lane("searches", threads=2, connect=connect)
        self._model = model
        self._understood = understood

    async def close(self) -> None:
        """Ends what is under way, and closes the file."""
        if self._shortcut is not None:
            self._shortcut.close()
        for lane in (self._writes, self._reads, self._searches):
            await lane.close()

    async def change(
        self, changes: Sequence[Change], *, now: datetime, once: Once | None
    ) -> Sequence[Item | bool]:
        """As Store says."""

        def job(connection: Connection) -> Sequence[Item | bool]:
            with _writing(connection):
                answers = answer_of(connection, once)
                if answers is None:
                    writes = self._writes_of(connection, changes)
                    answers = [_change(connection, each, writes, now) for each in changes]
                    writes.store()
                    remember(connection, once, answers, now=micros(now))
            return [answered(*each) for each in zip(changes, answers, strict=True)]

        return await self._write(job, short=len(changes) == 1 and _is_short(changes[0]))

    async def _write(self, job: Job[Answer], *, short: bool) -> Answer:
        """Does a short one at once, unless others are at it."""
        if not short or self._shortcut is None or not self._writes.idle:
            return await self._writes.run(job)
        try:
            answer = self._shortcut.run(job)
        except DatabaseLocked:
            return await self._writes.run(job)
        self._short_writes += 1
        if self._short_writes % _CHECKPOINT_WRITES == 0:
            # As with those that SQLite does by itself: where it fails, what was written is in the log all the same.
            with suppress(CadreError):
                await self._writes.run(_checkpoint)
        return answer

    async def _read(self, job: Job[Answer], *, lane: Lane, short: bool = True) -> Answer:
        """Reads what is short at once: in SQLite's WAL, who reads waits for nobody who writes."""
        if short and self._shortcut is not None:
            with suppress(DatabaseLocked):
                return self._shortcut.run(job)
        return await lane.run(job)

    async def touch(self, places: Sequence[tuple[Namespace, str]], *, now: datetime) -> None:
        """As Store says."""

        def job(connection: Connection) -> None:
            with _writing(connection):
                for namespace, key in places:
                    touch(connection, path_of(namespace), key, now=micros(now))

        await self._writes.run(job)

    async def append(
        self,
        namespace: Namespace,
        follow: Callable[[Turn | None], Iterable[Draft]],
        *,
        now: datetime,
        once: Once | None,
    ) -> int:
        """As Store says."""

        def job(connection: Connection) -> int:
            with _writing(connection):
                answers = answer_of(connection, once)
                if answers is None:
                    last = last_turn(connection, namespace)
                    drafts = list(follow(last))
                    writes = self._writes_of(connection, drafts)
                    for draft in drafts:
                        writes.write(draft, now=micros(now))
                    writes.store()
                    answers = [[0 if last is None else last.position + 1]]
                    remember(connection, once, answers, now=micros(now))
            return answers[0][0] or 0

        return await self._writes.run(job)

    def _writes_of(self, connection: Connection, changes: Sequence[Change]) -> Writes:
        drafts = [each for each in changes if isinstance(each, Draft)]
        return Writes(connection, drafts, model=self._model if self._understood else "")

    async def get(
        self, namespace: Namespace, key: str, *, version: int, now: datetime
    ) -> Item | None:
        """As Store says."""

        def job(connection: Connection) -> Item | None:
            row = connection.execute(
                f"SELECT {ITEM} FROM item WHERE namespace = ? AND key = ? AND {IN_FORCE}",  # noqa: S608 - constants
                (path_of(namespace), key, micros(now)),
            ).fetchone()
            if row is None or version in (0, row[5]):
                return item_of(row) if row else None
            return earlier(connection, row, version)

        return await self._read(job, lane=self._reads)

    async def page(
        self,
        namespace: Namespace,
        *,
        key_prefix: str,
        matching: Filter,
        after: str,
        limit: int,
        max_bytes: int,
        now: datetime,
    ) -> Page:
        """As Store says."""

        def job(connection: Connection) -> Page:
            beyond = after_prefix(key_prefix)
            cursor = connection.execute(
                f"SELECT {ITEM} FROM item WHERE namespace = ? AND key >= ? AND key > ?"  # noqa: S608 - constants
                f" AND (CAST(? AS TEXT) IS NULL OR key < ?) AND {IN_FORCE} ORDER BY key",
                (path_of(namespace), key_prefix, after, beyond, beyond, micros(now)),
            )
            items, more = up_to(passing(cursor, matching), limit=limit, max_bytes=max_bytes)
            cursor.close()
            return Page(items=tuple(items), more=more)

        return await self._reads.run(job)

    async def below(
        self,
        namespace: Namespace,
        matching: Filter,
        *,
        offset: int,
        limit: int,
        max_bytes: int,
        now: datetime,
    ) -> Sequence[Item]:
        """As Store says."""

        def job(connection: Connection) -> Sequence[Item]:
            cursor = connection.execute(
                f"SELECT {ITEM} FROM item WHERE namespace >= ? AND namespace < ? AND {IN_FORCE}"  # noqa: S608 - constants
                " ORDER BY namespace, key",
                (*scope_of(namespace), micros(now)),
            )
            found = islice(passing(cursor, matching), offset, None)
            items, _ = up_to(found, limit=limit, max_bytes=max_bytes)
            cursor.close()
            return items

        return await self._reads.run(job)

    async def messages(
        self,
        namespace: Namespace,
        *,
        first: int,
        before: int,
        limit: int,
        max_bytes: int,
        now: datetime,
    ) -> Sequence[Item]:
        """As Store says."""

        def job(connection: Connection) -> Sequence[Item]:
            cursor = connection.execute(
                f"SELECT {ITEM} FROM item WHERE namespace = ? AND position >= ? AND position < ?"  # noqa: S608 - constants
                f" AND {IN_FORCE} ORDER BY position DESC LIMIT ?",
                (path_of(namespace), first, before, micros(now), limit),
            )
            items, _ = up_to(map(item_of, cursor), limit=limit, max_bytes=max_bytes)
            cursor.close()
            return items

        return await self._reads.run(job)

    async def namespaces(
        self, above: Namespace, *, after: Namespace, limit: int, now: datetime
    ) -> Sequence[Namespace]:
        """As Store says."""

        def job(connection: Connection) -> Sequence[Namespace]:
            first, beyond = scope_of(above)
            found: list[Namespace] = []
            path = path_of(after) if after else ""
            while len(found) < limit:
                # One step of the index for each namespace, however much each holds.
                (path,) = connection.execute(
                    "SELECT min(namespace) FROM item WHERE namespace > ? AND namespace >= ? AND namespace < ?",
                    (path, first, beyond),
                ).fetchone()
                if path is None:
                    break
                if holds_something(connection, path, now=micros(now)):
                    found.append(namespace_of(path))
            return found

        return await self._reads.run(job)

    async def matching(
        self, namespace: Namespace, matching: Filter, *, now: datetime
    ) -> Sequence[int]:
        """As Store says."""

        def job(connection: Connection) -> Sequence[int]:
            return [item_id for item_id, _ in ids_of(connection, namespace, matching, now)]

        return await self._searches.run(job)

    async def items(self, ids: Sequence[int], *, max_bytes: int, now: datetime) -> dict[int, Item]:
        """As Store says."""

        def job(connection: Connection) -> dict[int, Item]:
            found: dict[int, Item] = {}
            room = max_bytes
            for item_id in ids:
                row = connection.execute(
                    f"SELECT {ITEM} FROM item WHERE id = ? AND {IN_FORCE}",  # noqa: S608 - constants
                    (item_id, micros(now)),
                ).fetchone()
                if row is None:
                    continue
                room -= len(row[2].encode())
                if room < 0 and found:
                    break
                found[item_id] = item_of(row)
            return found

        return await self._read(job, lane=self._searches, short=len(ids) <= _SHORT_ITEMS)

    async def count(self, namespace: Namespace, *, limit: int) -> int:
        """As Store says."""

        def job(connection: Connection) -> int:
            (rows,) = connection.execute(
                "SELECT count(*) FROM"
                " (SELECT 1 FROM item WHERE namespace >= ? AND namespace < ? LIMIT ?) counted",
                (*scope_of(namespace), limit),
            ).fetchone()
            return int(rows)

        return await self._searches.run(job)

    async def entries(
        self, namespace: Namespace, *, after: tuple[Namespace, int], limit: int
    ) -> tuple[Sequence[Entry], tuple[Namespace, int]]:
        """As Store says."""

        def job(
            connection: Connection,
        ) -> tuple[Sequence[Entry], tuple[Namespace, int]]:
            first, beyond = scope_of(namespace)
            path, item_id = (path_of(after[0]) if after[0] else first), after[1]
            rows = connection.execute(
                f"SELECT {ENTRY}, namespace FROM entry WHERE (namespace, item_id) > (?, ?)"  # noqa: S608 - constants
                " AND namespace < ? ORDER BY namespace, item_id LIMIT ?",
                (self._model, path, item_id, beyond, limit),
            ).fetchall()
            place = (namespace_of(rows[-1][-1]), rows[-1][0]) if rows else after
            return [Entry._make(row[:-1]) for row in rows], place

        return await self._searches.run(job)

    async def changes(self, namespace: Namespace, *, since: int) -> Changes | None:
        """As Store says."""

        def job(connection: Connection) -> Changes | None:
            with _reading(connection):
                # Asked for both at once, SQLite reads all of the log.
                first, last = connection.execute(
                    "SELECT (SELECT min(sequence) FROM change), (SELECT max(sequence) FROM change)"
                ).fetchone()
                if (last or 0) <= since:
                    return Changes(entries=(), removed=(), last=since)
                if first > since + 1:
                    return None
                rows = connection.execute(
                    f"SELECT DISTINCT c.item_id, e.namespace IS NOT NULL, {_ENTRY_OF_E}"  # noqa: S608 - constants
                    " FROM change c LEFT JOIN entry e"
                    " ON e.namespace = c.namespace AND e.item_id = c.item_id"
                    " WHERE c.sequence > ? AND c.namespace >= ? AND c.namespace < ?",
                    (self._model, since, *scope_of(namespace)),
                ).fetchall()
            return Changes(
                entries=[Entry._make(row[2:]) for row in rows if row[1]],
                removed=[row[0] for row in rows if not row[1]],
                last=last,
            )

        few = self._shortcut is not None and await self.last_change() <= since + _SHORT_ITEMS
        return await self._read(job, lane=self._searches, short=few)

    async def last_change(self) -> int:
        """As Store says."""

        def job(connection: Connection) -> int:
            (last,) = connection.execute("SELECT max(sequence) FROM change").fetchone()
            return last or 0

        return await self._read(job, lane=self._searches)

    async def forget(
        self, namespace: Namespace, matching: Filter, *, limit: int, now: datetime
    ) -> int:
        """As Store says."""

        def job(connection: Connection) -> int:
            with _writing(connection):
                # In full before the first is removed: a cursor must not see its own work.
                found = list(ids_of(connection, namespace, matching, now, limit=limit))
                for item_id, path in found:
                    remove(connection, item_id, path)
            return len(found)

        try:
            removed = await self._writes.run(job)
        except DatabaseFull as exc:
            raise DatabaseFull(
                f"{exc.message}: what is forgotten is written to its log before it leaves the disk",
                resolution="Make room for as much as is to be forgotten, and 10 MB more, or forget less at once.",
            ) from exc
        return await self._removed(removed, limit=limit)

    async def _removed(self, removed: int, *, limit: int) -> int:
        """Takes what was removed out of SQLite's log too, once the last of it is removed. While another process reads,
        that is left to a later time."""
        self._log_holds_removed |= removed > 0
        if self._log_holds_removed and removed < limit and self._shortcut is not None:
            with suppress(CadreError):
                self._log_holds_removed = not await self._writes.run(_empty_log)
        return removed

    async def stale(self, *, limit: int) -> Sequence[Stale]:
        """As Store says."""

        def job(connection: Connection) -> Sequence[Stale]:
            ids = connection.execute(
                "SELECT item_id FROM entry WHERE model < ?"
                " UNION ALL SELECT item_id FROM entry WHERE model > ? LIMIT ?",
                (self._model, self._model, limit),
            ).fetchall()
            rows = [
                connection.execute(
                    f"SELECT {ITEM} FROM item WHERE id = ?",  # noqa: S608 - constants
                    each,
                ).fetchone()
                for each in ids
            ]
            return [
                Stale(item_id=item_id, item=item_of(row))
                for (item_id,), row in zip(ids, rows, strict=True)
                if row is not None
            ]

        return await self._reads.run(job)

    async def meanings(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """As Store says."""

        def job(connection: Connection) -> dict[bytes, bytes]:
            query = "SELECT embedding FROM meaning WHERE model = ? AND digest = ? LIMIT 1"
            rows = {
                digest: connection.execute(query, (self._model, digest)).fetchone()
                for digest in digests
            }
            return {digest: row[0] for digest, row in rows.items() if row is not None}

        return await self._reads.run(job)

    async def refresh(self, entries: Sequence[Refreshed]) -> None:
        """As Store says."""

        def job(connection: Connection) -> None:
            with _writing(connection):
                for each in entries:
                    refresh(connection, each, model=self._model)

        await self._writes.run(job)

    async def sweep(self, *, now: datetime, answers_before: datetime, limit: int) -> int:
        """As Store says."""

        def job(connection: Connection) -> int:
            with _writing(connection):
                expired = connection.execute(
                    "SELECT id, namespace FROM item WHERE expires <= ? LIMIT ?",
                    (micros(now), limit),
                ).fetchall()
                for item_id, path in expired:
                    remove(connection, item_id, path)
                forget_answers(connection, before=micros(answers_before))
            return len(expired)

        return await self._removed(await self._writes.run(job), limit=limit)


_ENTRY_OF_E = ", ".join(f"e.{column}" for column in ENTRY.split(", ")[:-1]) + (
    ", CASE WHEN e.model = ? THEN e.embedding END"
)


def _change(
    connection: Connection, change: Change, writes: Writes, now: datetime
) -> list[int | None]:
    match change:
        case Draft():
            return writes.write(change, now=micros(now))
        case Removal(namespace=namespace, key=key):
            writes.store()
            writes.removed(path_of(namespace), key)
            return [int(delete(connection, namespace, key, now=micros(now)))]


def _is_short(change: Change) -> bool:
    # A removal takes up to 20 versions with it, however long they are.
    return isinstance(change, Draft) and len(change.value) <= _SHORT_CHARACTERS


def _checkpoint(connection: Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _empty_log(connection: Connection) -> bool:
    """Whether the log could be brought into the file, and cut off."""
    connection.execute(f"PRAGMA busy_timeout = {_EMPTYING_MS}")
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1_000}")
    return not busy


@contextmanager
def _writing(connection: Connection) -> Iterator[None]:
    connection.begin_writing()
    with _ending(connection):
        yield


@contextmanager
def _reading(connection: Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    with _ending(connection):
        yield


@contextmanager
def _ending(connection: Connection) -> Iterator[None]:
    try:
        yield
        connection.execute("COMMIT")
    finally:
        # Some failures, a full disk among them, end the transaction by themselves.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
