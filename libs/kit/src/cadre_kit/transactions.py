"""Transactions on SQLite or PostgreSQL, said once: functions over a connection, or over a few fast statements.

On SQLite one thread writes and a few read, and a transaction is one hop to a thread and back, whatever it does; with
aiosqlite each statement would be one, which costs more than the statements together. Fast writes that come together are
stored together, in one commit.

On PostgreSQL each transaction has a connection of a pool, and an end after ten seconds: a service that is cut off from
its database is told so, and does not hang.
"""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from cadre_kit.databases import (
    DatabaseUnavailable,
    connect_sqlite,
    database_errors,
    is_postgresql,
    open_blocking_database,
    open_postgresql,
)
from cadre_kit.errors import CadreError

__all__ = ["ConnectionStatements", "Statements", "Transactions", "open_transactions"]

_READERS = 3
_TRANSACTION_SECONDS = 10.0
_COMMITS_PER_LOG = 500
# 32 MiB. Moving a log that long to its end holds writes up, for this long at most when readers are in the way.
_LONG_LOG_PAGES = 8192
_LOG_MS = 50
_MOST_AT_ONCE = 200
_GATHERING_SECONDS = 0.004
# Of transactions that insert the same key, or wait for each other, one goes through; the others find what it did when
# they begin anew. PostgreSQL's codes: unique_violation, serialization_failure, deadlock_detected.
_BEGIN_ANEW = frozenset({"23505", "40001", "40P01"})
_TRIES = 10
_PAUSE_SECONDS = 0.02
# SQLite gives the right to write to one connection; asking for it first avoids finding another's writes between our
# reading and our writing, which cannot be waited for.
_BEGIN_WRITE = "BEGIN IMMEDIATE"
_DIALECT = sqlite.dialect(paramstyle="named")

Answer = TypeVar("Answer")


class Statements(Protocol):
    """Statements within a transaction that cost little; built once and kept, their values left open."""

    def rows(
        self, statement: sa.Executable, values: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """All rows, as their columns' names and what the driver has for them."""

    def scalar(self, statement: sa.Executable, values: Mapping[str, Any]) -> Any:
        """The first value of the first row; None when there is no row."""

    def change(self, statement: sa.Executable, values: Mapping[str, Any]) -> int:
        """How many rows the statement changed."""

    def add(self, statement: sa.Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Inserts rows that have a value for every column."""


class Transactions(Protocol):
    """Runs functions as transactions. Raises the failures of the database as `cadre_kit.databases` says them, and what
    the function raises; then nothing of it is stored. A function may run more than once, the last time counts."""

    async def write(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        """What `work` gives, once all that it did is stored."""

    async def write_fast(self, work: Callable[[Statements], Answer]) -> Answer:
        """As `write`, for what happens all the time. Those that come together may become one transaction, in which one
        that raises takes nothing back of the others."""

    async def read(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        """What `work` gives; it sees one state of the database."""

    async def read_fast(self, work: Callable[[Statements], Answer]) -> Answer:
        """As `read`, for what is asked all the time and finds little."""

    async def close(self) -> None:
        """Waits for transactions under way and lets go of the database."""


def open_transactions(
    url: str, *, name: str, strict: bool, lock: int | None = None
) -> Transactions:
    """For `sqlite:///PATH` or `postgresql://...`, already migrated; `name` says in errors whose database it is.

    `strict` keeps what was stored when the power fails, at the cost of a wait for the disk with each transaction.
    Writes of all processes that name the same `lock` happen one after another, as on SQLite they always do.
    Raises InvalidInput for other addresses.
    """
    if not is_postgresql(url):
        return _Sqlite(url, name=name, strict=strict)
    engine = open_postgresql(url, strict=strict)
    if lock is None:
        return _Postgresql(engine, name=name)
    return _PostgresqlInTurn(engine, name=name, lock=lock)


@dataclass(frozen=True, kw_only=True)
class _Job(Generic[Answer]):
    """A fast write that waits for its turn."""

    work: Callable[[Statements], Answer]
    answer: "asyncio.Future[Answer]"

    def settle(self, result: Answer | None, error: BaseException | None) -> None:
        """Gives the answer, unless nobody waits for it any more."""
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(result)  # type: ignore[arg-type]  # without an error it is the work's


_Settled: TypeAlias = list[tuple[_Job[Any], Any, Exception | None]]


class _SqliteStatements:
    """Statements on the driver's own connection: SQLAlchemy's work on one costs ten times what SQLite's does."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._compiled: dict[sa.Executable, tuple[str, Mapping[str, Any]]] = {}

    def rows(
        self, statement: sa.Executable, values: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        """All rows, as their columns' names and what the driver has for them."""
        found = self._execute(statement, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

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


class _Sqlite:
    """Fast writes are stored where they come from: a commit takes a tenth of a millisecond, less than a hop to a thread
    and back, as fast reads do. Whatever may take longer does not happen there: waiting for another writer, for the disk
    (`strict`), and moving the log into the file, which is a thread's.

    A commit costs more than what is written with it. It waits until as many writes have come as it had the last time,
    for a few milliseconds at most: one that comes alone waits for nothing, and of many at once each commit has several.
    """

    def __init__(self, url: str, *, name: str, strict: bool) -> None:
        self._name = name
        self._strict = strict
        self._engine = open_blocking_database(url)
        with database_errors(name):
            self._here = connect_sqlite(url)
            self._patient = connect_sqlite(url, strict=strict)
            self._log = connect_sqlite(url)
            self._look = connect_sqlite(url)
            self._here.execute("PRAGMA busy_timeout=0")
            self._log.execute(f"PRAGMA busy_timeout={_LOG_MS}")
            for connection in (self._here, self._patient):
                connection.execute("PRAGMA wal_autocheckpoint=0")
        if strict:
            sa.event.listen(self._engine, "connect", _wait_for_the_disk)
        self._statements = {each: _SqliteStatements(each) for each in (self._here, self._patient)}
        self._looking = _SqliteStatements(self._look)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-reader")
        self._jobs: list[_Job[Any]] = []
        self._expected = 1
        self._storing: asyncio.Handle | None = None
        self._batches_waiting = 0
        self._commits = 0

    async def write_fast(self, work: Callable[[Statements], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        job = _Job(work=work, answer=loop.create_future())
        self._jobs.append(job)
        if len(self._jobs) == self._expected:
            if self._storing is not None:
                self._storing.cancel()
            self._storing = loop.call_soon(self._store_jobs, loop)
        elif self._storing is None:
            self._storing = loop.call_later(_GATHERING_SECONDS, self._store_jobs, loop)
        answer: Answer = await job.answer
        return answer

    async def write(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        return await self._run(self._writer, work, _BEGIN_WRITE)

    async def read(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        return await self._run(self._readers, work, "BEGIN")

    async def read_fast(self, work: Callable[[Statements], Answer]) -> Answer:
        with database_errors(self._name):
            self._look.execute("BEGIN")
            try:
                return work(self._looking)
            finally:
                self._look.execute("COMMIT")

    async def close(self) -> None:
        await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        for connection in (self._here, self._patient, self._log, self._look):
            connection.close()
        self._engine.dispose()

    async def _run(
        self, threads: ThreadPoolExecutor, work: Callable[[sa.Connection], Answer], begin: str
    ) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, self._transaction, work, begin)

    def _transaction(self, work: Callable[[sa.Connection], Answer], begin: str) -> Answer:
        with database_errors(self._name), self._engine.begin() as connection:
            connection.exec_driver_sql(begin)
            return work(connection)

    def _store_jobs(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stores all that came."""
        jobs, self._jobs = self._jobs, []
        self._expected, self._storing = len(jobs), None
        # Behind a batch that waits, in order.
        waits = self._strict or self._batches_waiting > 0
        settled = None if waits else self._stored_at_once(jobs)
        if settled is None:
            self._batches_waiting += 1
            self._writer.submit(self._store_patiently, jobs, loop)
        else:
            _settle(settled)
        self._commits += 1
        if self._commits % _COMMITS_PER_LOG == 0:
            self._writer.submit(self._move_log)

    def _stored_at_once(self, jobs: Sequence[_Job[Any]]) -> _Settled | None:
        """None, with nothing stored, when another connection writes."""
        try:
            self._here.execute(_BEGIN_WRITE)
        except sqlite3.OperationalError:
            return None
        return self._stored(self._here, jobs)

    def _store_patiently(self, jobs: Sequence[_Job[Any]], loop: asyncio.AbstractEventLoop) -> None:
        """Stores them in the writer's thread."""
        try:
            with database_errors(self._name):
                self._patient.execute(_BEGIN_WRITE)
            settled = self._stored(self._patient, jobs)
        except CadreError as error:
            settled = [(job, None, error) for job in jobs]
        # A loop that has ended waits for nothing.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._settle_waiting, settled)

    def _settle_waiting(self, settled: _Settled) -> None:
        self._batches_waiting -= 1
        _settle(settled)

    def _stored(self, connection: sqlite3.Connection, jobs: Sequence[_Job[Any]]) -> _Settled:
        """Does the writes of a transaction that has begun, and commits it."""
        statements = self._statements[connection]
        try:
            # Commits when the block is left, and rolls back when that raises.
            with database_errors(self._name), connection:
                if len(jobs) == 1:
                    return [(jobs[0], jobs[0].work(statements), None)]
                return [(job, *self._one_of_many(connection, job)) for job in jobs]
        except Exception as error:  # noqa: BLE001 - the outermost frame of the writes; whoever waits gets it
            return [(job, None, error) for job in jobs]

    def _one_of_many(
        self, connection: sqlite3.Connection, job: _Job[Any]
    ) -> tuple[Any, Exception | None]:
        """The result of a write, or its own error, which takes back nothing of the others."""
        connection.execute("SAVEPOINT job")
        try:
            with database_errors(self._name):
                return job.work(self._statements[connection]), None
        except Exception as error:
            if not connection.in_transaction:
                # A full disk takes back the others as well.
                raise
            connection.execute("ROLLBACK TO job")
            return None, error
        finally:
            if connection.in_transaction:
                connection.execute("RELEASE job")

    def _move_log(self) -> None:
        """Moves what was written into the file itself, as far as no reader is in the way."""
        with suppress(sqlite3.Error):
            _, pages, _ = self._log.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > _LONG_LOG_PAGES:
                # It never gets to the end of one that is written to all the time, which would only grow.
                self._log.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class ConnectionStatements:
    """Statements on SQLAlchemy's connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def rows(
        self, statement: sa.Executable, values: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Any]]:
        return [dict(row) for row in self._connection.execute(statement, values).mappings()]

    def scalar(self, statement: sa.Executable, values: Mapping[str, Any]) -> Any:
        return self._connection.execute(statement, values).scalar()

    def change(self, statement: sa.Executable, values: Mapping[str, Any]) -> int:
        return self._connection.execute(statement, values).rowcount

    def add(self, statement: sa.Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        self._connection.execute(statement, [*rows])


class _Postgresql:
    def __init__(self, engine: AsyncEngine, *, name: str) -> None:
        self._engine = engine
        self._name = name

    async def write_fast(self, work: Callable[[Statements], Answer]) -> Answer:
        return await self.write(lambda connection: work(ConnectionStatements(connection)))

    async def write(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        with database_errors(self._name):
            for _ in range(_TRIES - 1):
                try:
                    return await self._transaction(work)
                except sa.exc.DBAPIError as exc:
                    if getattr(exc.orig, "sqlstate", "") not in _BEGIN_ANEW:
                        raise
                await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS))
            return await self._transaction(work)

    async def read(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        return await self.write(work)

    async def read_fast(self, work: Callable[[Statements], Answer]) -> Answer:
        return await self.read(lambda connection: work(ConnectionStatements(connection)))

    async def close(self) -> None:
        await self._engine.dispose()

    async def _transaction(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        try:
            async with asyncio.timeout(_TRANSACTION_SECONDS), self._engine.begin() as connection:
                return await connection.run_sync(work)
        except TimeoutError as exc:
            raise DatabaseUnavailable(
                f"the {self._name} database did not answer within {_TRANSACTION_SECONDS:g} s",
                resolution="Check that PostgreSQL runs and can be reached.",
                metadata={"database": self._name},
            ) from exc


class _PostgresqlInTurn(_Postgresql):
    """One write at a time among all processes with the same lock: all fast ones that wait for their turn are one
    transaction."""

    def __init__(self, engine: AsyncEngine, *, name: str, lock: int) -> None:
        super().__init__(engine, name=name)
        self._lock = sa.text(f"SELECT pg_advisory_xact_lock({lock:d})")
        self._jobs: list[_Job[Any]] = []
        self._storing: asyncio.Task[None] | None = None

    async def write_fast(self, work: Callable[[Statements], Answer]) -> Answer:
        job = _Job(work=work, answer=asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_jobs())
        answer: Answer = await job.answer
        return answer

    async def write(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        def in_turn(connection: sa.Connection) -> Answer:
            connection.execute(self._lock)
            return work(connection)

        return await super().write(in_turn)

    async def read(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        return await super().write(work)

    async def close(self) -> None:
        if self._storing is not None:
            await self._storing
        await super().close()

    async def _store_jobs(self) -> None:
        while self._jobs:
            jobs, self._jobs = self._jobs[:_MOST_AT_ONCE], self._jobs[_MOST_AT_ONCE:]
            _settle(await self._stored(jobs))
        self._storing = None

    async def _stored(self, jobs: Sequence[_Job[Any]]) -> _Settled:
        try:
            return await self.write(lambda connection: self._each_stored(connection, jobs))
        except Exception as error:  # noqa: BLE001 - the outermost frame of the writes; whoever waits gets it
            return [(job, None, error) for job in jobs]

    def _each_stored(self, connection: sa.Connection, jobs: Sequence[_Job[Any]]) -> _Settled:
        statements = ConnectionStatements(connection)
        settled: _Settled = []
        for job in jobs:
            try:
                with database_errors(self._name), connection.begin_nested():
                    settled.append((job, job.work(statements), None))
            except Exception as error:
                if connection.closed or connection.invalidated:
                    raise
                settled.append((job, None, error))
        return settled


def _settle(settled: _Settled) -> None:
    for job, result, error in settled:
        job.settle(result, error)


def _wait_for_the_disk(connection: Any, _entry: Any) -> None:
    connection.execute("PRAGMA synchronous=FULL")
