"""Workflows as agents of A2A: the SDK's own client against the gateway, in front of the real executor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Value
from tests.service.gateway.platforms import Platform, platform_in

REPLY = """
flow: {name: replying, description: Answers a message, version: "1.0.0", tags: [demo]}
state:
  fields:
    message: {type: str, required: true, description: What to answer}
    reply: {type: str, default: ""}
nodes:
  - {id: answer, prompt: "{state.message}", outputs: [reply]}
"""
APPROVE = """
flow: {name: approving}
state:
  fields:
    text: {type: str, required: true}
    decision: {type: str, default: ""}
nodes:
  - {id: check, type: approval, message: "Keep {state.text}?", choices: [keep, drop], outputs: {decision: choice}}
"""


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform_in(tmp_path) as found:
        await found.executor.apply(REPLY)
        await found.executor.apply(APPROVE)
        yield found


@pytest.fixture(params=["JSONRPC", "HTTP+JSON"])
def binding(request: Any) -> str:
    found: str = request.param
    return found


@asynccontextmanager
async def client_of(
    platform: Platform, workflow: str, binding: str, *, streaming: bool = False
) -> AsyncIterator[Client]:
    async with platform.http() as http:
        card = await A2ACardResolver(http, f"{platform.url}/a2a/{workflow}").get_agent_card()
        config = ClientConfig(
            streaming=streaming, httpx_client=http, supported_protocol_bindings=[binding]
        )
        yield ClientFactory(config).create(card)


def message(text: str = "", *, id: str = "m-1", task_id: str = "", data: Any = None) -> Message:
    part = Part(text=text)
    if data is not None:
        value = Value()
        value.struct_value.update(data)
        part = Part(data=value)
    return Message(message_id=id, role=Role.ROLE_USER, parts=[part], task_id=task_id)


async def said(client: Client, sent: Message, *, at_once: bool = False) -> list[StreamResponse]:
    request = SendMessageRequest(
        message=sent, configuration=SendMessageConfiguration(return_immediately=at_once)
    )
    return [response async for response in client.send_message(request)]


async def task_of(client: Client, sent: Message, *, at_once: bool = False) -> Task:
    return (await said(client, sent, at_once=at_once))[-1].task


def parts_of(task: Task) -> list[dict[str, Any]]:
    return [MessageToDict(part) for artifact in task.artifacts for part in artifact.parts]


async def test_a_message_runs_the_workflow_and_its_outputs_are_the_artifact(
    platform: Platform, binding: str
) -> None:
    async with client_of(platform, "replying", binding) as client:
        task = await task_of(client, message("hello"))
        again = await client.get_task(GetTaskRequest(id=task.id))

    assert task.status.state == again.status.state == TaskState.TASK_STATE_COMPLETED
    text, data = parts_of(again)
    assert text["text"] == data["data"]["reply"] == "reply to hello"
    assert (await platform.executor.get(task.id)).trigger == f"a2a/{task.context_id}"


async def test_data_is_the_inputs(platform: Platform, binding: str) -> None:
    async with client_of(platform, "replying", binding) as client:
        task = await task_of(client, message(data={"message": "hi"}))

    assert parts_of(task)[1]["data"] == {"message": "hi", "reply": "reply to hi"}


async def test_a_repeated_message_is_the_same_task_and_another_by_its_id_is_refused(
    platform: Platform, binding: str
) -> None:
    async with client_of(platform, "replying", binding) as client:
        first = await task_of(client, message("hello"))
        second = await task_of(client, message("hello"))
        with pytest.raises(InvalidParamsError, match="IDEMPOTENCY_KEY_REUSED"):
            await task_of(client, message("something else"))

    assert first.id == second.id
    assert len(platform.near.llm_proxy.paid) == 1


async def test_an_approval_wants_input_and_a_message_answers_it(
    platform: Platform, binding: str
) -> None:
    async with client_of(platform, "approving", binding) as client:
        asked = await task_of(client, message("this"))
        with pytest.raises(InvalidParamsError, match="UNKNOWN_CHOICE"):
            await task_of(client, message("maybe", id="m-2", task_id=asked.id))
        done = await task_of(client, message("Keep", id="m-3", task_id=asked.id))
        with pytest.raises(UnsupportedOperationError):
            await task_of(client, message("drop", id="m-4", task_id=asked.id))

    assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    assert asked.status.message.parts[0].text == "Keep this?\n\nAnswer with one of: keep, drop"
    assert done.status.state == TaskState.TASK_STATE_COMPLETED
    assert parts_of(done)[1]["data"]["decision"] == "keep"


async def test_a_stream_tells_of_each_step_and_ends_with_the_task(
    platform: Platform, binding: str
) -> None:
    async with client_of(platform, "replying", binding, streaming=True) as client:
        updates = await said(client, message("hello"))

    kinds = [update.WhichOneof("payload") for update in updates]
    assert kinds[0] == "task"
    assert kinds[-2:] == ["artifact_update", "status_update"]
    assert updates[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_a_stream_ends_when_the_run_asks_and_a_message_goes_on(
    platform: Platform, binding: str
) -> None:
    async with client_of(platform, "approving", binding, streaming=True) as client:
        updates = await said(client, message("this"))
        task_id = updates[0].task.id
        answered = await said(client, message("drop", id="m-2", task_id=task_id))

    last = updates[-1]
    asked = last.status_update if last.HasField("status_update") else last.task
    assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    assert answered[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


async def test_a_task_can_be_followed_and_cancelled(platform: Platform, binding: str) -> None:
    platform.near.llm_proxy.gate.clear()
    async with client_of(platform, "replying", binding, streaming=True) as client:
        begun = await _begun(platform, binding)
        following = asyncio.create_task(_followed(client, begun.id))
        cancelled = await client.cancel_task(CancelTaskRequest(id=begun.id))
        updates = await following
        with pytest.raises(UnsupportedOperationError):
            await _followed(client, begun.id)

    assert begun.status.state in (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
    assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
    assert updates[-1].status_update.status.state == TaskState.TASK_STATE_CANCELED


async def test_a_task_that_succeeded_cannot_be_cancelled(platform: Platform, binding: str) -> None:
    async with client_of(platform, "replying", binding) as client:
        ended = await task_of(client, message("hello"))
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=ended.id))


async def _begun(platform: Platform, binding: str) -> Task:
    async with client_of(platform, "replying", binding) as client:
        return await task_of(client, message("hello"), at_once=True)


async def _followed(client: Client, task_id: str) -> list[StreamResponse]:
    return [update async for update in client.subscribe(SubscribeToTaskRequest(id=task_id))]


async def test_tasks_are_listed_by_context_and_state(platform: Platform, binding: str) -> None:
    async with client_of(platform, "replying", binding) as client:
        sent = message("hello")
        sent.context_id = "talk-1"
        mine = await task_of(client, sent)
        await task_of(client, message("hello", id="m-2"))
        everything = await client.list_tasks(ListTasksRequest())
        found = await client.list_tasks(
            ListTasksRequest(context_id="talk-1", status=TaskState.TASK_STATE_COMPLETED)
        )

    assert len(everything.tasks) == 2
    assert [(task.id, task.context_id) for task in found.tasks] == [(mine.id, "talk-1")]


async def test_what_is_not_there_is_said(platform: Platform, binding: str) -> None:
    async with client_of(platform, "approving", binding) as client:
        waiting = await task_of(client, message("this"))
    async with client_of(platform, "replying", binding) as client:
        for task_id in ("01UNKNOWN", waiting.id):
            with pytest.raises(TaskNotFoundError):
                await client.get_task(GetTaskRequest(id=task_id))


async def test_a_card_says_what_the_workflow_takes_and_is_cached(platform: Platform) -> None:
    async with platform.http() as http:
        answer = await http.get("/a2a/replying/.well-known/agent-card.json")
        known = await http.get(
            "/a2a/replying/.well-known/agent-card.json",
            headers={"If-None-Match": answer.headers["etag"]},
        )
        missing = await http.get("/a2a/nothing/.well-known/agent-card.json")

    card = answer.json()
    assert card["supportedInterfaces"][0] == {
        "url": f"{platform.url}/a2a/replying",
        "protocolBinding": "JSONRPC",
        "protocolVersion": "1.0",
    }
    assert "message (str, required): What to answer" in card["skills"][0]["description"]
    assert known.status_code == 304
    assert "max-age" in known.headers["cache-control"]
    assert missing.status_code == 404


async def test_nobody_gets_in_without_the_key(platform: Platform) -> None:
    async with httpx.AsyncClient(base_url=platform.url, timeout=30, verify=False) as http:
        card = await http.get("/a2a/replying/.well-known/agent-card.json")
        call = await http.post("/a2a/replying", json={"jsonrpc": "2.0", "method": "GetTask"})

    assert card.status_code == call.status_code == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "GetTask"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "Dance"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": []}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "CreateTaskPushNotificationConfig"}', -32003),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetExtendedAgentCard"}', -32004),
    ],
)
async def test_requests_that_are_none_get_their_code(
    platform: Platform, body: bytes, code: int
) -> None:
    async with platform.http(**{"A2A-Version": "1.0"}) as http:
        answer = await http.post("/a2a/replying", content=body)

    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == code


async def test_another_version_and_files_are_refused(platform: Platform) -> None:
    file = {"messageId": "m", "role": "ROLE_USER", "parts": [{"url": "http://x/y.png"}]}
    async with platform.http() as http:
        old = await http.get("/a2a/replying/tasks/1")
        filed = await http.post(
            "/a2a/replying/message:send", json={"message": file}, headers={"A2A-Version": "1.0"}
        )

    assert (old.status_code, old.json()["error"]["details"][0]["reason"]) == (
        400,
        "VERSION_NOT_SUPPORTED",
    )
    assert filed.json()["error"]["details"][0]["reason"] == "CONTENT_TYPE_NOT_SUPPORTED"


async def test_one_platform_hands_work_to_a_workflow_of_another_and_a_person_answers_it(
    tmp_path: Path, platform: Platform
) -> None:
    asking = """
flow: {name: asking}
state: {fields: {text: {type: str, required: true}, decision: {type: str, default: ""}}}
nodes:
  - {id: ask, agent: other, inputs: {text: "{state.text}"}, outputs: [decision]}
"""
    home = tmp_path / "first"
    home.mkdir()
    variables = {"AGENT_OTHER": platform.key}
    async with platform_in(home, variables=variables, allowed_addresses="127.0.0.1") as first:
        async with first.http() as http:
            body = {
                "name": "other",
                "url": f"{platform.url}/a2a/approving",
                "secret": "AGENT_OTHER",
            }
            registered = await http.post("/api/v1/agents", json=body)
            run = await http.post(
                "/api/v1/runs", json={"source": asking, "inputs": {"text": "this"}}
            )
            path = run.headers["location"]
            question = (await _until(http, path, "waiting"))["questions"][0]
            await http.post(f"{path}/answer", json={"choice": "keep"})
            ended = await _until(http, path, "succeeded")

    assert registered.status_code == 201
    assert registered.json()["skills"][0]["id"] == "approving"
    assert question["message"].startswith("Keep this?")
    assert ended["outputs"]["decision"] == "keep"


async def _until(http: httpx.AsyncClient, path: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            run: dict[str, Any] = (await http.get(path)).json()
            if run["status"] == status:
                return run
            assert run["status"] not in ("failed", "cancelled"), run["error"]
            await asyncio.sleep(0.05)
