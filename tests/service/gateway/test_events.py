"""Event streams: resumable, kept alive, closed with their callers, unharmed by an executor that restarts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from tests.fakes.gateway import served

from cadre.executor.v1 import runs_pb2
from cadre_client import Client
from cadre_kit.errors import DataLost

FILE = {"source": "flow: {name: triage}"}
STARTED = runs_pb2.EVENT_TYPE_NODE_STARTED
SUCCEEDED = runs_pb2.EVENT_TYPE_RUN_SUCCEEDED


@pytest.fixture
async def run_id(http: httpx.AsyncClient) -> str:
    answer = await http.post("/api/v1/runs", json=FILE)
    return str(answer.json()["id"])


async def sequences(lines: AsyncIterator[str]) -> AsyncIterator[int]:
    async for line in lines:
        if line.startswith("id: "):
            yield int(line.removeprefix("id: "))


async def test_a_stream_sends_what_was_and_what_comes_then_ends(
    running: Any, http: httpx.AsyncClient, run_id: str
) -> None:
    async with http.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
        lines = answer.aiter_lines()
        first = [await anext(lines) for _ in range(5)]
        await running.executor.happen(run_id, SUCCEEDED, usage={"calls": 1})
        rest = [line async for line in lines]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert first[:4] == [": keep-alive", "", "id: 1", "event: run_queued"]
    event = json.loads(rest[-2].removeprefix("data: "))
    assert (event["sequence"], event["type"], event["error"]) == (2, "run_succeeded", None)
    assert event["usage"]["cost_usd"] is None
    assert event["time"].endswith("Z")


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_stream_goes_on_after_the_event_that_was_seen(
    running: Any, http: httpx.AsyncClient, run_id: str, how: str
) -> None:
    for _ in range(3):
        await running.executor.happen(run_id, STARTED)
    await running.executor.happen(run_id, SUCCEEDED)
    seen = {"headers": {"Last-Event-ID": "3"}} if how == "header" else {"params": {"after": "3"}}

    answer = await http.get(f"/api/v1/runs/{run_id}/events", **seen)  # type: ignore[arg-type]  # either is one of get's

    assert [line for line in answer.text.splitlines() if line.startswith("id:")] == [
        "id: 4",
        "id: 5",
    ]


async def test_a_stream_of_an_ended_run_without_news_ends_at_once(
    running: Any, http: httpx.AsyncClient, run_id: str
) -> None:
    await running.executor.happen(run_id, SUCCEEDED)

    answer = await http.get(f"/api/v1/runs/{run_id}/events?after=2")

    assert answer.text.replace(": keep-alive", "").strip() == ""


async def test_a_silent_stream_is_kept_alive(start: Callable[..., Any]) -> None:
    async with start(gateway_heartbeat_seconds=0.05) as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers) as http:
            run_id = (await http.post("/api/v1/runs", json=FILE)).json()["id"]
            async with http.stream("GET", f"/api/v1/runs/{run_id}/events?after=1") as answer:
                beats = 0
                async for line in answer.aiter_lines():
                    beats += line == ": keep-alive"
                    if beats == 3:
                        break


async def test_a_caller_who_leaves_ends_the_watching(
    running: Any, http: httpx.AsyncClient, run_id: str, eventually: Any
) -> None:
    async with http.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
        assert await anext(sequences(answer.aiter_lines())) == 1
        assert running.executor.watching == 1

    await eventually(lambda: running.executor.watching == 0)


async def test_an_executor_that_restarts_costs_no_event(
    running: Any, http: httpx.AsyncClient, run_id: str
) -> None:
    async with http.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
        seen = sequences(answer.aiter_lines())
        assert await anext(seen) == 1
        await running.executor_stack.aclose()
        await running.executor.happen(run_id, STARTED)
        async with served(running.executor, port=running.executor_port):
            assert await anext(seen) == 2
            await running.executor.happen(run_id, SUCCEEDED)
            assert [number async for number in seen] == [3]


async def test_an_executor_that_stays_away_ends_the_stream_with_a_problem(
    start: Callable[..., Any],
) -> None:
    async with start(gateway_reconnect_seconds=0) as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=15) as http:
            run_id = (await http.post("/api/v1/runs", json=FILE)).json()["id"]
            async with http.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
                lines = answer.aiter_lines()
                assert await anext(sequences(lines)) == 1
                await running.executor_stack.aclose()
                rest = [line async for line in lines]

    assert "event: problem" in rest
    problem = json.loads(rest[-2].removeprefix("data: "))
    assert (problem["status"], problem["code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_an_error_that_will_not_pass_ends_the_stream_with_it(
    running: Any, http: httpx.AsyncClient, run_id: str
) -> None:
    async with http.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
        lines = answer.aiter_lines()
        assert await anext(sequences(lines)) == 1
        running.executor.failure = DataLost("the events are damaged", code="EVENTS_DAMAGED")
        await running.executor.happen(run_id, STARTED)
        text = "\n".join([line async for line in lines])

    assert '"code":"EVENTS_DAMAGED"' in text


async def test_a_stopping_gateway_ends_its_streams_and_the_client_goes_on_elsewhere(
    start: Callable[..., Any], eventually: Any
) -> None:
    async with start() as running:
        with Client(running.url, running.key) as client:
            run = await asyncio.to_thread(client.start_run, source=FILE["source"])
            watching = asyncio.create_task(
                asyncio.to_thread(lambda: [event.sequence for event in client.watch(run.id)])
            )
            await eventually(lambda: running.executor.watching == 1)
            running.stopping.set()
            await eventually(lambda: running.executor.watching == 0)
            running.stopping.clear()
            await running.executor.happen(run.id, SUCCEEDED)
            assert await watching == [1, 2]


@pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "9" * 30, "٣"])
async def test_a_last_event_id_that_is_no_number_is_refused(
    http: httpx.AsyncClient, run_id: str, wrong: str
) -> None:
    headers = {"Last-Event-ID": wrong.encode()}

    answer = await http.get(f"/api/v1/runs/{run_id}/events", headers=headers)  # type: ignore[arg-type]  # httpx takes bytes

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


async def test_a_run_that_is_not_there_is_refused_with_its_status(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/v1/runs/01NONE/events")

    assert (answer.status_code, answer.json()["code"]) == (404, "RUN_NOT_FOUND")
