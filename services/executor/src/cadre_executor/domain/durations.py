"""How long the nodes of a run take at most, before it: the limits of what they call, with loops at their bounds."""

import math

from cadre_executor.domain.workflows import (
    AgentAction,
    ApprovalAction,
    CodeAction,
    LlmAction,
    MemoryAction,
    Node,
    ToolAction,
    WorkflowAction,
)

__all__ = ["CODE_SECONDS", "MEMORY_SECONDS", "MODEL_SECONDS", "TOOL_SECONDS", "most_seconds"]

# What one call may take unless its node says otherwise.
MODEL_SECONDS = 120.0
TOOL_SECONDS = 60.0
CODE_SECONDS = 30.0
MEMORY_SECONDS = 30.0


def most_seconds(
    node: Node, *, visits: int, items: int, within: float | None = None
) -> float | None:
    """How long all visits of a node take at most, pauses between tries left out; None when only the run's time limit
    bounds them. `within` is how long one try of a model node, or the run of another workflow, takes."""
    one = _try_seconds(node, within)
    if node.timeout_seconds is not None:
        one = node.timeout_seconds if one is None else min(one, node.timeout_seconds)
    side_by_side = 1 if node.for_each is None else node.for_each.max_concurrency
    rounds = visits * math.ceil(items / side_by_side) * node.retry.max_attempts
    return None if one is None else one * rounds


def _try_seconds(node: Node, within: float | None) -> float | None:
    match node.action:
        case ApprovalAction():
            # What people take is left out.
            return 0.0
        case CodeAction() as action:
            return action.limits.timeout_seconds or CODE_SECONDS
        case ToolAction():
            return TOOL_SECONDS
        case MemoryAction():
            return MEMORY_SECONDS
        case LlmAction() | WorkflowAction():
            return within
        case AgentAction():
            return None
