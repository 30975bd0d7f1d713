"""The ledger on each database that it can be kept in, and every way to a provider that speaks its wire format."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from tests.fakes.providers import ProviderServer, provider_server
from tests.fakes.speeches import SPEECHES, Speech
from tests.postgresql import Postgresql

from cadre_llm_proxy.adapters import sql_ledger
from cadre_llm_proxy.adapters.litellm_library import LitellmLibrary
from cadre_llm_proxy.adapters.litellm_models import LitellmModels
from cadre_llm_proxy.adapters.openai_http import OpenAiHttp, Patience
from cadre_llm_proxy.adapters.sql_ledger import SqlLedger
from cadre_llm_proxy.domain import calls
from cadre_llm_proxy.domain.completions import Models

KEY = "sk-secret-contract"
PATIENCE = Patience(connect_seconds=1.5, first_token_seconds=0.5)
Open = Callable[[], Awaitable[SqlLedger]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/llm-proxy.db"
    else:
        server: Postgresql = request.getfixturevalue("postgresql_server")
        url = server.fresh()
    return url


@pytest_asyncio.fixture
async def open_ledger(database_url: str) -> AsyncIterator[Open]:
    """Opens the test's database; each time as another process does."""
    opened: list[SqlLedger] = []

    async def opens() -> SqlLedger:
        ledger = await sql_ledger.open_ledger(database_url)
        opened.append(ledger)
        await ledger.join()
        return ledger

    yield opens
    for ledger in opened:
        await ledger.close()


@pytest_asyncio.fixture
async def ledger(open_ledger: Open) -> SqlLedger:
    return await open_ledger()


@pytest.fixture(params=SPEECHES)
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


@pytest_asyncio.fixture(loop_scope="session")
async def provider() -> AsyncIterator[ProviderServer]:
    async with provider_server() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def ways() -> AsyncIterator[dict[bool, Models]]:
    library = LitellmLibrary()
    # Else the first call would wait for that, within its time.
    await library.loaded()
    direct = OpenAiHttp(PATIENCE)
    yield {True: direct, False: LitellmModels(library, PATIENCE)}
    await direct.close()
    await library.close()


@pytest.fixture
def models(speech: Speech, ways: dict[bool, Models]) -> Models:
    return ways[speech.straight]


@pytest.fixture
def ask(speech: Speech, provider: ProviderServer) -> calls.Ask:
    return calls.Ask(
        target=calls.Target(
            provider=speech.provider,
            model=speech.model,
            api_base=provider.url + speech.path,
            api_key=SecretStr(KEY),
        ),
        options=calls.Options(),
        messages=(calls.Message(role=calls.Role.USER, content="PROMPT"),),
        output_schema=None,
        seconds=60,
    )
