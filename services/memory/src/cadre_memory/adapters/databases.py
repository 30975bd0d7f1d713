"""Which database an address names: how it is brought up to date, connected to and checked."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cadre_kit.databases import migrate
from cadre_kit.errors import CadreError, InvalidInput
from cadre_memory.adapters.checks import Finding, contradictions
from cadre_memory.adapters.connections import Connection, PostgresConnection, SqliteConnection
from cadre_memory.adapters.redis_checks import redis_contradictions
from cadre_memory.adapters.redis_connections import check_server, connect_redis
from cadre_memory.adapters.redis_store import RedisStore
from cadre_memory.adapters.sql import SqlStore
from cadre_memory.domain.stores import Store

_SQLITE = "sqlite:///"
_REDIS = ("redis://", "rediss://")
_PACKAGE = Path(__file__).parents[1]


async def open_store(url: str, *, model: str, understood: bool = True) -> Store:
    """The store of an address; what is stored is understood by a model at once, or else later. Raises as `opened`."""
    if not url.startswith(_REDIS):
        at_hand = url.startswith(_SQLITE)
        return SqlStore(opened(url), model=model, understood=understood, at_hand=at_hand)
    redis = connect_redis(url)
    try:
        keeps = await check_server(redis)
    except CadreError:
        await redis.aclose()
        raise
    return RedisStore(redis, model=model, understood=understood, keeps=keeps)


async def findings(url: str) -> list[Finding]:
    """All that does not agree in a database. Raises as `opened`."""
    if url.startswith(_REDIS):
        return await redis_contradictions(connect_redis(url))
    connection = opened(url)()
    try:
        return contradictions(connection)
    finally:
        connection.close()


def opened(url: str) -> Callable[[], Connection]:
    """Migrates an SQL database, and answers what connects to it. Raises InvalidInput, Unavailable or DataLost."""
    if url.startswith(_SQLITE):
        migrate(url, migrations=_PACKAGE / "migrations", name="memory")
        return partial(SqliteConnection.to, url)
    if url.startswith("postgresql://"):
        # So that what is wrong with the address or the server is said as of any later connection.
        PostgresConnection.to(url).close()
        driven = url.replace("postgresql://", "postgresql+psycopg://", 1)
        migrate(driven, migrations=_PACKAGE / "migrations_postgresql", name="memory")
        return partial(PostgresConnection.to, url)
    raise InvalidInput(
        "memories can only be kept in SQLite, PostgreSQL or Redis",
        resolution="Set CADRE_MEMORY_DATABASE_URL to sqlite:///PATH, postgresql://... or redis://..., or to nothing.",
        code="UNKNOWN_DATABASE_URL",
    )
