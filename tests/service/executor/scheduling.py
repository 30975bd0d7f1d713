"""A real Prefect server with a real worker, which has nothing but the address of a real gateway, and a key."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.fakes.executor import Neighbours
from tests.platform import Platform, eventually
from tests.ports import free_port
from tests.service.executor.conftest import Executor, executor_in

from cadre_cli.environment import prefect_database

_START_SECONDS = 400.0
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(kw_only=True)
class Prefect:
    """A server on a port of its own; its data stays when it is killed."""

    home: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        arguments = ("server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect_database(self.home)}
        self.process = prefect_process(self.home, *arguments, cwd=None, **database)
        eventually(self.answers, seconds=_START_SECONDS)

    def kill(self) -> None:
        """Ends the server at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/health", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


@dataclass(frozen=True, kw_only=True)
class Scheduling:
    """Where Prefect is, and the gateway in front of the executor of each test."""

    prefect: Prefect
    gateway: Platform

    @property
    def prefect_url(self) -> str:
        return self.prefect.url

    @asynccontextmanager
    async def executor(self, home: Path, near: Neighbours) -> AsyncIterator[Executor]:
        """An executor behind the gateway."""
        port = self.gateway.ports["executor"]
        async with executor_in(home, near, port=port, prefect_url=self.prefect_url) as found:
            yield found


def prefect_process(
    home: Path, *arguments: str, cwd: Path | None = None, **more: str
) -> "subprocess.Popen[bytes]":
    """One of Prefect's commands, without a setting of ours but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CADRE_")}
    environment = {
        **kept,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # How many runs of a schedule it plans at least: each takes a process that loads all of Prefect.
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "2",
        "DO_NOT_TRACK": "1",
        **more,
    }
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            env=environment,
            cwd=cwd or home,
            stdout=log,
            stderr=log,
        )


@contextmanager
def prefect_running(home: Path) -> Iterator[Prefect]:
    """A Prefect server."""
    server = Prefect(home=home, port=free_port())
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.process.terminate()
            server.process.wait(30)


@contextmanager
def worker_running(home: Path, prefect_url: str, gateway: Platform) -> Iterator[None]:
    """A worker that runs what schedules and batches start, as one on another machine would."""
    process = prefect_process(
        home,
        *("worker", "start", "--pool", "cadre", "--type", "process"),
        PREFECT_API_URL=f"{prefect_url}/api",
        CADRE_GATEWAY_URL=gateway.gateway_url,
        CADRE_API_KEY=gateway.api_key,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


async def flow_run_state(url: str, flow_run: str) -> tuple[str, str]:
    """The type and the name of a flow run's state."""
    async with httpx.AsyncClient(base_url=f"{url}/api", timeout=20, trust_env=False) as http:
        run: Any = (await http.get(f"/flow_runs/{flow_run}")).json()
    return run["state_type"], run["state_name"]


async def ended(url: str, flow_run: str) -> tuple[str, str]:
    """The type and the name of a flow run's final state."""
    async with asyncio.timeout(300):
        while True:
            # A Prefect that is busy may keep a request waiting until it is too late to answer it.
            with suppress(httpx.TransportError):
                state = await flow_run_state(url, flow_run)
                if state[0] in _FINAL:
                    return state
            await asyncio.sleep(0.3)


async def set_state(url: str, flow_run: str, state: str) -> None:
    """Puts a flow run into a state, whatever Prefect's rules say."""
    async with httpx.AsyncClient(base_url=f"{url}/api", timeout=60, trust_env=False) as http:
        asked = {"state": {"type": state, "name": state.capitalize()}, "force": True}
        (await http.post(f"/flow_runs/{flow_run}/set_state", json=asked)).raise_for_status()
