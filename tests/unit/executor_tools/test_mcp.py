"""Tools of MCP servers: real ones, over HTTP and stdio, and some that mean no good."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from tests.fakes import mcp_server
from tests.fakes.website import Website
from tests.ports import free_port
from tests.unit.executor_tools.conftest import Bench, bench_in, context

from cadre_executor.adapters.tools.mcp_connections import Connections
from cadre_executor.adapters.tools.mcp_servers import McpServersRefused, read_mcp_servers
from cadre_executor.domain.tools import ToolFailed, UnknownTool
from cadre_executor.domain.workflows import McpServer, ToolUse
from cadre_kit.errors import InvalidInput

PROGRAM = mcp_server.__file__
NUMBERS = context(servers=(McpServer(name="numbers"),))


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def served(port: int = 0) -> Iterator[str]:
    """A server process over HTTP; its address."""
    port = port or free_port()
    process = subprocess.Popen([sys.executable, PROGRAM, str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not answers(port):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """One server over HTTP for all tests that do not end it."""
    with served() as url:
        yield url


@asynccontextmanager
async def by_command(home: Path) -> AsyncIterator[Bench]:
    """The tools, with a server that the operator configured as a command."""
    env = {"NOTES": str(home / "notes")}
    server = {"command": sys.executable, "args": [PROGRAM], "env": env}
    file = home / "servers.json"
    file.write_text(json.dumps({"servers": {"numbers": server}}))
    async with bench_in(home, mcp_servers_file=file) as bench:
        yield bench


@pytest.fixture(params=["http", "stdio"])
async def numbers(request: Any, tmp_path: Path, address: str) -> AsyncIterator[Bench]:
    """The tools with the server `numbers`, over HTTP or stdio."""
    if request.param == "stdio":
        async with by_command(tmp_path) as bench:
            yield bench
        return
    file = tmp_path / "servers.yaml"
    file.write_text(f"servers: {{numbers: {{url: '{address}'}}}}")
    async with bench_in(tmp_path, mcp_servers_file=file) as bench:
        yield bench


async def test_a_server_s_tools_are_discovered_and_called(numbers: Bench) -> None:
    uses = [ToolUse(name="mcp:numbers/add"), ToolUse(name="mcp:numbers/say")]

    add, say = await numbers.tools.specs(uses, context=NUMBERS)

    assert (add.name, add.description) == ("mcp:numbers/add", "Adds two numbers.")
    assert set(add.parameters["properties"]) == {"a", "b"}
    assert (add.repeatable, say.repeatable) == (True, False)
    assert await numbers("mcp:numbers/add", a=20, b=22, context=NUMBERS) == {"result": 42}
    said = await numbers("mcp:numbers/say", text="hi", context=NUMBERS)
    assert said in ("said hi", {"result": "said hi"})


async def test_what_a_tool_says_went_wrong_is_told(numbers: Bench) -> None:
    with pytest.raises(ToolFailed) as failed:
        await numbers("mcp:numbers/fail", context=NUMBERS)

    assert failed.value.code == "MCP_TOOL_FAILED"


async def test_arguments_are_held_to_the_discovered_schema(numbers: Bench) -> None:
    with pytest.raises(InvalidInput, match="'b' is a required property"):
        await numbers("mcp:numbers/add", a=1, context=NUMBERS)


@pytest.mark.parametrize("tool", ["nothing", "add/x", "../add"])
async def test_a_tool_that_a_server_has_not_is_said(numbers: Bench, tool: str) -> None:
    with pytest.raises(UnknownTool):
        await numbers(f"mcp:numbers/{tool}", context=NUMBERS)


async def test_a_tool_that_the_workflow_does_not_list_cannot_be_called(numbers: Bench) -> None:
    listed = context(servers=(McpServer(name="numbers", tools=("add",)),))

    assert await numbers("mcp:numbers/add", a=1, b=1, context=listed) == {"result": 2}
    with pytest.raises(UnknownTool, match="does not let"):
        await numbers("mcp:numbers/say", text="x", context=listed)


async def test_an_answer_that_is_too_large_is_refused(numbers: Bench) -> None:
    with pytest.raises(ToolFailed) as refused:
        await numbers("mcp:numbers/large", context=NUMBERS)

    assert refused.value.code in ("RESULT_TOO_LARGE", "MCP_SERVER_FAILED", "MCP_CONNECTION_LOST")
    assert await numbers("mcp:numbers/add", a=1, b=1, context=NUMBERS) == {"result": 2}


async def test_a_call_ends_in_time_and_others_go_on(numbers: Bench) -> None:
    waiting = asyncio.create_task(numbers("mcp:numbers/wait", context=NUMBERS, seconds=1.0))

    assert await numbers("mcp:numbers/add", a=1, b=1, context=NUMBERS) == {"result": 2}
    with pytest.raises(ToolFailed) as late:
        await waiting
    assert late.value.code == "TOOL_TIMEOUT"


async def test_cancelling_a_call_stops_it_at_the_server(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    async with by_command(tmp_path) as bench:
        call = asyncio.create_task(bench("mcp:numbers/wait", context=NUMBERS))
        await until(lambda: "waits" in notes.read_text())

        call.cancel()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 2)
        await until(lambda: "stopped" in notes.read_text())


async def test_one_process_serves_all_and_is_gone_afterwards(tmp_path: Path) -> None:
    async with by_command(tmp_path) as bench:
        calls = [bench("mcp:numbers/process_id", context=NUMBERS) for _ in range(5)]
        found = {answer["result"] for answer in await asyncio.gather(*calls)}

    assert len(found) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(found.pop(), 0)


async def test_a_process_that_dies_is_started_again_but_its_call_is_not_repeated(
    tmp_path: Path,
) -> None:
    async with by_command(tmp_path) as bench:
        first = await bench("mcp:numbers/process_id", context=NUMBERS)
        with pytest.raises(ToolFailed) as lost:
            await bench("mcp:numbers/die", context=NUMBERS)
        second = await bench("mcp:numbers/process_id", context=NUMBERS)

    assert lost.value.code == "MCP_CONNECTION_LOST"
    assert first != second
    assert (tmp_path / "notes").read_text() == "dies\n"


async def test_a_command_does_not_see_the_executor_s_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CADRE_API_KEY", "s3cret")
    async with by_command(tmp_path) as bench:
        seen = await bench("mcp:numbers/environment", context=NUMBERS)

    assert "NOTES" in seen["result"]
    assert "CADRE_API_KEY" not in seen["result"]


async def test_a_server_that_was_restarted_is_connected_to_again(tmp_path: Path) -> None:
    async with bench_in(tmp_path, allowed_addresses="127.0.0.1") as bench:
        port = free_port()
        server = McpServer(name="n", url=f"http://127.0.0.1:{port}/mcp")
        there = context(servers=(server,))
        with served(port):
            assert await bench("mcp:n/add", a=1, b=1, context=there) == {"result": 2}
        with pytest.raises(ToolFailed):
            await bench("mcp:n/add", a=1, b=1, context=there)
        with served(port):
            assert await bench("mcp:n/add", a=2, b=2, context=there) == {"result": 4}


async def test_a_connection_is_shared_closed_when_idle_and_opened_again() -> None:
    opened: list[str] = []
    connections = Connections(idle_seconds=0.1)

    @asynccontextmanager
    async def opener() -> AsyncIterator[Client]:
        opened.append("open")
        async with Client(mcp_server.server) as client:
            yield client
        opened.append("closed")

    async def use(client: Client) -> int:
        return len((await client.list_tools()).tools)

    asked = [connections.ask("key", "n", opener, use, again=False) for _ in range(5)]
    assert len(set(await asyncio.gather(*asked))) == 1
    await until(lambda: opened == ["open", "closed"])
    await connections.ask("key", "n", opener, use, again=False)
    await connections.close()

    assert opened == ["open", "closed"] * 2


async def test_a_workflow_s_server_must_be_at_an_address_that_may_be_reached(
    bench: Bench, site: Website
) -> None:
    there = context(servers=(McpServer(name="n", url=site.url + "/mcp"),))

    with pytest.raises(ToolFailed) as refused:
        await bench("mcp:n/add", a=1, b=1, context=there)

    assert refused.value.code == "ADDRESS_REFUSED"
    assert site.connections == 0


async def test_a_workflow_cannot_name_a_command(bench: Bench) -> None:
    with pytest.raises(ToolFailed) as refused:
        await bench("mcp:numbers/add", a=1, b=1, context=NUMBERS)

    assert refused.value.code == "MCP_SERVER_NOT_CONFIGURED"


async def test_headers_come_from_secrets(tmp_path: Path, site: Website) -> None:
    site.page("/mcp", "not MCP", status=401)
    server = McpServer(name="n", url=site.url + "/mcp", headers_env={"Authorization": "WIKI"})
    there = context(servers=(server,), secrets=("WIKI",))
    async with bench_in(
        tmp_path, allowed_addresses="127.0.0.1", variables={"WIKI": "s3cret"}
    ) as bench:
        with pytest.raises(ToolFailed) as failed:
            await bench("mcp:n/add", a=1, b=1, context=there)

    assert site.asked[0].headers["authorization"] == "s3cret"
    assert "s3cret" not in str(failed.value)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<html>", "text/html"),
        ("{}", "application/json"),
        ("[" * 50_000, "application/json"),
        ("data: {}\n\n", "text/event-stream"),
        ("x" * 9_000_000, "application/json"),
        ("data: " + "x" * 2_000_000, "text/event-stream"),
        ('{"jsonrpc": "2.0", "id": 99, "result": {}}', "application/json"),
    ],
)
async def test_a_server_that_answers_rubbish_is_said(
    tmp_path: Path, site: Website, body: str, kind: str
) -> None:
    site.page("/mcp", body, kind=kind)
    there = context(servers=(McpServer(name="n", url=site.url + "/mcp"),))
    async with bench_in(tmp_path, allowed_addresses="127.0.0.1") as bench:
        with pytest.raises(ToolFailed) as failed:
            await bench("mcp:n/add", a=1, b=1, context=there, seconds=3.0)

    assert failed.value.code in ("MCP_SERVER_FAILED", "MCP_CONNECTION_LOST", "TOOL_TIMEOUT")


async def test_a_redirect_inward_is_not_followed(tmp_path: Path, site: Website) -> None:
    site.redirect("/mcp", "http://169.254.169.254/mcp", status=307)
    there = context(servers=(McpServer(name="n", url=site.url + "/mcp"),))
    async with bench_in(tmp_path, allowed_addresses=f"127.0.0.1:{site.port}") as bench:
        with pytest.raises(ToolFailed):
            await bench("mcp:n/add", a=1, b=1, context=there, seconds=5.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "servers: 5",
        "servers: {a: {}}",
        "servers: {a: {command: x, url: 'http://y'}}",
        "servers: {a: {command: x, shell: true}}",
        "servers: {a: {url: 'file:///etc/passwd'}}",
        "servers: [",
        "other: {}",
    ],
)
def test_a_file_of_servers_that_is_wrong_is_refused_at_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "servers.yaml"
    file.write_text(text)

    with pytest.raises(McpServersRefused, match=r"servers\.yaml"):
        read_mcp_servers(file)
