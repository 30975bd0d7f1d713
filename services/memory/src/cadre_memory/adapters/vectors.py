"""Vectors of whole namespaces in memory, for exact search; kept true to the database by its log of changes."""

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cadre_memory.domain.stores import DIMENSIONS, Vector

NEVER = np.iinfo(np.int64).max
# A row of the matrix, its id and expiry, and its place in the dictionary of rows.
_BYTES_A_ROW = DIMENSIONS * 4 + 16 + 100
_BLOCK_ROWS = 16_384
_SCOPES = 4_096

Row = tuple[int, int | None, bytes]
"""An item's id, when it expires in microseconds (None for never), and its vector as stored."""


def stored(vector: Vector) -> bytes:
    """The vector as the database keeps it: half precision, which the embeddings' own table has too."""
    return vector.astype("<f2").tobytes()


class Matrix:
    """Vectors of items, one a row, in no order."""

    def __init__(self, rows: int = 0) -> None:
        self._ids = np.empty(rows, np.int64)
        self._expires = np.empty(rows, np.int64)
        self._vectors = np.empty((rows, DIMENSIONS), np.float32)
        self._row_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def bytes_held(self) -> int:
        """Memory that it takes, room to grow included."""
        return len(self._ids) * _BYTES_A_ROW

    def add(self, rows: Sequence[Row]) -> None:
        """Adds items that are not there yet."""
        first, last = len(self), len(self) + len(rows)
        if last > len(self._ids):
            self._grow(last)
        ids = [row[0] for row in rows]
        self._ids[first:last] = ids
        self._expires[first:last] = [NEVER if row[1] is None else row[1] for row in rows]
        joined = np.frombuffer(b"".join(row[2] for row in rows), "<f2")
        self._vectors[first:last] = joined.reshape(-1, DIMENSIONS)
        self._row_of.update(zip(ids, range(first, last), strict=True))

    def remove(self, item_id: int) -> None:
        """Removes an item, if it is there; the last row takes its place."""
        row = self._row_of.pop(item_id, None)
        if row is None or row == len(self):
            return
        last = len(self)
        self._ids[row], self._expires[row] = self._ids[last], self._expires[last]
        self._vectors[row] = self._vectors[last]
        self._row_of[int(self._ids[row])] = row

    def best(self, vector: Vector, *, limit: int, now: int) -> dict[int, float]:
        """The cosines of the `limit` items closest to a vector, of those that are there at `now`."""
        count = len(self)
        cosines = self._vectors[:count] @ vector
        cosines[self._expires[:count] <= now] = -2.0
        if count > limit:
            rows: npt.NDArray[np.intp] = np.argpartition(cosines, -limit)[-limit:]
        else:
            rows = np.arange(count)
        return {int(self._ids[row]): float(cosines[row]) for row in rows if cosines[row] >= -1.5}

    def cosines(self, vector: Vector, ids: Iterable[int]) -> dict[int, float]:
        """The cosines of those of the items that are here."""
        found = [(item_id, self._row_of[item_id]) for item_id in ids if item_id in self._row_of]
        if not found:
            return {}
        cosines = self._vectors[[row for _, row in found]] @ vector
        return {item_id: float(each) for (item_id, _), each in zip(found, cosines, strict=True)}

    def _grow(self, rows: int) -> None:
        count, room = len(self), max(rows, len(self._ids) * 5 // 4)
        larger = Matrix(room)
        larger._ids[:count] = self._ids[:count]
        larger._expires[:count] = self._expires[:count]
        larger._vectors[:count] = self._vectors[:count]
        self._ids, self._expires, self._vectors = larger._ids, larger._expires, larger._vectors


@dataclass(kw_only=True)
class _Held:
    """The matrix of a namespace and all below it, as of a change. One search at a time uses it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    matrix: Matrix | None = None
    seen: int = 0
    counted_bytes: int = 0


class Vectors:
    """Finds the closest vectors of a range of namespaces, and keeps those asked for lately, up to `held_bytes`.

    The range is named by the texts that its namespaces are at or after, and before.
    """

    def __init__(self, *, held_bytes: int) -> None:
        self._held_bytes = held_bytes
        self._held: OrderedDict[tuple[str, str], _Held] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes_held(self) -> int:
        """Memory that the matrices take."""
        return self._bytes

    @contextmanager
    def reserved(self, scope: tuple[str, str]) -> Iterator["Reserved"]:
        """One search's use of a range. Enter it before the transaction: no matrix may be ahead of what is read."""
        with self._lock:
            held = self._held.setdefault(scope, _Held())
            self._held.move_to_end(scope)
        with held.lock:
            yield Reserved(scope, held, held_bytes=self._held_bytes)
            self._account(scope, held)

    def _account(self, scope: tuple[str, str], held: _Held) -> None:
        with self._lock:
            # Another search may have pushed it out meanwhile.
            if self._held.get(scope) is held:
                now = 0 if held.matrix is None else held.matrix.bytes_held
                self._bytes += now - held.counted_bytes
                held.counted_bytes = now
            while self._held and (self._bytes > self._held_bytes or len(self._held) > _SCOPES):
                _, oldest = self._held.popitem(last=False)
                self._bytes -= oldest.counted_bytes


class Reserved:
    """A range of namespaces, for one search."""

    def __init__(self, scope: tuple[str, str], held: _Held, *, held_bytes: int) -> None:
        self._scope = scope
        self._held = held
        self._held_bytes = held_bytes

    def cosines(
        self,
        connection: sqlite3.Connection,
        vector: Vector,
        *,
        also: Iterable[int],
        limit: int,
        now: int,
    ) -> dict[int, float]:
        """The cosines of the `limit` closest items, and of those in `also`, as of the connection's transaction."""
        also = list(also)
        cosines: dict[int, float] = {}
        for matrix in self._matrices(connection):
            cosines |= matrix.best(vector, limit=limit, now=now)
            cosines |= matrix.cosines(vector, also)
        closest = sorted(cosines, key=lambda item_id: -cosines[item_id])[:limit]
        return {item_id: cosines[item_id] for item_id in {*closest, *also} if item_id in cosines}

    def _matrices(self, connection: sqlite3.Connection) -> Iterator[Matrix]:
        """One matrix that is held, or a passing one for each block of a range too large to be held."""
        if self._held.matrix is not None and self._caught_up(connection, self._held.matrix):
            yield self._held.matrix
            return
        self._held.matrix = None
        rows = self._count(connection)
        if rows * _BYTES_A_ROW <= self._held_bytes:
            yield self._loaded(connection, rows)
            return
        for block in self._blocks(connection):
            passing = Matrix(len(block))
            passing.add(block)
            yield passing

    def _loaded(self, connection: sqlite3.Connection, rows: int) -> Matrix:
        matrix = Matrix(rows + rows // 16 + 16)
        for block in self._blocks(connection):
            matrix.add(block)
        self._held.matrix, self._held.seen = matrix, _last_change(connection)
        return matrix

    def _caught_up(self, connection: sqlite3.Connection, matrix: Matrix) -> bool:
        """Whether the log of changes reached back far enough to bring the matrix up to date."""
        last = _last_change(connection)
        if last == self._held.seen:
            return True
        (first,) = connection.execute("SELECT min(sequence) FROM change").fetchone()
        if first is None or first > self._held.seen + 1:
            return False
        changed = connection.execute(
            "SELECT DISTINCT c.item_id, v.expires, v.embedding FROM change c"
            " LEFT JOIN vector v ON v.namespace = c.namespace AND v.item_id = c.item_id"
            " WHERE c.sequence > ? AND c.namespace >= ? AND c.namespace < ?",
            (self._held.seen, *self._scope),
        ).fetchall()
        for item_id, _, _ in changed:
            matrix.remove(item_id)
        matrix.add([row for row in changed if row[2] is not None])
        self._held.seen = last
        return True

    def _count(self, connection: sqlite3.Connection) -> int:
        # Counts items, some without a vector: their index is a tenth of what the vectors are.
        (rows,) = connection.execute(
            "SELECT count(*) FROM item WHERE namespace >= ? AND namespace < ?", self._scope
        ).fetchone()
        return int(rows)

    def _blocks(self, connection: sqlite3.Connection) -> Iterator[list[Row]]:
        cursor = connection.execute(
            "SELECT item_id, expires, embedding FROM vector WHERE namespace >= ? AND namespace < ?",
            self._scope,
        )
        while block := cursor.fetchmany(_BLOCK_ROWS):
            yield block


def _last_change(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT max(sequence) FROM change").fetchone()
    return last or 0
