"""Compiles the tools that nodes call, and checks that they are there and called with what they take."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cadre_executor.domain.workflows import McpServer, OnError, ToolUse
from cadre_executor.language.node_shapes import ToolShape
from cadre_executor.language.reports import Path, Report, shown

BUILT_IN = (
    "web_search",
    "serper_search",
    "web_scrape",
    "http_client",
    "file_read",
    "file_write",
    "file_glob",
    "file_move",
    "sql_query",
    "dataframe_to_csv",
    "json_parse",
    "yaml_parse",
    "shell",
    "process",
    "env_vars",
    "python",
    "memory_search",
    "memory_save",
)
OTHER_NAMES = {
    "read_file": "file_read",
    "write_file": "file_write",
    "list_directory": "file_glob",
    "json_read": "file_read",
    "json_write": "file_write",
    "http_get": "http_client",
    "http_post": "http_client",
    "python_repl": "python",
}
"""What the first generation's manual called them; the tools know both."""

_MCP = "mcp:"


@dataclass(frozen=True, kw_only=True)
class ToolCompiler:
    """Compiles the uses of tools of one file."""

    servers: Mapping[str, McpServer] = field(default_factory=dict)
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
        self._check_name(shape.name.strip(), (*path, "name"))
        return ToolUse(
            name=shape.name.strip(),
            on_error=OnError(shape.on_error or "fail"),
            config=dict(shape.config or {}),
        )

    def _check_name(self, name: str, path: Path) -> None:
        if name.startswith(_MCP):
            self._check_mcp(name.removeprefix(_MCP), path)
        elif name not in BUILT_IN and name not in OTHER_NAMES:
            self.report.error(
                "UNKNOWN_TOOL",
                path,
                f"there is no tool {shown(name)}",
                self.report.did_you_mean(
                    name, (*BUILT_IN, *OTHER_NAMES), f"built in: {', '.join(BUILT_IN)}"
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
