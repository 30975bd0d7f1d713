"""shell and process, in containers of the real sandbox."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.executor_tools.conftest import Bench, bench_in

from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_executor.domain.tools import ToolFailed
from cadre_kit.channels import connect
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

BASE = Path(__file__).parents[2] / "compose" / "stand_in_base.sh"


@asynccontextmanager
async def beside_a_sandbox(home: Path, *, docker: bool) -> AsyncIterator[Bench]:
    settings = SandboxSettings(_env_file=None, home=home, sandbox_docker=docker)
    async with build(settings) as services:
        async with serving(services, host="127.0.0.1", port=0) as address:
            await until_prepared(address)
            async with bench_in(home, sandbox_address=address) as bench:
                yield bench


async def until_prepared(address: str) -> None:
    """Waits until a sandbox knows whether it can run containers."""
    asked = sandbox_pb2.GetCapabilitiesRequest()
    async with connect(address) as channel:
        stub = sandbox_pb2_grpc.SandboxServiceStub(channel)
        deadline = time.monotonic() + 60
        while "prepared" in (await stub.GetCapabilities(asked, timeout=10)).docker_missing:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.docker
async def test_commands_run_in_a_container_without_network(tmp_path: Path) -> None:
    await asyncio.to_thread(subprocess.run, [str(BASE)], check=True, timeout=600)
    async with beside_a_sandbox(tmp_path, docker=True) as bench:
        said = await bench(
            "shell", command="echo $((6 * 7)); id -u; echo no >&2; exit 3", seconds=60
        )
        done = await bench("process", program="sort", arguments=["-r"], stdin="a\nb\n", seconds=60)
        network = await bench(
            "shell", command="ls /sys/class/net; cat /etc/shadow; echo x > /etc/x", seconds=60
        )
        with pytest.raises(ToolFailed) as late:
            await bench("shell", command="sleep 60", config={"timeout_seconds": 1}, seconds=60)
        with pytest.raises(ToolFailed, match="nothing-like-it"):
            await bench("process", program="nothing-like-it", seconds=60)

    assert (said["exit_status"], said["stderr"]) == (3, "no\n")
    assert said["stdout"].splitlines()[0] == "42"
    assert said["stdout"].splitlines()[1] != "0"
    assert done == {"exit_status": 0, "stdout": "b\na\n", "stderr": ""}
    assert set(network["stdout"].split()) <= {"lo"}
    assert network["exit_status"] != 0
    assert late.value.code == "PROGRAM_LIMIT"


@pytest.mark.parametrize(
    ("tool", "arguments"), [("shell", {"command": "id"}), ("process", {"program": "id"})]
)
async def test_without_docker_mode_it_is_said_what_is_missing(
    tmp_path: Path, tool: str, arguments: dict[str, Any]
) -> None:
    async with beside_a_sandbox(tmp_path, docker=False) as bench:
        with pytest.raises(ToolFailed) as refused:
            await bench(tool, **arguments)

    assert refused.value.code == "DOCKER_MODE_MISSING"
    assert "docker" in refused.value.message.lower()
