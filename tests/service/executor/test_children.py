"""Workflows that run other workflows as steps."""

import json
import time
from pathlib import Path

import pytest
from tests.fakes.executor import Neighbours
from tests.fakes.tools import FakeTools
from tests.platform import eventually_async
from tests.service.executor.conftest import Executor, executor_in, names, outputs, reached

from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.errors import FailedPrecondition

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


ASKING = """
flow: {name: inner}
state: {fields: {word: {type: str, required: true}, reply: {type: str, default: ""}}}
nodes:
  - {id: ask, type: approval, message: "Say {state.word}?", choices: [yes, no], outputs: {reply: choice}}
"""
LIMITED = calling() + "config: {execution: {timeout: 1}}\n"
BETWEEN = LIMITED.replace("name: outer", "name: between")
ABOVE = LIMITED.replace("workflow: inner", "workflow: between").replace("reply}", "said}")


async def waiting(executor: Executor) -> runs_pb2.Run:
    """The child, once it waits for a person."""

    async def waits() -> bool:
        found = await children(executor)
        return bool(found) and found[0].status == runs_pb2.RUN_STATUS_WAITING

    await eventually_async(waits)
    return (await children(executor))[0]


async def say_yes(executor: Executor, run_id: str) -> None:
    await executor.ask(
        executor.runs.AnswerRun, runs_pb2.AnswerRunRequest(run_id=run_id, choice="yes")
    )


async def test_a_step_may_wait_for_a_person_longer_than_the_runs_above_it_may_take(
    tmp_path: Path, near: Neighbours, tools: FakeTools
) -> None:
    async with executor_in(tmp_path, near, tools=tools) as one:
        await one.apply(ASKING)
        await one.apply(BETWEEN)
        run = await one.start(ABOVE.replace("{word:", "{message:"), message="x")
        child = await waiting(one)
        asked = time.monotonic()
        await eventually_async(lambda: later(asked + 2.5))
    async with executor_in(tmp_path, near, tools=tools) as two:
        await say_yes(two, child.id)

        assert names(await two.events(run.id))[-1] == "run_succeeded"
        assert outputs(await two.get(run.id))["said"] == "yes"


async def later(moment: float) -> bool:
    return time.monotonic() > moment


async def test_the_time_of_a_run_counts_while_none_of_its_steps_waits(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply(INNER)
    near.llm_proxy.gate.clear()

    run, _ = await executor.finish(LIMITED, message="x")

    assert run.error.code == "RUN_TIMEOUT"
    assert (await children(executor))[0].status == runs_pb2.RUN_STATUS_CANCELLED


async def test_a_run_whose_step_waits_for_a_person_keeps_no_other_from_running(
    tmp_path: Path, near: Neighbours, tools: FakeTools
) -> None:
    async with executor_in(tmp_path, near, tools=tools, executor_max_runs=1) as executor:
        await executor.apply(ASKING)
        run = await executor.start(calling(), message="x")
        child = await waiting(executor)

        _, events = await executor.finish(INNER, word="y")
        await say_yes(executor, child.id)

        assert events[-1] == "run_succeeded"
        assert names(await executor.events(run.id))[-1] == "run_succeeded"


FAILING = """
flow: {name: inner}
state: {fields: {word: {type: str, required: true}, first: {type: str, default: ""}, reply: {type: str, default: ""}}}
nodes:
  - {id: one, prompt: "One {state.word}", outputs: [first]}
  - {id: two, prompt: "Two {state.first}", output_schema: {type: str, min_length: 20}, outputs: [reply]}
"""


def writing(near: Neighbours, text: str) -> None:
    near.llm_proxy.answer = lambda request: (
        json.dumps({"value": text}) if request.HasField("output_schema") else "first"
    )


async def resume(executor: Executor, run_id: str) -> None:
    await executor.ask(executor.runs.ResumeRun, runs_pb2.ResumeRunRequest(run_id=run_id))


async def test_what_a_step_did_is_not_done_again_when_the_run_is_resumed(
    executor: Executor, near: Neighbours
) -> None:
    writing(near, "short")
    await executor.apply(FAILING)
    run, _ = await executor.finish(calling(), message="x")
    failed = await children(executor)
    writing(near, "long enough for the schema")

    await resume(executor, run.id)
    await executor.events(run.id)
    done = await executor.get(run.id)

    assert outputs(done)["said"] == "long enough for the schema"
    assert [child.id for child in await children(executor)] == [failed[0].id]
    assert near.llm_proxy.nodes.count("one") == 1
    assert done.usage.calls == len(near.llm_proxy.paid)


async def test_a_step_whose_file_was_mended_is_done_anew_when_the_run_is_resumed(
    executor: Executor, near: Neighbours
) -> None:
    writing(near, "short")
    await executor.apply(FAILING)
    run, _ = await executor.finish(calling(), message="x")
    await executor.apply(FAILING.replace("min_length: 20", "min_length: 2"))

    await resume(executor, run.id)
    await executor.events(run.id)
    done = await executor.get(run.id)

    assert outputs(done)["said"] == "short"
    assert len(await children(executor)) == 2
    assert done.usage.calls == len(near.llm_proxy.paid)


async def test_a_failed_step_is_not_resumed_by_itself(executor: Executor, near: Neighbours) -> None:
    writing(near, "short")
    await executor.apply(FAILING)
    run, _ = await executor.finish(calling(), message="x")
    child = (await children(executor))[0]

    with pytest.raises(FailedPrecondition, match=run.id) as refused:
        await resume(executor, child.id)

    assert refused.value.code == "RUN_IS_STEP"
    assert (await children(executor))[0].status == runs_pb2.RUN_STATUS_FAILED


async def test_items_that_were_cut_off_by_the_failure_of_another_are_done_when_the_run_is_resumed(
    executor: Executor, near: Neighbours
) -> None:
    def answer(request: llm_pb2.CompleteRequest) -> str:
        return json.dumps({"value": "x" * 30 if is_mended else "short"})

    is_mended = False
    near.llm_proxy.answer = answer
    near.llm_proxy.held_nodes = {"slow"}
    await executor.apply(FAILING.replace("{id: one,", "{id: slow, when: state.word != 'b',"))
    source = calling('for_each: {items: ["a", "b", "c"], as: letter}').replace(
        "{state.message}", "{letter}"
    )
    source = source.replace('said: {type: str, default: ""}', "said: {type: list, default: []}")
    run, _ = await executor.finish(source, message="x")
    is_mended = True
    near.llm_proxy.held_nodes = set()

    await resume(executor, run.id)
    events = names(await executor.events(run.id))
    done = await executor.get(run.id)

    assert run.error.code == "CHILD_RUN_FAILED"
    assert events[-1] == "run_succeeded", done.error
    assert outputs(done)["said"] == ["x" * 30] * 3
