"""Memory: calls over gRPC against raw SQLite, and search against plain FTS5 and brute force, in the same run."""

import asyncio
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.databases import connect_sqlite
from cadre_kit.serving import serving
from cadre_memory.adapters.databases import opened
from cadre_memory.adapters.sql import SqlStore
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.app import build
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.ranking import Mode
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.texts import words_of
from cadre_memory.settings import MemorySettings

SIZES = (1_000, 10_000, 100_000)
SMALL = 1_000
BATCH = 1_000
CALLS = 300
SEARCHES = 30


def main() -> None:
    """Prints two tables: calls, then search by size of the namespace. Takes under a minute."""
    asyncio.run(_calls())
    print()
    for size in SIZES:
        asyncio.run(_search(size))


async def _calls() -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw_put, raw_get = _raw(Path(folder) / "raw.db")
        async with _stub(Path(folder)) as stub:
            put = await _timed(lambda n: _put(stub, n), CALLS)
            get = await _timed(lambda n: _get(stub, n), CALLS)
    print("memory, calls over gRPC        p50 ms   raw sqlite   ratio   more by")
    for name, ours, raw in (("Put", put, raw_put), ("Get", get, raw_get)):
        print(f"  {name:26} {ours:9.2f} {raw:12.3f} {ours / raw:6.0f}x {ours - raw:6.2f} ms")


@asynccontextmanager
async def _stub(home: Path) -> AsyncIterator[Any]:
    settings = MemorySettings(home=home)
    async with build(settings) as services, serving(services, host="127.0.0.1", port=0) as at:
        async with connect(at) as channel:
            yield memory_pb2_grpc.MemoryServiceStub(channel)


async def _put(stub: Any, number: int) -> None:
    value = common_pb2.Json(text=json.dumps(_sentence(number)))
    request = memory_pb2.PutRequest(namespace=["bench"], key=f"k{number}", value=value)
    await call(stub.Put, request, service="memory", timeout_seconds=10)


async def _get(stub: Any, number: int) -> None:
    request = memory_pb2.GetRequest(namespace=["bench"], key=f"k{number}")
    await call(stub.Get, request, service="memory", timeout_seconds=10)


def _raw(file: Path) -> tuple[float, float]:
    connection = connect_sqlite(f"sqlite:///{file}")
    connection.execute("CREATE TABLE item (key TEXT PRIMARY KEY, value TEXT)")
    keys = [f"k{number}" for number in range(CALLS)]
    put = _median(
        lambda n: connection.execute("INSERT INTO item VALUES (?, ?)", (keys[n], _sentence(n))),
        CALLS,
    )
    get = _median(
        lambda n: connection.execute("SELECT value FROM item WHERE key = ?", (keys[n],)).fetchone(),
        CALLS,
    )
    connection.close()
    return put, get


async def _search(size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/memory.db"
        embedder = WordLlamaEmbedder()
        texts = [_sentence(number) for number in range(size)]
        store = SqlStore(opened(url), model=embedder.model)
        searches = Searches(store, held_bytes=256 * 1024 * 1024)
        memories = Memories(
            store=store, searches=searches, embedder=embedder, clock=lambda: datetime.now(UTC)
        )
        started = time.perf_counter()
        await _fill(memories, texts, ("bench", "large"))
        filled = size / (time.perf_counter() - started)
        await _fill(memories, texts[:SMALL], ("bench", "small"))
        plain = _plain_fts5(Path(folder) / "plain.db", texts)
        brute = _brute_force(texts, embedder)

        async def find(number: int, mode: Mode, place: str = "large") -> None:
            query = Query(namespace=("bench", place), text=_question(number), mode=mode)
            await memories.search(query)

        first = await _timed(lambda n: find(n, Mode.HYBRID), 1)
        took = {mode: await _timed(lambda n, m=mode: find(n, m), SEARCHES) for mode in Mode}  # type: ignore[misc]
        first_small = await _timed(lambda n: find(n, Mode.HYBRID, "small"), 1)
        small = await _timed(lambda n: find(n, Mode.HYBRID, "small"), SEARCHES)
        await store.close()
    print(f"memory, {size:,} in a namespace (filled at {filled:,.0f}/s), p50 of a search")
    print(f"  plain FTS5 {plain:8.2f} ms    brute-force numpy {brute:8.2f} ms")
    for mode, each in took.items():
        print(
            f"  {mode.value:8} {each:8.2f} ms   {each / plain:5.1f}x FTS5   {each / brute:5.1f}x numpy"
            f"   {each / (plain + brute):5.2f}x both"
        )
    print(f"  first hybrid search, which reads the namespace: {first:.0f} ms")
    print(
        f"  hybrid among {SMALL:,} beside them: {small:.2f} ms, the first one {first_small:.0f} ms"
    )


async def _fill(memories: Memories, texts: list[str], namespace: tuple[str, ...]) -> None:
    for start in range(0, len(texts), BATCH):
        new = [
            NewItem(namespace=namespace, key=f"k{start + n}", value=json.dumps(text))
            for n, text in enumerate(texts[start : start + BATCH])
        ]
        await memories.put_all(new, idempotency_key="")


def _plain_fts5(file: Path, texts: list[str]) -> float:
    connection = sqlite3.connect(file)
    connection.execute("CREATE VIRTUAL TABLE word USING fts5 (body, tokenize = 'porter unicode61')")
    connection.executemany("INSERT INTO word VALUES (?)", [(text,) for text in texts])
    connection.commit()

    def find(number: int) -> None:
        match = " OR ".join(f'"{word}"' for word in words_of(_question(number)))
        connection.execute(
            "SELECT rowid FROM word WHERE word MATCH ? ORDER BY rank LIMIT 10", (match,)
        ).fetchall()

    took = _median(find, SEARCHES)
    connection.close()
    return took


def _brute_force(texts: list[str], embedder: WordLlamaEmbedder) -> float:
    vectors = np.array([embedder.embed(text) for text in texts], np.float32)

    def find(number: int) -> None:
        question = embedder.embed(_question(number))
        assert question is not None
        cosines = vectors @ question
        np.argpartition(cosines, -10)[-10:]

    return _median(find, SEARCHES)


_SYLLABLES = [first + last for first in "bdfgklmnprst" for last in ("a", "e", "in", "or", "us")]
_WORDS = [one + two for one in _SYLLABLES for two in _SYLLABLES]
_WEIGHTS = np.cumsum(1.0 / np.arange(10, len(_WORDS) + 10)).tolist()


def _sentence(number: int) -> str:
    return " ".join(random.Random(number).choices(_WORDS, cum_weights=_WEIGHTS, k=14))


def _question(number: int) -> str:
    return " ".join(random.Random(-1 - number).choices(_WORDS, cum_weights=_WEIGHTS, k=4))


def _median(action: Callable[[int], object], times: int) -> float:
    took = []
    for number in range(times):
        started = time.perf_counter()
        action(number)
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1_000


async def _timed(action: Callable[[int], Awaitable[None]], times: int) -> float:
    took = []
    for number in range(times):
        started = time.perf_counter()
        await action(number)
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1_000


if __name__ == "__main__":
    main()
