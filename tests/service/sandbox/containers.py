"""The sandbox with containers of a real engine, as the service builds it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.serving import serving
from cadre_sandbox.app import build, engine_settings
from cadre_sandbox.settings import SandboxSettings

__all__ = [
    "Stub",
    "capabilities",
    "containers",
    "in_session",
    "sandbox_with_containers",
    "until_prepared",
]

Stub: TypeAlias = "sandbox_pb2_grpc.SandboxServiceAsyncStub"
_BASE = Path(__file__).parents[2] / "compose" / "stand_in_base.sh"


@asynccontextmanager
async def sandbox_with_containers(settings: SandboxSettings) -> AsyncIterator[Stub]:
    """Its stub, once mode docker is prepared. At the end no container of it is left."""
    await asyncio.to_thread(subprocess.run, [str(_BASE)], check=True, timeout=600)
    async with (
        build(settings) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        connect(address) as channel,
    ):
        stub = sandbox_pb2_grpc.SandboxServiceStub(channel)
        await until_prepared(stub)
        yield stub
    assert not containers(settings, "--all")


async def capabilities(stub: Stub) -> sandbox_pb2.GetCapabilitiesResponse:
    """What it offers."""
    asked = sandbox_pb2.GetCapabilitiesRequest()
    return await call(stub.GetCapabilities, asked, service="sandbox", timeout_seconds=10)


async def until_prepared(stub: Stub) -> sandbox_pb2.GetCapabilitiesResponse:
    """What it offers once it knows whether it can run containers."""
    async with asyncio.timeout(60):
        while "prepared" in (offered := await capabilities(stub)).docker_missing:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    return offered


def containers(settings: SandboxSettings, *which: str) -> list[str]:
    """The ids of its containers, those that run or with `--all` every one."""
    label = f"label=io.cadre.sandbox={engine_settings(settings).owner}"
    listed = subprocess.run(
        ["docker", "ps", *which, "--quiet", "--filter", label],
        capture_output=True,
        check=True,
        text=True,
        timeout=20,
    )
    return listed.stdout.split()


async def in_session(
    stub: Stub, session: str, code: str, **limits: Any
) -> sandbox_pb2.ExecuteResponse:
    """Runs a program in a session."""
    request = sandbox_pb2.ExecuteRequest(
        code=code, session_id=session, limits=sandbox_pb2.Limits(**limits)
    )
    return await call(stub.Execute, request, service="sandbox", timeout_seconds=60)
