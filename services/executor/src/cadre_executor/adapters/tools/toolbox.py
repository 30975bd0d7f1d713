"""Every tool behind one port: built-in ones and those of MCP servers."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cadre_executor.adapters.tools.invocations import Handler, Invocation
from cadre_executor.adapters.tools.programs import ProgramTools
from cadre_executor.adapters.tools.schemas import check_arguments, check_config
from cadre_executor.adapters.tools.searches import SearchTools
from cadre_executor.adapters.tools.secrets import Secrets
from cadre_executor.adapters.workspaces import Workspaces
from cadre_executor.domain.catalogue import CATALOGUE, BuiltIn
from cadre_executor.domain.tools import (
    ToolContext,
    ToolFailed,
    ToolResult,
    ToolSpec,
    UnknownTool,
)
from cadre_executor.domain.workflows import ToolUse, Workflow

if TYPE_CHECKING:
    from cadre_executor.adapters.tools.mcp_tools import McpTools

__all__ = ["Toolbox"]

_MCP = "mcp:"
_MAX_RESULT_BYTES = 4 * 1024 * 1024


class Toolbox:
    """The tools, as the engine calls them. `mcp` gives the tools of MCP servers, always the same."""

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        mcp: "Callable[[], McpTools]",
        workspaces: Workspaces,
        searches: SearchTools,
        secrets: Secrets,
        programs: ProgramTools,
    ) -> None:
        self._programs = programs
        self._searches = searches
        self._secrets = secrets
        self._handlers = handlers
        self._mcp = mcp
        self._workspaces = workspaces

    async def specs(self, uses: Sequence[ToolUse], *, context: ToolContext) -> Sequence[ToolSpec]:
        """What the tools are, in order. Raises UnknownTool, and what is wrong with an MCP server."""
        return [await self._spec(use.name, context) for use in uses]

    async def invoke(
        self,
        use: ToolUse,
        arguments: Mapping[str, Any],
        *,
        context: ToolContext,
        seconds: float,
    ) -> ToolResult:
        """Calls a tool once. Raises ToolFailed, UnknownTool, ArgumentsRefused."""
        asked = Invocation(arguments=arguments, config=use.config, context=context, seconds=seconds)
        try:
            async with asyncio.timeout(seconds):
                result = await self._called(use.name, asked)
        except TimeoutError as exc:
            raise ToolFailed(
                f"the tool {use.name!r} took longer than {seconds:g} s",
                code="TOOL_TIMEOUT",
                metadata={"tool": use.name, "seconds": f"{seconds:g}"},
            ) from exc
        _refuse_unsuited(use.name, result.value)
        return result

    def lacks(self, use: ToolUse, workflow: Workflow) -> str:
        """What has to be set up before the tool can be called; empty when nothing."""
        if use.name.startswith(_MCP):
            return self._mcp().lacks(use.name, workflow)
        services = {"web_search": use.config.get("provider", ""), "serper_search": "serper"}
        if use.name in services:
            return self._searches.lacks(services[use.name])
        return ""

    def lacks_secret(self, name: str) -> str:
        """Why workflows cannot have a secret; empty when they can."""
        return self._secrets.lacks(name)

    async def end_loop(self, loop: str) -> None:
        """Ends the session of a loop's programs."""
        await self._programs.end_loop(loop)

    async def held_by(self) -> Sequence[str]:
        """The runs that have files."""
        return await asyncio.to_thread(self._workspaces.run_ids)

    async def release(self, run_id: str) -> None:
        """Removes a run's files."""
        await asyncio.to_thread(self._workspaces.remove, run_id)

    async def _spec(self, name: str, context: ToolContext) -> ToolSpec:
        if name.startswith(_MCP):
            return await self._mcp().spec(name, context.workflow)
        return _built_in(name).spec

    async def _called(self, name: str, asked: Invocation) -> ToolResult:
        if name.startswith(_MCP):
            return await self._mcp().call(name, asked)
        tool = _built_in(name)
        check_config(name, tool.config, asked.config)
        check_arguments(name, tool.spec.parameters, asked.arguments)
        settled = Invocation(
            arguments={**asked.arguments, **tool.preset},
            config=asked.config,
            context=asked.context,
            seconds=asked.seconds,
        )
        return await self._handlers[tool.runs](settled)


def _built_in(name: str) -> BuiltIn:
    if name not in CATALOGUE:
        raise UnknownTool(f"there is no tool {name!r}", metadata={"tool": name})
    return CATALOGUE[name]


def _refuse_unsuited(name: str, value: object) -> None:
    try:
        size = len(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as exc:
        raise ToolFailed(
            f"the result of {name!r} is not JSON", code="RESULT_NOT_JSON", metadata={"tool": name}
        ) from exc
    if size > _MAX_RESULT_BYTES:
        raise ToolFailed(
            f"the result of {name!r} has {size} bytes; at most {_MAX_RESULT_BYTES} are taken",
            code="RESULT_TOO_LARGE",
            resolution="Ask for less.",
            metadata={"tool": name, "bytes": str(size)},
        )
