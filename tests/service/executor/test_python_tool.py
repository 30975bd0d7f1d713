"""Real programs: what a code node tells of them, and the tool python, whose variables last as long as the talk."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.fakes.executor import Neighbours, calls
from tests.service.executor.conftest import outputs
from tests.service.executor.test_real_tools import executor_of
from tests.service.executor.test_tools import after
from tests.unit.executor_tools.conftest import bench_in, context

from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.documents import object_from_json
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

CALLED = runs_pb2.EVENT_TYPE_TOOL_CALLED
TALK = """
flow: {name: talk}
state: {fields: {answer: {type: str, default: ""}}}
nodes:
  - id: answer
    prompt: Work it out.
    tools: [{name: python, on_error: continue}]
    outputs: [answer]
edges:
  - {from: START, to: answer}
  - {from: answer, to: END}
"""
LOOP = replace(context(), loop="01RUN/n/1/1")


@asynccontextmanager
async def sandbox(port: int = 0, *, sessions: int = 1) -> AsyncIterator[str]:
    """The real one, in which so many sessions can be open: one that was not given back is missed by the next."""
    settings = SandboxSettings(_env_file=None, sandbox_docker=False, sandbox_sessions=sessions)
    async with build(settings) as services:
        async with serving(services, host="127.0.0.1", port=port) as address:
            yield address


def told(request: llm_pb2.CompleteRequest) -> list[str]:
    """What the model was told of its calls."""
    return [m.content for m in request.messages if m.role == llm_pb2.ROLE_TOOL]


def python(code: str) -> llm_pb2.Reply:
    return calls(("python", {"code": code}))


async def test_the_variables_last_from_the_first_call_to_the_node_s_end(
    tmp_path: Path, near: Neighbours
) -> None:
    replies = [python("rows = [1, 2, 3]"), python("1 / 0"), python("result = sum(rows)")]
    async with sandbox() as address, executor_of(tmp_path, near, sandbox_address=address) as runs:
        asked = after(*replies, near=near)
        await runs.finish(TALK)
        again = after(python("result = rows"), near=near)
        run, _ = await runs.finish(TALK)

    assert outputs(run)["answer"] == "done"
    assert told(asked[3])[2] == '{"stdout": "", "result": 6}'
    assert "ZeroDivisionError" in told(asked[3])[1]
    # The next node has a session too, as the first one's was given back, and it is empty.
    assert "name 'rows' is not defined" in told(again[1])[0]


async def test_a_cancelled_run_gives_its_session_back(tmp_path: Path, near: Neighbours) -> None:
    async with sandbox() as address, executor_of(tmp_path, near, sandbox_address=address) as runs:
        after(python("x = 1"), python("while True: pass"), near=near)
        started = await runs.start(TALK)
        await runs.until(started.id, lambda e: e.type == CALLED and "while" in e.data.text)
        await runs.cancel(started.id)
        await runs.until(started.id, lambda e: e.type == runs_pb2.EVENT_TYPE_RUN_CANCELLED)
        asked = after(python("result = 1"), near=near)
        await runs.finish(TALK)

    assert told(asked[1]) == ['{"stdout": "", "result": 1}']


async def test_who_goes_on_with_a_run_finds_its_variables(tmp_path: Path) -> None:
    async with sandbox() as address:
        async with bench_in(tmp_path, sandbox_address=address) as killed:
            await killed("python", code="x = 20", context=LOOP)
        async with bench_in(tmp_path, sandbox_address=address) as next_one:
            found = await next_one("python", code="result = x + 1", context=LOOP)
            await next_one.tools.end_loop(LOOP.loop)
            after_end = await next_one("python", code="result = 'x' in dir(object)", context=LOOP)

    assert found == {"stdout": "", "result": 21}
    assert after_end["result"] is False


async def test_it_is_said_when_variables_cannot_be_kept(tmp_path: Path) -> None:
    other = replace(LOOP, loop="01RUN/n/2/1")
    async with sandbox() as address, bench_in(tmp_path, sandbox_address=address) as bench:
        first = await bench("python", code="result = 1", context=LOOP)
        second = await bench("python", code="result = 2", context=other)

    assert first == {"stdout": "", "result": 1}
    assert (second["result"], "No session was free" in second["note"]) == (2, True)


async def test_it_is_said_when_variables_are_lost(tmp_path: Path) -> None:
    async with sandbox() as address:
        pass
    async with bench_in(tmp_path, sandbox_address=address) as bench:
        async with sandbox(int(address.rpartition(":")[2])):
            await bench("python", code="x = 1", context=LOOP)
        async with sandbox(int(address.rpartition(":")[2])):
            found = await bench("python", code="result = 'new'", context=LOOP)
            again = await bench("python", code="result = 'kept'", context=LOOP)

    assert (found["result"], "has ended" in found["note"]) == ("new", True)
    assert again == {"stdout": "", "result": "kept"}


async def test_a_tool_node_s_program_starts_anew(tmp_path: Path) -> None:
    async with sandbox() as address, bench_in(tmp_path, sandbox_address=address) as bench:
        await bench("python", code="x = 1")
        found = await bench("python", code="x = 2\nresult = x")

    assert found == {"stdout": "", "result": 2}


PROGRAMS = """
flow: {name: programs}
state: {fields: {done: {type: list, default: []}, value: {type: int, default: 0}}}
nodes:
  - id: each
    for_each: {items: [1, 0], as: n}
    code: |
      print("with", n)
      result = 1 // n
    on_error: continue
    outputs: [done]
  - id: long
    code: |
      print("a" * 5000 + "z")
      while True: pass
    sandbox: {timeout_seconds: 0.3}
    retry: {max_attempts: 2, backoff_seconds: 0, on: [CODE_LIMIT]}
    outputs: [value]
edges: [{from: START, to: each}, {from: each, to: long}, {from: long, to: END}]
"""


async def test_the_events_of_a_run_say_what_its_programs_printed_and_used(
    tmp_path: Path, near: Neighbours
) -> None:
    async with sandbox() as address, executor_of(tmp_path, near, sandbox_address=address) as runs:
        run = await runs.start(PROGRAMS)
        events = await runs.events(run.id)

    programs = [
        object_from_json(event.data, field="data")["program"]
        for event in events
        if '"program"' in event.data.text
    ]
    # The two items run side by side.
    programs[:2] = sorted(programs[:2], key=lambda program: program["stdout"], reverse=True)
    assert [program["outcome"] for program in programs] == ["succeeded", "failed", "limit", "limit"]
    assert [program["stdout"] for program in programs[:2]] == ["with 1\n", "with 0\n"]
    assert programs[2]["stdout"].startswith("aaa")
    assert programs[2]["stdout"].endswith("az\n")
    assert "\n... 1,002 characters left out ...\n" in programs[3]["stdout"]
    assert programs[3]["limits_reached"] == ["time"]
    assert programs[3]["usage"]["wall_ms"] >= 300
    assert programs[3]["usage"]["peak_memory_bytes"] > 0
    assert {"language", "process", "limits"} <= set(programs[0]["walls"])
