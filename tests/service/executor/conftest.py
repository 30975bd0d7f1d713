"""The real executor in process, its database a file, its neighbours small real servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.fakes.executor import Neighbours, neighbours
from tests.fakes.providers import ProviderServer, openai_reply, provider_server
from tests.fakes.tools import FakeTools
from tests.platform import platform

from cadre.executor.v1 import (
    batches_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    schedules_pb2_grpc,
    workflows_pb2,
    workflows_pb2_grpc,
)
from cadre_executor.adapters.files import WorkflowFiles
from cadre_executor.adapters.result_cache import SqlResultCache
from cadre_executor.adapters.run_store import SqlRunStore
from cadre_executor.app import build_with
from cadre_executor.settings import Settings
from cadre_kit.channels import call, connect, stream
from cadre_kit.documents import from_json, to_json
from cadre_kit.serving import serving
from cadre_kit.transactions import Transactions

if TYPE_CHECKING:
    from tests.service.executor.scheduling import Scheduling
    from tests.service.executor.spending import LlmProxy, Open

LAST = {
    runs_pb2.EVENT_TYPE_RUN_SUCCEEDED,
    runs_pb2.EVENT_TYPE_RUN_FAILED,
    runs_pb2.EVENT_TYPE_RUN_CANCELLED,
}


@dataclass(kw_only=True)
class Executor:
    """Calls the executor at an address."""

    address: str
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.runs = runs_pb2_grpc.RunServiceStub(self.channel)
        self.workflows = workflows_pb2_grpc.WorkflowServiceStub(self.channel)
        self.schedules = schedules_pb2_grpc.ScheduleServiceStub(self.channel)
        self.batches = batches_pb2_grpc.BatchServiceStub(self.channel)

    async def ask(self, method: Any, request: Any, *, key: str = "") -> Any:
        return await call(
            method, request, service="executor", timeout_seconds=60.0, idempotency_key=key
        )

    async def apply(self, source: str) -> workflows_pb2.Workflow:
        request = workflows_pb2.ApplyWorkflowRequest(source=source)
        answer: workflows_pb2.ApplyWorkflowResponse = await self.ask(
            self.workflows.ApplyWorkflow, request
        )
        return answer.workflow

    async def start(self, source: str, key: str = "", **inputs: Any) -> runs_pb2.Run:
        request = runs_pb2.StartRunRequest(source=source, inputs=to_json(inputs))
        answer: runs_pb2.StartRunResponse = await self.ask(self.runs.StartRun, request, key=key)
        return answer.run

    async def get(self, run_id: str) -> runs_pb2.Run:
        request = runs_pb2.GetRunRequest(run_id=run_id)
        answer: runs_pb2.GetRunResponse = await self.ask(self.runs.GetRun, request)
        return answer.run

    async def cancel(self, run_id: str) -> runs_pb2.Run:
        request = runs_pb2.CancelRunRequest(run_id=run_id)
        answer: runs_pb2.CancelRunResponse = await self.ask(self.runs.CancelRun, request)
        return answer.run

    async def watch(self, run_id: str, after: int = 0) -> AsyncIterator[runs_pb2.Event]:
        request = runs_pb2.WatchRunRequest(run_id=run_id, after_sequence=after)
        responses = stream(self.runs.WatchRun, request, service="executor", timeout_seconds=40.0)
        async for response in responses:
            yield response.event

    async def events(self, run_id: str, after: int = 0) -> list[runs_pb2.Event]:
        return [event async for event in self.watch(run_id, after)]

    async def events_so_far(self, run_id: str) -> list[runs_pb2.Event]:
        """The events of a run that has not ended, up to the last that is stored."""
        found: list[runs_pb2.Event] = []
        watching = self.watch(run_id)
        try:
            while True:
                async with asyncio.timeout(0.3):
                    found.append(await anext(watching))
        except (TimeoutError, StopAsyncIteration):
            return found

    async def until(self, run_id: str, done: Callable[[runs_pb2.Event], bool]) -> None:
        async for event in self.watch(run_id):
            if done(event):
                return
        raise AssertionError("the run ended first")

    async def finish(self, source: str, **inputs: Any) -> tuple[runs_pb2.Run, list[str]]:
        """Runs a workflow to its end; the run, and its events as `type node`."""
        run = await self.start(source, **inputs)
        events = await self.events(run.id)
        return await self.get(run.id), names(events)


async def reached(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds, 20 seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def names(events: list[runs_pb2.Event]) -> list[str]:
    types = [runs_pb2.EventType.Name(e.type).removeprefix("EVENT_TYPE_").lower() for e in events]
    return [f"{kind} {e.node}".strip() for kind, e in zip(types, events, strict=True)]


def outputs(run: runs_pb2.Run) -> Mapping[str, Any]:
    found: Mapping[str, Any] = from_json(run.outputs, field="outputs")
    return found


@asynccontextmanager
async def executor_in(
    home: Path,
    near: Neighbours,
    *,
    port: int = 0,
    tools: FakeTools | None = None,
    variables: Mapping[str, str] | None = None,
    run_store: Callable[..., SqlRunStore] = SqlRunStore,
    result_cache: Callable[[Transactions], SqlResultCache] = SqlResultCache,
    **settings: Any,
) -> AsyncIterator[Executor]:
    """The real executor, in this process."""
    given: dict[str, Any] = {
        "home": home,
        "llm_proxy_address": near.address,
        "sandbox_address": near.address,
        "memory_address": near.address,
        "traces_endpoint": "",
        "executor_patience_seconds": 0.5,
        **settings,
    }
    async with AsyncExitStack() as stack:
        building = build_with(
            Settings(_env_file=None, **given),
            WorkflowFiles(),
            tools or FakeTools(),
            variables=variables or {},
            run_store=run_store,
            result_cache=result_cache,
        )
        services = await stack.enter_async_context(building)
        address = await stack.enter_async_context(serving(services, host="127.0.0.1", port=port))
        channel = await stack.enter_async_context(connect(address))
        yield Executor(address=address, channel=channel)


@pytest.fixture
async def near() -> AsyncIterator[Neighbours]:
    async with neighbours() as found:
        yield found


@pytest.fixture
def tools() -> FakeTools:
    return FakeTools()


@pytest.fixture
async def executor(tmp_path: Path, near: Neighbours, tools: FakeTools) -> AsyncIterator[Executor]:
    async with executor_in(tmp_path, near, tools=tools) as found:
        yield found


@pytest.fixture
async def provider() -> AsyncIterator[ProviderServer]:
    async with provider_server(openai_reply("hello")) as server:
        yield server


@pytest.fixture
async def llm_proxy(tmp_path: Path, provider: ProviderServer) -> AsyncIterator["LlmProxy"]:
    from tests.service.executor.spending import llm_proxy_running

    home = tmp_path / "llm-proxy"
    home.mkdir()
    async with llm_proxy_running(home, provider) as found:
        yield found


@pytest.fixture
def opened(tmp_path: Path, near: Neighbours, tools: FakeTools, llm_proxy: "LlmProxy") -> "Open":
    """Opens the executor on the test's folder, with the real llm-proxy; opening it again is a restart."""
    return partial(executor_in, tmp_path, near, tools=tools, llm_proxy_address=llm_proxy.address)


@pytest.fixture(scope="module")
def scheduling(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Scheduling"]:
    """One Prefect server, and one gateway, for the tests of a file: they are slow to start, and busy while they run."""
    from tests.service.executor.scheduling import Scheduling, prefect_running

    with (
        platform(tmp_path_factory.mktemp("gateway"), "gateway") as gateway,
        prefect_running(tmp_path_factory.mktemp("prefect")) as server,
    ):
        yield Scheduling(prefect=server, gateway=gateway)


@pytest.fixture(scope="module")
def worker(scheduling: "Scheduling", tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A worker that has nothing but Prefect's and the gateway's address, and a key."""
    from tests.service.executor.scheduling import worker_running

    home = tmp_path_factory.mktemp("worker")
    with worker_running(home, scheduling.prefect_url, scheduling.gateway):
        yield
