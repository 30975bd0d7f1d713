"""What the executor asks of a sandbox, held to by the real one and by the tests' own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.fakes.executor import neighbours

from cadre_executor.adapters.peers import GrpcSandbox
from cadre_executor.domain.peers import Call, Execution, Outcome, Program
from cadre_kit.channels import connect
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

CALL = Call(workflow="w", version=1, run_id="r", root_run_id="r", node="n", key="")


@pytest.fixture(params=["real", "fake"])
async def sandbox(request: Any) -> AsyncIterator[GrpcSandbox]:
    if request.param == "fake":
        async with neighbours() as near, connect(near.address) as channel:
            yield GrpcSandbox(channel)
        return
    async with build(SandboxSettings(_env_file=None, sandbox_docker=False)) as services:
        async with serving(services, host="127.0.0.1", port=0) as address:
            async with connect(address) as channel:
                yield GrpcSandbox(channel)


async def run(sandbox: GrpcSandbox, code: str, **inputs: Any) -> Execution:
    program = Program(code=code, inputs=inputs)
    return await sandbox.execute(program, call=CALL, seconds=20.0)


async def test_a_program_leaves_its_result(sandbox: GrpcSandbox) -> None:
    execution = await run(sandbox, "result = {'sum': a + inputs['b']}", a=1, b=2)

    assert execution.outcome is Outcome.SUCCEEDED
    assert execution.has_result
    assert execution.result == {"sum": 3}


async def test_a_program_without_a_result_leaves_what_it_printed(sandbox: GrpcSandbox) -> None:
    execution = await run(sandbox, "print('seen')")

    assert not execution.has_result
    assert execution.stdout.rstrip("\n") == "seen"


async def test_a_program_that_fails_says_where(sandbox: GrpcSandbox) -> None:
    execution = await run(sandbox, "1 / 0")

    assert execution.outcome is Outcome.FAILED
    assert "ZeroDivisionError" in execution.error
