"""Any sequence of calls, against a dictionary that expires by the same clock."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from cadre_memory.adapters.databases import open_store
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.items import ItemNotFound
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.ranking import Mode
from cadre_memory.domain.searches import Searches

Answer = TypeVar("Answer")

EMBEDDER = WordLlamaEmbedder()
PLACES = st.sampled_from([("a",), ("a", "b"), ("a", "bc"), ("b",)])
KEYS = st.sampled_from(["k", "ka", "z", "\U0010ffff"])
VALUES = st.sampled_from(["mango", "mango papaya", "teapot"])
TTLS = st.sampled_from([0.0, 0.0, 1.0, 5.0])


@dataclass(frozen=True, kw_only=True)
class Kept:
    value: str
    version: int
    expires: datetime | None


class MemoriesAgainstADictionary(RuleBasedStateMachine):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.loop = asyncio.new_event_loop()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.all: dict[tuple[tuple[str, ...], str], Kept] = {}
        self.open()

    def open(self) -> None:
        self.store = self.wait(open_store(self.url, model=EMBEDDER.model))
        self.memories = Memories(
            store=self.store,
            searches=Searches(self.store, held_bytes=1_000_000),
            embedder=EMBEDDER,
            clock=lambda: self.now,
        )

    def teardown(self) -> None:
        self.wait(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def wait(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.run_until_complete(call)

    def there(self) -> dict[tuple[tuple[str, ...], str], Kept]:
        return {
            at: kept
            for at, kept in self.all.items()
            if kept.expires is None or kept.expires > self.now
        }

    @rule(place=PLACES, key=KEYS, value=VALUES, ttl=TTLS)
    def put(self, place: tuple[str, ...], key: str, value: str, ttl: float) -> None:
        before = self.there().get((place, key))
        item = self.wait(
            self.memories.put(
                NewItem(namespace=place, key=key, value=f'"{value}"', ttl_seconds=ttl),
                idempotency_key="",
            )
        )
        self.all[place, key] = Kept(
            value=value,
            version=before.version + 1 if before else 1,
            expires=self.now + timedelta(seconds=ttl) if ttl else None,
        )
        assert item.version == self.all[place, key].version

    @rule(place=PLACES, key=KEYS)
    def delete(self, place: tuple[str, ...], key: str) -> None:
        deleted = self.wait(self.memories.delete(namespace=place, key=key, idempotency_key=""))
        assert deleted == ((place, key) in self.there())
        self.all.pop((place, key), None)

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0]))
    def wait_a_while(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def sweep(self) -> None:
        self.wait(self.memories.sweep())

    @rule()
    def restart(self) -> None:
        self.wait(self.store.close())
        self.open()

    @rule(place=PLACES, key=KEYS)
    def get(self, place: tuple[str, ...], key: str) -> None:
        kept = self.there().get((place, key))
        try:
            item = self.wait(self.memories.get(namespace=place, key=key))
        except ItemNotFound:
            assert kept is None
            return
        assert kept == Kept(value=item.value[1:-1], version=item.version, expires=item.expires)

    @rule(place=PLACES, prefix=st.sampled_from(["", "k", "\U0010ffff"]), size=st.integers(1, 3))
    def list_all(self, place: tuple[str, ...], prefix: str, size: int) -> None:
        listed, token = [], ""
        while True:
            page = self.wait(
                self.memories.list(namespace=place, key_prefix=prefix, page_size=size, token=token)
            )
            listed += [item.key for item in page.items]
            token = page.next_page_token
            if not token:
                break
        assert listed == sorted(
            key for at, key in self.there() if at == place and key.startswith(prefix)
        )

    @rule(place=PLACES, word=st.sampled_from(["mango", "teapot"]), mode=st.sampled_from(Mode))
    def search(self, place: tuple[str, ...], word: str, mode: Mode) -> None:
        hits = self.wait(
            self.memories.search(Query(namespace=place, text=word, top_k=50, mode=mode))
        )
        found = {(hit.item.namespace, hit.item.key) for hit in hits}
        below = {at for at in self.there() if at[0][: len(place)] == place}
        saying = {at for at in below if word in self.there()[at].value}
        assert saying <= found <= below
        assert mode is not Mode.TEXT or found == saying


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("redis", marks=pytest.mark.redis),
    ]
)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Gives the address of an empty database."""
    if request.param == "sqlite":
        numbers = count()
        return lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db"
    own = {"postgresql": "postgresql_server", "redis": "redis_at"}[request.param]
    server: Any = request.getfixturevalue(own)
    url: str = request.getfixturevalue(f"{request.param}_url")

    def emptied() -> str:
        server.empty(url)
        return url

    return emptied


def test_any_sequence_of_calls_does_what_a_dictionary_would(fresh: Callable[[], str]) -> None:
    class Machine(MemoriesAgainstADictionary):
        def __init__(self) -> None:
            super().__init__(fresh())

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=12, stateful_step_count=30, deadline=None),
    )
