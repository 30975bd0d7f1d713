"""The stores that the contract is for, on real files, with a clock that tests move."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from cadre_kit.databases import connect_sqlite, migrate
from cadre_memory.adapters.sqlite import SqliteStore
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.app import MIGRATIONS
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.memories import Memories
from cadre_memory.domain.searches import Searches

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
    migrate(url, migrations=MIGRATIONS, name="memory")
    return url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def embedder() -> WordLlamaEmbedder:
    return WordLlamaEmbedder()


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(partial(connect_sqlite, url), model=MODEL)
    yield store
    await store.close()


@pytest.fixture
def memories(store: SqliteStore, embedder: WordLlamaEmbedder, clock: Clock) -> Memories:
    searches = Searches(store, held_bytes=64 * 1024 * 1024)
    return Memories(store=store, searches=searches, embedder=embedder, clock=clock)


@pytest.fixture
def conversations(store: SqliteStore, embedder: WordLlamaEmbedder, clock: Clock) -> Conversations:
    return Conversations(store=store, embedder=embedder, clock=clock)
