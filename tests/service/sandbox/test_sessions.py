"""Sessions in mode python, over gRPC: what is kept between calls, what a kill leaves, and what is left at the end."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from tests.service.sandbox.processes import children, spares_of, zygote_of

from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.errors import InvalidInput, NotFound
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")
Stub: TypeAlias = "sandbox_pb2_grpc.SandboxServiceAsyncStub"
Run = Callable[..., Awaitable[sandbox_pb2.ExecuteResponse]]
SUCCEEDED, LIMIT = sandbox_pb2.OUTCOME_SUCCEEDED, sandbox_pb2.OUTCOME_LIMIT


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stub() -> AsyncIterator[Stub]:
    async with (
        build(SandboxSettings(_env_file=None, sandbox_docker=False)) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        connect(address) as channel,
    ):
        yield sandbox_pb2_grpc.SandboxServiceStub(channel)


async def opened(stub: Stub, **limits: Any) -> str:
    request = sandbox_pb2.OpenSessionRequest(
        limits=sandbox_pb2.Limits(**{"timeout_seconds": 5.0, "memory_mb": 64, **limits})
    )
    answer = await call(stub.OpenSession, request, service="sandbox", timeout_seconds=30)
    return answer.session.id


async def close(stub: Stub, session: str) -> bool:
    request = sandbox_pb2.CloseSessionRequest(session_id=session)
    answer = await call(stub.CloseSession, request, service="sandbox", timeout_seconds=30)
    return bool(answer.closed)


async def execute(
    stub: Stub, session: str, code: str, **limits: Any
) -> sandbox_pb2.ExecuteResponse:
    request = sandbox_pb2.ExecuteRequest(
        code=code, session_id=session, limits=sandbox_pb2.Limits(**limits)
    )
    return await call(stub.Execute, request, service="sandbox", timeout_seconds=60)


@pytest_asyncio.fixture(loop_scope="module")
async def run(stub: Stub) -> AsyncIterator[Run]:
    session = await opened(stub)

    async def in_session(code: str, **limits: Any) -> sandbox_pb2.ExecuteResponse:
        return await execute(stub, session, code, **limits)

    yield in_session
    await close(stub, session)


async def test_variables_functions_and_classes_are_kept(run: Run) -> None:
    await run("import math\nx = 1\ndef f(n): return n + x\nclass C:\n    def m(self): return f(2)")
    await run("x = 40\nc = C()")

    done = await run("print(c.m(), math.pi > 3)\nresult = x")

    assert (done.stdout, done.result.text) == ("42 True\n", "40")
    assert "syscalls" in done.walls


async def test_random_numbers_go_on_where_the_last_call_left_them(run: Run) -> None:
    await run("import random\nrandom.seed(1)\nfirst = random.random()\nagain = random.Random(1)")

    done = await run("again.random()\nresult = random.random() == again.random()")

    assert done.result.text == "true"


async def test_what_was_done_before_an_exception_is_kept(run: Run) -> None:
    failed = await run("x = [1]\nx.append(2)\n1 / 0")
    blocked = await run("x.append(3)\nimport os")

    assert failed.error.message == "line 3: ZeroDivisionError: division by zero"
    assert blocked.outcome == sandbox_pb2.OUTCOME_BLOCKED
    assert (await run("result = x")).result.text == "[1,2,3]"


KILLS: dict[str, tuple[str, dict[str, float], str]] = {
    "time": ("while True: pass", {"timeout_seconds": 0.3, "cpu_seconds": 5.0}, "LIMIT_TIME"),
    "cpu": ("while True: pass", {"cpu_seconds": 0.2}, "LIMIT_CPU"),
    "memory": ("y = [0] * 10**9", {}, "LIMIT_MEMORY"),
    "output": ("while True: print('y' * 1000)", {"output_bytes": 1000}, "LIMIT_OUTPUT"),
    "a C loop": ("10**10**8", {"timeout_seconds": 0.3}, "LIMIT_TIME"),
}


@pytest.mark.parametrize("name", KILLS)
async def test_a_program_that_is_killed_leaves_what_was_there_before(name: str, run: Run) -> None:
    code, limits, reached = KILLS[name]
    await run("x = {'kept': 1}")

    done = await run(f"x['kept'] = 2\n{code}", **limits)

    assert (done.outcome, done.error.code) == (LIMIT, reached), done
    assert not done.session_reset
    assert (await run("result = x")).result.text == '{"kept":1}'


async def test_a_cancelled_call_leaves_what_was_there_before(stub: Stub) -> None:
    session = await opened(stub)
    await execute(stub, session, "x = 1")
    request = sandbox_pb2.ExecuteRequest(
        code="x = 2\nprint('on')\nwhile 1: pass", session_id=session
    )
    stream = stub.StreamExecute(sandbox_pb2.StreamExecuteRequest(request=request))
    first = await stream.read()
    assert isinstance(first, sandbox_pb2.StreamExecuteResponse)
    assert first.stdout == b"on\n"

    stream.cancel()

    assert (await execute(stub, session, "result = x")).result.text == "1"
    assert await close(stub, session)


async def test_a_result_is_said_again_only_by_a_program_that_names_it(run: Run) -> None:
    await run("result = [1]")

    assert not (await run("x = 1")).HasField("result")
    assert (await run("result.append(2)")).result.text == "[1,2]"


async def test_sessions_do_not_see_each_other(stub: Stub) -> None:
    first, second = await opened(stub), await opened(stub)
    await execute(stub, first, "secret = 'LEAKED'\nimport random\nrandom.seed(1)")

    done = await execute(stub, second, "secret")

    assert done.error.message == "line 1: NameError: name 'secret' is not defined"
    assert "LEAKED" not in str(done)
    await asyncio.gather(close(stub, first), close(stub, second))


async def test_an_id_that_is_not_known_is_refused(stub: Stub) -> None:
    for session in ("x", "0" * 32):
        with pytest.raises(NotFound) as caught:
            await execute(stub, session, "1")
        assert caught.value.code == "SESSION_NOT_FOUND"
    listing = sandbox_pb2.ListFilesRequest(session_id="x")
    with pytest.raises(NotFound):
        await call(stub.ListFiles, listing, service="sandbox", timeout_seconds=10)


async def written(stub: Stub, session: str, name: str, content: bytes) -> None:
    file = sandbox_pb2.File(name=name, content=content)
    request = sandbox_pb2.WriteFileRequest(session_id=session, file=file)
    await call(stub.WriteFile, request, service="sandbox", timeout_seconds=10)


async def listed(stub: Stub, session: str) -> dict[str, int]:
    request = sandbox_pb2.ListFilesRequest(session_id=session)
    answer = await call(stub.ListFiles, request, service="sandbox", timeout_seconds=10)
    return {entry.name: entry.size_bytes for entry in answer.files}


async def test_files_of_mode_python_are_there_from_call_to_call(stub: Stub) -> None:
    session = await opened(stub)
    await written(stub, session, "in/a.txt", b"one\n")

    done = await execute(stub, session, "f = open('in/a.txt', 'a')\nf.write('two\\n')")
    later = await execute(stub, session, "f.write('three\\n')\nf.close()")
    unchanged = await execute(stub, session, "result = open('in/a.txt').read()")
    killed = await execute(
        stub, session, "open('b', 'w').close()\nwhile True: pass", timeout_seconds=0.2
    )
    found = await listed(stub, session)
    reading = sandbox_pb2.ReadFileRequest(session_id=session, name="in/a.txt")
    read = await call(stub.ReadFile, reading, service="sandbox", timeout_seconds=10)
    missing = sandbox_pb2.ReadFileRequest(session_id=session, name="b")
    with pytest.raises(NotFound) as caught:
        await call(stub.ReadFile, missing, service="sandbox", timeout_seconds=10)
    await close(stub, session)

    assert [(f.name, f.content) for f in done.files] == [("in/a.txt", b"one\ntwo\n")]
    assert [f.content for f in later.files] == [b"one\ntwo\nthree\n"] == [read.file.content]
    assert json.loads(unchanged.result.text) == "one\ntwo\nthree\n"
    assert not unchanged.files
    assert killed.outcome == LIMIT
    assert found == {"in/a.txt": 14}
    assert caught.value.code == "FILE_NOT_FOUND"


async def test_a_file_that_the_memory_of_a_session_cannot_hold_is_refused(stub: Stub) -> None:
    session = await opened(stub, memory_mb=32)

    with pytest.raises(InvalidInput) as caught:
        await written(stub, session, "large", bytes(10 * 1024 * 1024))
    await written(stub, session, "small", b"1")
    found = await listed(stub, session)
    await close(stub, session)

    assert caught.value.code == "FILE_REFUSED"
    assert found == {"small": 1}


def _processes() -> set[int]:
    """All that descends from this process."""
    found, new = set(), {os.getpid()}
    while new:
        found |= new
        new = {child for pid in new for child in children(pid)} - found
    return found


async def test_many_calls_leave_no_more_than_one_process_and_closing_leaves_none(
    stub: Stub,
) -> None:
    async with asyncio.timeout(10):
        while not spares_of(zygote_of(os.getpid())):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.01)
    before, descriptors = _processes(), len(os.listdir("/proc/self/fd"))
    session = await opened(stub)
    for n in range(30):
        await execute(stub, session, f"x = {n}")
    await execute(stub, session, "while True: pass", timeout_seconds=0.1)
    during = _processes() - before

    await close(stub, session)

    assert len(during) <= 3, during
    async with asyncio.timeout(10):
        while _processes() - before:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= descriptors


async def test_threads_and_pools_that_a_call_leaves_go_on_with_the_next(run: Run) -> None:
    await run(
        """
import queue, threading
from concurrent.futures import ThreadPoolExecutor
asked, seen = queue.Queue(), []
def take():
    while True:
        seen.append(asked.get())
        asked.task_done()
threading.Thread(target=take, daemon=True).start()
pool = ThreadPoolExecutor(2)
pool.submit(int).result()
"""
    )

    done = await run(
        "asked.put(1)\nasked.join()\nresult = [seen, pool.submit(abs, -2).result(timeout=1)]"
    )

    assert done.result.text == "[[1],2]", done


async def test_a_call_does_not_wait_for_threads_of_one_that_failed(run: Run) -> None:
    await run(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n1/0"
    )

    done = await run("result = 1", timeout_seconds=2)

    assert done.outcome == SUCCEEDED, done
