"""Writes to one database, grouped: whatever is ready goes into one transaction on a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from cadre_kit.databases import DatabaseFull, DatabaseLocked, database_errors
from cadre_kit.errors import CadreError

__all__ = ["GroupedWrites"]

Result = TypeVar("Result")
_MOST_AT_ONCE = 200
# Any number that other users of the database do not lock.
_POSTGRESQL_LOCK = 7_411_001


@dataclass(frozen=True, kw_only=True)
class _Write:
    work: Callable[[sa.Connection], Any]
    done: asyncio.Future[Any]


class GroupedWrites:
    """One transaction at a time among all processes of a database, each with all writes that wait for it, in order.

    A write that raises a CadreError must not have changed anything; the others of its transaction go on.
    """

    def __init__(self, engine: sa.Engine, *, name: str) -> None:
        self._engine = engine
        self._name = name
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-writer")
        self._waiting: list[_Write] = []
        self._flushing: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[sa.Connection], Result]) -> Result:
        """What `work` returns, once its transaction is committed. Raises the database's errors, and those of `work`."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(work=work, done=done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await done

    def close(self) -> None:
        """Ends the thread, after what it is at."""
        self._thread.shutdown()

    async def _flush(self) -> None:
        while self._waiting:
            ready, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            for write, outcome in zip(ready, await self._outcomes(ready), strict=True):
                _tell(write.done, outcome)
        self._flushing = None

    async def _outcomes(self, ready: Sequence[_Write]) -> Sequence[Any]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._written, ready)
        except Exception as error:  # noqa: BLE001 - the outermost frame of the writer; whoever waits gets it
            return [error] * len(ready)

    def _written(self, ready: Sequence[_Write]) -> list[Any]:
        try:
            return self._transaction(ready)
        except (DatabaseLocked, DatabaseFull) as error:
            return [error] * len(ready)
        except CadreError as error:
            if len(ready) == 1:
                return [error]
        # One of them may be what the database does not take: each is tried by itself.
        return [outcome for write in ready for outcome in self._written([write])]

    def _transaction(self, ready: Sequence[_Write]) -> list[Any]:
        with database_errors(self._name), self._begun() as connection:
            return [_outcome(write.work, connection) for write in ready]

    @contextmanager
    def _begun(self) -> Iterator[sa.Connection]:
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})")
            yield connection


def _outcome(work: Callable[[sa.Connection], Any], connection: sa.Connection) -> Any:
    try:
        return work(connection)
    except CadreError as refused:
        return refused


def _tell(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
