"""The memory service killed in the middle of its work: what was acknowledged is there, and the indexes agree."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.platform import Platform, eventually, platform

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.errors import CadreError

WRITERS = 32
PLACE = ["chaos"]


def _write_until_it_dies(port: int, prefix: str, acknowledged: list[str]) -> None:
    asyncio.run(_write(port, prefix, acknowledged))


async def _write(port: int, prefix: str, acknowledged: list[str]) -> None:
    async with connect(f"127.0.0.1:{port}") as channel:
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


def _check(home: Path, acknowledged: list[str]) -> None:
    with closing(sqlite3.connect(home / "memory.db")) as connection:
        stored = {key for (key,) in connection.execute("SELECT key FROM item")}
    checked = subprocess.run(
        [sys.executable, "-m", "cadre_memory", "check"],
        env={"CADRE_HOME": str(home), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert set(acknowledged) <= stored
    assert (checked.returncode, checked.stderr) == (0, "everything agrees\n")


def _kill_in_the_middle(running: Platform, prefix: str, acknowledged: list[str]) -> None:
    before = len(acknowledged)
    arguments = (running.ports["memory"], prefix, acknowledged)
    writer = threading.Thread(target=_write_until_it_dies, args=arguments)
    writer.start()
    eventually(lambda: len(acknowledged) > before + 100)
    running.kill("memory")
    writer.join(30)


@pytest.mark.timeout(180)
def test_no_acknowledged_memory_is_lost_to_a_kill(tmp_path: Path) -> None:
    acknowledged: list[str] = []

    with platform(tmp_path, "memory") as running:
        for attempt in range(3):
            _kill_in_the_middle(running, f"kill{attempt}", acknowledged)
            _check(tmp_path, acknowledged)
            running.start("memory")

    assert len(acknowledged) > 300
