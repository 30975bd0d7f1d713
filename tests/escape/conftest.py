"""One sandbox, as the service builds it, for every attack."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from cadre.common.v1 import common_pb2
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

Execute = Callable[..., Awaitable[sandbox_pb2.ExecuteResponse]]


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def execute() -> AsyncIterator[Execute]:
    """Runs a program over gRPC."""
    async with (
        build(SandboxSettings(sandbox_docker=False)) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        connect(address) as channel,
    ):
        stub = sandbox_pb2_grpc.SandboxServiceStub(channel)

        async def run(
            code: str, inputs: object = None, *, seconds: float = 3
        ) -> sandbox_pb2.ExecuteResponse:
            request = sandbox_pb2.ExecuteRequest(
                code=code,
                inputs=common_pb2.Json(text=json.dumps(inputs or {})),
                limits=sandbox_pb2.Limits(
                    timeout_seconds=seconds, cpu_seconds=0.3, memory_mb=64, output_bytes=10_000
                ),
            )
            return await call(stub.Execute, request, service="sandbox", timeout_seconds=60)

        yield run


@pytest.fixture(autouse=True)
def _no_secret_within_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CADRE_TEST_SECRET", "LEAKED-secret")
