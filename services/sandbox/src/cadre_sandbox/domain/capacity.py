"""How many programs run at once, and who is next: in turn among the groups that wait, so that none starves another."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cadre_sandbox.domain.executions import SandboxBusy

__all__ = ["Capacity"]


class Capacity:
    """Places for `running` programs, and for `waiting` more in a queue."""

    def __init__(self, *, running: int, waiting: int) -> None:
        self._free = running
        self._running = running
        self._waiting = waiting
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def queued(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self._queues.values())

    @asynccontextmanager
    async def place(self, group: str) -> AsyncIterator[None]:
        """Waits for a place. Raises SandboxBusy when the queue is full."""
        await self._take(group)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, group: str) -> None:
        if self._free:
            self._free -= 1
            return
        if self.queued >= self._waiting:
            raise SandboxBusy(
                f"{self._running} programs run and {self._waiting} wait",
                resolution="Try again later, or raise CADRE_SANDBOX_CONCURRENCY or CADRE_SANDBOX_QUEUE.",
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(group, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._leave(group, turn)
            raise

    def _leave(self, group: str, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            # The place came in the moment in which nobody wanted it any more.
            self._give_back()
            return
        queue = self._queues.get(group)
        if queue and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[group]

    def _give_back(self) -> None:
        while self._queues:
            group, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                # Behind the groups that have not had a turn yet.
                self._queues[group] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
