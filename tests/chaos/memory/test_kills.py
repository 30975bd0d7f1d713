"""The memory service killed in the middle of its work: what was acknowledged is there, and the indexes agree."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.platform import Platform, credentials_in, eventually, platform
from tests.postgresql import Postgresql
from tests.redis_server import RedisServer

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.errors import CadreError

WRITERS = 32
PLACE = ["chaos"]


def _write_until_it_dies(running: Platform, prefix: str, acknowledged: list[str]) -> None:
    asyncio.run(_write(running, prefix, acknowledged))


async def _write(running: Platform, prefix: str, acknowledged: list[str]) -> None:
    address = f"127.0.0.1:{running.ports['memory']}"
    async with connect(address, credentials_in(running.home)) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        await asyncio.gather(
            *(_write_one_by_one(stub, f"{prefix}-{n}", acknowledged) for n in range(WRITERS))
        )


async def _write_one_by_one(stub: Any, prefix: str, acknowledged: list[str]) -> None:
    for number in range(100_000):
        key = f"{prefix}-{number}"
        value = common_pb2.Json(text=json.dumps(f"what {key} says"))
        request = memory_pb2.PutRequest(namespace=PLACE, key=key, value=value)
        try:
            await call(stub.Put, request, service="memory", timeout_seconds=2)
        except CadreError:
            return
        acknowledged.append(key)


def _run(command: str, home: Path, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cadre_memory", command],
        env={"CADRE_HOME": str(home), "CADRE_MEMORY_DATABASE_URL": url, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _check(home: Path, url: str, acknowledged: list[str]) -> None:
    stored = {json.loads(line)["key"] for line in _run("export", home, url).stdout.splitlines()}
    checked = _run("check", home, url)

    assert set(acknowledged) <= stored
    assert (checked.returncode, checked.stderr) == (0, "everything agrees\n")


def _kill_in_the_middle(running: Platform, prefix: str, acknowledged: list[str]) -> None:
    before = len(acknowledged)
    arguments = (running, prefix, acknowledged)
    writer = threading.Thread(target=_write_until_it_dies, args=arguments)
    writer.start()
    eventually(lambda: len(acknowledged) > before + 100)
    running.kill("memory")
    writer.join(30)


@pytest.fixture(
    params=[
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("redis", marks=pytest.mark.redis),
    ]
)
def url(request: pytest.FixtureRequest) -> str:
    own = {"postgresql": "postgresql_server", "redis": "redis_at"}[request.param]
    server: Postgresql | RedisServer = request.getfixturevalue(own)
    return server.fresh()


@pytest.mark.timeout(180)
def test_no_acknowledged_memory_is_lost_to_a_kill(tmp_path: Path, url: str) -> None:
    acknowledged: list[str] = []

    with platform(tmp_path, "memory", CADRE_MEMORY_DATABASE_URL=url) as running:
        _kill_in_the_middle(running, "kill", acknowledged)
        _check(tmp_path, url, acknowledged)

    assert len(acknowledged) > 100
