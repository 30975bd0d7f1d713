"""Who works with the database: threads that each own a connection, with a line of work before them; and, for what is
done sooner than another thread has begun to, whoever asks."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cadre_kit.databases import database_errors
from cadre_kit.errors import Unavailable
from cadre_memory.adapters.connections import Connection

WAITING = 1_000

Answer = TypeVar("Answer")


class StoreBusy(Unavailable):
    """More work waits for the database than is let wait."""

    code = "STORE_BUSY"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{WAITING} {name} wait for the memory database already",
            resolution="Try again later, and look for what keeps the database busy or locked.",
            metadata={"waiting": str(WAITING)},
        )


class Lane:
    """Runs jobs on `threads` threads, each with a connection that `connect` opened in it.

    A job whose caller went away is dropped if it did not begin; one that did begin is done to its end.
    """

    def __init__(self, name: str, *, threads: int, connect: Callable[[], Connection]) -> None:
        self._name = name
        self._connect = connect
        self._own = threading.local()
        self._opened: list[Connection] = []
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._waiting = 0

    async def run(self, job: Callable[[Connection], Answer]) -> Answer:
        """The job's answer. Raises StoreBusy when too much waits, and the database's errors as the kit's."""
        if self._waiting >= WAITING:
            raise StoreBusy(self._name)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._do, job)
        finally:
            self._waiting -= 1

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and nothing waits."""
        return not self._waiting

    async def close(self) -> None:
        """Ends the threads after the work they have begun, and closes their connections."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
        for connection in self._opened:
            connection.close()

    def _do(self, job: Callable[[Connection], Answer]) -> Answer:
        with database_errors("memory"):
            return job(self._connection())

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None or connection.closed:
            connection = self._connect()
            self._own.connection = connection
            self._opened.append(connection)
        return connection


class Shortcut:
    """Does short jobs in the thread of its caller, an event loop's: for a database in a file, where handing them to
    another thread takes longer than they do. It waits for nobody who writes, and leaves to others to bring what it
    wrote from the log into the file, which waits for the disk."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._own: Connection | None = None

    def run(self, job: Callable[[Connection], Answer]) -> Answer:
        """The job's answer. Raises DatabaseLocked at once where another writes, else as a lane does."""
        with database_errors("memory"):
            return job(self._connection())

    def close(self) -> None:
        """Closes its connection."""
        if self._own is not None:
            self._own.close()

    def _connection(self) -> Connection:
        if self._own is None:
            self._own = self._connect()
            self._own.execute("PRAGMA busy_timeout = 0")
            self._own.execute("PRAGMA wal_autocheckpoint = 0")
        return self._own
