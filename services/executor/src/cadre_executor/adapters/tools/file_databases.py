"""Queries of SQLite and DuckDB files, in a thread that can be stopped."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import duckdb

from cadre_executor.adapters.tools.rows import Query, Rows, collect, query_failed
from cadre_executor.domain.tools import ToolFailed

__all__ = ["ask_duckdb", "ask_sqlite_copy", "ask_sqlite_file", "in_thread"]

_STOP_SECONDS = 2.0
_OPERATIONS_BETWEEN_LOOKS = 10_000
_MAX_VALUE_BYTES = 16 * 1024 * 1024
# All that a SELECT needs; anything that writes, attaches or sets is refused by SQLite while it compiles the statement.
_ALLOWED = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_DUCKDB: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": "512MB",
    "threads": "1",
    "temp_directory": "",
    "lock_configuration": "true",
}


class Stop:
    """Tells a query in a thread to end."""

    def __init__(self) -> None:
        self._said = threading.Event()
        self._interrupt: Callable[[], None] | None = None

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """What ends the work inside, should it have to."""
        self._interrupt = interrupt
        try:
            yield
        finally:
            self._interrupt = None

    def is_said(self) -> bool:
        """Whether to end."""
        return self._said.is_set()

    def say(self) -> None:
        """End, now."""
        self._said.set()
        interrupt = self._interrupt
        if interrupt is not None:
            # It may have ended meanwhile.
            with contextlib.suppress(sqlite3.Error, duckdb.Error):
                interrupt()


async def in_thread(work: Callable[[Stop], Rows], *, seconds: float) -> Rows:
    """What `work` gives. Cancelling, and the end of its time, stop it within two seconds. Raises ToolFailed."""
    stop = Stop()
    task = asyncio.create_task(asyncio.to_thread(work, stop))
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(task)
    except TimeoutError as exc:
        raise ToolFailed(
            f"the query took longer than {seconds:g} s",
            code="QUERY_TIMEOUT",
            resolution="Ask for less, or set the tool's timeout_seconds.",
            metadata={"seconds": f"{seconds:g}"},
        ) from exc
    finally:
        await _stopped(task, stop)


async def _stopped(task: asyncio.Task[Rows], stop: Stop) -> None:
    deadline = asyncio.get_running_loop().time() + _STOP_SECONDS
    while not task.done() and asyncio.get_running_loop().time() < deadline:
        stop.say()
        await asyncio.wait([task], timeout=0.1)
    if task.done() and not task.cancelled():
        task.exception()


def ask_sqlite_copy(content: bytes, query: Query, stop: Stop) -> Rows:
    """Asks a database given as its bytes: no file is opened, so none can be swapped or written."""
    with contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        with _translated(stop):
            connection.deserialize(_without_wal(content))
        return _ask_sqlite(connection, query, stop)


def ask_sqlite_file(path: str, query: Query, stop: Stop) -> Rows:
    """Asks a file that the operator named."""
    address = f"file:{quote(path)}?mode=ro"
    with _translated(stop):
        connection = sqlite3.connect(address, uri=True, check_same_thread=False)
    with contextlib.closing(connection):
        return _ask_sqlite(connection, query, stop)


def ask_duckdb(path: str, query: Query, stop: Stop) -> Rows:
    """Asks a DuckDB file, opened to read, with no other file or network in reach."""
    with _translated(stop):
        connection = duckdb.connect(path, read_only=True, config=_DUCKDB)
        with contextlib.closing(connection), stop.interrupting(connection.interrupt):
            if len(connection.extract_statements(query.text)) != 1:
                raise query_failed("there is more than one statement, or none")
            connection.execute(query.text, list(query.parameters))
            columns = [column[0] for column in connection.description or ()]
            return collect(columns, _fetched(connection.fetchmany), max_rows=query.max_rows)


def _ask_sqlite(connection: sqlite3.Connection, query: Query, stop: Stop) -> Rows:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000)
    connection.set_progress_handler(stop.is_said, _OPERATIONS_BETWEEN_LOOKS)
    with _translated(stop), stop.interrupting(connection.interrupt):
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_authorize)
        cursor = connection.execute(query.text, list(query.parameters))
        columns = [column[0] for column in cursor.description or ()]
        return collect(columns, _fetched(cursor.fetchmany), max_rows=query.max_rows)


def _authorize(
    action: int, first: str | None, second: str | None, database: str | None, trigger: str | None
) -> int:
    allowed = action in _ALLOWED and (second or "").lower() not in _REFUSED_FUNCTIONS
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _fetched(fetch: Callable[[int], Sequence[Any]]) -> Iterator[Sequence[Any]]:
    while rows := fetch(100):
        yield from rows


@contextmanager
def _translated(stop: Stop) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, duckdb.Error, OverflowError) as exc:
        if stop.is_said():
            raise ToolFailed("the query was stopped", code="QUERY_STOPPED") from exc
        raise query_failed(str(exc)) from exc


def _without_wal(content: bytes) -> bytes:
    """A copy in memory can have no write-ahead log; what is still in the log of the file is not seen."""
    return content[:18] + b"\x01\x01" + content[20:] if content[18:20] == b"\x02\x02" else content
