"""Many watchers of one run, some of them slow."""

import asyncio
import time
from collections.abc import AsyncIterator

from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor, names, reached
from tests.service.executor.test_runs import ASK, LOOP

from cadre.executor.v1 import runs_pb2

WATCHERS = 500
SLOW = 100


async def rest(watching: AsyncIterator[runs_pb2.Event]) -> list[runs_pb2.Event]:
    return [event async for event in watching]


async def test_five_hundred_watchers_see_every_event_once_and_slow_ones_hold_up_nobody(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    run = await executor.start(ASK, message="x")
    await reached(lambda: near.llm_proxy.was_asked(1))
    slow = [executor.watch(run.id) for _ in range(SLOW)]
    first = await asyncio.gather(*(anext(watching) for watching in slow))
    quick = asyncio.gather(*(executor.events(run.id) for _ in range(WATCHERS - SLOW)))
    other_began = time.monotonic()
    await executor.finish(LOOP)
    other_took = time.monotonic() - other_began

    near.llm_proxy.gate.set()
    seen = await quick
    late = [[event, *await rest(watching)] for event, watching in zip(first, slow, strict=True)]

    # Watchers that do not read would hold it up for good.
    assert other_took < 20
    for events in (*seen, *late):
        assert [e.sequence for e in events] == list(range(1, 6))
        assert names(events)[-1] == "run_succeeded"
