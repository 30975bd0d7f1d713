"""Databases of the services: opened, migrated, and their failures said in our words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from cadre_kit.errors import CadreError, DataLost, InvalidInput, StoreFailed, Unavailable

__all__ = [
    "BUSY_SECONDS",
    "POSTGRESQL_OPTIONS",
    "POSTGRESQL_TIMES",
    "DatabaseCorrupt",
    "DatabaseFull",
    "DatabaseLocked",
    "DatabaseUnavailable",
    "connect_sqlite",
    "database_errors",
    "is_postgresql",
    "migrate",
    "open_blocking_database",
    "open_postgresql",
]

BUSY_SECONDS = 10
# WAL with NORMAL survives a killed process at a tenth of FULL's cost; only a power loss can take the last commits.
_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}",
)
_POOLED = 10
POSTGRESQL_TIMES = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
}
"""A server that does not answer, or a network that is gone, is noticed within these; seconds, the last milliseconds."""
POSTGRESQL_OPTIONS = (
    "-c idle_in_transaction_session_timeout=5000 -c tcp_user_timeout=8000"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=2"
)
"""The same the other way round: the server lets go of a client that is gone, or says nothing within a transaction. What
that one had locked, nobody else could have otherwise for hours."""
_MIGRATION_LOCK = 7_415_301


class DatabaseLocked(StoreFailed, Unavailable):
    """Another process holds the database for longer than we wait."""

    code = "DATABASE_LOCKED"


class DatabaseFull(StoreFailed, Unavailable):
    """There is no room to write."""

    code = "DATABASE_FULL"


class DatabaseUnavailable(StoreFailed, Unavailable):
    """The database cannot be reached or opened."""

    code = "DATABASE_UNAVAILABLE"


class DatabaseCorrupt(StoreFailed, DataLost):
    """The file is not a database, or is damaged."""

    code = "DATABASE_CORRUPT"


# What the messages of SQLite and psycopg say, and what that means.
_FAILURES: tuple[tuple[str, type[CadreError], str, str], ...] = (
    (
        "locked",
        DatabaseLocked,
        "the {name} database is locked by another process",
        "End the program that holds it; the platform's own services never share one.",
    ),
    (
        # Only PostgreSQL: trying again would never help.
        "cannot contain nul",
        InvalidInput,
        "a text holds the character NUL, which the {name} database cannot hold",
        "Take the character U+0000 out of it.",
    ),
    ("full", DatabaseFull, "the disk of the {name} database is full", "Make room, then try again."),
    (
        "disk i/o error",
        DatabaseFull,
        "the disk of the {name} database cannot be written",
        "Check that the disk has room and is well, then try again.",
    ),
    (
        "readonly",
        DatabaseUnavailable,
        "the {name} database may not be written",
        "Check the rights of CADRE_HOME and of the files in it.",
    ),
    (
        "unable to open",
        DatabaseUnavailable,
        "the {name} database cannot be opened",
        "Check that CADRE_HOME exists and may be written.",
    ),
    (
        "malformed",
        DatabaseCorrupt,
        "the {name} database is damaged",
        "Move the file away, or put back a copy of it, and start again.",
    ),
    (
        "not a database",
        DatabaseCorrupt,
        "the file of the {name} database is not a database",
        "Move the file away, or put back a copy of it, and start again.",
    ),
)


def is_postgresql(url: str) -> bool:
    """Whether it is PostgreSQL's address, not SQLite's. Raises InvalidInput for any other."""
    return _parsed(url).get_backend_name() == "postgresql"


def open_postgresql(url: str, *, strict: bool = False) -> AsyncEngine:
    """An engine for `postgresql://...`, that notices within seconds when the server is gone, as the server does of it.

    `strict` waits for the server's disk with each commit, whatever the server's own setting is.
    """
    options = POSTGRESQL_OPTIONS + (" -c synchronous_commit=on" if strict else "")
    return create_async_engine(
        _parsed(url).set(drivername="postgresql+psycopg"),
        pool_size=_POOLED,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,
        connect_args={**POSTGRESQL_TIMES, "options": options},
    )


def open_blocking_database(url: str) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://...`, for threads of one's own. On SQLite the driver begins no
    transactions by itself: the caller's first statement is its BEGIN. Raises InvalidInput for other addresses."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    engine = create_engine(parsed.set(drivername="sqlite+pysqlite"))
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "connect", _leave_transactions_alone)
    return engine


def connect_sqlite(url: str, *, strict: bool = False) -> sqlite3.Connection:
    """A plain connection to `sqlite:///PATH`, for what an engine is too slow for; any one thread at a time may use it.

    Commits each statement by itself, unless it is told BEGIN; `strict` waits for the disk with each commit. Raises what
    `database_errors` translates.
    """
    parsed = make_url(url)
    _make_folder(parsed.database)
    connection = sqlite3.connect(
        parsed.database or ":memory:", isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in _SQLITE_PRAGMAS:
            connection.execute(pragma)
        if strict:
            connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def migrate(url: str, *, migrations: Path, name: str) -> None:
    """Brings the database to the newest schema of the Alembic folder `migrations`; each is one transaction.

    Blocks; call it before serving. A database of an earlier release is upgraded in place.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed)
        _begin_before_changing_tables(engine)
    else:
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"), connect_args=POSTGRESQL_TIMES
        )
        event.listen(engine, "begin", _migrate_alone)
    config = Config()
    config.set_main_option("script_location", str(migrations))
    try:
        with database_errors(name), engine.begin() as connection:
            _upgrade(config, connection)
    finally:
        engine.dispose()


def _begin_before_changing_tables(engine: Engine) -> None:
    # Python's sqlite3 begins a transaction before INSERT but not before CREATE TABLE: a process killed in the middle
    # would leave half a schema, which no later start can mend.
    event.listen(engine, "connect", _leave_transactions_alone)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))


def _migrate_alone(connection: Connection) -> None:
    # Several services of one kind may start at once on one database.
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


def _upgrade(config: Config, connection: Connection) -> None:
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def database_errors(name: str) -> Iterator[None]:
    """Raises the failures of SQLAlchemy, its drivers and sqlite3 as ours; `name` says whose database it is."""
    try:
        yield
    except (OperationalError, DatabaseError) as exc:
        raise _translated(str(exc.orig), name) from exc
    except sqlite3.Error as exc:
        raise _translated(str(exc), name) from exc
    except SQLAlchemyError as exc:
        raise DatabaseUnavailable(
            f"the {name} database failed: {type(exc).__name__}", metadata={"database": name}
        ) from exc


def _translated(text: str, name: str) -> CadreError:
    lowered = text.lower()
    for sign, cls, message, resolution in _FAILURES:
        if sign in lowered:
            return cls(
                message.format(name=name), resolution=resolution, metadata={"database": name}
            )
    return DatabaseUnavailable(
        f"the {name} database failed",
        resolution="The service's log has the details.",
        metadata={"database": name},
    )


def _set_pragmas(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _leave_transactions_alone(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise _unknown_url() from exc
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise _unknown_url()
    if parsed.get_backend_name() == "sqlite":
        _make_folder(parsed.database)
    return parsed


def _make_folder(path: str | None) -> None:
    if path and path != ":memory:":
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _unknown_url() -> InvalidInput:
    return InvalidInput(
        "the database address is neither sqlite:///PATH nor postgresql://...",
        resolution="Correct the service's CADRE_..._DATABASE_URL.",
        code="UNKNOWN_DATABASE_URL",
    )
