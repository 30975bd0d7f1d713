"""A gateway over the real executor, in one process."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.fakes.executor import Neighbours, neighbours
from tests.service.executor.conftest import Executor, executor_in

from cadre_gateway.app import build
from cadre_gateway.entrypoint.streams import Stopping
from cadre_gateway.serving import serving
from cadre_gateway.settings import GatewaySettings


@dataclass(kw_only=True)
class Platform:
    """A gateway over the real executor, both in this process."""

    url: str
    key: str
    executor: Executor
    near: Neighbours
    stopping: Stopping

    def http(self, **headers: str) -> httpx.AsyncClient:
        sent = {"Authorization": f"Bearer {self.key}", **headers}
        return httpx.AsyncClient(base_url=self.url, headers=sent, timeout=30, verify=False)


@asynccontextmanager
async def platform_in(
    home: Path, *, gateway: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Platform]:
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(neighbours())
        executor = await stack.enter_async_context(executor_in(home, near, **settings))
        chosen = GatewaySettings(
            _env_file=None,
            home=home,
            gateway_port=0,
            executor_address=executor.address,
            llm_proxy_address=near.address,
            memory_address=near.address,
            sandbox_address=near.address,
            **(gateway or {}),
        )
        stopping = Stopping()
        app = await stack.enter_async_context(build(chosen, stopping=stopping))
        address = await stack.enter_async_context(
            serving(app, host="127.0.0.1", port=0, drain_seconds=1, stopping=stopping)
        )
        key = (home / "api-key").read_text().strip()
        yield Platform(
            url=f"http://{address}", key=key, executor=executor, near=near, stopping=stopping
        )
