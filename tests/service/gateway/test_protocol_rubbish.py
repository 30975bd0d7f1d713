"""Whatever is sent to the doors of MCP and A2A, the answer names the fault, and is no failure of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

HALF = "\ud800"
MODERN = {
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "cadre_run",
}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "rubbish", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
NO_CALL = [
    b"",
    b"{",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"[{}]",
    b"NaN",
    b'{"a":' * 3_000,
    b"[" * 100_000,
    b'{"jsonrpc":"2.0","id":1}',
    b'{"jsonrpc":"1.0","id":1,"method":"GetTask"}',
    b'{"jsonrpc":"2.0","id":' + b"9" * 6_000 + b',"method":"GetTask"}',
    b'{"jsonrpc":"2.0","id":1e999,"method":"GetTask"}',
    b'{"jsonrpc":"2.0","id":{},"method":"GetTask"}',
    b'{"jsonrpc":"2.0","id":true,"method":"GetTask"}',
    b'{"jsonrpc":"2.0","id":"\\ud800","method":"GetTask","params":{"id":"x"}}',
]
MESSAGE = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
WRONG_CALLS: list[tuple[str, object]] = [
    ("GetTask", None),
    ("GetTask", []),
    ("GetTask", {"id": None}),
    ("GetTask", {"id": HALF}),
    ("GetTask", {"id": 10**400}),
    ("GetTask", {"id": "x" * 100_000}),
    ("ListTasks", {"pageSize": 10**30}),
    ("ListTasks", {"pageToken": HALF}),
    ("SendMessage", {"message": None}),
    ("SendMessage", {"message": MESSAGE | {"parts": []}}),
    ("SendMessage", {"message": MESSAGE | {"role": "ROLE_AGENT"}}),
    ("SendMessage", {"message": MESSAGE | {"role": 7}}),
    ("SendMessage", {"message": MESSAGE | {"parts": [{"text": HALF}]}}),
    ("SendMessage", {"message": MESSAGE | {"messageId": HALF}}),
    ("SendMessage", {"message": MESSAGE | {"taskId": HALF}}),
    ("SendStreamingMessage", {"message": MESSAGE | {"parts": 7}}),
    ("SubscribeToTask", {"id": HALF}),
    ("CancelTask", {"id": "\0"}),
    ("CreateTaskPushNotificationConfig", {}),
    ("GetExtendedAgentCard", {}),
    ("x" * 100_000, {}),
    (HALF, {}),
]
WRONG_ARGUMENTS: list[dict[str, object]] = [
    {"run_id": HALF},
    {"run_id": None},
    {"run_id": 10**400},
    {HALF: "x", "run_id": "y"},
    {},
]


def rpc(method: str, params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


@pytest.fixture
async def door(running: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the gateway with its key; the first call of MCP loads the protocol's library, which may take long."""
    headers = {"authorization": f"Bearer {running.key}", "content-type": "application/json"}
    async with httpx.AsyncClient(
        base_url=running.url, headers=headers, timeout=60, verify=False
    ) as client:
        yield client


async def test_what_is_no_call_is_refused_by_both(door: httpx.AsyncClient) -> None:
    for body in NO_CALL:
        a2a = await door.post("/a2a/none", content=body, headers={"a2a-version": "1.0"})
        mcp = await door.post("/mcp", content=body, headers=MODERN)

        said = a2a.json()
        assert (a2a.status_code, said["error"]["code"]) in {(200, -32700), (200, -32600)}, body[:60]
        assert said["id"] in (None, 1), body[:60]
        assert 400 <= mcp.status_code < 500, body[:60]


async def test_a_wrong_call_of_a2a_is_refused_with_its_id(door: httpx.AsyncClient) -> None:
    for method, params in WRONG_CALLS:
        answer = await door.post(
            "/a2a/none", content=rpc(method, params), headers={"a2a-version": "1.0"}
        )

        said = answer.json()
        assert (answer.status_code, said.get("id")) == (200, 1), (method[:60], params)
        assert said["error"]["code"] < 0, (method[:60], params)


async def test_another_version_of_a2a_is_named(door: httpx.AsyncClient) -> None:
    for version in ("", "0.3", "1.x", "2", "-1"):
        answer = await door.post(
            "/a2a/none", content=rpc("GetTask", {"id": "x"}), headers={"a2a-version": version}
        )

        assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32009), version


async def test_wrong_arguments_of_a_tool_are_its_result(door: httpx.AsyncClient) -> None:
    for arguments in WRONG_ARGUMENTS:
        params = {"name": "cadre_run", "arguments": arguments, "_meta": META}
        answer = await door.post("/mcp", content=rpc("tools/call", params), headers=MODERN)

        result = answer.json()["result"]
        assert (answer.status_code, result["isError"]) == (200, True), arguments
        assert result["structuredContent"]["code"] == "ARGUMENTS_INVALID", arguments


async def test_nobody_gets_in_without_a_key(running: Any) -> None:
    async with httpx.AsyncClient(base_url=running.url, verify=False, timeout=60) as nobody:
        for path in ("/mcp", "/a2a/none", "/a2a/none/message:send", "/a2a/none/tasks"):
            answer = await nobody.post(path, content=b"{" * 1_000, headers=MODERN)

            assert (answer.status_code, answer.json()["code"]) == (401, "API_KEY_MISSING"), path


async def test_a_call_that_breaks_off_in_its_middle_is_no_failure_of_ours(
    running: Any, door: httpx.AsyncClient
) -> None:
    host, _, port = running.url.removeprefix("http://").partition(":")
    for path in ("/mcp", "/a2a/none", "/hooks/none"):
        _reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {running.key}\r\n"
        writer.write(f'{head}content-length: 500\r\n\r\n{{"jsonrpc":'.encode())
        await writer.drain()
        writer.close()

    async def counted() -> str:
        return (await door.get("/metrics")).text

    async with asyncio.timeout(60):
        while (await counted()).count('_requests_total{method="POST",route=') < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert 'status="500"' not in await counted()
