"""Memory in SQLite killed again and again while it writes: what was acknowledged is there, and the indexes agree.

`CADRE_TEST_KILLS` says how often; 100 take some minutes.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.memory_process import MemoryProcess
from tests.platform import eventually_async

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.errors import CadreError, NotFound
from cadre_kit.health import is_serving
from cadre_memory.adapters.checks import contradictions
from cadre_memory.adapters.connections import SqliteConnection

KILLS = int(os.environ.get("CADRE_TEST_KILLS", "10"))
WRITERS = 16
PLACE = ["chaos"]
_START_SECONDS = 120


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
    """Stores, writes over, removes and appends in turn until the service is gone."""
    for number in range(100_000):
        kept, passing = f"{kill}-{writer}-{number}", f"{kill}-{writer}-{number}-passing"
        await _put(stub, kept)
        told.keys.append(kept)
        await _put(stub, writer)
        told.versions[writer] += 1
        await _put(stub, passing)
        await _call(stub.Delete, memory_pb2.DeleteRequest(namespace=PLACE, key=passing))
        told.gone.append(passing)
        said = [memory_pb2.Message(text=f"{kept}, message {n}") for n in range(3)]
        place = [*PLACE, writer]
        await _call(
            stub.AppendMessages,
            memory_pb2.AppendMessagesRequest(namespace=place, messages=said),
        )
        told.messages[writer] += 3


async def _put(stub: Any, key: str) -> None:
    value = common_pb2.Json(text=json.dumps(f"what {key} says"))
    await _call(stub.Put, memory_pb2.PutRequest(namespace=PLACE, key=key, value=value))


async def _call(method: Any, request: Any) -> Any:
    return await call(method, request, service="memory", timeout_seconds=30)


async def _write_until_killed(
    service: MemoryProcess, stub: Any, kill: int, told: Acknowledged
) -> None:
    before, enough = told.writes, random.Random(kill).randint(20, 200)
    writers = [asyncio.create_task(_write(stub, f"writer{n}", kill, told)) for n in range(WRITERS)]
    await eventually_async(lambda: _is_true(told.writes > before + enough), seconds=120)
    service.kill()
    ended = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(each, CadreError) for each in ended)


async def _is_true(condition: bool) -> bool:
    return condition


async def _missing(stub: Any, told: Acknowledged, *, since: int) -> list[str]:
    """What is not as it was acknowledged, of the keys from one on and of all else."""
    wrong = [key for key in told.keys[since:] if not await _is_there(stub, key)]
    wrong += [key for key in told.gone[since:] if await _is_there(stub, key)]
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


def _contradictions(home: Path) -> list[Any]:
    connection = SqliteConnection.to(f"sqlite:///{home}/memory.db")
    try:
        return list(contradictions(connection))
    finally:
        connection.close()


@asynccontextmanager
async def _started(service: MemoryProcess) -> AsyncIterator[Any]:
    service.start()
    await eventually_async(lambda: is_serving(service.address), seconds=_START_SECONDS)
    # Without retries, which would wait for seconds for what is killed.
    async with connect(service.address, service.credentials, patient=False) as channel:
        yield memory_pb2_grpc.MemoryServiceStub(channel)


@pytest.mark.timeout(120 + 30 * KILLS)
async def test_no_acknowledged_write_is_lost_however_often_the_service_is_killed(
    tmp_path: Path,
) -> None:
    service, told, checked = MemoryProcess(tmp_path), Acknowledged(), 0

    for kill in range(KILLS):
        async with _started(service) as stub:
            assert await _missing(stub, told, since=checked) == []
            checked = min(len(told.keys), len(told.gone))
            await _write_until_killed(service, stub, kill, told)
        assert _contradictions(tmp_path) == []

    async with _started(service) as stub:
        assert await _missing(stub, told, since=0) == []
        service.kill()
    assert told.writes > 20 * KILLS
