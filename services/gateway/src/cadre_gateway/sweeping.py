"""Forgets, in the background, what was kept long enough."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from cadre_kit.errors import CadreError
from cadre_kit.logs import logger

__all__ = ["Sweep", "sweeping"]

log = logger()

Sweep = Callable[[], Awaitable[int]]
"""Forgets what is old; how much that was."""

_PAUSE_SECONDS = 60.0


@asynccontextmanager
async def sweeping(sweeps: Mapping[str, Sweep]) -> AsyncIterator[None]:
    """Does each, by the name of what it forgets, at once and once a minute, until the block is left."""
    task = asyncio.create_task(_sweep(sweeps))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep(sweeps: Mapping[str, Sweep]) -> None:
    while True:
        for what, sweep in sweeps.items():
            try:
                forgotten = await sweep()
                if forgotten:
                    log.info("swept", what=what, forgotten=forgotten)
            except CadreError as error:
                log.warning("not_swept", what=what, code=error.code, reason=error.message)
        await asyncio.sleep(_PAUSE_SECONDS)
