"""Compiles what holds for a whole workflow: its bounds, its budget, its MCP servers, its secrets."""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from cadre_executor.domain.workflows import (
    Budget,
    Limits,
    LlmAction,
    McpServer,
    MemoryAction,
    MemoryVerb,
    Node,
    OnExceed,
)
from cadre_executor.language.file_shapes import (
    BudgetShape,
    ConfigShape,
    ExecutionShape,
    McpServerShape,
)
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown

_SERVER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


def compile_limits(shape: ExecutionShape | None) -> Limits:
    """The bounds of a run."""
    default = Limits()
    if shape is None:
        return default
    given: dict[str, Any] = {
        "timeout_seconds": shape.timeout,
        "max_concurrency": shape.max_concurrency,
        "max_steps": shape.max_steps,
        "max_concurrent_runs": shape.max_concurrent_runs,
    }
    return replace(default, **{name: value for name, value in given.items() if value is not None})


def compile_budget(shape: BudgetShape | None, report: Report) -> Budget:
    """What a run may spend."""
    if shape is None:
        return Budget()
    if shape.usd is None and shape.tokens is None:
        report.error(
            "MISSING_FIELD",
            ("config", "budget"),
            "a budget needs `usd`, `tokens` or both",
            "add usd: 0.50",
        )
    return Budget(usd=shape.usd, tokens=shape.tokens, on_exceed=OnExceed(shape.on_exceed or "fail"))


def note_unlearned(config: ConfigShape, nodes: Collection[Node], report: Report) -> None:
    """Points out what the file says of conversations when no node has one."""
    if config.memory is None or any(map(_converses, nodes)):
        return
    for key in ("learn", "summary_tokens"):
        if getattr(config.memory, key):
            report.note(
                "NO_EFFECT",
                ("config", "memory", key),
                f"`{key}` has no effect: no node keeps a conversation",
                "give a node a prompt, or append to a conversation",
                at_key=True,
            )


def _converses(node: Node) -> bool:
    match node.action:
        case LlmAction(recall=recall):
            return recall is not None
        case MemoryAction(verb=MemoryVerb.APPEND, key=None):
            return True
    return False


def compile_servers(config: ConfigShape, report: Report) -> dict[str, McpServer]:
    """The MCP servers, by name."""
    return {
        name: _server(name, shape, ("config", "mcp_servers", name), report)
        for name, shape in (config.mcp_servers or {}).items()
    }


def _server(name: str, shape: McpServerShape, path: Path, report: Report) -> McpServer:
    if not _SERVER.fullmatch(name):
        report.error(
            "INVALID_NAME",
            path,
            f"{shown(name)} cannot name an MCP server",
            "use letters, digits, _ and -",
            at_key=True,
        )
    if shape.headers_env and not shape.url:
        report.note(
            "NO_EFFECT",
            (*path, "headers_env"),
            "`headers_env` has no effect without `url`",
            "the operator configures the headers of a server that the file only names",
            at_key=True,
        )
    return McpServer(
        name=name,
        url=shape.url or "",
        headers_env=dict(shape.headers_env or {}),
        tools=tuple(shape.tools or ()),
    )


def compile_secrets(config: ConfigShape, report: Report) -> tuple[str, ...]:
    """The environment variables that tools may see."""
    for index, name in enumerate(config.secrets or ()):
        if not _VARIABLE.fullmatch(name):
            report.error(
                "INVALID_NAME",
                ("config", "secrets", index),
                "a secret is the name of an environment variable, never its value",
                "use letters, digits and _, such as WEATHER_TOKEN",
            )
    return tuple(dict.fromkeys(config.secrets or ()))
