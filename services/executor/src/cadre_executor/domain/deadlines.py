"""A time limit that may turn out to be later than was known when it was set."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from cadre_kit.errors import CadreError

__all__ = ["within"]

# A limit that was moved is looked at no more often than this.
_LOOK_SECONDS = 1.0


@asynccontextmanager
async def within(seconds: float, *, left: Callable[[], Awaitable[float]]) -> AsyncIterator[None]:
    """Ends the block with TimeoutError after `seconds`, or later: once `left`, in seconds, says that none is left."""
    loop, looking = asyncio.get_running_loop(), list[asyncio.Task[None]]()
    timer: asyncio.TimerHandle

    def look_in(delay: float) -> asyncio.TimerHandle:
        return loop.call_later(max(0.0, delay), lambda: looking.append(loop.create_task(look())))

    async def look() -> None:
        nonlocal timer
        more = await _known(left)
        looking.clear()
        if more <= 0:
            clock.reschedule(loop.time())
        else:
            timer = look_in(max(more, _LOOK_SECONDS))

    timer = look_in(seconds)
    try:
        async with asyncio.timeout(None) as clock:
            yield
    finally:
        timer.cancel()
        for task in looking:
            task.cancel()


async def _known(left: Callable[[], Awaitable[float]]) -> float:
    try:
        return await left()
    except CadreError:
        # A store that fails ends no run.
        return _LOOK_SECONDS
