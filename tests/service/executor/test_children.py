"""Workflows that run other workflows as steps."""

from pathlib import Path

from tests.fakes.executor import Neighbours
from tests.fakes.tools import FakeTools
from tests.service.executor.conftest import Executor, executor_in, names, outputs, reached

from cadre.executor.v1 import runs_pb2

INNER = """
flow: {name: inner}
state: {fields: {word: {type: str, required: true}, reply: {type: str, default: ""}}}
nodes:
  - {id: ask, prompt: "Say {state.word}", outputs: [reply]}
edges:
  - {from: START, to: ask}
  - {from: ask, to: END}
"""
OUTER = """
flow: {name: outer}
state: {fields: {message: {type: str, required: true}, said: {type: str, default: ""}}}
nodes:
  - id: call
    workflow: inner
    inputs: {word: "{state.message}"}
    outputs: {said: reply}
    EXTRA
edges:
  - {from: START, to: call}
  - {from: call, to: END}
"""


def calling(extra: str = "description: x") -> str:
    return OUTER.replace("EXTRA", extra)


async def children(executor: Executor) -> list[runs_pb2.Run]:
    request = runs_pb2.ListRunsRequest(workflow="inner")
    answer: runs_pb2.ListRunsResponse = await executor.ask(executor.runs.ListRuns, request)
    return list(answer.runs)


async def test_a_child_is_a_run_of_its_own_whose_outputs_and_usage_come_back(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply(INNER)

    run, _ = await executor.finish(calling(), message="hello")

    assert outputs(run)["said"] == "reply to Say hello"
    assert run.usage.calls == 1
    child = (await children(executor))[0]
    assert (child.parent_run_id, child.trigger) == (run.id, "workflow")
    assert names(await executor.events(child.id))[-1] == "run_succeeded"
    attribution = next(iter(near.llm_proxy.requests.values())).attribution
    assert (attribution.run_id, attribution.root_run_id) == (child.id, run.id)


async def test_cancelling_a_run_cancels_its_child(executor: Executor, near: Neighbours) -> None:
    await executor.apply(INNER)
    near.llm_proxy.gate.clear()
    run = await executor.start(calling(), message="x")
    await reached(lambda: near.llm_proxy.was_asked(1))

    await executor.cancel(run.id)

    child = (await children(executor))[0]
    assert child.status == runs_pb2.RUN_STATUS_CANCELLED
    assert len(near.llm_proxy.cancelled) == 1


async def test_a_childs_failure_says_which_run_failed_and_why(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply(INNER.replace('prompt: "Say {state.word}"', 'code: "result = 1 / 0"'))

    run, _ = await executor.finish(calling(), message="x")

    assert run.error.code == "CHILD_RUN_FAILED"
    assert "CODE_FAILED" in run.error.message
    assert (await children(executor))[0].id in run.error.message


async def test_a_node_whose_time_is_over_ends_its_child(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply(INNER)
    near.llm_proxy.gate.clear()

    run, _ = await executor.finish(calling("timeout: 0.5"), message="x")

    assert run.error.code == "NODE_TIMEOUT"
    assert (await children(executor))[0].status == runs_pb2.RUN_STATUS_CANCELLED


async def test_a_workflow_that_runs_itself_is_stopped_eight_runs_deep(executor: Executor) -> None:
    source = calling().replace("name: outer", "name: inner").replace("{word:", "{message:")
    source = source.replace("outputs: {said: reply}", "outputs: {said: said}")
    await executor.apply(source)

    run, _ = await executor.finish(source, message="x")

    assert run.error.code == "CHILD_RUN_FAILED"
    assert "RUN_DEPTH_EXCEEDED" in run.error.message
    assert len(await children(executor)) == 9


async def test_children_do_not_wait_for_the_places_that_their_parents_hold(
    tmp_path: Path, near: Neighbours, tools: FakeTools
) -> None:
    async with executor_in(tmp_path, near, tools=tools, executor_max_runs=1) as executor:
        await executor.apply(INNER)

        run, events = await executor.finish(calling(), message="x")

        assert events[-1] == "run_succeeded", run.error


async def test_a_run_taken_up_midway_starts_no_second_child(
    tmp_path: Path, near: Neighbours, tools: FakeTools
) -> None:
    async with executor_in(tmp_path, near, tools=tools) as one:
        await one.apply(INNER)
        near.llm_proxy.gate.clear()
        run = await one.start(calling(), message="x")
        await reached(lambda: near.llm_proxy.was_asked(1))
    near.llm_proxy.gate.set()
    async with executor_in(tmp_path, near, tools=tools) as two:
        assert names(await two.events(run.id))[-1] == "run_succeeded"
        found = await children(two)
        ended = await two.get(run.id)

    assert len(found) == len(near.llm_proxy.paid) == ended.usage.calls == 1


async def test_each_item_of_a_list_has_its_own_child(executor: Executor) -> None:
    await executor.apply(INNER)
    source = calling('for_each: {items: ["a", "b", "c"], as: letter}').replace(
        "{state.message}", "{letter}"
    )
    source = source.replace('said: {type: str, default: ""}', "said: {type: list, default: []}")

    run, _ = await executor.finish(source, message="x")

    assert outputs(run)["said"] == [f"reply to Say {letter}" for letter in "abc"]
    assert len(await children(executor)) == 3
