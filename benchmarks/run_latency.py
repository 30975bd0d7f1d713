"""Runs of five trivial nodes, stored at every step, against LangGraph without a checkpointer and with its SQLite one.

One after the other, the aim is at most 2x the bare graph and half of LangGraph's own saver; a hundred side by side
should keep 80 % of what the bare graph gets done, and 10,000 stored and 10,000 waiting runs should slow nothing down.
"""

import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from cadre.executor.v1 import runs_pb2, runs_pb2_grpc
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_executor.adapters.database import open_executor_database
from cadre_executor.adapters.definition_store import SqlDefinitionStore
from cadre_executor.adapters.files import WorkflowFiles
from cadre_executor.adapters.graphs import Graphs
from cadre_executor.adapters.result_cache import SqlResultCache
from cadre_executor.adapters.run_store import SqlRunStore
from cadre_executor.app import build
from cadre_executor.domain.definitions import Library
from cadre_executor.domain.desks import Desk, StartRun
from cadre_executor.domain.drivers import Driver
from cadre_executor.domain.peers import Call, Execution, Outcome, Peers, Program
from cadre_executor.domain.watchers import Watchers
from cadre_executor.settings import Settings
from cadre_kit.channels import call, connect, stream
from cadre_kit.documents import to_json
from cadre_kit.ids import new_id
from cadre_kit.logs import configure_logs
from cadre_kit.serving import GrpcService, keep_what_was_built, run_in_loop, serving
from cadre_kit.transactions import Transactions

RUNS = 100
WARM_UP = 10
TOGETHER = 100
ROUNDS = 3
STORED = 10_000
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

ASKS = """
schema_version: "1.0"
flow: {name: asks}
state: {fields: {verdict: {type: dict, default: {}}}}
nodes: [{id: review, type: approval, message: "Go on?", outputs: [verdict]}]
edges: [{from: START, to: review}, {from: review, to: END}]
"""


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
    """The store, that says when the end of a run, or its waiting, is stored."""

    def __init__(self, database: Transactions) -> None:
        super().__init__(database)
        self._ends: dict[str, asyncio.Event] = {}

    async def end_of(self, run_id: str) -> None:
        """Returns when the run has ended or waits."""
        await self._ends.setdefault(run_id, asyncio.Event()).wait()
        del self._ends[run_id]

    async def finish(self, run_id: str, *arguments: Any, **named: Any) -> bool:
        """Ends a run."""
        ended = await super().finish(run_id, *arguments, **named)
        self._ends.setdefault(run_id, asyncio.Event()).set()
        return ended

    async def suspend(self, run_id: str, *arguments: Any, **named: Any) -> Any:
        """Lets a run wait."""
        answered = await super().suspend(run_id, *arguments, **named)
        self._ends.setdefault(run_id, asyncio.Event()).set()
        return answered


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


def graph() -> StateGraph[Any, Any, Any, Any]:
    """Five nodes on LangGraph."""

    class State(TypedDict):
        count: int

    async def one(state: State) -> State:
        return {"count": 1}

    found: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    for node in NODES:
        found.add_node(node, one)
    for source, target in zip([START, *NODES], [*NODES, END], strict=True):
        found.add_edge(source, target)
    return found


def bare() -> Callable[[], Awaitable[Any]]:
    """The graph alone."""
    compiled = graph().compile()
    return lambda: compiled.ainvoke({"count": 0})


async def with_saver(home: Path, stack: AsyncExitStack) -> Callable[[], Awaitable[Any]]:
    """The graph with LangGraph's own SQLite checkpointer."""
    saver = AsyncSqliteSaver.from_conn_string(str(home / "langgraph.db"))
    compiled = graph().compile(checkpointer=await stack.enter_async_context(saver))

    def run() -> Awaitable[Any]:
        config: RunnableConfig = {"configurable": {"thread_id": new_id()}}
        return compiled.ainvoke({"count": 0}, config)

    return run


class Engine:
    """The executor's engine on its real store, from accepting a run to its stored end."""

    def __init__(self, database: Transactions) -> None:
        self.store, watchers = Ended(database), Watchers()
        library = Library(WorkflowFiles())
        peers = Peers(models=One(), sandbox=One(), memory=One(), tools=One(), files=One())  # type: ignore[arg-type]  # only programs run

        def driver(children: Any) -> Driver:
            return Driver(
                store=self.store,
                library=library,
                engine=Graphs(),
                peers=peers,
                children=children,
                delegations=One(),  # type: ignore[arg-type]  # nothing is handed to agents
                cache=SqlResultCache(database),
                owner="bench",
                lease_seconds=5.0,
                patience_seconds=0.0,
                trace_content=False,
                max_state_bytes=1_000_000,
                stored=watchers.notify,
            )

        self._desk = Desk(
            store=self.store,
            definitions=SqlDefinitionStore(database),
            library=library,
            driver=driver,
            delegations=One(),  # type: ignore[arg-type]  # nothing is handed to agents
            watchers=watchers,
            is_dead=lambda owner: False,
            max_runs=1_000,
        )

    async def run(self, source: str = SOURCE) -> None:
        """Starts a run and waits for its stored end."""
        run, _ = await self._desk.start(StartRun(source=source, inputs={}))
        await self.store.end_of(run.id)

    async def fill(self, runs: int, source: str) -> None:
        """Stores so many runs."""
        for _ in range(runs // TOGETHER):
            await asyncio.gather(*(self.run(source) for _ in range(TOGETHER)))


async def engine(home: Path, stack: AsyncExitStack) -> Engine:
    """An engine on a new database."""
    database = await open_executor_database(f"sqlite:///{home / 'executor.db'}")
    stack.push_async_callback(database.close)
    return Engine(database)


async def over_grpc(home: Path, stack: AsyncExitStack) -> Callable[[], Awaitable[Any]]:
    """The executor as a service, with a sandbox as a service."""
    sandbox = GrpcService(
        name="cadre.sandbox.v1.SandboxService",
        add=lambda s: sandbox_pb2_grpc.add_SandboxServiceServicer_to_server(OneOverGrpc(), s),  # type: ignore[abstract]  # it is only asked to execute
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


async def rate(run: Callable[[], Awaitable[Any]]) -> float:
    """Runs in a second, a hundred at a time."""
    began = time.perf_counter()
    for _ in range(ROUNDS):
        await asyncio.gather(*(run() for _ in range(TOGETHER)))
    return TOGETHER * ROUNDS / (time.perf_counter() - began)


async def one_by_one(home: Path, stack: AsyncExitStack) -> None:
    """Prints the latencies."""
    alone = await engine(home / "engine", stack)
    names = [
        "LangGraph alone, nothing stored",
        "LangGraph with its AsyncSqliteSaver",
        "executor's engine, stored at every step (aim 2x)",
        "executor over gRPC, StartRun to the last event",
    ]
    times = await measured(
        bare(),
        await with_saver(home, stack),
        alone.run,
        await over_grpc(home / "service", stack),
    )
    baseline = statistics.median(times[0])
    print(f"{'5-node run, milliseconds':<52}{'median':>9}{'95%':>9}{'ratio':>9}")
    for name, taken in zip(names, times, strict=True):
        print(row(name, taken, baseline))


async def side_by_side(home: Path, stack: AsyncExitStack) -> None:
    """Prints the throughputs."""
    many = await engine(home / "many", stack)
    plain, stored = [], []
    for _ in range(3):
        plain.append(await rate(bare()))
        stored.append(await rate(many.run))
    alone, ours = statistics.median(plain), statistics.median(stored)
    print(f"\n{'100 runs side by side, runs a second':<52}{'rate':>9}{'ratio':>18}")
    print(f"{'LangGraph alone, nothing stored':<52}{alone:>9.0f}{1.0:>17.2f}x")
    print(
        f"{'executor engine, stored at every step (aim 0.8x)':<52}{ours:>9.0f}{ours / alone:>17.2f}x"
    )


async def among_many(home: Path, stack: AsyncExitStack) -> None:
    """Prints what stored and waiting runs cost others."""
    empty, full = await engine(home / "empty", stack), await engine(home / "full", stack)
    await full.fill(STORED, SOURCE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await full.fill(STORED, ASKS)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    times = await measured(empty.run, full.run)
    baseline = statistics.median(times[0])
    print(f"\n{'5-node run, milliseconds':<52}{'median':>9}{'95%':>9}{'ratio':>9}")
    print(row("in an empty database", times[0], baseline))
    print(row(f"beside {STORED:,} ended and {STORED:,} waiting runs", times[1], baseline))
    print(f"{'memory for each waiting run, at most, KB':<52}{grown / STORED:>9.2f}")


async def measure() -> None:
    """Measures and prints the tables."""
    for part in (one_by_one, side_by_side, among_many):
        async with AsyncExitStack() as stack:
            await part(Path(stack.enter_context(tempfile.TemporaryDirectory())), stack)


def main() -> None:
    """Runs the benchmark."""
    configure_logs(service="bench", level="warning", log_format="json")
    # As every service does once it is built.
    keep_what_was_built()
    run_in_loop(measure())
