"""The executor is killed, at several instants, and no accepted run is lost or paid for twice."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests.fakes.executor import Neighbours, calls, neighbours
from tests.platform import credentials_in
from tests.preloaded import Forked, fork
from tests.service.executor.conftest import Executor, names, outputs, reached

from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.channels import connect
from cadre_kit.credentials import Credentials
from cadre_kit.health import is_serving

FLOW = """
schema_version: "1.0"
flow: {name: long}
state:
  fields:
    a: {type: str, default: ""}
    b: {type: str, default: ""}
    c: {type: str, default: ""}
    d: {type: str, default: ""}
nodes:
  - {id: first, prompt: "1", outputs: [a]}
  - {id: left, prompt: "2", outputs: [b]}
  - {id: right, prompt: "3", outputs: [c]}
  - {id: last, prompt: "{state.b} {state.c}", outputs: [d]}
edges:
  - {from: START, to: first}
  - {from: first, to: [left, right]}
  - {from: [left, right], to: last}
  - {from: last, to: END}
"""
DONE = {
    "a": "reply to 1",
    "b": "reply to 2",
    "c": "reply to 3",
    "d": "reply to reply to 2 reply to 3",
}


class Process:
    """The executor as a process, on one port and in one folder for all its lives."""

    def __init__(self, home: Path, port: int, near: Neighbours, **settings: str) -> None:
        self.address = f"127.0.0.1:{port}"
        self._home = home
        self._environment = {
            **os.environ,
            "CADRE_HOME": str(home),
            "CADRE_EXECUTOR_PORT": str(port),
            "CADRE_LLM_PROXY_ADDRESS": near.address,
            "CADRE_SANDBOX_ADDRESS": near.address,
            "CADRE_MEMORY_ADDRESS": near.address,
            "CADRE_TRACES_ENDPOINT": "",
            **settings,
        }
        self._process: Forked | None = None

    @property
    def credentials(self) -> Credentials:
        return credentials_in(self._home)

    async def start(self) -> None:
        with (self._home / "log").open("ab") as log:
            self._process = await asyncio.to_thread(
                fork, "cadre_executor", env=self._environment, cwd=self._home, log=log
            )
        deadline = time.monotonic() + 60
        while not await is_serving(self.address):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    async def end(self, sign: int) -> int:
        assert self._process is not None
        self._process.send_signal(sign)
        return await asyncio.to_thread(self._process.wait)

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)


@pytest.fixture
async def near() -> AsyncIterator[Neighbours]:
    async with neighbours() as found:
        yield found


@pytest.fixture
async def process(tmp_path: Path, near: Neighbours, unused_tcp_port: int) -> AsyncIterator[Process]:
    found = Process(tmp_path, unused_tcp_port, near)
    await found.start()
    yield found
    await found.kill()


@pytest.fixture
async def executor(process: Process) -> AsyncIterator[Executor]:
    async with connect(process.address, process.credentials) as channel:
        yield Executor(address=process.address, channel=channel)


async def test_a_run_killed_during_a_model_call_asks_again_with_the_same_key(
    process: Process, executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    run = await executor.start(FLOW)
    await reached(lambda: len(near.llm_proxy.asked) == 1)
    await process.kill()
    near.llm_proxy.gate.set()
    await process.start()

    events = names(await executor.events(run.id))

    assert outputs(await executor.get(run.id)) == DONE
    assert near.llm_proxy.asked[:2] == [f"{run.id}/first/1/1/1"] * 2
    assert events[-1] == "run_succeeded"


async def test_a_run_killed_between_nodes_does_not_run_finished_nodes_again(
    process: Process, executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.held_nodes.update(("left", "right"))
    run = await executor.start(FLOW)
    await executor.until(run.id, lambda e: e.node in ("left", "right"))
    await process.kill()
    near.llm_proxy.let_go.set()
    await process.start()

    events = names(await executor.events(run.id))

    assert outputs(await executor.get(run.id)) == DONE
    assert near.llm_proxy.nodes.count("first") == 1
    assert events.count("run_resumed") == 1
    assert events.count("node_succeeded first") == 1


async def test_the_finished_one_of_two_parallel_nodes_is_kept(
    process: Process, executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.held_nodes.add("right")
    run = await executor.start(FLOW)
    await executor.until(
        run.id,
        lambda e: e.type == runs_pb2.EVENT_TYPE_NODE_SUCCEEDED and e.node == "left",
    )
    await process.kill()
    near.llm_proxy.let_go.set()
    await process.start()

    events = names(await executor.events(run.id))

    assert outputs(await executor.get(run.id)) == DONE
    assert near.llm_proxy.nodes.count("left") == 1
    assert events.count("node_succeeded left") == 1


async def test_runs_killed_right_after_they_were_accepted_still_run(
    process: Process, executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    runs = [await executor.start(FLOW) for _ in range(10)]
    await process.kill()
    near.llm_proxy.gate.set()
    await process.start()

    for run in runs:
        events = await executor.events(run.id)
        assert names(events)[-1] == "run_succeeded"
        assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    assert len(near.llm_proxy.paid) == 40


async def test_a_stop_is_quick_and_the_next_start_goes_on(
    process: Process, executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    run = await executor.start(FLOW)
    await reached(lambda: len(near.llm_proxy.asked) == 1)
    async with asyncio.timeout(10):
        status = await process.end(signal.SIGTERM)
    near.llm_proxy.gate.set()
    await process.start()

    assert status == 0
    assert names(await executor.events(run.id))[-1] == "run_succeeded"
    assert outputs(await executor.get(run.id)) == DONE


async def test_a_run_survives_any_number_of_kills(
    process: Process, executor: Executor, near: Neighbours
) -> None:
    run = await executor.start(FLOW)
    for times in (1, 2):
        await reached(partial(near.llm_proxy.was_asked, times))
        await process.kill()
        await process.start()

    assert names(await executor.events(run.id))[-1] == "run_succeeded"
    assert outputs(await executor.get(run.id)) == DONE
    assert len(near.llm_proxy.paid) == 4


ITEMS = 60
STEPS = 12
INNER = """
flow: {name: inner}
state: {fields: {word: {type: str, required: true}, reply: {type: str, default: ""}}}
nodes:
  - {id: one, prompt: "one {state.word}", outputs: [reply]}
  - {id: two, prompt: "two {state.reply}", outputs: [reply]}
edges:
  - {from: START, to: one}
  - {from: one, to: two}
  - {from: two, to: END}
"""
OUTER = f"""
flow: {{name: outer}}
state:
  fields:
    words: {{type: "list[str]", required: true}}
    said: {{type: "list[str]", default: []}}
    saved: {{type: str, default: ""}}
    inner: {{type: "list[str]", default: []}}
nodes:
  - id: say
    prompt: "Say {{item}}"
    for_each: {{items: "{{state.words}}", max_concurrency: 3}}
    outputs: [said]
  - id: save
    prompt: "Save"
    tools: [memory_save]
    max_steps: {STEPS + 1}
    outputs: [saved]
  - id: call
    workflow: inner
    for_each: {{items: ["a", "b", "c"], as: letter}}
    inputs: {{word: "{{letter}}"}}
    outputs: {{inner: reply}}
edges:
  - {{from: START, to: [say, save, call]}}
  - {{from: [say, save, call], to: END}}
"""


def answer(request: llm_pb2.CompleteRequest) -> str | llm_pb2.Reply:
    """Calls a tool on each step but the last of the node with tools."""
    made = sum(len(message.tool_calls) for message in request.messages)
    if request.tools and made < STEPS:
        return calls(("memory_save", {"key": f"k{made}", "value": made}))
    return f"reply to {request.messages[-1].content}"


async def test_nothing_within_a_visit_is_done_twice_however_often_the_executor_is_killed(
    process: Process, executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.answer = answer
    near.llm_proxy.seconds = 0.1
    await executor.apply(INNER)
    words = [f"w{number}" for number in range(ITEMS)]
    run = await executor.start(OUTER, words=words)
    for _ in range(4):
        await asyncio.sleep(random.uniform(0.1, 0.6))
        await process.kill()
        await process.start()

    events = await executor.events(run.id)
    ended = await executor.get(run.id)

    assert ended.status == runs_pb2.RUN_STATUS_SUCCEEDED, ended.error
    assert outputs(ended)["said"] == [f"reply to Say {word}" for word in words]
    assert outputs(ended)["inner"] == [f"reply to two reply to one {letter}" for letter in "abc"]
    assert len(near.memory.items) == STEPS
    assert ended.usage.calls == len(near.llm_proxy.paid) == ITEMS + STEPS + 1 + 6
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    returned = [e for e in events if e.type == runs_pb2.EVENT_TYPE_TOOL_RETURNED]
    assert STEPS <= len(returned) <= STEPS + 4
