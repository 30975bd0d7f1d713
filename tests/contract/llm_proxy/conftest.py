"""The ledger on each database that it can be kept in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.postgresql import Postgresql

from cadre_kit.databases import migrate, open_blocking_database
from cadre_llm_proxy.adapters.sql_ledger import MIGRATIONS, NAME, SqlLedger

Open = Callable[[], Awaitable[SqlLedger]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/llm-proxy.db"
    else:
        server: Postgresql = request.getfixturevalue("postgresql_server")
        url = server.fresh()
    migrate(url, migrations=MIGRATIONS, name=NAME)
    return url


@pytest_asyncio.fixture
async def open_ledger(database_url: str) -> AsyncIterator[Open]:
    """Opens the test's database; each time as another process does."""
    opened: list[SqlLedger] = []

    async def opens() -> SqlLedger:
        ledger = SqlLedger(open_blocking_database(database_url))
        opened.append(ledger)
        await ledger.join()
        return ledger

    yield opens
    for ledger in opened:
        await ledger.close()


@pytest_asyncio.fixture
async def ledger(open_ledger: Open) -> SqlLedger:
    return await open_ledger()
