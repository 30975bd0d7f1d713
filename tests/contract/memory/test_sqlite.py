"""What is particular to the SQLite store: its failures, its memory, its copies of vectors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.platform import eventually
from tests.small_disk import full, mounted

from cadre_kit.databases import (
    DatabaseCorrupt,
    DatabaseFull,
    DatabaseLocked,
    connect_sqlite,
)
from cadre_memory.adapters.connections import Connection, SqliteConnection
from cadre_memory.adapters.databases import open_store
from cadre_memory.adapters.databases import opened as opened_database
from cadre_memory.adapters.lanes import StoreBusy
from cadre_memory.adapters.sql import SqlStore
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.filters import ALL
from cadre_memory.domain.items import Item
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.ranking import Mode
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.understanding import Understanding


@pytest.fixture
def any_url(url: str) -> str:
    return url


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path, megabytes=8) as folder:
        yield folder


@asynccontextmanager
async def opened(
    connect: Callable[[], Connection],
    embedder: WordLlamaEmbedder,
    clock: Any,
    *,
    held_bytes: int = 1024 * 1024,
) -> AsyncIterator[Memories]:
    store = SqlStore(connect, model=embedder.model, at_hand=True)
    searches = Searches(store, held_bytes=held_bytes)
    yield Memories(store=store, searches=searches, embedder=embedder, clock=clock)
    await store.close()


async def put(memories: Memories, key: str, text: str, place: str = "p") -> Item:
    new = NewItem(namespace=(place,), key=key, value=f'"{text}"')
    return await memories.put(new, idempotency_key="")


async def find(memories: Memories, query: str, place: str = "p") -> list[str]:
    question = Query(namespace=(place,), text=query, top_k=5, mode=Mode.VECTOR)
    hits = await memories.search(question)
    return [hit.item.key for hit in hits]


async def refresh(memories: Memories) -> int:
    return await Understanding(store=memories.store, embedder=memories.embedder).refresh()


def test_a_file_of_garbage_is_said_to_be_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "memory.db").write_bytes(b"not a database at all" * 500)

    with pytest.raises(DatabaseCorrupt) as caught:
        opened_database(f"sqlite:///{tmp_path}/memory.db")

    assert caught.value.resolution


async def test_a_damaged_page_is_said_and_what_is_whole_is_still_served(
    url: str, tmp_path: Path, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    async with opened(partial(SqliteConnection.to, url), embedder, clock) as memories:
        for number in range(500):
            await put(memories, f"k{number:03}", "x" * 500)
    file = tmp_path / "memory.db"
    content = file.read_bytes()
    page = content.index(b'p\x1fk250"xxx') // 4096 * 4096
    file.write_bytes(content[:page] + b"\xff" * 4096 + content[page + 4096 :])

    async with opened(partial(SqliteConnection.to, url), embedder, clock) as memories:
        gets = [memories.get(namespace=("p",), key=f"k{number:03}") for number in range(500)]
        outcomes = await asyncio.gather(*gets, return_exceptions=True)

    assert isinstance(outcomes[250], DatabaseCorrupt)
    assert isinstance(outcomes[0], Item)
    assert {type(outcome) for outcome in outcomes} == {Item, DatabaseCorrupt}


async def test_a_full_disk_refuses_what_is_new_and_keeps_what_is_there(
    url: str, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    def connect_to_a_small_disk() -> Connection:
        connection = connect_sqlite(url)
        connection.execute("PRAGMA max_page_count = 60")
        return SqliteConnection(connection)

    async with opened(connect_to_a_small_disk, embedder, clock) as memories:
        await put(memories, "first", "kept")
        with pytest.raises(DatabaseFull):
            await put(memories, "second", "x" * 500_000)

        assert (await memories.get(namespace=("p",), key="first")).value == '"kept"'
        assert (await put(memories, "third", "fits")).version == 1
        assert (await find(memories, "kept"))[0] == "first"


async def test_forgetting_on_a_full_disk_says_what_room_it_needs(
    small_disk: Path, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    url = f"sqlite:///{small_disk / 'memory.db'}"
    store = await open_store(url, model=embedder.model)
    searches = Searches(store, held_bytes=1024 * 1024)
    memories = Memories(store=store, searches=searches, embedder=embedder, clock=clock)
    await put(memories, "first", "x" * 500_000)

    with full(small_disk), pytest.raises(DatabaseFull) as refused:
        await memories.forget(namespace=("p",), matching=ALL, everything=True)

    assert "log" in refused.value.message
    assert "forget less" in refused.value.resolution
    assert await memories.forget(namespace=("p",), matching=ALL, everything=True) == 1
    await store.close()


async def test_a_locked_file_is_said_after_a_wait_and_works_again_after_it(
    url: str, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    def connect_impatiently() -> Connection:
        connection = connect_sqlite(url)
        connection.execute("PRAGMA busy_timeout = 100")
        return SqliteConnection(connection)

    other = connect_sqlite(url)
    async with opened(connect_impatiently, embedder, clock) as memories:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLocked):
            await put(memories, "k", "v")
        other.execute("ROLLBACK")
        other.close()

        assert (await put(memories, "k", "v")).version == 1


async def test_more_than_may_wait_is_refused_and_what_waits_is_done(
    url: str, memories: Memories
) -> None:
    other = connect_sqlite(url)
    other.execute("BEGIN IMMEDIATE")

    puts = [asyncio.create_task(put(memories, f"k{n}", "v")) for n in range(1_010)]
    await asyncio.to_thread(eventually, lambda: sum(each.done() for each in puts) == 10)
    other.execute("ROLLBACK")
    other.close()
    outcomes = await asyncio.gather(*puts, return_exceptions=True)

    assert sum(isinstance(each, StoreBusy) for each in outcomes) == 10
    assert sum(isinstance(each, Item) for each in outcomes) == 1_000


async def test_the_log_of_writes_stays_small_however_many_there_are(
    url: str, tmp_path: Path, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    async with opened(partial(SqliteConnection.to, url), embedder, clock) as memories:
        for number in range(400):
            await put(memories, f"k{number}", "Ada moved to Berlin")

        assert (tmp_path / "memory.db-wal").stat().st_size < 8 * 1024 * 1024


async def test_what_is_forgotten_is_in_none_of_the_files(
    memories: Memories, tmp_path: Path
) -> None:
    for number in range(600):
        await put(memories, f"k{number}", "Xylophone")
    assert b"Xylophone" in written(tmp_path)

    await memories.forget(namespace=("p",), matching=ALL, everything=True)

    assert b"xylophon" not in written(tmp_path).lower()


async def test_what_is_forgotten_while_others_read_leaves_the_log_with_the_next_sweep(
    url: str, memories: Memories, tmp_path: Path
) -> None:
    await put(memories, "k", "Xylophone")
    other = connect_sqlite(url)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM item").fetchall()

    assert await memories.forget(namespace=("p",), matching=ALL, everything=True) == 1
    assert b"Xylophone" in written(tmp_path)
    other.close()
    await memories.sweep()

    assert b"xylophon" not in written(tmp_path).lower()


def written(folder: Path) -> bytes:
    """All bytes of the database and its log."""
    return b"".join(file.read_bytes() for file in folder.glob("memory.db*"))


async def test_a_copy_older_than_the_log_of_changes_is_read_anew(
    url: str, memories: Memories
) -> None:
    await put(memories, "old", "Ada moved to Berlin")
    assert await find(memories, "Berlin") == ["old"]
    await put(memories, "old", "Cats sleep all day")
    await put(memories, "new", "Grace moved to Berlin")
    connection = connect_sqlite(url)
    connection.execute("DELETE FROM change WHERE sequence < 3")
    connection.close()

    assert (await find(memories, "Berlin"))[0] == "new"


async def test_a_namespace_too_large_to_be_held_is_searched_all_the_same(
    url: str, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    async with opened(
        partial(SqliteConnection.to, url), embedder, clock, held_bytes=5_000
    ) as small:
        for number in range(20):
            await put(small, f"k{number}", f"Cat number {number} sleeps")
        await put(small, "berlin", "Ada moved to Berlin")

        assert (await find(small, "Who moved to Berlin?"))[0] == "berlin"


async def test_the_indexes_held_stay_within_their_limit(
    url: str, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    store = SqlStore(partial(SqliteConnection.to, url), model=embedder.model, at_hand=True)
    searches = Searches(store, held_bytes=20_000)
    memories = Memories(store=store, searches=searches, embedder=embedder, clock=clock)
    for number in range(20):
        await put(memories, "k", "Berlin", place=f"p{number}")
        assert await find(memories, "Berlin", place=f"p{number}") == ["k"]
        assert searches.bytes_held <= 20_000

    assert searches.bytes_held > 10_000
    await store.close()


async def test_what_another_model_understood_is_found_by_its_words_and_then_understood_anew(
    url: str, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    async with opened(partial(SqliteConnection.to, url), embedder, clock) as memories:
        await put(memories, "berlin", "Ada moved to Berlin")
    connection = connect_sqlite(url)
    connection.execute("UPDATE entry SET model = 'another'")
    connection.close()

    async with opened(partial(SqliteConnection.to, url), embedder, clock) as memories:
        by_words = await memories.search(Query(namespace=("p",), text="Berlin"))
        assert [hit.score.vector_score for hit in by_words] == [0]
        assert not await find(memories, "Berlin")
        assert await refresh(memories) == 1
        assert await find(memories, "Berlin") == ["berlin"]
        assert await refresh(memories) == 0


async def test_a_file_of_the_first_release_is_searched_after_its_upgrade(
    tmp_path: Path, embedder: WordLlamaEmbedder, clock: Any
) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    connection = connect_sqlite(url)
    connection.executescript((Path(__file__).parent / "first_release.sql").read_text())
    connection.close()

    async with opened(opened_database(url), embedder, clock) as memories:
        assert (await memories.get(namespace=("p",), key="k")).version == 3
        assert await refresh(memories) == 1
        assert await find(memories, "Who moved to Berlin?") == ["k"]
        assert (await put(memories, "k", "Ada left")).version == 4
        again = NewItem(namespace=("p",), key="k", value='"Ada moved to Berlin"')
        assert (await memories.put(again, idempotency_key="once")).version == 3
