"""No tools at all."""

from collections.abc import Mapping, Sequence
from typing import Any

from cadre_executor.domain.tools import ToolContext, ToolResult, ToolSpec, UnknownTool
from cadre_executor.domain.workflows import ToolUse

__all__ = ["NoTools"]


class NoTools:
    """Knows no tool."""

    async def specs(self, uses: Sequence[ToolUse], *, context: ToolContext) -> Sequence[ToolSpec]:
        """Raises UnknownTool for any tool."""
        for use in uses:
            raise UnknownTool(f"no tool {use.name!r}")
        return []

    async def invoke(
        self,
        use: ToolUse,
        arguments: Mapping[str, Any],
        *,
        context: ToolContext,
        seconds: float,
    ) -> ToolResult:
        """Raises UnknownTool."""
        raise UnknownTool(f"no tool {use.name!r}")

    async def release(self, run_id: str) -> None:
        """Nothing is held."""
