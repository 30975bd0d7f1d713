"""Nodes that go through a list."""

from pathlib import Path

from tests.fakes.executor import Neighbours
from tests.fakes.tools import FakeTools
from tests.service.executor.conftest import Executor, executor_in, names, outputs, reached

from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.documents import from_json

NAMES = """
flow: {name: names}
state: {fields: {words: {type: "list[str]", required: true}, said: {type: list, default: []}}}
nodes:
  - id: say
    prompt: "{index}: {item}"
    inputs: {index: "{item_index}"}
    for_each: {items: "{state.words}", max_concurrency: 4}
    outputs: [said]
    EXTRA
edges:
  - {from: START, to: say}
  - {from: say, to: END}
"""


def going_through(extra: str = "description: x") -> str:
    return NAMES.replace("EXTRA", extra)


def refuse(word: str, near: Neighbours) -> None:
    """The model answers with the prompt, and fails for one word."""

    def answer(request: llm_pb2.CompleteRequest) -> str:
        said = request.messages[-1].content
        if said.endswith(word):
            raise RuntimeError("the model's line is dead")
        return str(said)

    near.llm_proxy.answer = answer


async def test_results_stand_in_the_order_of_the_items(
    executor: Executor, near: Neighbours
) -> None:
    refuse("never", near)

    run = await executor.start(going_through(), words=[f"w{n}" for n in range(50)])
    events = await executor.events(run.id)
    ended = await executor.get(run.id)

    assert outputs(ended)["said"] == [f"{n}: w{n}" for n in range(50)]
    assert ended.usage.calls == 50
    assert sorted(e.item for e in events if e.item) == list(range(1, 51))
    begun = [e for e in events if e.type == runs_pb2.EVENT_TYPE_NODE_STARTED]
    assert [from_json(e.data, field="data")["items"] for e in begun] == [50]


async def test_at_most_so_many_items_are_under_way(executor: Executor, near: Neighbours) -> None:
    near.llm_proxy.gate.clear()
    run = await executor.start(going_through(), words=["a"] * 20)
    await reached(lambda: near.llm_proxy.was_asked(4))
    await executor.until(run.id, lambda e: e.type == runs_pb2.EVENT_TYPE_NODE_STARTED)

    assert len(near.llm_proxy.asked) == 4
    await executor.cancel(run.id)
    assert len(near.llm_proxy.cancelled) == 4


async def test_a_kept_result_counts_for_its_item_at_every_place_of_a_list(
    executor: Executor, near: Neighbours
) -> None:
    source = going_through("cache: {ttl_seconds: 60}").replace("{index}: {item}", "Say {item}")
    await executor.finish(source, words=["a", "b"])

    again, _ = await executor.finish(source, words=["new", "b", "a"])

    assert outputs(again)["said"] == [f"reply to Say {word}" for word in ("new", "b", "a")]
    assert again.usage.calls == 1


async def test_an_empty_list_gives_an_empty_list(executor: Executor) -> None:
    run, events = await executor.finish(going_through(), words=[])

    assert outputs(run)["said"] == []
    assert events[-3:] == ["node_started say", "node_succeeded say", "run_succeeded"]


async def test_a_failure_names_its_item(executor: Executor, near: Neighbours) -> None:
    refuse("bad", near)

    run, _ = await executor.finish(going_through(), words=["a", "b", "bad", "c"])

    assert run.error.message.startswith("item 3: ")
    assert run.error.node == "say"


async def test_an_item_that_fails_is_null_where_the_node_goes_on(
    executor: Executor, near: Neighbours
) -> None:
    refuse("bad", near)

    run = await executor.start(going_through("on_error: continue"), words=["a", "bad", "c"])
    events = await executor.events(run.id)

    assert outputs(await executor.get(run.id))["said"] == ["0: a", None, "2: c"]
    failed = [e.item for e in events if e.type == runs_pb2.EVENT_TYPE_NODE_FAILED]
    assert failed == [2]


async def test_each_item_has_its_own_tries(executor: Executor, near: Neighbours) -> None:
    failures = ["a"]

    def answer(request: llm_pb2.CompleteRequest) -> str:
        said = request.messages[-1].content
        if said[-1:] in failures:
            failures.remove(said[-1:])
            return "no number"
        return '{"value": 7}'

    near.llm_proxy.answer = answer
    numbers = going_through(
        "output_schema: int\n    retry: {max_attempts: 2, backoff_seconds: 0.01}"
    )

    run = await executor.start(numbers, words=["a", "b"])
    events = await executor.events(run.id)

    assert outputs(await executor.get(run.id))["said"] == [7, 7]
    retried = [e.item for e in events if e.type == runs_pb2.EVENT_TYPE_NODE_RETRIED]
    assert retried == [1]


async def test_the_nodes_time_bounds_all_items(executor: Executor, near: Neighbours) -> None:
    near.llm_proxy.gate.clear()

    run, _ = await executor.finish(going_through("timeout: 0.3"), words=["a", "b"])

    assert run.error.code == "NODE_TIMEOUT"
    await reached(lambda: len(near.llm_proxy.cancelled) == 2)


async def test_a_run_taken_up_midway_does_only_the_items_that_are_left(
    tmp_path: Path, near: Neighbours, tools: FakeTools
) -> None:
    def answer(request: llm_pb2.CompleteRequest) -> str:
        if len(near.llm_proxy.paid) == 19:
            near.llm_proxy.gate.clear()
        return str(request.messages[-1].content)

    near.llm_proxy.answer = answer
    words = [f"w{n}" for n in range(40)]
    async with executor_in(tmp_path, near, tools=tools) as one:
        run = await one.start(going_through(), words=words)
        await one.until(run.id, lambda e: e.item == 16)
        await reached(lambda: near.llm_proxy.was_asked(20))
    near.llm_proxy.answer = lambda request: str(request.messages[-1].content)
    near.llm_proxy.gate.set()
    async with executor_in(tmp_path, near, tools=tools) as two:
        events = await two.events(run.id)
        ended = await two.get(run.id)

    assert names(events)[-1] == "run_succeeded"
    assert outputs(ended)["said"] == [f"{n}: w{n}" for n in range(40)]
    assert len(near.llm_proxy.paid) == ended.usage.calls == 40
    assert len(near.llm_proxy.asked) < 50


async def test_a_failed_run_goes_on_with_the_items_that_failed(
    executor: Executor, near: Neighbours
) -> None:
    refuse("bad", near)
    one_by_one = going_through().replace("max_concurrency: 4", "max_concurrency: 1")
    run, _ = await executor.finish(one_by_one, words=["a", "b", "bad"])
    assert run.status == runs_pb2.RUN_STATUS_FAILED
    before = len(near.llm_proxy.paid)
    refuse("never", near)

    await executor.ask(executor.runs.ResumeRun, runs_pb2.ResumeRunRequest(run_id=run.id))
    await executor.events(run.id)

    assert outputs(await executor.get(run.id))["said"] == ["0: a", "1: b", "2: bad"]
    assert len(near.llm_proxy.paid) == before + 1


async def test_too_many_items_are_refused(executor: Executor) -> None:
    run, _ = await executor.finish(going_through(), words=["x"] * 10_001)

    assert run.error.code == "TOO_MANY_ITEMS"


async def test_programs_see_the_item_and_its_place(executor: Executor) -> None:
    source = going_through().replace('prompt: "{index}: {item}"', 'code: "result = item * index"')

    run, _ = await executor.finish(source, words=["a", "b", "c"])

    assert outputs(run)["said"] == ["", "b", "cc"]
