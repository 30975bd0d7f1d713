"""Recent answers by idempotency key, so that a repeated call does not run its program twice."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cadre_kit.errors import Conflict
from cadre_sandbox.domain.executions import Execution

__all__ = ["Answers", "KeyReused"]


class KeyReused(Conflict):
    """The idempotency key came before with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"


@dataclass(kw_only=True)
class _Answer:
    request: bytes
    task: asyncio.Task[Execution]
    waiting: int = 0


class Answers:
    """Holds answers for `seconds`, `count` and `characters` of them at most; the oldest go first."""

    def __init__(
        self,
        *,
        seconds: float,
        count: int,
        characters: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._count = count
        self._characters = characters
        self._clock = clock
        self._kept: OrderedDict[str, tuple[_Answer, float, int]] = OrderedDict()
        self._under_way: dict[str, _Answer] = {}
        self._size = 0

    async def once(
        self, key: str, request: bytes, run: Callable[[], Awaitable[Execution]]
    ) -> Execution:
        """The answer that `key` had, or is getting, or else `run`'s. `request` tells requests apart.

        Raises KeyReused. What `run` raises is not kept. `run` is cancelled when nobody waits for it any more.
        """
        if not key:
            return await run()
        answer = self._found(key)
        if answer is None:
            answer = _Answer(request=request, task=asyncio.ensure_future(_awaited(run)))
            self._under_way[key] = answer
            answer.task.add_done_callback(lambda _: self._settle(key, answer))
        elif answer.request != request:
            raise KeyReused(
                f"the idempotency key {key!r} came before with another request",
                resolution="Use a new key for a new request.",
                metadata={"key": key},
            )
        return await self._wait(answer)

    async def _wait(self, answer: _Answer) -> Execution:
        answer.waiting += 1
        try:
            return await asyncio.shield(answer.task)
        finally:
            answer.waiting -= 1
            if not answer.waiting and not answer.task.done():
                answer.task.cancel()

    def _found(self, key: str) -> _Answer | None:
        self._forget_old()
        kept = self._kept.get(key)
        answer = kept[0] if kept else self._under_way.get(key)
        # One that is being cancelled is no answer to a new caller.
        return None if answer is not None and answer.task.cancelling() else answer

    def _settle(self, key: str, answer: _Answer) -> None:
        if self._under_way.get(key) is answer:
            del self._under_way[key]
        if answer.task.cancelled() or answer.task.exception() is not None:
            return
        execution = answer.task.result()
        size = len(execution.stdout) + len(execution.stderr) + len(execution.result or "")
        size += sum(len(file.content) for file in execution.files)
        self._kept[key] = (answer, self._clock() + self._seconds, size)
        self._size += size
        self._forget_old()

    def _forget_old(self) -> None:
        now = self._clock()
        while self._kept:
            key, (_, until, size) = next(iter(self._kept.items()))
            if until > now and len(self._kept) <= self._count and self._size <= self._characters:
                return
            del self._kept[key]
            self._size -= size


async def _awaited(run: Callable[[], Awaitable[Execution]]) -> Execution:
    return await run()
