"""Tools that remember: models reach the memory that the file gives them, and no other, in the real memory service."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.executor import Neighbours, calls
from tests.service.executor.conftest import Executor, outputs
from tests.service.executor.test_real_tools import executor_of

from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_executor.language import parse_workflow
from cadre_kit.channels import call, connect
from cadre_kit.documents import from_json, to_json
from cadre_kit.serving import serving
from cadre_memory.app import build
from cadre_memory.settings import MemorySettings

FILE = """
flow: {name: helper}
state:
  fields:
    user: {type: str, default: ada}
    answer: {type: str, default: ""}
nodes:
  - NODE
edges:
  - {from: START, to: one}
  - {from: one, to: END}
config: {CONFIG}
"""
SECRET = "Ben's safe opens with 4711."


def file(node: str, config: str = "") -> str:
    return FILE.replace("NODE", f"{{id: one, {node}}}").replace("CONFIG", config)


def asking(tools: str, memory: str = "") -> str:
    return f"prompt: Help, outputs: [answer], tools: [{tools}]" + (
        f", memory: {memory}" * bool(memory)
    )


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[tuple[str, Any]]:
    """The address of a memory service, and its stub."""
    settings = MemorySettings(home=tmp_path / "memory")
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(build(settings))
        address = await stack.enter_async_context(serving(services, host="127.0.0.1", port=0))
        channel = await stack.enter_async_context(connect(address))
        yield address, memory_pb2_grpc.MemoryServiceStub(channel)


@pytest.fixture
async def executor(
    tmp_path: Path, near: Neighbours, memory: tuple[str, Any]
) -> AsyncIterator[Executor]:
    async with executor_of(tmp_path / "executor", near, memory_address=memory[0]) as found:
        yield found


async def put(stub: Any, namespace: list[str], key: str, value: object) -> None:
    request = memory_pb2.PutRequest(namespace=namespace, key=key, value=to_json(value))
    await call(stub.Put, request, service="memory", timeout_seconds=20)


async def stored(stub: Any, *above: str) -> dict[tuple[str, ...], Any]:
    """What is stored at and below a namespace, by namespace and key; messages left out."""
    request = memory_pb2.BatchRequest(
        operations=[memory_pb2.Operation(find=memory_pb2.BatchFind(namespace=above, limit=100))]
    )
    answer = await call(stub.Batch, request, service="memory", timeout_seconds=20)
    items = [each.item for each in answer.results[0].found]
    return {
        (*item.namespace, item.key): from_json(item.value, field="value")
        for item in items
        if not item.key.startswith("message/")
    }


def replies(near: Neighbours, *wanted: tuple[str, dict[str, Any]]) -> list[Any]:
    """Has the model call these tools, one after another, and answers what it was asked."""
    asked: list[Any] = []
    script = iter([*(calls(each) for each in wanted), "done"])

    def answer(request: Any) -> Any:
        asked.append(request)
        return next(script)

    near.llm_proxy.answer = answer
    return asked


PLACES = [
    ("memory_save", "", "", ["workflow", "helper"]),
    ("{name: memory_save, config: {namespace: [notes]}}", "", "", ["workflow", "helper", "notes"]),
    ("{name: memory_save, config: {scope: node}}", "", "", ["node", "helper", "one"]),
    ("memory_save", '{scope: user, namespace: "{state.user}"}', "", ["user", "ada"]),
    (
        "{name: memory_save, config: {namespace: [notes]}}",
        '{scope: user, namespace: "{state.user}"}',
        "",
        ["user", "ada", "notes"],
    ),
    ("memory_save", "", 'memory: {scope: user, namespace: "{state.user}"}', ["user", "ada"]),
    (
        '{name: memory_save, config: {scope: agent, namespace: ["{state.user}", x]}}',
        '{scope: user, namespace: "{state.user}"}',
        "",
        ["agent", "ada", "x"],
    ),
]


@pytest.mark.parametrize(("tool", "own", "config", "place"), PLACES)
async def test_a_model_remembers_where_the_file_says(
    executor: Executor,
    near: Neighbours,
    memory: tuple[str, Any],
    tool: str,
    own: str,
    config: str,
    place: list[str],
) -> None:
    replies(near, ("memory_save", {"key": "k", "value": "v"}))

    run, _ = await executor.finish(file(asking(tool, own), config))

    assert outputs(run)["answer"] == "done"
    assert await stored(memory[1], place[0]) == {(*place, "k"): "v"}


async def test_a_model_finds_its_user_s_memories_and_nobody_else_s(
    executor: Executor, near: Neighbours, memory: tuple[str, Any]
) -> None:
    await put(memory[1], ["user", "ada", "notes"], "safe", "Ada's safe opens with 1815.")
    for place in (["user", "ben"], ["user", "ada2"], ["user"], ["workflow", "helper"], ["shared"]):
        await put(memory[1], place, "safe", SECRET)
    asked = replies(
        near,
        ("memory_search", {"query": "with what opens the safe of Ben?", "top_k": 50}),
        ("memory_search", {"query": "safe", "namespace": ["user", "ben"]}),
    )
    node = asking("memory_search", '{scope: user, namespace: "{state.user}"}')

    run, _ = await executor.finish(file(node))

    assert outputs(run)["answer"] == "done"
    told = asked[-1].messages
    assert [hit["value"] for hit in json.loads(told[-3].content)["hits"]] == [
        "Ada's safe opens with 1815."
    ]
    assert told[-1].content.startswith("Error ")
    assert SECRET not in str(asked)


@pytest.mark.parametrize("user", ["ada/../ben", "..", "ada\u001fben"])
async def test_no_value_leads_out_of_a_scope(
    executor: Executor, near: Neighbours, memory: tuple[str, Any], user: str
) -> None:
    await put(memory[1], ["user", "ben"], "safe", SECRET)
    asked = replies(near, ("memory_search", {"query": "the safe of Ben"}))
    node = asking("memory_search", '{scope: user, namespace: "{state.user}"}')

    await executor.finish(file(node), user=user)

    assert SECRET not in str(asked)


async def test_a_tool_node_remembers_where_its_config_says(
    executor: Executor, memory: tuple[str, Any]
) -> None:
    config = 'config: {scope: conversation, namespace: ["{state.user}"]}'
    node = f"type: tool, tool: {{name: memory_save, {config}}}, arguments: {{key: k, value: 1}}"

    await executor.finish(file(node))

    assert await stored(memory[1], "conversation") == {("conversation", "ada", "k"): 1}


def test_a_tool_with_a_scope_of_one_of_many_has_to_say_which() -> None:
    source = file(asking("{name: memory_search, config: {scope: user}}"))

    found = [(p.code, p.path) for p in parse_workflow(source).problems]

    assert found == [("MISSING_FIELD", "nodes[0].tools[0].config.namespace")]
