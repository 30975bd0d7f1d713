"""What any runner of programs does, the real one and the fake."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.fakes.sandbox import FakeRunner, ending

from cadre_sandbox.adapters.zygotes import zygote_runner
from cadre_sandbox.domain.executions import Limits, Program, Runner, missing_walls

SPEAKS = "print('hello')\nresult = {'a': 1}"
RAISES = "1/0"
SLEEPS = "import time\ntime.sleep(60)"
ENDINGS = {
    SPEAKS: ending(stdout=b"hello\n", result=b'{"a":1}'),
    RAISES: ending(said={"outcome": "failed", "code": "CODE_FAILED", "message": "division"}),
}


@pytest.fixture(params=["zygote", "fake"])
async def runner(request: pytest.FixtureRequest) -> AsyncIterator[Runner]:
    if request.param == "fake":
        yield FakeRunner(ENDINGS)
        return
    async with zygote_runner(first_uid=58_800) as real:
        yield real


def program(code: str, *, timeout: float = 20) -> Program:
    limits = Limits(timeout_seconds=timeout, cpu_seconds=5, memory_mb=64, output_bytes=10_000)
    return Program(code=code, inputs={}, limits=limits)


async def test_output_and_result_come_back(runner: Runner) -> None:
    ended = await runner.run(program(SPEAKS))

    assert (ended.stdout, ended.result, ended.killed, ended.status) == (
        b"hello\n",
        b'{"a":1}',
        "",
        0,
    )
    assert ended.said == {"outcome": "succeeded"}


async def test_a_program_that_raises_says_so(runner: Runner) -> None:
    ended = await runner.run(program(RAISES))

    assert ended.said is not None
    assert (ended.said["outcome"], ended.result) == ("failed", None)
    assert "division" in ended.said["message"]


async def test_a_program_whose_time_is_up_is_killed(runner: Runner) -> None:
    ended = await runner.run(program(SLEEPS, timeout=0.2))

    assert (ended.killed, ended.said, ended.status) == ("time", None, -9)


async def test_a_cancelled_program_leaves_room_for_the_next(runner: Runner) -> None:
    task = asyncio.create_task(runner.run(program(SLEEPS)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await runner.run(program(SPEAKS))).stdout == b"hello\n"


async def test_the_walls_that_code_needs_hold(runner: Runner) -> None:
    assert missing_walls(runner.walls()) == []
