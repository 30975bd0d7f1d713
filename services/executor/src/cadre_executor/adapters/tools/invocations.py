"""What a tool is called with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cadre_executor.domain.tools import ToolContext, ToolResult

__all__ = ["Handler", "Invocation"]


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One call of a tool. Arguments and config fit the catalogue's schemas."""

    arguments: Mapping[str, Any]
    context: ToolContext
    config: Mapping[str, Any] = field(default_factory=dict)
    seconds: float


Handler: TypeAlias = Callable[[Invocation], Awaitable[ToolResult]]
