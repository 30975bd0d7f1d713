"""The executor's database: its tables, and transactions that run in threads of their own.

One thread writes, a few read. A transaction is one hop to a thread and back, whatever it does; with aiosqlite each
statement would be one, which costs more than the statements of a run's step together.

What every step of every run does goes to the driver itself: SQLAlchemy's own work on a statement costs ten times what
SQLite's does, and made a run of five nodes take three times as long. The statements are SQLAlchemy's all the same,
compiled once.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

import cadre_executor
from cadre_kit.databases import (
    connect_sqlite,
    database_errors,
    migrate,
    open_blocking_database,
)

__all__ = [
    "CHECKPOINTS",
    "EVENTS",
    "IDEMPOTENCY_KEYS",
    "RUNS",
    "SOURCES",
    "STEP_WRITES",
    "WORKFLOW_VERSIONS",
    "Database",
    "Fast",
]

_NAME = "executor"
_MIGRATIONS = Path(cadre_executor.__file__).parent / "migrations"
_READERS = 3
# SQLite gives the right to write to one connection; asking for it first avoids finding another's writes between our
# reading and our writing, which cannot be waited for.
_BEGIN_WRITE = "BEGIN IMMEDIATE"
_DIALECT = sqlite.dialect(paramstyle="named")
_METADATA = sa.MetaData()

SOURCES = sa.Table("sources", _METADATA, sa.Column("digest", sa.String), sa.Column("text", sa.Text))
WORKFLOW_VERSIONS = sa.Table(
    "workflow_versions",
    _METADATA,
    sa.Column("name", sa.String),
    sa.Column("version", sa.Integer),
    sa.Column("digest", sa.String),
    sa.Column("description", sa.Text),
    sa.Column("tags", sa.Text),
    sa.Column("applied_time", sa.Float),
    sa.Column("hidden", sa.Boolean),
)
RUNS = sa.Table(
    "runs",
    _METADATA,
    sa.Column("id", sa.String),
    sa.Column("workflow", sa.String),
    sa.Column("version", sa.Integer),
    sa.Column("digest", sa.String),
    sa.Column("status", sa.String),
    sa.Column("inputs", sa.Text),
    sa.Column("outputs", sa.Text),
    sa.Column("usage", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("created_time", sa.Float),
    sa.Column("started_time", sa.Float),
    sa.Column("ended_time", sa.Float),
    sa.Column("trigger", sa.String),
    sa.Column("trace_parent", sa.String),
    sa.Column("last_sequence", sa.Integer),
    sa.Column("lease_owner", sa.String),
    sa.Column("lease_expires", sa.Float),
)
EVENTS = sa.Table(
    "events",
    _METADATA,
    sa.Column("run_id", sa.String),
    sa.Column("sequence", sa.Integer),
    sa.Column("time", sa.Float),
    sa.Column("type", sa.String),
    sa.Column("node", sa.Text),
    sa.Column("iteration", sa.Integer),
    sa.Column("attempt", sa.Integer),
    sa.Column("duration_ms", sa.Integer),
    sa.Column("data", sa.Text),
    sa.Column("usage", sa.Text),
    sa.Column("error", sa.Text),
)
CHECKPOINTS = sa.Table(
    "checkpoints", _METADATA, sa.Column("run_id", sa.String), sa.Column("document", sa.Text)
)
STEP_WRITES = sa.Table(
    "step_writes",
    _METADATA,
    sa.Column("run_id", sa.String),
    sa.Column("task_id", sa.String),
    sa.Column("document", sa.Text),
)
IDEMPOTENCY_KEYS = sa.Table(
    "idempotency_keys",
    _METADATA,
    sa.Column("key", sa.String),
    sa.Column("fingerprint", sa.String),
    sa.Column("run_id", sa.String),
)

Answer = TypeVar("Answer")
Work = Callable[[sa.Connection], Answer]


class Fast:
    """Statements on the driver's own connection, within the transaction that `Database.write_fast` began."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._compiled: dict[sa.Executable, tuple[str, Mapping[str, Any]]] = {}

    def scalar(self, statement: sa.Executable, values: Mapping[str, Any]) -> Any:
        """The first value of the first row; None when there is no row."""
        row = self._execute(statement, values).fetchone()
        return None if row is None else row[0]

    def change(self, statement: sa.Executable, values: Mapping[str, Any]) -> int:
        """How many rows the statement changed."""
        return self._execute(statement, values).rowcount

    def add(self, statement: sa.Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Inserts rows that have a value for every column."""
        text, _ = self._text(statement)
        self._connection.executemany(text, rows)

    def _execute(self, statement: sa.Executable, values: Mapping[str, Any]) -> sqlite3.Cursor:
        text, constants = self._text(statement)
        return self._connection.execute(text, {**constants, **values})

    def _text(self, statement: sa.Executable) -> tuple[str, Mapping[str, Any]]:
        """The statement, and the values that are part of it."""
        if statement not in self._compiled:
            compiled = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
            self._compiled[statement] = (str(compiled), dict(compiled.params))
        return self._compiled[statement]


class Database:
    """Runs transactions. Raises the failures of the database as `cadre_kit.databases` says them."""

    def __init__(self, url: str) -> None:
        migrate(url, migrations=_MIGRATIONS, name=_NAME)
        self._engine = open_blocking_database(url)
        with database_errors(_NAME):
            self._plain = connect_sqlite(url)
        self._fast = Fast(self._plain)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-reader")

    async def write_fast(self, work: Callable[[Fast], Answer]) -> Answer:
        """As `write`, for what each step of each run does."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, self._fast_transaction, work)

    async def write(self, work: Work[Answer]) -> Answer:
        """What `work` gives, once all that it did is stored; nothing of it is when it raises. One at a time."""
        return await self._run(self._writer, work, _BEGIN_WRITE)

    async def read(self, work: Work[Answer]) -> Answer:
        """What `work` gives; it sees one state of the database."""
        return await self._run(self._readers, work, "BEGIN")

    def close(self) -> None:
        """Waits for transactions under way and closes the files."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._plain.close()
        self._engine.dispose()

    async def _run(self, threads: ThreadPoolExecutor, work: Work[Answer], begin: str) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, self._transaction, work, begin)

    def _transaction(self, work: Work[Answer], begin: str) -> Answer:
        with database_errors(_NAME), self._engine.begin() as connection:
            connection.exec_driver_sql(begin)
            return work(connection)

    def _fast_transaction(self, work: Callable[[Fast], Answer]) -> Answer:
        # The connection commits when its block is left, and rolls back when that raises.
        with database_errors(_NAME), self._plain:
            self._plain.execute(_BEGIN_WRITE)
            return work(self._fast)
