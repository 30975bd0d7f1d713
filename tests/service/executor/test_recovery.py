"""Several executors on one database, and a database that fails for a while."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.a2a_agents import remote_agent
from tests.fakes.executor import Neighbours
from tests.fakes.providers import ProviderServer, openai_reply
from tests.service.executor.conftest import executor_in, names, outputs, reached
from tests.service.executor.spending import llm_proxy_running
from tests.service.executor.test_agents import register
from tests.service.executor.test_runs import ASK, LOOP, TRIAGE

from cadre.executor.v1 import runs_pb2
from cadre_kit.errors import Unavailable
from cadre_kit.serving import serving
from cadre_sandbox.app import build as build_sandbox
from cadre_sandbox.settings import SandboxSettings

QUICK: dict[str, Any] = {"executor_lease_seconds": 1.0}


def started(event: runs_pb2.Event) -> bool:
    return event.type == runs_pb2.EVENT_TYPE_NODE_STARTED


async def test_two_executors_on_one_database_drive_each_run_once(
    tmp_path: Path, near: Neighbours
) -> None:
    async with (
        executor_in(tmp_path, near, **QUICK) as one,
        executor_in(tmp_path, near, **QUICK) as two,
    ):
        runs = await asyncio.gather(
            *(e.start(ASK, message=str(n)) for n in range(5) for e in (one, two))
        )
        for run in runs:
            await two.events(run.id)

    assert len(near.llm_proxy.asked) == len(runs)


async def test_the_other_executor_shows_and_cancels_a_run_that_it_does_not_drive(
    tmp_path: Path, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    async with (
        executor_in(tmp_path, near, **QUICK) as one,
        executor_in(tmp_path, near, **QUICK) as two,
    ):
        run = await one.start(TRIAGE, message="x")
        await two.until(run.id, started)

        cancelled = await two.cancel(run.id)
        near.llm_proxy.gate.set()

        assert cancelled.status == runs_pb2.RUN_STATUS_CANCELLED
        assert names(await one.events(run.id))[-1] == "run_cancelled"
    assert near.llm_proxy.nodes == ["classify"]
    assert near.llm_proxy.paid == {}


async def test_a_run_let_go_at_a_stop_is_taken_up_by_the_other_executor(
    tmp_path: Path, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    async with executor_in(tmp_path, near, **QUICK) as two:
        async with executor_in(tmp_path, near, **QUICK) as one:
            run = await one.start(ASK, message="x")
            await one.until(run.id, started)
        near.llm_proxy.gate.set()

        events = names(await two.events(run.id))

        assert events.count("run_resumed") == 1
        assert events[-1] == "run_succeeded"
    assert len(near.llm_proxy.paid) == 1


async def test_more_runs_than_are_driven_at_once_wait_their_turn(
    tmp_path: Path, near: Neighbours
) -> None:
    async with executor_in(tmp_path, near, executor_max_runs=2) as executor:
        near.llm_proxy.gate.clear()
        runs = [await executor.start(ASK, message=str(n)) for n in range(6)]
        await reached(lambda: len(near.llm_proxy.asked) >= 2)
        assert (await executor.get(runs[5].id)).status == runs_pb2.RUN_STATUS_QUEUED
        near.llm_proxy.gate.set()

        for run in runs:
            assert names(await executor.events(run.id))[-1] == "run_succeeded"


async def test_no_more_runs_of_a_workflow_go_on_at_once_than_it_says_and_the_others_follow_in_order(
    tmp_path: Path, near: Neighbours
) -> None:
    source = ASK + "config: {execution: {max_concurrent_runs: 2}}\n"
    async with (
        executor_in(tmp_path, near, **QUICK) as one,
        executor_in(tmp_path, near, **QUICK) as two,
    ):
        near.llm_proxy.gate.clear()
        runs = [await e.start(source, message=str(n)) for n in range(3) for e in (one, two)]
        await reached(lambda: near.llm_proxy.was_asked(2))
        await one.finish(LOOP)
        at_first = [(await one.get(run.id)).status for run in runs]
        near.llm_proxy.gate.set()

        histories = [await one.events(run.id) for run in runs]

    assert at_first == [runs_pb2.RUN_STATUS_RUNNING] * 2 + [runs_pb2.RUN_STATUS_QUEUED] * 4
    begun = [next(e for e in h if e.type == runs_pb2.EVENT_TYPE_RUN_STARTED) for h in histories]
    ended = [h[-1] for h in histories]
    assert all(names(h)[-1] == "run_succeeded" for h in histories)
    for number in range(2, len(runs)):
        over = sum(e.time.ToDatetime() <= begun[number].time.ToDatetime() for e in ended)
        assert over >= number - 1


async def test_a_run_whose_store_fails_midway_goes_on_when_the_store_is_well(
    tmp_path: Path, near: Neighbours
) -> None:
    async with executor_in(tmp_path, near) as executor:
        near.llm_proxy.gate.clear()
        run = await executor.start(ASK, message="x")
        await executor.until(run.id, started)
        with closing(sqlite3.connect(tmp_path / "executor.db", isolation_level=None)) as other:
            other.execute("ALTER TABLE events RENAME TO events_away")
        near.llm_proxy.gate.set()
        await reached(lambda: bool(near.llm_proxy.paid))
        with pytest.raises(Unavailable):
            await executor.events(run.id)
        with closing(sqlite3.connect(tmp_path / "executor.db", isolation_level=None)) as other:
            other.execute("ALTER TABLE events_away RENAME TO events")

        assert names(await executor.events(run.id))[-1] == "run_succeeded"
        assert outputs(await executor.get(run.id))["reply"] == "reply to Say x"
    assert len(near.llm_proxy.paid) == 1


FAN = """
flow: {name: fan}
state: {fields: {message: {type: str, default: "x"}, said: {type: "list[str]", default: [], reducer: append}}}
nodes:
  - {id: a, prompt: "a {state.message}", outputs: [said]}
  - {id: b, prompt: "b {state.message}", outputs: [said]}
  - {id: c, prompt: "c {state.message}", outputs: [said]}
  - {id: last, prompt: "last {state.message}", outputs: [said]}
edges: [{from: START, to: [a, b, c]}, {from: [a, b, c], to: last}, {from: last, to: END}]
"""


FAILS_NOW_AND_THEN = """
CREATE TRIGGER now_and_then AFTER INSERT ON events
BEGIN SELECT CASE WHEN abs(random()) % 4 = 0 THEN json('{') END; END
"""


async def test_runs_whose_store_fails_now_and_then_all_go_on_with_every_event(
    tmp_path: Path, near: Neighbours
) -> None:
    async with executor_in(tmp_path, near, **QUICK) as executor:
        near.llm_proxy.gate.clear()
        runs = [await executor.start(FAN, message=str(number)) for number in range(20)]
        await reached(lambda: near.llm_proxy.was_asked(3 * len(runs)))
        with closing(sqlite3.connect(tmp_path / "executor.db", isolation_level=None)) as other:
            other.execute(FAILS_NOW_AND_THEN)
        near.llm_proxy.gate.set()
        await reached(lambda: len(near.llm_proxy.paid) >= 3 * len(runs))
        await reached(lambda: any("/last/" in key for key in near.llm_proxy.paid))
        with closing(sqlite3.connect(tmp_path / "executor.db", isolation_level=None)) as other:
            other.execute("DROP TRIGGER now_and_then")

        histories = [await executor.events(run.id) for run in runs]

    for happened in map(names, histories):
        assert happened[-1] == "run_succeeded"
        assert sorted(each for each in happened if each.startswith("node_succeeded")) == [
            f"node_succeeded {node}" for node in ("a", "b", "c", "last")
        ]
    assert len(near.llm_proxy.paid) == 4 * len(runs)


TASK = """
flow: {{name: task}}
state:
  fields:
    words: {{type: "list[str]", default: ["x"]}}
    said: {{type: "{type}", default: {default}}}
nodes:
  - {{id: task, {action}, outputs: [said]}}
edges: [{{from: START, to: task}}, {{from: task, to: END}}]
"""
SAY = 'prompt: "Say it", cache: {ttl_seconds: 60}'
EACH = (
    'for_each: {items: "{state.words}", as: word}, prompt: "Say {word}", cache: {ttl_seconds: 60}'
)
DELEGATE = 'agent: Echo-agent, prompt: "hello"'


@pytest.mark.parametrize(
    ("table", "source", "given"),
    [
        ("cached_results", TASK.format(type="str", default="''", action=SAY), "reply to Say it"),
        (
            "cached_results",
            TASK.format(type="list[str]", default="[]", action=EACH),
            ["reply to Say x"],
        ),
        ("delegations", TASK.format(type="str", default="''", action=DELEGATE), "echo: hello"),
    ],
    ids=["cache", "for_each", "agent"],
)
async def test_a_failing_store_is_no_failure_of_the_node_that_needs_it(
    tmp_path: Path,
    near: Neighbours,
    capfd: pytest.CaptureFixture[str],
    table: str,
    source: str,
    given: object,
) -> None:
    logged: list[str] = []

    def taken_up() -> bool:
        logged.append(capfd.readouterr().out)
        return "run_taken_up" in "".join(logged)

    async with (
        remote_agent() as agent,
        executor_in(tmp_path, near, allowed_addresses="127.0.0.1", **QUICK) as executor,
    ):
        await register(executor, card_url=agent.url)
        with closing(sqlite3.connect(tmp_path / "executor.db", isolation_level=None)) as other:
            other.execute(f"ALTER TABLE {table} RENAME TO away")
        run = await executor.start(source)
        await reached(taken_up)
        with closing(sqlite3.connect(tmp_path / "executor.db", isolation_level=None)) as other:
            other.execute(f"ALTER TABLE away RENAME TO {table}")

        events = names(await executor.events(run.id))

        assert "node_failed task" not in events
        assert outputs(await executor.get(run.id))["said"] == given


async def test_a_service_that_comes_back_is_waited_for(tmp_path: Path, near: Neighbours) -> None:
    async with executor_in(
        tmp_path, near, sandbox_address="127.0.0.1:1", executor_patience_seconds=0.3
    ) as executor:
        run, events = await executor.finish(LOOP)

    assert (run.error.code, run.error.node) == ("SERVICE_UNAVAILABLE", "add")
    assert events[-1] == "run_failed"


QUEUE = """
flow: {name: queue}
config: {llm: {model: narrow}}
state:
  fields: {message: {type: str, required: true}, said: {type: "list[str]", default: [], reducer: append}}
nodes:
  - {id: a, prompt: "{state.message}", outputs: [said]}
  - {id: b, prompt: "{state.message}", outputs: [said]}
edges: [{from: START, to: [a, b]}, {from: [a, b], to: END}]
"""
CROWD = """
flow: {name: crowd}
state: {fields: {said: {type: "list[int]", default: [], reducer: append}}}
nodes:
  - {id: a, code: &slow "import time\\ntime.sleep(0.3)\\nresult = 1", outputs: [said]}
  - {id: b, code: *slow, outputs: [said]}
  - {id: c, code: *slow, outputs: [said]}
edges: [{from: START, to: [a, b, c]}, {from: [a, b, c], to: END}]
"""


async def test_a_sandbox_that_is_busy_is_waited_for(tmp_path: Path, near: Neighbours) -> None:
    one_at_a_time = SandboxSettings(
        home=tmp_path, _env_file=None, sandbox_docker=False, sandbox_concurrency=1, sandbox_queue=0
    )
    async with (
        build_sandbox(one_at_a_time) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        executor_in(
            tmp_path, near, sandbox_address=address, executor_patience_seconds=0
        ) as executor,
    ):
        run, events = await executor.finish(CROWD)

    assert outputs(run)["said"] == [1, 1, 1]
    assert not [event for event in events if event.startswith("node_failed")]


async def test_a_model_that_is_given_no_more_calls_is_waited_for(
    tmp_path: Path, near: Neighbours, provider: ProviderServer, capfd: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models.yaml"
    models.write_text(
        "groups: {narrow: {deployments: [{model: openai/m, concurrent: 1, queue: 0}]}}"
    )
    release, logged = asyncio.Event(), list[str]()
    held = replace(openai_reply("hello"), hold_after=b"hello", release=release)
    provider.will(held, openai_reply("hello"))

    def busy() -> bool:
        logged.append(capfd.readouterr().out)
        return "service_awaited" in "".join(logged)

    async with (
        llm_proxy_running(tmp_path, provider, llm_models_file=models) as llm_proxy,
        executor_in(tmp_path, near, llm_proxy_address=llm_proxy.address) as executor,
    ):
        run = await executor.start(QUEUE, message="hi")
        await reached(busy)
        release.set()
        events = names(await executor.events(run.id))

    assert (events[-1], len(provider.asked)) == ("run_succeeded", 2)
    assert len([event for event in events if event.startswith("service_awaited")]) == 1


async def test_a_file_that_is_no_database_is_said_so(tmp_path: Path, near: Neighbours) -> None:
    (tmp_path / "executor.db").write_bytes(
        b"not a database at all, but long enough to be read" * 99
    )

    with pytest.raises(Exception, match="not a database") as caught:
        async with executor_in(tmp_path, near):
            pass

    assert getattr(caught.value, "code", "") == "DATABASE_CORRUPT"
