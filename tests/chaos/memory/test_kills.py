"""Memory killed again and again while it writes: what was acknowledged is there as a whole, and the indexes agree.

Every kind of write is under way when it is killed, and so is understanding anew what another model understood.
`CADRE_TEST_KILLS` says how often; 100 take some minutes.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.memory_process import MemoryProcess
from tests.platform import eventually_async
from tests.postgresql import Postgresql
from tests.redis_server import RedisServer

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.errors import CadreError, NotFound
from cadre_kit.health import is_serving
from cadre_memory.adapters.databases import findings, open_store
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.understanding import Understanding

KILLS = int(os.environ.get("CADRE_TEST_KILLS", "10"))
WRITERS = 16
BATCH = 5
PLACE = ["chaos"]
_START_SECONDS = 120


class _Another(WordLlamaEmbedder):
    """The same model under another name: what it understood is understood anew."""

    @property
    def model(self) -> str:
        return "another"


@dataclass(kw_only=True)
class Acknowledged:
    """What writers were told is stored: keys, versions of keys that are written over, messages of conversations."""

    keys: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)

    @property
    def writes(self) -> int:
        """How many writes were acknowledged."""
        return sum((len(self.keys), len(self.gone), self.versions.total(), self.messages.total()))


async def _write(stub: Any, writer: str, kill: int, told: Acknowledged) -> None:
    """Stores one and many, writes over, removes, forgets and appends in turn until the service is gone."""
    for number in range(100_000):
        name = f"{kill}-{writer}-{number}"
        passing, forgotten = f"{name}-passing", f"{name}-forgotten"
        many = [f"{name}-of-{place}" for place in range(BATCH)]
        await _call(stub.Put, _put(name))
        told.keys.append(name)
        await _call(stub.Put, _put(writer))
        told.versions[writer] += 1
        await _call(stub.BatchPut, memory_pb2.BatchPutRequest(puts=[_put(key) for key in many]))
        told.keys += many
        await _call(stub.Put, _put(passing))
        await _call(stub.Put, _put(forgotten, tags=[name]))
        await _call(stub.Delete, memory_pb2.DeleteRequest(namespace=PLACE, key=passing))
        told.gone.append(passing)
        matching = memory_pb2.Filter(tags=[name])
        await _call(stub.Forget, memory_pb2.ForgetRequest(namespace=PLACE, filter=matching))
        told.gone.append(forgotten)
        said = [memory_pb2.Message(text=f"{name}, message {n}") for n in range(3)]
        place = [*PLACE, writer]
        await _call(
            stub.AppendMessages,
            memory_pb2.AppendMessagesRequest(namespace=place, messages=said),
        )
        told.messages[writer] += 3


def _put(key: str, *, tags: Sequence[str] = ()) -> memory_pb2.PutRequest:
    value = common_pb2.Json(text=json.dumps(f"what {key} says"))
    return memory_pb2.PutRequest(namespace=PLACE, key=key, value=value, tags=tags)


async def _call(method: Any, request: Any) -> Any:
    return await call(method, request, service="memory", timeout_seconds=30)


async def _write_until_killed(
    service: MemoryProcess, stub: Any, kill: int, told: Acknowledged
) -> None:
    # Soon, while memories are understood anew, or after many writes.
    before, enough = told.writes, 0 if kill % 2 else random.Random(kill).randint(20, 300)
    writers = [asyncio.create_task(_write(stub, f"writer{n}", kill, told)) for n in range(WRITERS)]
    await eventually_async(lambda: _is_true(told.writes > before + enough), seconds=120)
    service.kill()
    ended = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(each, CadreError) for each in ended)


async def _is_true(condition: bool) -> bool:
    return condition


async def _missing(stub: Any, told: Acknowledged, *, keys: int, gone: int) -> list[str]:
    """What is not as it was acknowledged, of the keys from one on and of all else."""
    wrong = [key for key in told.keys[keys:] if not await _is_there(stub, key)]
    wrong += [key for key in told.gone[gone:] if await _is_there(stub, key)]
    for writer, version in told.versions.items():
        item = (await _call(stub.Get, memory_pb2.GetRequest(namespace=PLACE, key=writer))).item
        if item.version < version:
            wrong.append(f"{writer} has version {item.version}, not {version}")
    for writer, count in told.messages.items():
        request = memory_pb2.ListMessagesRequest(namespace=[*PLACE, writer], limit=1)
        (newest,) = (await _call(stub.ListMessages, request)).messages
        if newest.position + 1 < count or (newest.position + 1) % 3:
            wrong.append(f"{writer} has {newest.position + 1} messages, not {count}")
    return wrong


async def _is_there(stub: Any, key: str) -> bool:
    try:
        await _call(stub.Get, memory_pb2.GetRequest(namespace=PLACE, key=key))
    except NotFound:
        return False
    return True


async def _in_parts(stub: Any) -> list[str]:
    """The batches of which some items are stored and others not."""
    found: Counter[str] = Counter()
    token = ""
    while True:
        request = memory_pb2.ListRequest(namespace=PLACE, page_size=500, page_token=token)
        page = await _call(stub.List, request)
        found.update(
            name for name, _, place in (i.key.partition("-of-") for i in page.items) if place
        )
        token = page.next_page_token
        if not token:
            return [name for name, count in found.items() if count != BATCH]


async def _understand_otherwise(url: str) -> None:
    """Has another model understand all that is stored, so that the service begins to do it anew."""
    embedder = _Another()
    store = await open_store(url, model=embedder.model)
    try:
        await Understanding(store=store, embedder=embedder).refresh()
    finally:
        await store.close()


async def _nothing_is_stale(url: str) -> bool:
    store = await open_store(url, model=WordLlamaEmbedder().model)
    try:
        return not await store.stale(limit=1)
    finally:
        await store.close()


@asynccontextmanager
async def _started(service: MemoryProcess) -> AsyncIterator[Any]:
    service.start()
    await eventually_async(lambda: is_serving(service.address), seconds=_START_SECONDS)
    # Without retries, which would wait for seconds for what is killed.
    async with connect(service.address, service.credentials, patient=False) as channel:
        yield memory_pb2_grpc.MemoryServiceStub(channel)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("redis", marks=pytest.mark.redis),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/memory.db"
    own = {"postgresql": "postgresql_server", "redis": "redis_at"}[request.param]
    server: Postgresql | RedisServer = request.getfixturevalue(own)
    return server.fresh()


@pytest.mark.timeout(120 + 30 * KILLS)
async def test_no_acknowledged_write_is_lost_however_often_the_service_is_killed(
    tmp_path: Path, url: str
) -> None:
    kills = KILLS if url.startswith("sqlite") else max(3, KILLS // 5)
    service, told, keys, gone = MemoryProcess(tmp_path, url=url), Acknowledged(), 0, 0

    for kill in range(kills):
        async with _started(service) as stub:
            assert await _missing(stub, told, keys=keys, gone=gone) == []
            keys, gone = len(told.keys), len(told.gone)
            await _write_until_killed(service, stub, kill, told)
        assert await findings(url) == []
        await _understand_otherwise(url)

    async with _started(service) as stub:
        assert await _missing(stub, told, keys=0, gone=0) == []
        assert await _in_parts(stub) == []
        await eventually_async(lambda: _nothing_is_stale(url), seconds=120)
        service.kill()
    assert await findings(url) == []
    assert told.writes > 10 * kills
