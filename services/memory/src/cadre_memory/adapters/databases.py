"""Which database an address names: how it is brought up to date, and how it is connected to."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cadre_kit.databases import migrate
from cadre_kit.errors import InvalidInput
from cadre_memory.adapters.connections import Connection, PostgresConnection, SqliteConnection

_PACKAGE = Path(__file__).parents[1]


def opened(url: str) -> Callable[[], Connection]:
    """Migrates the database, and answers what connects to it. Raises InvalidInput, Unavailable or DataLost."""
    if url.startswith("sqlite:///"):
        migrate(url, migrations=_PACKAGE / "migrations", name="memory")
        return partial(SqliteConnection.to, url)
    if url.startswith("postgresql://"):
        # So that what is wrong with the address or the server is said as of any later connection.
        PostgresConnection.to(url).close()
        driven = url.replace("postgresql://", "postgresql+psycopg://", 1)
        migrate(driven, migrations=_PACKAGE / "migrations_postgresql", name="memory")
        return partial(PostgresConnection.to, url)
    raise InvalidInput(
        "memories can only be kept in SQLite or PostgreSQL",
        resolution="Set CADRE_MEMORY_DATABASE_URL to sqlite:///PATH or postgresql://..., or leave it empty.",
        code="UNKNOWN_DATABASE_URL",
    )
