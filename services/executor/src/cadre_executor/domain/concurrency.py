"""Work done side by side, a bounded number of pieces at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["side_by_side"]

Result = TypeVar("Result")


async def side_by_side(
    jobs: Sequence[Callable[[], Awaitable[Result]]], *, limit: int
) -> list[Result]:
    """The results in the order of the jobs, `limit` of them under way at once. The first that raises ends the others,
    and is raised."""
    results: dict[int, Result] = {}
    places = iter(range(len(jobs)))

    async def work() -> None:
        for place in places:
            results[place] = await jobs[place]()

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(limit, len(jobs))):
                tasks.create_task(work())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return [results[place] for place in range(len(jobs))]
