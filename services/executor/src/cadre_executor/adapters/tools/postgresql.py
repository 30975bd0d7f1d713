"""Queries of a PostgreSQL server, in transactions that cannot write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from cadre_executor.adapters.tools.rows import Query, Rows, collect, query_failed
from cadre_executor.domain.tools import ToolFailed

__all__ = ["ask_postgresql"]

_CONNECT_SECONDS = 10
# The server gives up a little after we do, should it not hear of it.
_GRACE_SECONDS = 2.0


async def ask_postgresql(url: str, query: Query) -> Rows:
    """The first rows. A cursor takes only a SELECT, its transaction cannot write, and the server ends it in time."""
    try:
        async with asyncio.timeout(query.seconds):
            async with _connected(url, query.seconds) as connection:
                return await _asked(connection, query)
    except (psycopg.errors.QueryCanceled, TimeoutError) as exc:
        raise ToolFailed(
            f"the query took longer than {query.seconds:g} s",
            code="QUERY_TIMEOUT",
            resolution="Ask for less, or set the tool's timeout_seconds.",
            metadata={"seconds": f"{query.seconds:g}"},
        ) from exc


@asynccontextmanager
async def _connected(
    url: str, seconds: float
) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    milliseconds = round((seconds + _GRACE_SECONDS) * 1000)
    try:
        connection = await psycopg.AsyncConnection.connect(
            url,
            connect_timeout=_CONNECT_SECONDS,
            options=f"-c statement_timeout={milliseconds} -c default_transaction_read_only=on",
            application_name="cadre sql_query",
        )
    except psycopg.Error as exc:
        raise ToolFailed(
            "the database cannot be connected to",
            code="DATABASE_UNREACHABLE",
            resolution="Check the address under the name that url_env says, and that the server runs.",
        ) from exc
    try:
        yield connection
    finally:
        await connection.close()


async def _asked(connection: psycopg.AsyncConnection[tuple[Any, ...]], query: Query) -> Rows:
    try:
        await connection.set_read_only(True)
        async with psycopg.AsyncRawCursor(connection) as cursor:
            # Prepared, so that the server takes only one statement.
            await cursor.execute(
                f"DECLARE answer NO SCROLL CURSOR FOR {query.text}".encode(),
                query.parameters,
                prepare=True,
            )
            await cursor.execute(f"FETCH {query.max_rows + 1} FROM answer".encode())
            columns = [column.name for column in cursor.description or ()]
            return collect(columns, await cursor.fetchall(), max_rows=query.max_rows)
    except psycopg.errors.QueryCanceled:
        raise
    except (psycopg.Error, ValueError) as exc:
        raise query_failed(str(exc)) from exc
