"""The tools of MCP servers."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import mcp_types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from pydantic import ValidationError

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.adapters.tools.mcp_connections import Connections, Opener, lost
from cadre_executor.adapters.tools.mcp_servers import OperatorServer
from cadre_executor.adapters.tools.requests import as_tool_failure
from cadre_executor.adapters.tools.schemas import check_arguments, is_schema, without_patterns
from cadre_executor.adapters.tools.secrets import Secrets
from cadre_executor.domain.tools import ToolFailed, ToolResult, ToolSpec, UnknownTool
from cadre_executor.domain.workflows import McpServer, Workflow
from cadre_kit.addresses import AddressRules, port_of, resolve
from cadre_kit.outgoing import outgoing_client

__all__ = ["McpTools"]

PREFIX = "mcp:"
_MAX_ANSWER_BYTES = 8 * 1024 * 1024
_MAX_SCHEMA_BYTES = 65_536
_MAX_PAGES = 20
_MOST_LISTINGS = 256
_LONGEST_DESCRIPTION = 4000
_LONGEST_MESSAGE = 4000
_OURSELVES = mcp_types.Implementation(name="cadre", version=version("cadre-executor"))
_GONE = frozenset({mcp_types.CONNECTION_CLOSED})


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a server is, and how it is opened; equal keys share a connection."""

    name: str
    key: object
    opener: Opener


class McpTools:
    """Calls the tools of servers: those that workflows name by address, and the operator's."""

    def __init__(
        self,
        *,
        servers: Mapping[str, OperatorServer],
        rules: AddressRules,
        secrets: Secrets,
        connections: Connections,
    ) -> None:
        self._servers = servers
        self._rules = rules
        self._secrets = secrets
        self._connections = connections
        # What servers said last, the latest at the end.
        self._listings: dict[object, Mapping[str, mcp_types.Tool]] = {}

    async def spec(self, name: str, workflow: Workflow) -> ToolSpec:
        """What the server says of the tool `mcp:<server>/<tool>`. Raises UnknownTool, ToolFailed."""
        server, tool = _split(name, workflow)
        return _spec(name, await self._tool(await self._place(server, workflow), tool, fresh=True))

    async def call(self, name: str, asked: Invocation) -> ToolResult:
        """Calls a tool. Raises UnknownTool, ToolFailed, ArgumentsRefused."""
        workflow = asked.context.workflow
        server, tool = _split(name, workflow)
        place = await self._place(server, workflow)
        known = await self._tool(place, tool, fresh=False)
        check_arguments(name, without_patterns(known.input_schema), asked.arguments)
        arguments = dict(asked.arguments)

        async def use(client: Client) -> mcp_types.CallToolResult:
            with _Translated(place.name):
                return await client.call_tool(tool, arguments)

        answer = await self._connections.ask(
            place.key, place.name, place.opener, use, again=_is_repeatable(known)
        )
        if answer.is_error:
            text = _text(answer.content) or "no reason given"
            raise ToolFailed(f"{name} failed: {text[:_LONGEST_MESSAGE]}", code="MCP_TOOL_FAILED")
        return ToolResult(value=_value(answer))

    def lacks(self, name: str, workflow: Workflow) -> str:
        """What is not configured of a tool's server; empty when all is. The server itself is not asked."""
        try:
            server, _ = _split(name, workflow)
        except (ToolFailed, UnknownTool) as failed:
            return failed.message
        if not server.url and server.name not in self._servers:
            return f"no MCP server {server.name!r} is configured. Add it to the file that CADRE_MCP_SERVERS_FILE names."
        missing = (self._secrets.lacks(secret) for secret in server.headers_env.values())
        return next(filter(None, missing), "")

    async def _tool(self, place: _Place, tool: str, *, fresh: bool) -> mcp_types.Tool:
        if fresh or tool not in self._listings.get(place.key, {}):

            async def use(client: Client) -> Mapping[str, mcp_types.Tool]:
                with _Translated(place.name):
                    return await _listed(client)

            listing = await self._connections.ask(
                place.key, place.name, place.opener, use, again=True
            )
            self._keep(place.key, listing)
        listing = self._listings[place.key]
        if tool not in listing:
            raise UnknownTool(
                f"the MCP server {place.name!r} has no tool {tool!r} that can be used",
                resolution=f"It has: {', '.join(sorted(listing)[:20])}.",
                metadata={"server": place.name, "tool": tool},
            )
        return listing[tool]

    def _keep(self, key: object, listing: Mapping[str, mcp_types.Tool]) -> None:
        self._listings.pop(key, None)
        if len(self._listings) >= _MOST_LISTINGS:
            del self._listings[next(iter(self._listings))]
        self._listings[key] = listing

    async def _place(self, server: McpServer, workflow: Workflow) -> _Place:
        if server.url:
            headers = {
                header: self._secrets.of(workflow, name)
                for header, name in server.headers_env.items()
            }
            # The SDK hides why a connection was refused; this says it. The client judges each connection anew.
            with as_tool_failure():
                port, host = port_of(server.url), urlsplit(server.url).hostname or ""
                self._rules.judge(host, port, await resolve(host, port))
            return _by_url(server.name, server.url, headers, self._rules)
        return self._operators(server.name)

    def _operators(self, name: str) -> _Place:
        found = self._servers.get(name)
        if found is None:
            raise ToolFailed(
                f"the MCP server {name!r} has no url, and the operator configured none of that name",
                code="MCP_SERVER_NOT_CONFIGURED",
                resolution="Give it a url, or have the operator add it to the file that CADRE_MCP_SERVERS_FILE names.",
                metadata={"server": name},
            )
        if found.url is not None:
            url = str(found.url)
            return _by_url(name, url, found.headers, self._rules.allowing_url(url))
        return _by_command(name, found)


def _by_url(name: str, url: str, headers: Mapping[str, str], rules: AddressRules) -> _Place:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Client]:
        client = outgoing_client(
            rules, headers=headers, max_bytes=_MAX_ANSWER_BYTES, keep_cookies=True
        )
        async with (
            client,
            Client(
                streamable_http_client(url, http_client=client), client_info=_OURSELVES
            ) as session,
        ):
            yield session

    return _Place(name=name, key=(url, frozenset(headers.items())), opener=opened)


def _by_command(name: str, server: OperatorServer) -> _Place:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Client]:
        parameters = StdioServerParameters(
            command=server.command, args=list(server.args), env=dict(server.env), cwd=server.cwd
        )
        async with Client(parameters, client_info=_OURSELVES) as session:
            yield session

    return _Place(name=name, key=("command", name), opener=opened)


def _split(name: str, workflow: Workflow) -> tuple[McpServer, str]:
    server_name, _, tool = name.removeprefix(PREFIX).partition("/")
    server = workflow.mcp_servers.get(server_name)
    if server is None or not tool:
        raise UnknownTool(
            f"{name!r} names no tool of a server under config.mcp_servers", metadata={"tool": name}
        )
    if server.tools and tool not in server.tools:
        raise UnknownTool(
            f"the workflow does not let {tool!r} of the MCP server {server_name!r} be used",
            resolution="Add it to the server's tools under config.mcp_servers.",
            metadata={"server": server_name, "tool": tool},
        )
    return server, tool


async def _listed(client: Client) -> Mapping[str, mcp_types.Tool]:
    found: dict[str, mcp_types.Tool] = {}
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        found |= {tool.name: tool for tool in page.tools if _is_usable(tool)}
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _is_usable(tool: mcp_types.Tool) -> bool:
    return len(json.dumps(tool.input_schema)) <= _MAX_SCHEMA_BYTES and is_schema(tool.input_schema)


def _is_repeatable(tool: mcp_types.Tool) -> bool:
    hints = tool.annotations
    return hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)


def _spec(name: str, tool: mcp_types.Tool) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=(tool.description or tool.title or tool.name)[:_LONGEST_DESCRIPTION],
        parameters=tool.input_schema,
        repeatable=_is_repeatable(tool),
    )


def _value(answer: mcp_types.CallToolResult) -> Any:
    """Structured content as it is; else text; else what the parts are."""
    if answer.structured_content is not None:
        return answer.structured_content
    if all(isinstance(part, mcp_types.TextContent) for part in answer.content):
        return _text(answer.content)
    return {"content": [part.model_dump(mode="json", exclude_none=True) for part in answer.content]}


def _text(content: Sequence[object]) -> str:
    return "\n".join(part.text for part in content if isinstance(part, mcp_types.TextContent))


class _Translated:
    """Says in our words what the SDK raises."""

    def __init__(self, server: str) -> None:
        self._server = server

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case MCPError() if error.code in _GONE:
                raise lost(self._server) from error
            case anyio.ClosedResourceError() | anyio.BrokenResourceError() | anyio.EndOfStream():
                raise lost(self._server) from error
            case MCPError():
                raise ToolFailed(
                    f"the MCP server {self._server!r} answered: {error.message[:_LONGEST_MESSAGE]}",
                    code="MCP_SERVER_FAILED",
                    metadata={"server": self._server},
                ) from error
            case ValidationError() | httpx2.HTTPError():
                raise ToolFailed(
                    f"the MCP server {self._server!r} answered with what is not MCP",
                    code="MCP_SERVER_FAILED",
                    metadata={"server": self._server},
                ) from error
            case _:
                return
