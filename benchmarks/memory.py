"""Memory: calls over gRPC against raw SQLite, bulk load, and search against plain FTS5, brute force and LangGraph's
SqliteStore, in one run.

Each figure is printed with its aim. `MEMORY_BESIDE=1000000` looks how a namespace of 1,000 fares beside so many
memories, instead of 100,000; that takes some minutes and 2 GB of disk.
"""

import asyncio
import json
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from langgraph.store.base import PutOp
from langgraph.store.sqlite import SqliteStore
from tests.platform import Platform, credentials_in, platform

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.databases import connect_sqlite
from cadre_kit.serving import run_in_loop
from cadre_memory.adapters.databases import open_store
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.ranking import Mode
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.texts import words_of

SIZES = (1_000, 10_000, 100_000)
SMALL = 1_000
BESIDE = int(os.environ.get("MEMORY_BESIDE", "100000"))
BATCH = 1_000
BULK = 20_000
CALLS = 500
SEARCHES = 30
CALL_AIM_MS = 1.0
BULK_AIM = 5_000
LANGGRAPH = 10_000
SEARCH_AIMS_MS = {10_000: 5.0, 100_000: 25.0}


def main() -> None:
    """Prints calls, bulk load, search by size of the namespace, and a small one beside many. Takes a minute or two."""
    with tempfile.TemporaryDirectory() as folder:
        raw_put, raw_get = _raw(Path(folder) / "raw.db")
        with platform(Path(folder), "memory") as running:
            run_in_loop(_served(running, raw_put=raw_put, raw_get=raw_get))
        _langgraph(Path(folder) / "langgraph.db")
    for size in SIZES:
        run_in_loop(_search(size))
    run_in_loop(_beside(BESIDE))


async def _served(running: Platform, *, raw_put: float, raw_get: float) -> None:
    """Calls of the service as it runs, a process of its own."""
    address = f"127.0.0.1:{running.ports['memory']}"
    async with connect(address, credentials_in(running.home)) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        await _timed(lambda n: _put(stub, n), CALLS)
        put = await _timed(lambda n: _put(stub, CALLS + n), CALLS)
        get = await _timed(lambda n: _get(stub, CALLS + n), CALLS)
        health = health_pb2_grpc.HealthStub(channel)
        nothing = await _timed(lambda _: health.Check(health_pb2.HealthCheckRequest()), CALLS)
        rate = await _bulk_rate(stub)
    print("memory, calls over gRPC        p50 ms   raw sqlite   ratio   more by   aim: at most")
    for name, ours, raw in (("Put", put, raw_put), ("Get", get, raw_get)):
        print(
            f"  {name:26} {ours:9.2f} {raw:12.3f} {ours / raw:6.0f}x {ours - raw:6.2f} ms"
            f"   {CALL_AIM_MS:.2f} ms"
        )
    print(f"  {'a call that does nothing':26} {nothing:9.2f}")
    print(
        f"memory, bulk load over gRPC, wordllama included: {rate:,.0f}/s   aim: over {BULK_AIM:,}/s"
    )


async def _put(stub: Any, number: int) -> None:
    await call(stub.Put, _new("bench", number), service="memory", timeout_seconds=10)


async def _get(stub: Any, number: int) -> None:
    request = memory_pb2.GetRequest(namespace=["bench"], key=f"k{number}")
    await call(stub.Get, request, service="memory", timeout_seconds=10)


async def _bulk_rate(stub: Any) -> float:
    """Memories stored a second, in batches, two of them under way."""
    batches = [
        memory_pb2.BatchPutRequest(puts=[_new("bulk", start + n) for n in range(BATCH)])
        for start in range(0, BULK, BATCH)
    ]
    waiting = iter(batches)

    async def send() -> None:
        for batch in waiting:
            await call(stub.BatchPut, batch, service="memory", timeout_seconds=60)

    started = time.perf_counter()
    await asyncio.gather(send(), send())
    return BULK / (time.perf_counter() - started)


def _new(namespace: str, number: int) -> memory_pb2.PutRequest:
    value = common_pb2.Json(text=json.dumps(_sentence(number)))
    return memory_pb2.PutRequest(namespace=[namespace], key=f"k{number}", value=value)


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


def _langgraph(file: Path) -> None:
    """LangGraph's store, with the same vectors of the same texts, in this process. Where Python's sqlite3 loads no
    extensions it can keep no vectors, and is measured without."""
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        with SqliteStore.from_conn_string(str(file)) as store:
            store.setup()
            put = _median(lambda n: store.put(("bench",), f"k{n}", {"text": _sentence(n)}), CALLS)
            get = _median(lambda n: store.get(("bench",), f"k{n}"), CALLS)
        print(
            f"memory, LangGraph's SqliteStore in process, without vectors, which this Python's sqlite3 cannot load: "
            f"put {put:.2f} ms, get {get:.2f} ms"
        )
        return
    embedder = WordLlamaEmbedder()

    def vectors(texts: Sequence[str]) -> list[list[float]]:
        return [np.asarray(embedder.vector(text), np.float64).tolist() for text in texts]

    dims = len(vectors(["a word"])[0])
    with SqliteStore.from_conn_string(
        str(file), index={"dims": dims, "embed": vectors, "fields": ["text"]}
    ) as store:
        store.setup()
        place = ("bench",)
        for start in range(0, LANGGRAPH, BATCH):
            several = range(start, start + BATCH)
            store.batch([PutOp(place, f"k{n}", {"text": _sentence(n)}) for n in several])
        put = _median(lambda n: store.put(place, f"new{n}", {"text": _sentence(n)}), CALLS)
        get = _median(lambda n: store.get(place, f"k{n}"), CALLS)
        search = _median(lambda n: store.search(place, query=_question(n)), SEARCHES)
    print(
        f"memory, LangGraph's SqliteStore in process, {LANGGRAPH:,} items: put {put:.2f} ms, get {get:.2f} ms, "
        f"search {search:.2f} ms"
    )


@asynccontextmanager
async def _memories() -> AsyncIterator[Memories]:
    with tempfile.TemporaryDirectory() as folder:
        embedder = WordLlamaEmbedder()
        store = await open_store(f"sqlite:///{folder}/memory.db", model=embedder.model)
        searches = Searches(store, held_bytes=256 * 1024 * 1024)
        try:
            yield Memories(
                store=store, searches=searches, embedder=embedder, clock=lambda: datetime.now(UTC)
            )
        finally:
            await store.close()


async def _search(size: int) -> None:
    texts = [_sentence(number) for number in range(size)]
    async with _memories() as memories:
        await _fill(memories, texts, "large")
        with tempfile.TemporaryDirectory() as folder:
            plain = _plain_fts5(Path(folder) / "plain.db", texts)
        brute = _brute_force(texts)
        first = await _timed(lambda n: _find(memories, n, Mode.HYBRID), 1)
        took = {
            mode: await _timed(lambda n, m=mode: _find(memories, n, m), SEARCHES)  # type: ignore[misc]
            for mode in Mode
        }
    print(f"memory, {size:,} in a namespace, p50 of a search")
    print(f"  plain FTS5 {plain:8.2f} ms    brute-force numpy {brute:8.2f} ms")
    for mode, each in took.items():
        aim = SEARCH_AIMS_MS.get(size) if mode is Mode.HYBRID else None
        print(
            f"  {mode.value:8} {each:8.2f} ms   {each / plain:5.1f}x FTS5   {each / brute:5.1f}x numpy"
            f"   {each / (plain + brute):5.2f}x both"
            + (f"   aim: under {aim:.0f} ms" if aim else "")
        )
    print(f"  first hybrid search, which reads the namespace: {first:.0f} ms")


async def _beside(many: int) -> None:
    """A namespace of 1,000 in a store with nothing else, and in one with many memories in others."""
    async with _memories() as memories:
        await _fill(memories, [_sentence(number) for number in range(SMALL)], "small")
        alone = await _small_search(memories)
    async with _memories() as memories:
        started = time.perf_counter()
        for place in range(10):
            each = range(place * many // 10, (place + 1) * many // 10)
            await _fill(memories, [_sentence(number) for number in each], f"other-{place}")
        rate = many / (time.perf_counter() - started)
        await _fill(memories, [_sentence(number) for number in range(SMALL)], "small")
        beside = await _small_search(memories)
        held = memories.searches.bytes_held / 1024 / 1024
    print(
        f"memory, hybrid in {SMALL:,} among {many:,}: {beside[0]:.2f} ms, the first {beside[1]:.0f} ms"
    )
    print(
        f"  alone {alone[0]:.2f} ms, the first {alone[1]:.0f} ms   {beside[0] / alone[0]:.2f}x   aim: 1x"
        f"   held in memory {held:.1f} MiB   filled at {rate:,.0f}/s"
    )


async def _small_search(memories: Memories) -> tuple[float, float]:
    first = await _timed(lambda n: _find(memories, n, Mode.HYBRID, "small"), 1)
    return await _timed(lambda n: _find(memories, n, Mode.HYBRID, "small"), 3 * SEARCHES), first


async def _find(memories: Memories, number: int, mode: Mode, place: str = "large") -> None:
    await memories.search(Query(namespace=("bench", place), text=_question(number), mode=mode))


async def _fill(memories: Memories, texts: Sequence[str], place: str) -> None:
    for start in range(0, len(texts), BATCH):
        new = [
            NewItem(namespace=("bench", place), key=f"k{start + n}", value=json.dumps(text))
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


def _brute_force(texts: list[str]) -> float:
    embedder = WordLlamaEmbedder()
    vectors = np.array([embedder.vector(text) for text in texts], np.float32)

    def find(number: int) -> None:
        question = embedder.vector(_question(number))
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
