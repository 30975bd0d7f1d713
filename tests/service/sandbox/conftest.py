"""One sandbox, as the service builds it, for every program."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio
from tests.service.sandbox.containers import Stub

from cadre.common.v1 import common_pb2
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

Execute = Callable[..., Awaitable[sandbox_pb2.ExecuteResponse]]


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def python_stub() -> AsyncIterator[Stub]:
    """The service with mode python alone."""
    async with (
        build(SandboxSettings(sandbox_docker=False)) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        connect(address) as channel,
    ):
        yield sandbox_pb2_grpc.SandboxServiceStub(channel)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def execute(python_stub: Stub) -> Execute:
    """Runs a program over gRPC."""

    async def run(code: str, inputs: object = None) -> sandbox_pb2.ExecuteResponse:
        request = sandbox_pb2.ExecuteRequest(
            code=code,
            inputs=common_pb2.Json(text=json.dumps(inputs or {})),
            limits=sandbox_pb2.Limits(
                timeout_seconds=3, cpu_seconds=2, memory_mb=64, output_bytes=100_000
            ),
        )
        return await call(python_stub.Execute, request, service="sandbox", timeout_seconds=30)

    return run
