"""memory_search and memory_save: the memory service, in the namespace that the node gives them."""

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.domain.peers import Call, Memory
from cadre_executor.domain.tools import ToolResult

__all__ = ["MemoryTools"]


class MemoryTools:
    """Remembers for workflows. The file says whose memory, and where in it; a model cannot."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def search(self, asked: Invocation) -> ToolResult:
        """The best hits, best first."""
        hits = await self._memory.search(
            asked.context.namespace,
            asked.arguments["query"],
            top_k=asked.arguments.get("top_k", 5),
            call=_call(asked),
            seconds=asked.seconds,
        )
        found = [{"key": hit.key, "value": hit.value, "score": hit.score} for hit in hits]
        return ToolResult(value={"hits": found})

    async def save(self, asked: Invocation) -> ToolResult:
        """Stores a value."""
        key = asked.arguments["key"]
        await self._memory.put(
            asked.context.namespace,
            key,
            asked.arguments["value"],
            ttl_seconds=asked.arguments.get("ttl_seconds", 0.0),
            call=_call(asked),
            seconds=asked.seconds,
        )
        return ToolResult(value={"key": key})


def _call(asked: Invocation) -> Call:
    context = asked.context
    return Call(
        workflow=context.workflow.name,
        version=context.version,
        run_id=context.run_id,
        root_run_id=context.root_run_id,
        node=context.node,
        key=context.key,
    )
