"""The real gateway on a free port, in front of real gRPC servers with simple insides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.fakes.gateway import FakeExecutor, FakeLlmProxy, FakeMemory, served

from cadre_gateway.app import build
from cadre_gateway.entrypoint.streams import Stopping
from cadre_gateway.serving import serving
from cadre_gateway.settings import GatewaySettings

NOBODY = "127.0.0.1:1"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A gateway that serves, and what is behind it."""

    url: str
    key: str
    app: FastAPI
    home: Path
    stopping: Stopping
    executor: FakeExecutor
    llm_proxy: FakeLlmProxy
    memory: FakeMemory
    executor_stack: AsyncExitStack
    executor_port: int

    @property
    def webhook_secret(self) -> str:
        return (self.home / "webhook-secret").read_text().strip()


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a gateway with the given settings."""

    @asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[Running]:
        executor, llm_proxy, memory = FakeExecutor(), FakeLlmProxy(), FakeMemory()
        async with AsyncExitStack() as stack:
            executor_stack = await stack.enter_async_context(AsyncExitStack())
            addresses = {
                "executor_address": await executor_stack.enter_async_context(served(executor)),
                "llm_proxy_address": await stack.enter_async_context(served(llm_proxy)),
                "memory_address": await stack.enter_async_context(served(memory)),
                "sandbox_address": NOBODY,
                "mlflow_url": f"http://{NOBODY}",
                "prefect_url": f"http://{NOBODY}",
            }
            chosen = GatewaySettings(
                _env_file=None, home=tmp_path, gateway_port=0, **{**addresses, **settings}
            )
            stopping = Stopping()
            app = await stack.enter_async_context(build(chosen, stopping=stopping))
            address = await stack.enter_async_context(
                serving(
                    app,
                    host="127.0.0.1",
                    port=0,
                    drain_seconds=1,
                    stopping=stopping,
                    read_seconds=chosen.gateway_read_seconds,
                )
            )
            yield Running(
                url=f"http://{address}",
                app=app,
                key=(tmp_path / "api-key").read_text().strip(),
                home=tmp_path,
                stopping=stopping,
                executor=executor,
                llm_proxy=llm_proxy,
                memory=memory,
                executor_stack=executor_stack,
                executor_port=int(addresses["executor_address"].rpartition(":")[2]),
            )

    return started


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    async with start() as gateway:
        yield gateway


@pytest.fixture
async def http(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the gateway with its key."""
    headers = {"Authorization": f"Bearer {running.key}"}
    # Loading certificates would take longer than the test.
    async with httpx.AsyncClient(
        base_url=running.url, headers=headers, timeout=10, verify=False
    ) as client:
        yield client


async def eventually(holds: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Waits until a condition holds; fails when it does not in time."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for happens elsewhere and tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture(name="eventually")
def _eventually() -> Any:
    return eventually
