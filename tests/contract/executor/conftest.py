"""The executor's database, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cadre_executor.adapters.database import open_executor_database
from cadre_kit.transactions import Transactions

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(params=KINDS)
async def database(request: Any, tmp_path: Path) -> AsyncIterator[Transactions]:
    """A new one."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/executor.db"
    else:
        url = request.getfixturevalue("postgresql_server").fresh()
    found = await open_executor_database(url)
    yield found
    await found.close()
