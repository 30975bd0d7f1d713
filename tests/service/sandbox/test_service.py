"""The service as a process: started, called, cancelled, its worker killed, stopped; nothing is left behind."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.platform import credentials_in
from tests.service.sandbox.processes import children, spares_of, waits, zygote_of

from cadre.common.v1 import common_pb2
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.errors import (
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unavailable,
    Unsupported,
)

Stub: TypeAlias = "sandbox_pb2_grpc.SandboxServiceAsyncStub"


class Service:
    """A running service process."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, stub: Stub) -> None:
        self.process = process
        self.address = address
        self.stub = stub

    async def execute(
        self, code: str, *, key: str = "", seconds: float = 20, mode: int = 0
    ) -> sandbox_pb2.ExecuteResponse:
        limits = sandbox_pb2.Limits(timeout_seconds=seconds, memory_mb=64)
        request = sandbox_pb2.ExecuteRequest(code=code, limits=limits, mode=mode)  # type: ignore[arg-type]
        return await call(
            self.stub.Execute, request, service="sandbox", timeout_seconds=30, idempotency_key=key
        )

    def zygote(self) -> int:
        """Process id of its only child."""
        return zygote_of(self.process.pid)

    def programs(self) -> list[int]:
        """Those under way."""
        return [pid for pid in children(self.zygote()) if not waits(pid)]

    def spares(self) -> list[int]:
        """Those that wait for their program."""
        return spares_of(self.zygote())

    async def spare(self) -> int:
        """The one that waits for its program, once there is one: the kernel's list may pass over it now and then."""
        async with asyncio.timeout(10):
            while not (found := self.spares()):  # noqa: ASYNC110 - another process, which sets no event
                await asyncio.sleep(0.01)
        (pid,) = found
        return pid


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - another process, which sets no event
            await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    """Waits until a process has ended."""
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "service_ready":
            return str(event["address"])
    raise AssertionError("it ended before it was ready")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    environment = {
        "PATH": os.environ["PATH"],
        "CADRE_HOME": str(tmp_path),
        "CADRE_SANDBOX_PORT": "0",
        "CADRE_SANDBOX_DOCKER": "false",
        "CADRE_SANDBOX_CONCURRENCY": "2",
        "CADRE_SANDBOX_QUEUE": "1",
        "CADRE_TRACES_ENDPOINT": "",
        "CADRE_LOG_FORMAT": "json",
        "CADRE_DRAIN_SECONDS": "0.2",
        "CADRE_TEST_SECRET": "hidden",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cadre_sandbox", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        address = await asyncio.wait_for(_address(process), 20)
        async with connect(address, credentials_in(tmp_path)) as channel:
            yield Service(process, address, sandbox_pb2_grpc.SandboxServiceStub(channel))
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), 10)


async def test_it_says_which_walls_hold(service: Service) -> None:
    request = sandbox_pb2.GetCapabilitiesRequest()

    answer = await call(
        service.stub.GetCapabilities, request, service="sandbox", timeout_seconds=10
    )

    held = {wall.name for wall in answer.walls if wall.holds}
    assert {"language", "process", "limits", "syscalls"} <= held
    assert all(wall.detail for wall in answer.walls)
    assert list(answer.modes) == [sandbox_pb2.MODE_PYTHON]
    assert {"math", "json"} <= set(answer.modules)
    assert answer.ceiling.memory_mb == 2048


async def test_cancelling_the_call_kills_the_program(service: Service) -> None:
    task = asyncio.create_task(service.execute("while True: pass"))
    await until(service.programs)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await until(lambda: not service.programs())


async def test_a_worker_that_dies_is_replaced(service: Service) -> None:
    first = service.zygote()
    task = asyncio.create_task(service.execute("import time\ntime.sleep(0.3)\nresult = 1"))
    await until(service.programs)

    os.kill(first, signal.SIGKILL)

    with pytest.raises(Unavailable) as lost:
        await task
    assert lost.value.code == "SANDBOX_WORKER_LOST"
    assert (await service.execute("result = 1")).result.text == "1"
    assert service.zygote() != first


async def test_a_process_that_is_killed_while_it_waits_costs_no_program(service: Service) -> None:
    for _ in range(3):
        spare = await service.spare()
        os.kill(spare, signal.SIGKILL)
        await gone(spare)

        answer = await service.execute("result = 1")

        assert answer.result.text == "1"
        assert spare not in service.spares()


async def test_a_full_queue_is_said_and_passes(service: Service) -> None:
    tasks = [asyncio.create_task(service.execute("import time\ntime.sleep(1)")) for _ in range(5)]

    ended = await asyncio.gather(*tasks, return_exceptions=True)

    refused = [error for error in ended if isinstance(error, LimitExceeded)]
    assert [error.code for error in refused] == ["SANDBOX_BUSY"] * 2
    assert (await service.execute("result = 1")).result.text == "1"


async def test_a_repeated_key_does_not_run_the_program_twice(service: Service) -> None:
    code = "import uuid\nresult = str(uuid.uuid4())"

    first, second = [await service.execute(code, key="run/code/0/1") for _ in range(2)]

    assert first.result.text == second.result.text
    with pytest.raises(Conflict) as caught:
        await service.execute("result = 2", key="run/code/0/1")
    assert caught.value.code == "IDEMPOTENCY_KEY_REUSED"


async def test_what_is_wrong_with_a_request_is_named(service: Service) -> None:
    with pytest.raises(InvalidInput, match="timeout_seconds is 301"):
        await service.execute("1", seconds=301)
    with pytest.raises(Unsupported):
        await service.execute("1", mode=7)
    request = sandbox_pb2.ExecuteRequest(code="1", inputs=common_pb2.Json(text="[1]"))
    with pytest.raises(InvalidInput, match="inputs must be a JSON object"):
        await call(service.stub.Execute, request, service="sandbox", timeout_seconds=5)


async def test_nothing_is_left_after_programs_nor_after_the_service(
    service: Service, tmp_path: Path
) -> None:
    zygote = service.zygote()
    await service.execute("the connection is made by now")
    spare = await service.spare()
    before = _descriptors(service.process.pid)
    of_zygote = _descriptors(zygote)
    for code in ["result = 1", "1/0", "import os", "x = 'a' * 10**9", "while True: print(1)"] * 4:
        await service.execute(code, seconds=0.5)

    last = await service.spare()
    # While the next process is being made, the zygote has one more, then as now.
    await until(lambda: _descriptors(service.process.pid) <= before)
    await until(lambda: _descriptors(zygote) <= of_zygote)
    assert service.programs() == []
    assert last != spare
    service.process.terminate()
    assert await asyncio.wait_for(service.process.wait(), 10) == 0
    await gone(zygote)
    await gone(last)
    assert os.listdir(tmp_path) == ["service-token"]


async def test_hundreds_of_programs_leave_the_service_as_it_was(service: Service) -> None:
    for _ in range(20):
        await service.execute("result = 1")
    before = _resident_kib(service.process.pid), _resident_kib(service.zygote())

    for _ in range(250):
        await asyncio.gather(*(service.execute(code) for code in ("result = 1", "1 / 0")))

    after = _resident_kib(service.process.pid), _resident_kib(service.zygote())
    assert service.programs() == []
    assert after[0] - before[0] < 4096
    assert after[1] - before[1] < 1024


def _resident_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


async def test_programs_die_with_a_service_that_is_killed(service: Service) -> None:
    task = asyncio.create_task(service.execute("while True: pass"))
    await until(service.programs)
    zygote, program = service.zygote(), service.programs()[0]

    service.process.kill()

    await gone(zygote)
    await gone(program)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_the_worker_knows_nothing_of_the_services_environment(service: Service) -> None:
    assert _environment(service.zygote()) == b""


async def test_a_session_ends_with_the_worker_and_with_the_service(service: Service) -> None:
    opened = await call(
        service.stub.OpenSession,
        sandbox_pb2.OpenSessionRequest(),
        service="sandbox",
        timeout_seconds=10,
    )
    request = sandbox_pb2.ExecuteRequest(code="x = 1", session_id=opened.session.id)
    await call(service.stub.Execute, request, service="sandbox", timeout_seconds=10)
    keeper = service.programs()[0]
    first = service.zygote()

    os.kill(first, signal.SIGKILL)

    await gone(keeper)
    with pytest.raises(NotFound) as caught:
        await call(service.stub.Execute, request, service="sandbox", timeout_seconds=10)
    assert caught.value.code == "SESSION_NOT_FOUND"
    assert (await service.execute("result = 1")).result.text == "1"
    await call(
        service.stub.OpenSession,
        sandbox_pb2.OpenSessionRequest(),
        service="sandbox",
        timeout_seconds=10,
    )
    await until(service.programs)
    keeper = service.programs()[0]

    service.process.kill()

    await gone(keeper)
