"""The tools that nodes can call: what each is, and the port behind which they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cadre_executor.domain.workflows import ToolUse, Workflow
from cadre_kit.errors import CadreError, NotFound

__all__ = ["ToolContext", "ToolFailed", "ToolResult", "ToolSpec", "Tools", "UnknownTool"]


class ToolFailed(CadreError):
    """A tool could not do what it was asked; the message is fit for a model to read."""

    code = "TOOL_FAILED"


class UnknownTool(NotFound):
    """No tool has the name, or its server has none of it."""

    code = "UNKNOWN_TOOL"


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """What a model, or a reader of a file, needs to know of a tool. `parameters` is a JSON Schema of an object.

    `repeatable`: a second call with the same arguments does no harm, as when nobody knows how the first one ended.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    repeatable: bool = False


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """For whom a tool is called. `key` is the step's idempotency key; files are the run's own; `loop` names the talk of
    a model with its tools that the call is part of, and is empty without one; `namespace` is where a tool remembers."""

    workflow: Workflow
    version: int
    run_id: str
    root_run_id: str
    node: str
    key: str
    loop: str = ""
    namespace: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What a tool gave, as JSON; `files` are those that it left in the run's workspace."""

    value: Any
    files: tuple[str, ...] = field(default_factory=tuple)


class Tools(Protocol):
    """Every tool, wherever it runs."""

    async def specs(self, uses: Sequence[ToolUse], *, context: ToolContext) -> Sequence[ToolSpec]:
        """What the tools are, in order; those of MCP servers are asked for. Raises UnknownTool and what is wrong with a
        server."""

    async def invoke(
        self,
        use: ToolUse,
        arguments: Mapping[str, Any],
        *,
        context: ToolContext,
        seconds: float,
    ) -> ToolResult:
        """Calls a tool once, with arguments that are checked against its parameters first. Cancelling stops it. Raises
        ToolFailed, UnknownTool, InvalidInput for the arguments, and what a service answered."""

    def lacks(self, use: ToolUse, workflow: Workflow) -> str:
        """What has to be set up before the tool can be called, and how; empty when nothing. Asks nobody."""

    def lacks_secret(self, name: str) -> str:
        """Why workflows cannot have the secret of that name; empty when they can."""

    async def end_loop(self, loop: str) -> None:
        """Gives back what is kept from one call of a loop to the next. Raises nothing: it ends by itself in time."""

    async def held_by(self) -> Sequence[str]:
        """The runs for which something is kept: their files."""

    async def release(self, run_id: str) -> None:
        """Frees what is kept for a run; nothing when nothing is."""
