"""Mode docker on an engine with gVisor, under whatever name beginning with runsc its runtime is configured."""

import json
import platform
import subprocess
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.service.sandbox.containers import (
    Stub,
    capabilities,
    in_session,
    sandbox_with_containers,
)

from cadre.sandbox.v1 import sandbox_pb2
from cadre_kit.channels import call
from cadre_kit.errors import InvalidInput
from cadre_sandbox.settings import SandboxSettings

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


def runtime() -> str:
    asked = ["docker", "info", "--format", "{{json .Runtimes}}"]
    said = subprocess.run(asked, capture_output=True, check=True, text=True, timeout=20)
    found = sorted(name for name in json.loads(said.stdout) if name.startswith("runsc"))
    if not found:
        pytest.skip("the engine has no runtime runsc (gVisor)")
    return str(found[0])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stub]:
    settings = SandboxSettings(
        _env_file=None,
        home=tmp_path_factory.mktemp("home"),
        sandbox_docker_runtime=runtime(),
        sandbox_docker_pool=1,
        sandbox_hosts="example.com",
    )
    async with sandbox_with_containers(settings) as stub:
        yield stub


async def run(
    stub: Stub, code: str, *, hosts: tuple[str, ...] = (), **limits: float
) -> sandbox_pb2.ExecuteResponse:
    request = sandbox_pb2.ExecuteRequest(
        code=code,
        mode=sandbox_pb2.MODE_DOCKER,
        limits=sandbox_pb2.Limits(**limits),  # type: ignore[arg-type]  # some are whole numbers
        hosts=hosts,
    )
    return await call(stub.Execute, request, service="sandbox", timeout_seconds=90)


async def test_programs_run_behind_every_wall_in_a_kernel_of_their_own(stub: Stub) -> None:
    done = await run(stub, "import platform\nresult = platform.release()")
    offered = await capabilities(stub)

    assert json.loads(done.result.text) != platform.release()
    assert all(wall.holds for wall in offered.docker_walls), offered


async def test_a_program_may_have_threads_and_other_processes(stub: Stub) -> None:
    code = """
import subprocess, threading
for _ in range(20):
    subprocess.run(["echo", "one more"], check=True)
seen = []
threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(20)]
for thread in threads: thread.start()
for thread in threads: thread.join()
result = len(seen)
"""

    done = await run(stub, code)

    assert (done.stdout, done.result.text) == ("one more\n" * 20, "20"), done


async def test_a_session_keeps_variables_and_files(stub: Stub) -> None:
    opening = sandbox_pb2.OpenSessionRequest(mode=sandbox_pb2.MODE_DOCKER)
    opened = await call(stub.OpenSession, opening, service="sandbox", timeout_seconds=60)
    session = opened.session.id

    await in_session(stub, session, "x = 1\nopen('kept', 'w').write('2')")
    ended = await in_session(stub, session, "while True: pass", timeout_seconds=0.5)
    after = await in_session(stub, session, "result = [x, open('kept').read()]")

    assert ended.error.code == "LIMIT_TIME"
    assert json.loads(after.result.text) == [1, "2"], after
    closing = sandbox_pb2.CloseSessionRequest(session_id=session)
    await call(stub.CloseSession, closing, service="sandbox", timeout_seconds=60)


@pytest.mark.parametrize("memory_mb", [128, 256])
async def test_a_program_over_its_memory_is_said_to_be(stub: Stub, memory_mb: int) -> None:
    done = await run(
        stub,
        "kept = bytearray(10**9)\nfor i in range(0, 10**9, 4096): kept[i] = 1",
        memory_mb=memory_mb,
    )

    assert (done.outcome, done.error.code) == (sandbox_pb2.OUTCOME_LIMIT, "LIMIT_MEMORY"), done
    assert f"{memory_mb} MiB" in done.error.message


async def test_a_program_that_ends_its_container_is_not_said_to_be(stub: Stub) -> None:
    done = await run(stub, "import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(30)")

    assert done.error.code != "LIMIT_MEMORY"
    assert done.outcome != sandbox_pb2.OUTCOME_SUCCEEDED


async def test_hosts_are_refused_with_the_reason(stub: Stub) -> None:
    for asked in ("example.com", "*"):
        with pytest.raises(InvalidInput) as caught:
            await run(stub, "1", hosts=(asked,))

        assert caught.value.code == "HOST_NOT_ALLOWED"
        assert "gVisor" in caught.value.message
    assert not (await capabilities(stub)).hosts
