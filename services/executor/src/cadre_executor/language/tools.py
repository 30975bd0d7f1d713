"""Compiles the tools that nodes call, and checks that they are there and called with what they take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cadre_executor.domain.catalogue import CATALOGUE, FIRST_GENERATION
from cadre_executor.domain.workflows import McpServer, OnError, Template, ToolUse
from cadre_executor.language.arguments import ValueChecker
from cadre_executor.language.node_shapes import ToolShape
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.templates import literal
from cadre_executor.language.types import Type

_MCP = "mcp:"


_SECRET_NAMES = ("url_env", "headers_env")
"""Keys of a tool's config that name secrets."""


@dataclass(frozen=True, kw_only=True)
class ToolCompiler:
    """Compiles the uses of tools of one file; `secrets` are those that it lists."""

    servers: Mapping[str, McpServer]
    secrets: Sequence[str]
    report: Report

    def uses(self, shapes: list[str | ToolShape], path: Path) -> tuple[ToolUse, ...]:
        """What a model may call, each once."""
        found: dict[str, ToolUse] = {}
        for index, shape in enumerate(shapes):
            use = self.use(shape, (*path, index))
            if use.name in found:
                self.report.error(
                    "DUPLICATE_NAME",
                    (*path, index),
                    f"the tool {shown(use.name)} is there twice",
                    "keep one of them",
                )
            found.setdefault(use.name, use)
        return tuple(found.values())

    def use(self, shape: str | ToolShape, path: Path) -> ToolUse:
        """One tool, and how it is used."""
        if isinstance(shape, str):
            self._check_name(shape.strip(), path)
            return ToolUse(name=shape.strip())
        name = shape.name.strip()
        self._check_name(name, (*path, "name"))
        self._check_config(name, shape.config or {}, (*path, "config"))
        return ToolUse(
            name=name,
            on_error=OnError(shape.on_error or "fail"),
            config=dict(shape.config or {}),
        )

    def _check_name(self, name: str, path: Path) -> None:
        if name.startswith(_MCP):
            self._check_mcp(name.removeprefix(_MCP), path)
        elif name not in CATALOGUE:
            own = [known for known in CATALOGUE if known not in FIRST_GENERATION]
            self.report.error(
                "UNKNOWN_TOOL",
                path,
                f"there is no tool {shown(name)}",
                self.report.did_you_mean(name, CATALOGUE, f"built in: {', '.join(own)}"),
            )

    def _check_config(self, name: str, config: Mapping[str, Any], path: Path) -> None:
        tool = CATALOGUE.get(name)
        if tool is None:
            return
        checker = ValueChecker(report=self.report, code="INVALID_CONFIG", what=f"config of {name}")
        checker.whole(config, tool.config, path)
        for key in _SECRET_NAMES:
            for secret in _names(config.get(key)):
                self._check_secret(secret, (*path, key))

    def check_arguments(
        self, use: ToolUse, arguments: Mapping[str, tuple[Template, Type]], path: Path
    ) -> None:
        """Holds the arguments of a tool node against the tool's schema, as far as they are known before a run."""
        tool = CATALOGUE.get(use.name)
        if tool is None:
            return
        checker = ValueChecker(
            report=self.report, code="INVALID_ARGUMENT", what=f"argument of {use.name}"
        )
        checker.members(arguments, tool.spec.parameters, path)
        if use.name == "env_vars" and "names" in arguments:
            known = literal(arguments["names"][0])
            for secret in _names(known.value if known else None):
                self._check_secret(secret, (*path, "names"))

    def _check_secret(self, name: str, path: Path) -> None:
        if name not in self.secrets:
            self.report.error(
                "UNDECLARED_SECRET",
                path,
                f"{shown(name)} is not listed under config.secrets",
                self.report.did_you_mean(
                    name, self.secrets, f"add config: {{secrets: [{name[:80]}]}}"
                ),
            )

    def _check_mcp(self, written: str, path: Path) -> None:
        server_name, slash, tool = written.partition("/")
        server = self.servers.get(server_name)
        if not slash or not server_name or not tool.strip():
            self.report.error(
                "UNKNOWN_TOOL",
                path,
                f"{shown(_MCP + written)} names no tool of a server",
                "write mcp:<server>/<tool>",
            )
        elif server is None:
            self.report.error(
                "UNKNOWN_MCP_SERVER",
                path,
                f"there is no MCP server {shown(server_name)}",
                self.report.did_you_mean(
                    server_name,
                    self.servers,
                    f"add config: {{mcp_servers: {{{server_name[:40]}: {{url: ...}}}}}}",
                ),
            )
        elif server.tools and tool not in server.tools:
            self.report.error(
                "UNKNOWN_TOOL",
                path,
                f"the file does not let {shown(tool)} of the server {shown(server_name)} be used",
                self.report.did_you_mean(tool, server.tools),
            )


def _names(written: object) -> Iterator[str]:
    """The names of secrets in one, a list, or the values of a mapping."""
    match written:
        case str():
            yield written
        case list():
            yield from (name for name in written if isinstance(name, str))
        case Mapping():
            yield from (name for name in written.values() if isinstance(name, str))
