"""A run of five trivial nodes, stored at every step, against bare LangGraph without a checkpointer; aim: within 3x."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from cadre.executor.v1 import runs_pb2, runs_pb2_grpc
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_executor.adapters.database import Database
from cadre_executor.adapters.definition_store import SqlDefinitionStore
from cadre_executor.adapters.files import WorkflowFiles
from cadre_executor.adapters.graphs import Graphs
from cadre_executor.adapters.run_store import SqlRunStore
from cadre_executor.app import build
from cadre_executor.domain.actions import Call, Execution, Outcome, Peers, Program
from cadre_executor.domain.definitions import Library
from cadre_executor.domain.desks import Desk, StartRun
from cadre_executor.domain.drivers import Driver
from cadre_executor.domain.watchers import Watchers
from cadre_executor.settings import Settings
from cadre_kit.channels import call, connect, stream
from cadre_kit.documents import to_json
from cadre_kit.logs import configure_logs
from cadre_kit.serving import GrpcService, serving

RUNS = 100
WARM_UP = 10
NODES = [f"n{i}" for i in range(5)]
SOURCE = "\n".join(
    [
        'schema_version: "1.0"',
        "flow: {name: five}",
        "state: {fields: {count: {type: int, default: 0}}}",
        "nodes:",
        *(f"  - {{id: {n}, code: 'result = 1', outputs: [count]}}" for n in NODES),
        "edges:",
        *(f"  - {{from: {a}, to: {b}}}" for a, b in zip(["START", *NODES], [*NODES, "END"])),  # noqa: B905
    ]
)


class One:
    """A sandbox whose programs all give 1 at once, and stands for the other services too."""

    async def execute(self, program: Program, *, call: Call, seconds: float) -> Execution:
        """One."""
        return Execution(outcome=Outcome.SUCCEEDED, has_result=True, result=1)


class OneOverGrpc(sandbox_pb2_grpc.SandboxServiceServicer):
    """The same, as a service."""

    async def Execute(
        self, request: sandbox_pb2.ExecuteRequest, context: Any
    ) -> sandbox_pb2.ExecuteResponse:
        """One."""
        return sandbox_pb2.ExecuteResponse(outcome=sandbox_pb2.OUTCOME_SUCCEEDED, result=to_json(1))

    def StreamExecute(self, request: sandbox_pb2.StreamExecuteRequest, context: Any) -> Any:
        """Nobody asks for it here."""
        raise NotImplementedError

    async def GetCapabilities(
        self, request: sandbox_pb2.GetCapabilitiesRequest, context: Any
    ) -> sandbox_pb2.GetCapabilitiesResponse:
        """None."""
        return sandbox_pb2.GetCapabilitiesResponse()


class Ended(SqlRunStore):
    """The store, that says when the end of a run is stored."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.ended = asyncio.Event()

    async def finish(self, *arguments: Any, **named: Any) -> bool:
        """Ends a run."""
        ended = await super().finish(*arguments, **named)
        self.ended.set()
        return ended


async def measured(*runs: Callable[[], Awaitable[Any]]) -> list[list[float]]:
    """Milliseconds of each of the runs, taken in turn, so that whatever else the machine does burdens all alike."""
    times: list[list[float]] = [[] for _ in runs]
    for round_ in range(RUNS + WARM_UP):
        for run, taken in zip(runs, times, strict=True):
            began = time.perf_counter()
            await run()
            if round_ >= WARM_UP:
                taken.append((time.perf_counter() - began) * 1000)
    return times


def bare() -> Callable[[], Awaitable[Any]]:
    """Five nodes on LangGraph alone."""

    class State(TypedDict):
        count: int

    async def one(state: State) -> State:
        return {"count": 1}

    graph = StateGraph(State)
    for node in NODES:
        graph.add_node(node, one)
    for source, target in zip([START, *NODES], [*NODES, END], strict=True):
        graph.add_edge(source, target)
    compiled = graph.compile()
    return lambda: compiled.ainvoke({"count": 0})


def durable(home: Path, stack: AsyncExitStack) -> Callable[[], Awaitable[Any]]:
    """The executor's engine on its real store, from accepting a run to its stored end."""
    database = Database(f"sqlite:///{home / 'executor.db'}")
    stack.callback(database.close)
    store, watchers = Ended(database), Watchers()
    library = Library(WorkflowFiles())
    peers: Any = Peers(models=One(), sandbox=One(), memory=One())  # type: ignore[arg-type]  # only programs run
    driver = Driver(
        store=store,
        library=library,
        engine=Graphs(),
        peers=peers,
        owner="bench",
        lease_seconds=5.0,
        patience_seconds=0.0,
        trace_content=False,
        stored=watchers.notify,
    )
    desk = Desk(
        store=store,
        definitions=SqlDefinitionStore(database),
        library=library,
        driver=driver,
        watchers=watchers,
        is_dead=lambda owner: False,
        max_runs=10,
    )

    async def run() -> None:
        store.ended.clear()
        await desk.start(StartRun(source=SOURCE, inputs={}))
        await store.ended.wait()

    return run


async def over_grpc(home: Path, stack: AsyncExitStack) -> Callable[[], Awaitable[Any]]:
    """The executor as a service, with a sandbox as a service."""
    sandbox = GrpcService(
        name="cadre.sandbox.v1.SandboxService",
        add=lambda s: sandbox_pb2_grpc.add_SandboxServiceServicer_to_server(OneOverGrpc(), s),
    )
    near = await stack.enter_async_context(serving([sandbox], host="127.0.0.1", port=0))
    settings = Settings(_env_file=None, home=home, sandbox_address=near)
    services = await stack.enter_async_context(build(settings))
    address = await stack.enter_async_context(serving(services, host="127.0.0.1", port=0))
    channel = await stack.enter_async_context(connect(address))
    stub = runs_pb2_grpc.RunServiceStub(channel)

    async def run() -> None:
        started = await call(
            stub.StartRun,
            runs_pb2.StartRunRequest(source=SOURCE),
            service="executor",
            timeout_seconds=10.0,
        )
        request = runs_pb2.WatchRunRequest(run_id=started.run.id)
        async for _ in stream(stub.WatchRun, request, service="executor", timeout_seconds=10.0):
            pass

    return run


def row(name: str, times: Sequence[float], baseline: float) -> str:
    """A line of the table."""
    median = statistics.median(times)
    slow = statistics.quantiles(times, n=20)[-1]
    return f"{name:<52}{median:>9.2f}{slow:>9.2f}{median / baseline:>8.2f}x"


async def measure() -> None:
    """Measures the three and prints the table."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare_times, durable_times, grpc_times = await measured(
            bare(), durable(home / "engine", stack), await over_grpc(home / "service", stack)
        )
    baseline = statistics.median(bare_times)
    print(f"{'5-node run, milliseconds':<52}{'median':>9}{'95%':>9}{'ratio':>9}")
    print(row("LangGraph alone, nothing stored", bare_times, baseline))
    print(row("executor's engine, stored at every step (aim 3x)", durable_times, baseline))
    print(row("executor over gRPC, StartRun to the last event", grpc_times, baseline))


def main() -> None:
    """Runs the benchmark."""
    configure_logs(service="bench", level="warning", log_format="json")
    asyncio.run(measure())
