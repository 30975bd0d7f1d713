"""Runs that go on after a failure, and runs that begin where another one was."""

import json
from typing import Any

import pytest
from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor, names, outputs

from cadre.executor.v1 import runs_pb2
from cadre_kit.documents import from_json, to_json
from cadre_kit.errors import FailedPrecondition, InvalidInput, NotFound

STEPS = """
schema_version: "1.0"
flow: {name: steps}
state:
  fields:
    topic: {type: str, required: true}
    a: {type: str, default: ""}
    side: {type: str, default: ""}
    b: {type: int, default: 0}
    c: {type: str, default: ""}
nodes:
  - {id: first, prompt: "{state.topic}", outputs: [a]}
  - {id: beside, prompt: side, outputs: [side]}
  - {id: second, prompt: second, output_schema: {type: int}, outputs: [b]}
  - {id: third, prompt: "{state.a} {state.b}", outputs: [c]}
edges:
  - {from: START, to: first}
  - {from: first, to: [second, beside]}
  - {from: [second, beside], to: third}
  - {from: third, to: END}
"""


def answering(near: Neighbours, second: str) -> None:
    """The model answers the second node with this, and the others as always."""

    def answer(request: Any) -> str:
        if request.attribution.node == "second":
            return json.dumps({"value": second})
        return f"reply to {request.messages[-1].content}"

    near.llm_proxy.answer = answer


async def resume(executor: Executor, run_id: str) -> runs_pb2.Run:
    request = runs_pb2.ResumeRunRequest(run_id=run_id)
    response: runs_pb2.ResumeRunResponse = await executor.ask(executor.runs.ResumeRun, request)
    return response.run


async def fork(
    executor: Executor, run_id: str, checkpoint: str = "", key: str = "", **state: Any
) -> runs_pb2.Run:
    request = runs_pb2.ForkRunRequest(
        run_id=run_id, checkpoint_id=checkpoint, state=to_json(state) if state else None
    )
    response: runs_pb2.ForkRunResponse = await executor.ask(executor.runs.ForkRun, request, key=key)
    return response.run


async def checkpoints(executor: Executor, run_id: str) -> list[runs_pb2.Checkpoint]:
    request = runs_pb2.ListCheckpointsRequest(run_id=run_id)
    response: runs_pb2.ListCheckpointsResponse = await executor.ask(
        executor.runs.ListCheckpoints, request
    )
    return list(response.checkpoints)


async def test_a_failed_run_goes_on_from_the_step_that_failed(
    executor: Executor, near: Neighbours
) -> None:
    answering(near, "no number")
    failed, _ = await executor.finish(STEPS, topic="t")
    answering(near, "7")

    resumed = await resume(executor, failed.id)
    events = await executor.events(failed.id)
    done = await executor.get(failed.id)

    assert failed.error.code == "MODEL_OUTPUT_INVALID"
    assert not resumed.HasField("error")
    assert outputs(done)["c"] == "reply to reply to t 7"
    assert near.llm_proxy.nodes.count("first") == near.llm_proxy.nodes.count("beside") == 1
    assert f"{failed.id}/second/1/2/1" in near.llm_proxy.paid
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    assert names(events).count("run_failed") == names(events).count("run_resumed") == 1
    assert names(events)[-1] == "run_succeeded"


async def test_a_run_can_fail_and_be_resumed_again(executor: Executor, near: Neighbours) -> None:
    answering(near, "no number")
    run, _ = await executor.finish(STEPS, topic="t")
    await resume(executor, run.id)
    events = names(await executor.events(run.id))

    assert events.count("run_failed") == 2
    assert (await executor.get(run.id)).status == runs_pb2.RUN_STATUS_FAILED


async def test_only_a_failed_run_can_be_resumed(executor: Executor, near: Neighbours) -> None:
    answering(near, "7")
    done, _ = await executor.finish(STEPS, topic="t")

    with pytest.raises(FailedPrecondition) as caught:
        await resume(executor, done.id)
    with pytest.raises(NotFound):
        await resume(executor, "01JD2N3Q8ZC4R6T8V0X2Z4B6D8")

    assert caught.value.code == "RUN_NOT_FAILED"


async def test_the_checkpoints_of_a_run_show_where_it_stood(
    executor: Executor, near: Neighbours
) -> None:
    answering(near, "7")
    run, _ = await executor.finish(STEPS, topic="t")

    found = await checkpoints(executor, run.id)

    assert [(c.id, list(c.nodes)) for c in found] == [
        ("1", ["first"]),
        ("3", ["beside", "second"]),
    ]
    assert set(found[0].next_nodes) == {"second", "beside"}
    assert from_json(found[0].state, field="state")["a"] == "reply to t"


async def test_a_fork_goes_on_from_a_checkpoint_with_other_state(
    executor: Executor, near: Neighbours
) -> None:
    answering(near, "7")
    run, _ = await executor.finish(STEPS, topic="t")

    forked = await fork(executor, run.id, "3", a="other", b="8")
    events = names(await executor.events(forked.id))
    done = await executor.get(forked.id)

    assert done.forked_from_run_id == run.id
    assert outputs(done)["c"] == "reply to other 8"
    assert events == [
        "run_queued",
        "run_started",
        "node_started third",
        "node_succeeded third",
        "run_succeeded",
    ]
    assert near.llm_proxy.nodes.count("first") == 1
    assert outputs(await executor.get(run.id))["c"] == "reply to reply to t 7"


async def test_a_run_that_failed_in_its_first_step_is_forked_from_its_start(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.answer = lambda request: "no document"
    source = STEPS.replace("outputs: [a]", "outputs: [a], output_schema: {type: str}")
    failed, _ = await executor.finish(source, topic="t")
    answering(near, "7")

    assert await checkpoints(executor, failed.id) == []
    forked = await fork(executor, failed.id, topic="u")

    assert from_json(forked.inputs, field="inputs") == {"topic": "u"}


async def test_a_forks_state_is_checked_as_inputs_are(executor: Executor, near: Neighbours) -> None:
    answering(near, "7")
    run, _ = await executor.finish(STEPS, topic="t")

    with pytest.raises(InvalidInput) as wrong:
        await fork(executor, run.id, b="no number")
    with pytest.raises(InvalidInput) as unknown:
        await fork(executor, run.id, nonsense=1)
    with pytest.raises(NotFound) as missing:
        await fork(executor, run.id, "99")

    assert "b" in wrong.value.message
    assert "nonsense" in unknown.value.message
    assert missing.value.code == "CHECKPOINT_NOT_FOUND"


async def test_a_repeated_fork_is_one_run(executor: Executor, near: Neighbours) -> None:
    answering(near, "7")
    run, _ = await executor.finish(STEPS, topic="t")

    one = await fork(executor, run.id, "1", key="k", a="x")
    two = await fork(executor, run.id, "1", key="k", a="x")

    assert one.id == two.id
