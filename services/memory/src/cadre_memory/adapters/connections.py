"""Connections to the databases that memory is kept in, as one: SQLite's or PostgreSQL's."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from cadre_kit.databases import (
    POSTGRESQL_OPTIONS,
    POSTGRESQL_TIMES,
    DatabaseFull,
    DatabaseUnavailable,
    connect_sqlite,
)
from cadre_kit.errors import InvalidInput

# Any number that all memory services on one database agree on.
_WRITING = 7413


class Rows(Protocol):
    """What a statement answers."""

    def fetchone(self) -> Any:
        """The next row; None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None:
        """Ends the statement."""
        ...


class Connection(Protocol):
    """A connection that commits each statement by itself unless it is told BEGIN; one thread at a time uses it."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is under way."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it is of no more use."""
        ...

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Rows:
        """Runs a statement whose values stand as question marks."""
        ...

    def executemany(self, statement: str, values: Sequence[Sequence[Any]]) -> object:
        """Runs a statement that answers nothing, once with each of the values."""
        ...

    def begin_writing(self) -> None:
        """Begins a transaction when no other writes; their changes are numbered in the order of their commits."""
        ...

    def new_ids(self, number: int) -> Sequence[int]:
        """Ids that no item has or had, for the transaction under way; asked for again before they are used, SQLite
        gives the same ones."""
        ...

    def close(self) -> None:
        """Closes it."""
        ...


class SqliteConnection:
    """A Connection to an SQLite file."""

    closed = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.close = connection.close

    @classmethod
    def to(cls, url: str) -> "SqliteConnection":
        """Opens one. Raises what `database_errors` translates."""
        connection = connect_sqlite(url)
        # What is removed is overwritten; not every SQLite is built to do so by itself.
        connection.execute("PRAGMA secure_delete=ON")
        return cls(connection)

    @property
    def in_transaction(self) -> bool:
        """As Connection says."""
        return self._connection.in_transaction

    def begin_writing(self) -> None:
        """As Connection says."""
        self._connection.execute("BEGIN IMMEDIATE")

    def new_ids(self, number: int) -> Sequence[int]:
        """As Connection says."""
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'item'"
        (last,) = self._connection.execute(query).fetchone() or (0,)
        return range(last + 1, last + 1 + number)


class PostgresConnection:
    """A Connection to a PostgreSQL database. Raises psycopg's failures as the kit's."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    @classmethod
    def to(cls, url: str) -> "PostgresConnection":
        """Opens one. Raises DatabaseUnavailable."""
        with _postgres_errors():
            own = conninfo_to_dict(url).get("options") or ""
            options = f"{POSTGRESQL_OPTIONS} {own}"
            address = make_conninfo(url, options=options, **POSTGRESQL_TIMES)
            return cls(psycopg.connect(address, autocommit=True))

    @property
    def in_transaction(self) -> bool:
        """As Connection says."""
        return self._connection.info.transaction_status in (
            TransactionStatus.ACTIVE,
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        )

    @property
    def closed(self) -> bool:
        """As Connection says."""
        return self._connection.closed

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Rows:
        """As Connection says."""
        with _postgres_errors():
            return self._connection.execute(_own(statement), values)

    def executemany(self, statement: str, values: Sequence[Sequence[Any]]) -> None:
        """As Connection says."""
        with _postgres_errors():
            self._connection.cursor().executemany(_own(statement), values)

    def begin_writing(self) -> None:
        """As Connection says."""
        self.execute("BEGIN")
        self.execute("SELECT pg_advisory_xact_lock(?)", (_WRITING,))

    def new_ids(self, number: int) -> Sequence[int]:
        """As Connection says."""
        query = "SELECT nextval(pg_get_serial_sequence('item', 'id')) FROM generate_series(1, ?)"
        return [item_id for (item_id,) in self.execute(query, (number,)).fetchall()]

    def close(self) -> None:
        """As Connection says."""
        self._connection.close()


def _own(statement: str) -> Any:
    # Statements are this package's own; what callers say is always a value.
    return cast("Any", statement.replace("?", "%s"))


@contextmanager
def _postgres_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.DiskFull as exc:
        raise DatabaseFull(
            "the disk of the memory database is full",
            resolution="Make room, then try again.",
            metadata={"database": "memory"},
        ) from exc
    except psycopg.DataError as exc:
        raise InvalidInput(
            "PostgreSQL cannot keep a NUL character",
            code="NUL_CHARACTER",
            resolution="Leave it out of keys and names.",
        ) from exc
    except psycopg.Error as exc:
        raise DatabaseUnavailable(
            f"the memory database failed: {type(exc).__name__}",
            resolution="Check that PostgreSQL runs and that CADRE_MEMORY_DATABASE_URL names it; then try again.",
            metadata={"database": "memory"},
        ) from exc
