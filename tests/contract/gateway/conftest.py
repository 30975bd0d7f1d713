"""The gateway's database, of each kind that it can have."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cadre_gateway.adapters.database import open_gateway_database
from cadre_kit.transactions import Transactions

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(params=KINDS)
async def database(request: Any, tmp_path: Path) -> AsyncIterator[Transactions]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/gateway.db"
    else:
        url = request.getfixturevalue("postgresql_server").fresh()
    found = await open_gateway_database(url)
    yield found
    await found.close()
