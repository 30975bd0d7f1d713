"""What is particular to PostgreSQL: lost connections, several services on one database, and what it cannot keep."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.postgresql import Postgresql
from tests.small_disk import full, mounted

from cadre_kit.databases import DatabaseFull
from cadre_kit.errors import InvalidInput, Unavailable
from cadre_memory.adapters.connections import PostgresConnection
from cadre_memory.adapters.databases import opened
from cadre_memory.adapters.sql import SqlStore
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.items import Item, ItemNotFound
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.searches import Searches

pytestmark = pytest.mark.postgresql


@pytest.fixture
def any_url(postgresql_server: Postgresql, postgresql_url: str) -> str:
    postgresql_server.empty(postgresql_url)
    return postgresql_url


async def put(memories: Memories, key: str, text: str = "Berlin") -> Item:
    return await memories.put(
        NewItem(namespace=("p",), key=key, value=f'"{text}"'), idempotency_key=""
    )


async def test_a_lost_connection_is_said_once_and_made_again(
    memories: Memories, postgresql_url: str
) -> None:
    await put(memories, "before")
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )

    with pytest.raises(Unavailable):
        await put(memories, "lost")
    assert (await put(memories, "after")).version == 1


async def test_a_service_that_fell_silent_while_it_wrote_holds_no_other_up(
    memories: Memories, postgresql_url: str
) -> None:
    silent = PostgresConnection.to(postgresql_url)
    silent.begin_writing()

    stored = await put(memories, "after")
    silent.close()

    assert stored.version == 1


async def test_services_that_share_a_database_see_what_the_other_wrote(
    memories: Memories, postgresql_url: str, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    store = SqlStore(opened(postgresql_url), model=embedder.model)
    searches = Searches(store, held_bytes=1_000_000)
    other = Memories(store=store, searches=searches, embedder=embedder, clock=clock)
    query = Query(namespace=("p",), text="Berlin", top_k=100)
    assert not await other.search(query)

    await asyncio.gather(*(put((memories, other)[n % 2], f"k{n}") for n in range(40)))

    assert len(await memories.search(query)) == len(await other.search(query)) == 40
    await store.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Where the server can keep a database, and little more."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "disk"
        disk.mkdir()
        Path(folder).chmod(0o755)
        with mounted(disk, megabytes=24):
            shutil.chown(disk, "postgres")
            yield disk


@pytest.fixture
def url_on_small_disk(postgresql_server: Postgresql, small_disk: Path) -> Iterator[str]:
    server = postgresql_server
    server.run("postgres", f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    server.run("postgres", "CREATE DATABASE on_small_disk TABLESPACE small")
    yield f"postgresql://postgres@127.0.0.1:{server.port}/on_small_disk"
    server.run("postgres", "DROP DATABASE on_small_disk WITH (FORCE)")
    server.run("postgres", "DROP TABLESPACE small")


async def test_a_full_disk_refuses_what_is_new_and_keeps_what_is_there(
    url_on_small_disk: str, small_disk: Path, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    store = SqlStore(opened(url_on_small_disk), model=embedder.model)
    searches = Searches(store, held_bytes=1_000_000)
    memories = Memories(store=store, searches=searches, embedder=embedder, clock=clock)
    large = random.Random(1).randbytes(250_000).hex()
    await put(memories, "before", "kept")
    # A connection that is made while the disk is full may be refused, as the server writes a file for it: each thread
    # that reads or searches has one by now.
    await asyncio.gather(
        *(memories.get(namespace=("p",), key="before") for _ in range(50)),
        *(store.count(("p",), limit=1) for _ in range(50)),
    )

    with full(small_disk):
        with pytest.raises(DatabaseFull) as refused:
            await put(memories, "during", large)
        assert (await memories.get(namespace=("p",), key="before")).value == '"kept"'
        found = await memories.search(Query(namespace=("p",), text="kept"))
        assert [hit.item.key for hit in found] == ["before"]

    assert refused.value.code == "DATABASE_FULL"
    assert refused.value.resolution == "Make room, then try again."
    with pytest.raises(ItemNotFound):
        await memories.get(namespace=("p",), key="during")
    assert (await put(memories, "after", large)).version == 1
    await store.close()


async def test_a_key_that_postgresql_cannot_know_is_refused(memories: Memories) -> None:
    with pytest.raises(InvalidInput) as caught:
        await memories.get(namespace=("p",), key="a\x00b")

    assert caught.value.code == "NUL_CHARACTER"
