"""What llm nodes can do beside asking: stream, remember, take results again, ask others in place."""

import asyncio
from typing import Any

from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor, outputs

from cadre.executor.v1 import runs_pb2
from cadre.sandbox.v1 import sandbox_pb2
from cadre_kit.documents import from_json

ASKING = """
flow: {name: asking}
state: {fields: {message: {type: str, required: true}, reply: {type: str, default: ""}}}
nodes:
  - id: ask
    prompt: "Say {state.message}"
    outputs: [reply]
    EXTRA
edges:
  - {from: START, to: ask}
  - {from: ask, to: END}
"""


def asking(extra: str) -> str:
    return ASKING.replace("EXTRA", extra)


def data_of(events: list[runs_pb2.Event], kind: runs_pb2.EventType.ValueType) -> list[Any]:
    return [from_json(e.data, field="data") for e in events if e.type == kind]


async def test_a_streamed_reply_comes_in_pieces_that_make_up_the_whole(
    executor: Executor, near: Neighbours
) -> None:
    words = " ".join(f"word{n}" for n in range(20))
    near.llm_proxy.answer = lambda _: words

    run = await executor.start(asking("stream: true"), message="x")
    events = await executor.events(run.id)

    texts = data_of(events, runs_pb2.EVENT_TYPE_NODE_TEXT)
    assert "".join(text["text"] for text in texts).strip() == words
    assert 3 <= len(texts) <= 10
    assert [text["offset"] for text in texts] == [
        sum(len(t["text"]) for t in texts[:place]) for place in range(len(texts))
    ]
    assert outputs(await executor.get(run.id))["reply"] == words


async def test_a_streamed_reply_is_shown_up_to_a_limit(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.answer = lambda _: "x" * 100_000

    run = await executor.start(asking("stream: true"), message="x")
    texts = data_of(await executor.events(run.id), runs_pb2.EVENT_TYPE_NODE_TEXT)

    assert sum(len(text["text"]) for text in texts) == 64 * 1024
    assert texts[-1]["cut"]
    assert len(outputs(await executor.get(run.id))["reply"]) == 100_000


async def test_equal_inputs_take_the_kept_result_at_no_cost(
    executor: Executor, near: Neighbours
) -> None:
    source = asking("cache: {ttl_seconds: 60}")
    first, _ = await executor.finish(source, message="x")
    second = await executor.start(source, message="x")
    events = await executor.events(second.id)
    third, _ = await executor.finish(source, message="y")

    ended = await executor.get(second.id)
    assert outputs(ended)["reply"] == outputs(first)["reply"] == "reply to Say x"
    assert [run.usage.calls for run in (first, ended, third)] == [1, 0, 1]
    assert data_of(events, runs_pb2.EVENT_TYPE_NODE_SUCCEEDED)[0]["cached"] is True


async def test_a_kept_result_is_not_taken_when_its_time_is_over(
    executor: Executor, near: Neighbours
) -> None:
    source = asking("cache: {ttl_seconds: 0.2}")
    await executor.finish(source, message="x")
    await asyncio.sleep(0.25)

    await executor.finish(source, message="x")

    assert len(near.llm_proxy.paid) == 2


async def test_a_node_with_memory_knows_what_was_said_before(
    executor: Executor, near: Neighbours
) -> None:
    near.memory.finds_all = True
    source = asking("memory: {namespace: people/ann, top_k: 3}")
    await executor.finish(source, message="my name is Ann")

    await executor.finish(source, message="what is my name?")

    prompt = list(near.llm_proxy.requests.values())[1].messages[-1].content
    assert prompt.startswith("What you remember")
    assert "- user: Say my name is Ann\n- assistant: reply to Say my name is Ann\n" in prompt
    assert prompt.count("Say my name is Ann") == 2
    assert prompt.endswith("Say what is my name?")
    appended = list(near.memory.appended.values())
    assert [list(each.namespace) for each in appended] == [
        ["workflow", "asking", "people", "ann"]
    ] * 2
    assert not any(each.HasField("upkeep") for each in appended)


async def test_fallbacks_and_settings_reach_the_proxy(executor: Executor, near: Neighbours) -> None:
    source = asking(
        "llm: {provider: openai, model: a, params: {effort: low},"
        " fallbacks: [{provider: ollama, model: b}]}"
    )

    await executor.finish(source, message="x")

    request = next(iter(near.llm_proxy.requests.values()))
    assert from_json(request.options.params, field="params") == {"effort": "low"}
    assert [(f.provider, f.model) for f in request.fallbacks] == [("ollama", "b")]


async def test_a_program_may_run_in_a_container_with_files(
    executor: Executor, near: Neighbours
) -> None:
    source = ASKING.replace('prompt: "Say {state.message}"', 'code: "result = inputs"').replace(
        "EXTRA",
        "sandbox: {mode: docker, preset: high, packages: [numpy], files: {a.txt: '{state.message}'}}",
    )

    await executor.finish(source.replace("outputs: [reply]", "description: x"), message="hello")

    asked = near.sandbox.requests[0]
    assert (asked.mode, asked.preset) == (sandbox_pb2.MODE_DOCKER, sandbox_pb2.PRESET_HIGH)
    assert [(f.name, f.content) for f in asked.files] == [("a.txt", b"hello")]
    assert list(asked.packages) == ["numpy"]


async def test_values_are_appended_to_a_list_in_memory(
    executor: Executor, near: Neighbours
) -> None:
    source = ASKING.replace('prompt: "Say {state.message}"', "type: memory").replace(
        "EXTRA", 'memory: {action: append, key: notes, value: "{state.message}"}'
    )
    source = source.replace("outputs: [reply]", "description: x")

    for message in ("one", "two"):
        await executor.finish(source, message=message)

    assert list(near.memory.items.values()) == [["one", "two"]]
