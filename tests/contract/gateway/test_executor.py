"""What the gateway relies on from an executor: the one in its tests keeps to it as the real one does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway import FakeExecutor, served

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_gateway.adapters.services import Addresses, Executor, connected
from cadre_kit.documents import to_json
from cadre_kit.errors import Conflict, InvalidInput, NotFound
from cadre_kit.serving import serving

NOBODY = "127.0.0.1:1"
FILE = """
schema_version: "1.0"
flow: {name: contract}
state: {fields: {message: {type: str, required: true}}}
nodes:
  - {id: a, prompt: "{state.message}", outputs: [message]}
edges:
  - {from: START, to: a}
  - {from: a, to: END}
"""
INPUTS = to_json({"message": "hello"})


@asynccontextmanager
async def fake(home: Path) -> AsyncIterator[str]:
    async with served(FakeExecutor()) as address:
        yield address


@asynccontextmanager
async def real(home: Path) -> AsyncIterator[str]:
    app: Any = import_module("cadre_executor.app")
    # No model answers: the run stays where it is until it is cancelled.
    settings = app.Settings(
        _env_file=None,
        home=home,
        llm_proxy_address=NOBODY,
        sandbox_address=NOBODY,
        memory_address=NOBODY,
        prefect_url=f"http://{NOBODY}",
    )
    async with (
        app.build(settings) as services,
        serving(services, host="127.0.0.1", port=0) as address,
    ):
        yield address


@pytest.fixture(params=[fake, real], ids=["fake", "real"])
async def executor(request: Any, tmp_path: Path) -> AsyncIterator[Executor]:
    async with request.param(tmp_path) as address:
        addresses = Addresses(executor=address, llm_proxy=NOBODY, memory=NOBODY, sandbox=NOBODY)
        async with connected(addresses, credentials=None, call_seconds=10) as services:
            yield services.executor


async def start(executor: Executor, *, key: str = "", source: str = FILE) -> Any:
    request = runs_pb2.StartRunRequest(source=source, inputs=INPUTS, trigger="api")
    return await executor.call(executor.runs.StartRun, request, idempotency_key=key)


async def watched(executor: Executor, run_id: str, *, after: int = 0) -> list[runs_pb2.Event]:
    request = runs_pb2.WatchRunRequest(run_id=run_id, after_sequence=after)
    stream = executor.stream(executor.runs.WatchRun, request, timeout_seconds=20)
    return [response.event async for response in stream]


async def test_the_same_key_is_the_same_run(executor: Executor) -> None:
    first, again = await start(executor, key="k"), await start(executor, key="k")

    assert (first.created, again.created) == (True, False)
    assert first.run.id == again.run.id
    with pytest.raises(Conflict):
        await start(executor, key="k", source=FILE + "# other")


async def test_a_cancelled_runs_events_are_numbered_and_end(executor: Executor) -> None:
    run_id = (await start(executor)).run.id
    request = runs_pb2.CancelRunRequest(run_id=run_id)
    await executor.call(executor.runs.CancelRun, request)

    events = await watched(executor, run_id)

    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[0].type == runs_pb2.EVENT_TYPE_RUN_QUEUED
    assert events[-1].type == runs_pb2.EVENT_TYPE_RUN_CANCELLED
    answer = await executor.call(executor.runs.GetRun, runs_pb2.GetRunRequest(run_id=run_id))
    assert answer.run.status == runs_pb2.RUN_STATUS_CANCELLED


async def test_watching_goes_on_after_any_event(executor: Executor) -> None:
    run_id = (await start(executor)).run.id
    await executor.call(executor.runs.CancelRun, runs_pb2.CancelRunRequest(run_id=run_id))
    last = len(await watched(executor, run_id))

    assert [event.sequence for event in await watched(executor, run_id, after=last - 1)] == [last]
    assert await watched(executor, run_id, after=last) == []


async def test_what_is_not_there_is_not_found(executor: Executor) -> None:
    with pytest.raises(NotFound):
        await executor.call(executor.runs.GetRun, runs_pb2.GetRunRequest(run_id="none"))
    with pytest.raises(NotFound):
        await watched(executor, "none")
    unknown = runs_pb2.StartRunRequest(workflow="none")
    with pytest.raises(NotFound):
        await executor.call(executor.runs.StartRun, unknown)


async def test_a_file_is_stored_once_and_a_wrong_one_refused_with_its_problems(
    executor: Executor,
) -> None:
    apply = executor.workflows.ApplyWorkflow
    first = await executor.call(apply, workflows_pb2.ApplyWorkflowRequest(source=FILE))
    again = await executor.call(apply, workflows_pb2.ApplyWorkflowRequest(source=FILE))

    assert (first.created, again.created, again.workflow.version) == (True, False, 1)
    assert (first.workflow.name, first.workflow.inputs[0].name) == ("contract", "message")
    with pytest.raises(InvalidInput) as caught:
        await executor.call(apply, workflows_pb2.ApplyWorkflowRequest(source="nodes: []"))
    assert caught.value.problems
