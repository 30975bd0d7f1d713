"""Batches through the real HTTP API, as the client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cadre_client import ApiError, Client, RunStatus


@pytest.fixture
def client(running: Any) -> Iterator[Client]:
    with Client(running.url, running.key, timeout_seconds=10) as opened:
        yield opened


async def of(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(call, *args, **kwargs)


async def test_a_batch_is_made_listed_and_advanced_row_by_row(client: Client) -> None:
    rows = [({"message": "a"}, 2), ({"message": "b"}, 3)]
    made = await of(client.create_batch, rows, workflow="triage", max_concurrent=4)

    half = await of(client.advance_batch, made.id, 1)
    first, second = await of(lambda: list(client.batch_rows(made.id)))
    whole = await of(client.advance_batch, made.id, 1)

    assert (made.status, made.max_concurrent, made.driven_time) == (RunStatus.QUEUED, 4, None)
    assert (half.status, half.rows.succeeded, half.rows.pending) == (RunStatus.RUNNING, 1, 1)
    assert (first.line, first.run.batch_id, first.run.batch_row) == (2, made.id, 1)
    assert (second.line, second.run) == (3, None)
    assert (whole.status, (await of(client.batch, made.id)).rows.succeeded) == ("succeeded", 2)


async def test_batches_and_their_rows_come_in_pages(client: Client) -> None:
    rows = [({"message": str(number)}, number) for number in range(1, 701)]
    made = [await of(client.create_batch, rows, source=f"name: {name}\n") for name in "abc"]

    found = await of(client.batches, 2)
    lines = await of(lambda: [row.line for row in client.batch_rows(made[0].id)])

    assert [one.id for one in found] == [made[2].id, made[1].id]
    assert lines == list(range(1, 701))


async def test_wrong_rows_are_told_by_their_lines(client: Client) -> None:
    rows = [({"message": "a"}, 2), ({"unknown": 1}, 3)]
    with pytest.raises(ApiError) as refused:
        await of(client.create_batch, rows, workflow="triage")

    assert refused.value.code == "BATCH_ROWS_REFUSED"
    assert [(one.code, one.line) for one in refused.value.problems] == [("UNKNOWN_INPUT", 3)]
    assert await of(client.batches) == []


async def test_a_flow_run_that_was_replaced_is_told_and_a_batch_is_cancelled(
    client: Client,
) -> None:
    made = await of(client.create_batch, [({}, 1)], workflow="triage")
    with pytest.raises(ApiError) as replaced:
        await of(client.advance_batch, made.id, 2)
    with pytest.raises(ApiError) as missing:
        await of(client.cancel_batch, "nothing")
    cancelled = await of(client.cancel_batch, made.id)

    assert (replaced.value.status, replaced.value.code) == (409, "BATCH_TAKEN_OVER")
    assert (missing.value.status, missing.value.code) == (404, "BATCH_NOT_FOUND")
    assert cancelled.status is RunStatus.CANCELLED
