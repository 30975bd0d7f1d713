"""Heartbeats between items, and generators that are closed when they are left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from starlette.types import Message

from cadre_gateway.entrypoint.streams import sse, until_disconnected, with_heartbeats


async def test_silence_is_filled_with_heartbeats_and_no_item_is_lost() -> None:
    released = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 1
        await released.wait()
        yield 2

    seen: list[int | None] = []
    async for item in with_heartbeats(items(), 0.01):
        seen.append(item)
        if seen.count(None) == 3:
            released.set()

    assert seen[0] == 1
    assert seen[-1] == 2
    assert seen.count(None) >= 3


async def test_leaving_between_heartbeats_closes_the_items() -> None:
    closed = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            closed.set()

    async with aclosing(with_heartbeats(items(), 0.01)) as beats:
        assert await anext(beats) is None

    assert closed.is_set()


async def test_an_items_error_comes_through() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async for _ in with_heartbeats(items(), 1):
            pass


async def test_work_is_cancelled_when_its_caller_leaves() -> None:
    work: asyncio.Task[int] = asyncio.create_task(asyncio.sleep(30, 1))

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    assert await until_disconnected(receive, work) is None
    assert work.cancelled()


async def test_work_whose_caller_stays_is_answered() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    assert await until_disconnected(receive, asyncio.create_task(asyncio.sleep(0, 7))) == 7


def test_an_event_names_what_it_has() -> None:
    assert sse("{}", event="e", event_id="3") == b"id: 3\nevent: e\ndata: {}\n\n"
    assert sse("[DONE]") == b"data: [DONE]\n\n"
