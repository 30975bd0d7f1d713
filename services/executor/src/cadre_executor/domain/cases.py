"""The tests that a workflow's file carries: runs with written replies, and what must hold at their end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cadre_executor.domain.workflows import Condition

__all__ = ["Case"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run on `inputs` in which each node's calls are answered by its `replies`, in order, the last one again and
    again. It passes when all of `expect` hold over the state at its end."""

    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    replies: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    expect: tuple[Condition, ...] = ()
