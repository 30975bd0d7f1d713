"""Three executors on one PostgreSQL, killed at random instants as their connections are, and one that is cut off."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from tests.chaos.executor.test_kills import Process
from tests.fakes.a2a_agents import RemoteAgent, remote_agent
from tests.fakes.executor import Neighbours, neighbours
from tests.ports import free_port
from tests.postgresql import Postgresql
from tests.service.executor.conftest import Executor, executor_in, names, outputs, reached
from tests.service.executor.test_agents import register

from cadre.executor.v1 import runs_pb2
from cadre_kit.channels import connect
from cadre_kit.errors import CadreError

pytestmark = pytest.mark.postgresql

RUNS = 200
EXECUTORS = 3
KILLS = 8
KILLING_SECONDS = 20
SEED = 20_251_124
FLOW = """
schema_version: "1.0"
flow: {name: chaos}
state:
  fields:
    n: {type: int, required: true}
    laps: {type: int, default: 0, reducer: sum}
    left: {type: str, default: ""}
    right: {type: str, default: ""}
    last: {type: str, default: ""}
    items: {type: "list[int]", default: [1, 2, 3]}
    each: {type: "list[str]", default: []}
    verdict: {type: dict, default: {}}
    found: {type: any, default: null}
    far: {type: str, default: ""}
nodes:
  - {id: lap, code: "result = 1", outputs: [laps]}
  - {id: ask, prompt: "{state.n} {state.laps}", outputs: [last]}
  - {id: left, prompt: "left {state.n}", outputs: [left]}
  - {id: right, prompt: "right {state.n}", outputs: [right]}
  - {id: keep, type: memory, memory: {action: save, namespace: [chaos], key: "{state.n}", value: "{state.laps}"}}
  - {id: join, prompt: "{state.left} {state.right}", outputs: [last]}
  - {id: each, prompt: "{item}", for_each: {items: "{state.items}", as: item, collect: each}}
  - {id: parse, type: tool, tool: json_parse, arguments: {text: "[{state.n}]"}, outputs: [found]}
  - {id: far, agent: Echo-agent, prompt: "{state.n}", outputs: [far]}
  - {id: review, type: approval, message: "Good?", timeout: 0.3, on_timeout: approve, outputs: [verdict]}
edges:
  - {from: START, to: lap}
  - {from: lap, to: ask}
  - {from: ask, loop: {to: lap, max_iterations: 2, exit_to: [left, right, keep]}}
  - {from: [left, right, keep], to: join}
  - {from: join, to: [each, parse, far, review]}
  - {from: [each, parse, far, review], to: END}
"""
CALLS = ["ask/1", "ask/2", "ask/3", "left/1", "right/1", "join/1"]
VISITS = Counter(lap=3, ask=3, left=1, right=1, keep=1, join=1, each=1, parse=1, far=1, review=1)
ITEMS = 3


@pytest.fixture
async def near() -> AsyncIterator[Neighbours]:
    async with neighbours() as found:
        yield found


@pytest.fixture
async def agent() -> AsyncIterator[RemoteAgent]:
    async with remote_agent() as found:
        yield found


@pytest.fixture
def database_url(postgresql_server: Postgresql) -> str:
    return postgresql_server.fresh()


@pytest.fixture
async def processes(
    tmp_path: Path, near: Neighbours, database_url: str
) -> AsyncIterator[list[Process]]:
    settings = {
        "CADRE_EXECUTOR_DATABASE_URL": database_url,
        "CADRE_EXECUTOR_LEASE_SECONDS": "2",
        "CADRE_ALLOWED_ADDRESSES": "127.0.0.1",
        "CADRE_LOG_LEVEL": "warning",
    }
    found = []
    for number in range(EXECUTORS):
        home = tmp_path / str(number)
        home.mkdir()
        found.append(Process(home, free_port(), near, **settings))
    await asyncio.gather(*(process.start() for process in found))
    yield found
    for process in found:
        await process.kill()


async def accepted(executors: Sequence[Executor], number: int) -> str:
    """The id of a run that some executor acknowledged; asks another when one is gone."""
    deadline = time.monotonic() + 30
    while True:
        executor = random.choice(executors)
        with suppress(CadreError):
            return (await executor.start(FLOW, key=f"run {number}", n=number)).id
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def kill_some(
    processes: Sequence[Process], chance: random.Random, cut: Callable[[], None]
) -> None:
    """Kills one after the other, each when it had some time to work, and starts it again; before each, the connections
    of all of them to their database break."""
    until = time.monotonic() + KILLING_SECONDS
    for number in range(KILLS):
        if number > 1 and time.monotonic() > until:
            # A busy machine takes long to start them again.
            return
        await asyncio.sleep(chance.uniform(0.1, 0.5))
        await asyncio.to_thread(cut)
        await asyncio.sleep(chance.uniform(0.1, 0.5))
        process = chance.choice(processes)
        await process.kill()
        await process.start()


async def history(executors: Sequence[Executor], run_id: str) -> list[runs_pb2.Event]:
    """All events of a run, up to its end, from whichever executor answers."""
    deadline = time.monotonic() + 180
    while True:
        with suppress(CadreError):
            return await random.choice(executors).events(run_id)
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def kill_while_driving(process: Process, executor: Executor, near: Neighbours) -> str:
    """The id of a run whose executor was killed while it waited for a model, whatever chance does later."""
    near.llm_proxy.gate.clear()
    run = await executor.start(FLOW, key="run 0", n=0)
    await reached(lambda: near.llm_proxy.was_asked(1))
    await process.kill()
    near.llm_proxy.gate.set()
    await process.start()
    return run.id


@pytest.mark.timeout(420)
async def test_every_accepted_run_ends_with_each_step_taken_once(
    processes: list[Process],
    near: Neighbours,
    agent: RemoteAgent,
    postgresql_server: Postgresql,
    database_url: str,
) -> None:
    async with AsyncExitStack() as stack:
        executors = [
            Executor(
                address=process.address,
                channel=await stack.enter_async_context(
                    connect(process.address, process.credentials)
                ),
            )
            for process in processes
        ]
        await register(executors[0], card_url=agent.url)
        runs = [await kill_while_driving(processes[0], executors[0], near)]
        cut = partial(postgresql_server.cut, database_url)
        killing = asyncio.create_task(kill_some(processes, random.Random(SEED), cut))
        for number in range(1, RUNS):
            runs.append(await accepted(executors, number))
            await asyncio.sleep(0.01)
        await killing
        histories = await asyncio.gather(*(history(executors, run_id) for run_id in runs))
        done = await executors[0].get(runs[0])

    for run_id, events in zip(runs, histories, strict=True):
        happened = names(events)
        assert [e.sequence for e in events] == list(range(1, len(events) + 1)), run_id
        assert happened[-1] == "run_succeeded", (run_id, happened, events[-1].error)
        assert happened.count("run_succeeded") == happened.count("node_answered review") == 1
        succeeded = [e for e in events if e.type == runs_pb2.EVENT_TYPE_NODE_SUCCEEDED]
        assert Counter(e.node for e in succeeded if not e.item) == VISITS, run_id
        assert sorted(e.item for e in succeeded if e.item) == list(range(1, ITEMS + 1)), run_id
    assert (outputs(done)["laps"], outputs(done)["far"]) == (3, "echo: 0")
    assert "run_resumed" in names(histories[0])
    paid = {key for key in near.llm_proxy.paid if "/each/" not in key}
    assert paid == {f"{r}/{call}/1/1" for r in runs for call in CALLS}
    assert len(near.llm_proxy.paid) == len(paid) + RUNS * ITEMS
    assert Counter(agent.messages) == Counter(f"{run_id}/far/1/1/1" for run_id in runs)


class Cable:
    """A TCP proxy that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self.is_cut = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        with suppress(OSError):
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
        writer.close()

    def cut(self) -> None:
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def cable(port: int) -> AsyncIterator[tuple[Cable, int]]:
    found = Cable(port)
    server = await asyncio.start_server(found.carry, "127.0.0.1", 0)
    try:
        yield found, server.sockets[0].getsockname()[1]
    finally:
        found.cut()
        server.close()


async def test_an_executor_that_is_cut_off_stops_driving_and_its_runs_move(
    tmp_path: Path, near: Neighbours, agent: RemoteAgent, postgresql_server: Postgresql
) -> None:
    near.llm_proxy.gate.clear()
    url = postgresql_server.fresh()
    async with AsyncExitStack() as stack:
        line, port = await stack.enter_async_context(cable(postgresql_server.port))
        cut_off = await stack.enter_async_context(
            executor_in(
                tmp_path / "a",
                near,
                executor_database_url=url.replace(str(postgresql_server.port), str(port)),
                executor_lease_seconds=2.0,
                allowed_addresses="127.0.0.1",
            )
        )
        await register(cut_off, card_url=agent.url)
        runs = [await cut_off.start(FLOW, n=n) for n in range(5)]
        await reached(lambda: near.llm_proxy.was_asked(5))
        other = await stack.enter_async_context(
            executor_in(
                tmp_path / "b",
                near,
                executor_database_url=url,
                executor_lease_seconds=2.0,
                allowed_addresses="127.0.0.1",
            )
        )

        began = time.monotonic()
        line.cut()
        await reached(lambda: len(near.llm_proxy.cancelled) == 5 and near.llm_proxy.was_asked(10))
        moved = time.monotonic() - began
        near.llm_proxy.gate.set()
        histories = [names(await other.events(run.id)) for run in runs]

    assert moved < 15
    assert all(h[-1] == "run_succeeded" and "run_resumed" in h for h in histories)
    assert len(near.llm_proxy.paid) == 5 * (len(CALLS) + ITEMS)
