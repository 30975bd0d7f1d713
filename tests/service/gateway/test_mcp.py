"""The MCP door, with the SDK's own client, in front of the real executor."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.service.executor.conftest import reached
from tests.service.gateway.platforms import Platform, platform_in
from tests.service.gateway.test_workflow_chat import ASK, DIVIDE, ECHO, runs

from cadre.executor.v1 import runs_pb2

MODES = ["auto", "legacy"]
TYPED = """
flow: {name: typed, description: Takes all kinds of inputs}
state:
  fields:
    words: {type: "list[str]", required: true, description: Some words}
    size: {type: int, default: 3}
    mood: {type: str, enum: [good, bad], default: good}
    maybe: {type: "float | null"}
    reply: {type: str, default: ""}
nodes:
  - {id: say, prompt: "{state.words} {state.size}", outputs: [reply]}
"""


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform_in(tmp_path) as found:
        for source in (ECHO, TYPED, DIVIDE, ASK):
            await found.executor.apply(source)
        yield found


@asynccontextmanager
async def client_of(
    platform: Platform, mode: str, *, host: str = "", **more: Any
) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {platform.key}", **({"Host": host} if host else {})}
    async with httpx2.AsyncClient(headers=headers, timeout=60, verify=False) as http:
        transport = streamable_http_client(f"{platform.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, **more) as client:
            yield client


def text_of(result: types.CallToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, types.TextContent))


@pytest.mark.parametrize("mode", MODES)
async def test_every_applied_workflow_is_a_tool_with_its_inputs(
    platform: Platform, mode: str
) -> None:
    async with client_of(platform, mode) as client:
        found = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert list(found)[-4:] == ["ask", "divide", "echo", "typed"]
    assert {"cadre_runs", "cadre_run", "cadre_answer", "cadre_costs", "cadre_memory_search"} < set(
        found
    )
    typed = found["typed"]
    assert typed.description == "Takes all kinds of inputs"
    assert typed.input_schema == {
        "type": "object",
        "properties": {
            "words": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Some words",
            },
            "size": {"type": "integer", "default": 3},
            "mood": {"type": "string", "enum": ["good", "bad"], "default": "good"},
            "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["words"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_runs_the_workflow_and_tells_how_far_it_is(
    platform: Platform, mode: str
) -> None:
    told: list[str] = []

    async def progress(
        progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        told.append(message or "")

    async with client_of(platform, mode) as client:
        result = await client.call_tool("echo", {"message": "hello"}, progress_callback=progress)

    assert not result.is_error
    assert text_of(result) == "reply to nobody in  says hello"
    said: Any = result.structured_content
    (run,) = await runs(platform)
    assert (said["run_id"], run.trigger) == (run.id, "mcp")
    assert said["outputs"]["mood"] == "reply to mood of hello"
    assert said["usage"]["cost_usd"] == "0.002"
    assert {"feel: started", "say: started"} <= set(told)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "arguments", "code", "told"),
    [
        ("divide", {"text": "1"}, "CODE_FAILED", "divide"),
        ("typed", {"size": "x"}, "INPUTS_REFUSED", "words"),
        ("nobody", {}, "WORKFLOW_NOT_FOUND", "nobody"),
        ("cadre_runs", {"limit": 0}, "ARGUMENTS_INVALID", "limit"),
        ("cadre_run", {"run_id": "none"}, "RUN_NOT_FOUND", "none"),
    ],
)
async def test_what_fails_is_a_result_that_a_model_can_read(
    platform: Platform, mode: str, name: str, arguments: Any, code: str, told: str
) -> None:
    async with client_of(platform, mode) as client:
        result = await client.call_tool(name, arguments)

    assert result.is_error
    said: Any = result.structured_content
    assert (said["code"], told in text_of(result)) == (code, True), text_of(result)


@pytest.mark.parametrize("mode", MODES)
async def test_an_approval_asks_the_person_at_the_client(platform: Platform, mode: str) -> None:
    asked: list[Any] = []

    async def answer(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params)
        return types.ElicitResult(action="accept", content={"choice": "keep", "comment": "fine"})

    async with client_of(platform, mode, elicitation_callback=answer) as client:
        result = await client.call_tool("ask", {"text": "it"})

    assert not result.is_error
    assert asked[0].message == "Keep it?"
    assert asked[0].requested_schema["properties"]["choice"]["enum"] == ["keep", "drop"]
    said: Any = result.structured_content
    assert (said["outputs"]["decision"], said["status"]) == ("keep", "succeeded")
    assert len(await runs(platform)) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_cannot_ask_is_told_how_to_answer(
    platform: Platform, mode: str
) -> None:
    async with client_of(platform, mode) as client:
        waiting = await client.call_tool("ask", {"text": "it"})
        said: Any = waiting.structured_content
        answered = await client.call_tool(
            "cadre_answer", {"run_id": said["run_id"], "choice": "drop"}
        )

    assert said["status"] == "waiting"
    assert said["questions"][0]["choices"] == ["keep", "drop"]
    assert "cadre_answer" in text_of(waiting)
    ended: Any = answered.structured_content
    assert ended["outputs"]["decision"] == "drop"


@pytest.mark.parametrize("mode", MODES)
async def test_whoever_stops_asking_cancels_the_run(platform: Platform, mode: str) -> None:
    platform.near.llm_proxy.gate.clear()
    async with client_of(platform, mode) as client:
        asking = asyncio.create_task(client.call_tool("echo", {"message": "hello"}))
        await reached(lambda: platform.near.llm_proxy.was_asked(1))
        asking.cancel()
        async with asyncio.timeout(20):
            while (await runs(platform))[0].status != runs_pb2.RUN_STATUS_CANCELLED:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_call_is_in_the_audit_log(platform: Platform) -> None:
    async with client_of(platform, "auto") as client:
        await client.call_tool("echo", {"message": "hello"})
    async with platform.http() as http:
        entries = (await http.get("/api/v1/audit")).json()["entries"]

    assert (entries[0]["method"], entries[0]["route"]) == ("POST", "/mcp")


async def test_runs_and_costs_are_tools(platform: Platform) -> None:
    async with client_of(platform, "auto") as client:
        first = await client.call_tool("echo", {"message": "hello"})
        made: Any = first.structured_content
        listed = await client.call_tool("cadre_runs", {"workflow": "echo"})
        shown = await client.call_tool("cadre_run", {"run_id": made["run_id"]})
        costs = await client.call_tool("cadre_costs", {"group_by": "nonsense"})

    found: Any = listed.structured_content
    assert [run["id"] for run in found["runs"]] == [made["run_id"]]
    assert json.loads(text_of(shown))["status"] == "succeeded"
    assert costs.is_error
    assert "nonsense" in text_of(costs)


@pytest.mark.parametrize("host", ["gateway:7400", "localhost:7400", "cadre.example.org"])
async def test_the_door_answers_by_any_name_of_the_gateway(platform: Platform, host: str) -> None:
    async with client_of(platform, "auto", host=host) as client:
        assert (await client.list_tools()).tools


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Origin": "https://evil.example.org"}, 403),
        ({"MCP-Protocol-Version": "1999-01-01"}, 400),
    ],
)
async def test_who_may_not_or_cannot_speak_is_refused(
    platform: Platform, headers: dict[str, str], status: int
) -> None:
    sent = {"Accept": "application/json, text/event-stream", "Mcp-Method": "tools/list", **headers}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    async with platform.http(**sent) as http:
        answer = await http.post("/mcp", json=body)

    assert answer.status_code == status


def modern(method: str, **params: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """A request of the newest protocol, and its headers."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        **({"Mcp-Name": params["name"]} if "name" in params else {}),
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return body, headers


async def test_a_method_that_does_not_exist_is_said_so(platform: Platform) -> None:
    body, headers = modern("tools/nothing")
    async with platform.http(**headers) as http:
        answer = await http.post("/mcp", json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)


async def test_a_gateway_that_stops_leaves_runs_going(platform: Platform) -> None:
    platform.near.llm_proxy.gate.clear()
    body, headers = modern("tools/call", name="echo", arguments={"message": "hello"})
    async with platform.http(**headers) as http:
        asking = asyncio.create_task(http.post("/mcp", json=body))
        await reached(lambda: platform.near.llm_proxy.was_asked(1))
        platform.stopping.set()
        answer = await asking
    async with asyncio.timeout(10):
        # What a run does is stored some milliseconds after it did it.
        while (run := (await runs(platform))[0]).status == runs_pb2.RUN_STATUS_QUEUED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert (answer.status_code, answer.json()["code"]) == (503, "GATEWAY_STOPPING")
    assert run.status == runs_pb2.RUN_STATUS_RUNNING
