"""Requests with an idempotency key, on the routes that answer for it themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cadre.executor.v1 import runs_pb2
from cadre_kit.errors import FailedPrecondition

SOURCE = {"source": "flow: x\n"}
KEY = {"Idempotency-Key": "k-1"}


async def failed_run(running: Any, http: httpx.AsyncClient) -> str:
    run_id: str = (await http.post("/api/v1/runs", json=SOURCE)).json()["id"]
    await running.executor.happen(run_id, runs_pb2.EVENT_TYPE_RUN_FAILED)
    return run_id


async def test_a_repeated_request_gets_the_first_answer(
    running: Any, http: httpx.AsyncClient
) -> None:
    first = await http.post("/api/v1/workflows", json=SOURCE, headers=KEY)
    await http.delete(f"/api/v1/workflows/{first.json()['workflow']['name']}")

    again = await http.post("/api/v1/workflows", json=SOURCE, headers=KEY)

    assert first.status_code == again.status_code == 200
    assert first.json()["created"] is True
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert running.executor.workflows == {}


async def test_another_request_with_the_same_key_is_refused(http: httpx.AsyncClient) -> None:
    await http.post("/api/v1/workflows", json=SOURCE, headers=KEY)

    other = await http.post("/api/v1/workflows", json={"source": "flow: y\n"}, headers=KEY)
    elsewhere = await http.post("/api/v1/schedules", json=SOURCE, headers=KEY)

    for answer in (other, elsewhere):
        assert (answer.status_code, answer.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")


async def test_of_requests_at_once_one_is_done_and_all_get_its_answer(
    http: httpx.AsyncClient,
) -> None:
    answers = await asyncio.gather(
        *(http.post("/api/v1/workflows", json=SOURCE, headers=KEY) for _ in range(8))
    )

    # Whoever applies what is there creates nothing.
    assert {answer.json()["created"] for answer in answers} == {True}


async def test_a_run_is_resumed_once(running: Any, http: httpx.AsyncClient) -> None:
    run_id = await failed_run(running, http)
    path = f"/api/v1/runs/{run_id}/resume"

    answers = [await http.post(path, headers=KEY) for _ in range(2)]
    without = await http.post(path)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert without.status_code == 400


async def test_what_was_refused_may_be_tried_again(running: Any, http: httpx.AsyncClient) -> None:
    running.executor.failure = FailedPrecondition("not now")
    refused = await http.post("/api/v1/workflows", json=SOURCE, headers=KEY)
    malformed = await http.post("/api/v1/workflows", json={"sauce": 1}, headers=KEY)
    running.executor.failure = None

    done = await http.post("/api/v1/workflows", json=SOURCE, headers=KEY)

    assert [refused.status_code, malformed.status_code, done.status_code] == [400, 400, 200]


async def test_keys_of_different_callers_are_different(
    http: httpx.AsyncClient,
) -> None:
    made = await http.post("/api/v1/keys", json={"name": "ann", "scope": "write"})
    own = {**KEY, "Authorization": f"Bearer {made.json()['secret']}"}

    answers = [
        await http.post("/api/v1/workflows", json=SOURCE, headers=headers) for headers in (KEY, own)
    ]

    assert [answer.json()["created"] for answer in answers] == [True, False]


async def test_the_runs_of_different_callers_are_different(http: httpx.AsyncClient) -> None:
    made = await http.post("/api/v1/keys", json={"name": "ann", "scope": "run"})
    own = {**KEY, "Authorization": f"Bearer {made.json()['secret']}"}

    runs = [
        (await http.post("/api/v1/runs", json=SOURCE, headers=headers)).json()["id"]
        for headers in (KEY, own, KEY, own)
    ]

    assert runs[:2] == runs[2:]
    assert runs[0] != runs[1]


@pytest.mark.parametrize("key", ["x" * 256, "tab\there"])
async def test_a_key_that_cannot_be_is_refused(http: httpx.AsyncClient, key: str) -> None:
    headers = {"Idempotency-Key": key}

    answer = await http.post("/api/v1/workflows", json=SOURCE, headers=headers)

    assert answer.status_code == 400


async def test_a_restarted_gateway_knows_the_first_answer(start: Callable[..., Any]) -> None:
    answers = []
    for _ in range(2):
        async with start() as running:
            headers = {"Authorization": f"Bearer {running.key}", **KEY}
            async with httpx.AsyncClient(
                base_url=running.url, headers=headers, timeout=60, verify=False
            ) as http:
                answers.append(await http.post("/api/v1/workflows", json=SOURCE))
            known = list(running.executor.workflows)

    # The second executor was asked nothing.
    assert known == []
    assert answers[0].content == answers[1].content


async def test_every_post_that_starts_something_takes_an_idempotency_key(
    http: httpx.AsyncClient,
) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]

    taking = {
        path
        for path, methods in paths.items()
        for parameter in methods.get("post", {}).get("parameters", [])
        if parameter["name"].lower() == "idempotency-key"
    }

    assert taking == {
        "/api/v1/agents",
        "/api/v1/batches",
        "/api/v1/conversations/messages",
        "/api/v1/deliveries/{delivery_id}/replay",
        "/api/v1/executions",
        "/api/v1/memories",
        "/api/v1/memories/batch",
        "/api/v1/runs",
        "/api/v1/runs/{run_id}/answer",
        "/api/v1/runs/{run_id}/fork",
        "/api/v1/runs/{run_id}/resume",
        "/api/v1/sandbox-sessions",
        "/api/v1/schedules",
        "/api/v1/workflows",
        "/v1/chat/completions",
    }
