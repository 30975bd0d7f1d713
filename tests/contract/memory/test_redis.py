"""What is particular to Redis: a server that is killed, full, shared or set up to forget, and what a check finds."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.ports import free_port
from tests.redis_server import RedisServer

from cadre_kit.databases import DatabaseCorrupt, DatabaseFull
from cadre_kit.errors import FailedPrecondition, Unavailable
from cadre_memory.adapters.databases import findings, open_store
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.items import Item
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.searches import Searches

pytestmark = pytest.mark.redis


@pytest.fixture
def any_url(redis_at: RedisServer, redis_url: str) -> str:
    redis_at.empty(redis_url)
    return redis_url


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(port=free_port(), folder=tmp_path)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def opened(url: str, embedder: WordLlamaEmbedder, clock: Any) -> AsyncIterator[Memories]:
    store = await open_store(url, model=embedder.model)
    searches = Searches(store, held_bytes=1024 * 1024)
    yield Memories(store=store, searches=searches, embedder=embedder, clock=clock)
    await store.close()


async def put(memories: Memories, key: str, text: str = "Berlin", **more: Any) -> Item:
    new = NewItem(namespace=("p",), key=key, value=f'"{text}"', **more)
    return await memories.put(new, idempotency_key="")


async def test_services_that_share_a_redis_lose_none_of_their_writes(
    memories: Memories, redis_url: str, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    query = Query(namespace=("p",), text="Berlin", top_k=100)
    async with opened(redis_url, embedder, clock) as other:
        assert not await other.search(query)

        both = (memories, other)
        stored = await asyncio.gather(*(put(both[n % 2], f"k{n % 20}") for n in range(200)))

        assert sorted(item.version for item in stored) == sorted([*range(1, 11)] * 20)
        assert len(await memories.search(query)) == len(await other.search(query)) == 20
    assert await findings(redis_url) == []


async def test_whoever_is_cancelled_while_it_asks_redis_ends(memories: Memories) -> None:
    async def read_on() -> None:
        while True:
            await memories.list(namespace=("p",), key_prefix="", page_size=0, token="")

    for steps in range(100):
        task = asyncio.create_task(read_on())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=30)
        task.cancel()
        assert done, f"cancelled after {steps} steps, it went on"
    await put(memories, "k")
    assert (await memories.get(namespace=("p",), key="k")).value == '"Berlin"'


async def test_what_was_acknowledged_survives_a_killed_server(
    own_server: RedisServer, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    url, stored = own_server.fresh(), set[str]()
    async with opened(url, embedder, clock) as memories:

        async def put_some(first: int) -> None:
            for number in range(first, first + 200):
                await put(memories, f"k{number}")
                stored.add(f"k{number}")
                if len(stored) == 150:
                    await asyncio.to_thread(own_server.kill)

        outcomes = await asyncio.gather(
            *(put_some(n * 1_000) for n in range(4)), return_exceptions=True
        )
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)

        await asyncio.to_thread(own_server.start)
        assert (await put(memories, "after")).version == 1
        for key in stored:
            assert (await memories.get(namespace=("p",), key=key)).version == 1
    assert await findings(url) == []


async def test_a_full_redis_refuses_what_is_new_and_keeps_what_is_there(
    own_server: RedisServer, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    url = own_server.fresh()
    async with opened(url, embedder, clock) as memories:
        await put(memories, "first", "kept")
        with Redis(port=own_server.port) as redis:
            redis.config_set("maxmemory", "1")
            with pytest.raises(DatabaseFull):
                await put(memories, "second")
            redis.config_set("maxmemory", "0")

        assert (await memories.get(namespace=("p",), key="first")).value == '"kept"'
        assert (await put(memories, "second")).version == 1
    assert await findings(url) == []


async def test_a_redis_that_may_throw_memories_away_is_refused(own_server: RedisServer) -> None:
    with Redis(port=own_server.port) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(FailedPrecondition) as caught:
        await open_store(own_server.fresh(), model="m")

    assert caught.value.code == "REDIS_EVICTS"


async def test_a_redis_that_begins_to_throw_memories_away_is_noticed_by_the_sweep(
    own_server: RedisServer, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    async with opened(own_server.fresh(), embedder, clock) as memories:
        await put(memories, "first", "kept")
        with Redis(port=own_server.port) as redis:
            redis.config_set("maxmemory-policy", "allkeys-lru")
            for refused in (memories.sweep(), put(memories, "second")):
                with pytest.raises(FailedPrecondition) as caught:
                    await refused
                assert caught.value.code == "REDIS_EVICTS"
            assert (await memories.get(namespace=("p",), key="first")).value == '"kept"'
            redis.config_set("maxmemory-policy", "noeviction")

        assert (await put(memories, "second")).version == 1


async def test_a_redis_that_stops_keeping_what_is_written_is_told_of_once(
    own_server: RedisServer,
    embedder: WordLlamaEmbedder,
    clock: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with opened(own_server.fresh(), embedder, clock) as memories:
        await memories.sweep()
        before = capsys.readouterr().out
        with Redis(port=own_server.port) as redis:
            redis.config_set("appendonly", "no")
        await memories.sweep()
        await memories.sweep()

    assert "redis_forgets" not in before
    assert capsys.readouterr().out.count("redis_forgets") == 1


async def test_a_redis_that_is_not_there_is_said() -> None:
    with pytest.raises(Unavailable) as caught:
        await open_store(f"redis://127.0.0.1:{free_port()}/0", model="m")

    assert caught.value.code == "DATABASE_UNAVAILABLE"


async def test_a_key_that_holds_something_else_is_said(memories: Memories, redis_url: str) -> None:
    await put(memories, "k")
    with Redis.from_url(redis_url) as redis:
        redis.set("cadre:memory:rows:p\x1f", "rubbish")

    with pytest.raises(DatabaseCorrupt):
        await memories.get(namespace=("p",), key="k")


async def test_a_check_finds_what_does_not_agree(memories: Memories, redis_url: str) -> None:
    for key in ("a", "b", "c"):
        await put(memories, key)
        await put(memories, key)
    with Redis.from_url(redis_url) as redis:
        redis.hdel("cadre:memory:rows:p\x1f", "a")
        redis.hdel("cadre:memory:values:p\x1f", "b")
        redis.delete("cadre:memory:expiring", "cadre:memory:entries:p\x1f")

    found = {each.what for each in await findings(redis_url)}

    assert {"items without a value", "items that are not searched"} <= found
    assert "keys that are listed but not stored, or the reverse" in found
    assert "versions of items that are not there, or newer than them" in found


async def test_what_was_removed_leaves_nothing_behind(
    memories: Memories, redis_url: str, clock: Any
) -> None:
    await put(memories, "k", "secret", ttl_seconds=5)
    await put(memories, "k", "harmless")
    await put(memories, "gone", "secret", ttl_seconds=5)
    await memories.delete(namespace=("p",), key="k", idempotency_key="")
    clock.move(5)
    await memories.sweep()

    with Redis.from_url(redis_url, decode_responses=True) as redis:
        names = {name.removeprefix("cadre:memory:") for name in redis.scan_iter()}

    assert names == {"sequence", "changes", "models"}


async def test_writes_whose_callers_went_away_leave_all_agreeing(
    memories: Memories, redis_url: str
) -> None:
    puts = [asyncio.create_task(put(memories, f"k{n}")) for n in range(60)]
    for number, each in enumerate(puts):
        if number % 3 == 0:
            each.cancel()
        await asyncio.sleep(0)

    outcomes = await asyncio.gather(*puts, return_exceptions=True)

    assert sum(isinstance(each, Item) for each in outcomes) >= 40
    assert (await put(memories, "after")).version == 1
    assert await findings(redis_url) == []
