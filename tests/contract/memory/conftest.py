"""The stores that the contract is for, on real files, with a clock that tests move."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.postgresql import Postgresql
from tests.redis_server import RedisServer

from cadre_memory.adapters.databases import open_store, opened
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.memories import Memories
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.stores import Store

MODEL = WordLlamaEmbedder().model


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/memory.db"
    opened(url)
    return url


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("redis", marks=pytest.mark.redis),
    ]
)
def any_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        found: str = request.getfixturevalue("url")
        return found
    own = {"postgresql": "postgresql_server", "redis": "redis_at"}[request.param]
    server: Postgresql | RedisServer = request.getfixturevalue(own)
    database: str = request.getfixturevalue(f"{request.param}_url")
    server.empty(database)
    return database


@pytest.fixture(scope="session")
def redis_url(redis_at: RedisServer) -> str:
    """One database for all tests, which take turns with it."""
    return redis_at.fresh()


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: Postgresql) -> str:
    """One database for all tests, which take turns with it: making its tables takes longer than emptying them."""
    return postgresql_server.fresh()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def embedder() -> WordLlamaEmbedder:
    return WordLlamaEmbedder()


@pytest.fixture
async def store(any_url: str) -> AsyncIterator[Store]:
    store = await open_store(any_url, model=MODEL)
    yield store
    await store.close()


@pytest.fixture
def memories(store: Store, embedder: WordLlamaEmbedder, clock: Clock) -> Memories:
    searches = Searches(store, held_bytes=64 * 1024 * 1024)
    return Memories(store=store, searches=searches, embedder=embedder, clock=clock)


@pytest.fixture
def conversations(store: Store, embedder: WordLlamaEmbedder, clock: Clock) -> Conversations:
    return Conversations(store=store, embedder=embedder, clock=clock)
