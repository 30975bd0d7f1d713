"""Runs and batches that a request started: the address that it named is told how they end, once, signed, until it takes
it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.fakes.connections import api_of
from tests.fakes.receiver import receiver
from tests.ports import free_port

from cadre.executor.v1 import runs_pb2
from cadre_gateway.domain.connectors import DeliveryRefused
from cadre_gateway.domain.webhooks import WebhookSecret, verified_delivery

SUCCEEDED = runs_pb2.EVENT_TYPE_RUN_SUCCEEDED


@pytest.fixture
async def gateway(start: Any) -> AsyncIterator[Any]:
    async with start(allowed_addresses="127.0.0.1") as running:
        yield running


@pytest.fixture
async def api(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with api_of(gateway) as client:
        yield client


async def started(api: httpx.AsyncClient, notify: str, **headers: str) -> httpx.Response:
    body = {"source": "flow: {name: asked}", "notify": notify}
    return await api.post("/api/v1/runs", json=body, headers=headers)


async def until(api: httpx.AsyncClient, status: str) -> Any:
    """The one delivery, once it stands so."""
    async with asyncio.timeout(30):
        while True:
            (found,) = (await api.get("/api/v1/deliveries")).json()["deliveries"]
            if found["status"] == status:
                return (await api.get(f"/api/v1/deliveries/{found['id']}")).json()
            await asyncio.sleep(0.05)


async def test_the_end_is_told_once_however_often_the_run_is_asked_for(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    with receiver() as told:
        answers = [await started(api, told.url, **{"Idempotency-Key": "k"}) for _ in range(3)]
        other = await started(api, told.url + "/other", **{"Idempotency-Key": "k"})
        (run_id,) = {answer.json()["id"] for answer in answers}
        await gateway.executor.happen(run_id, SUCCEEDED)
        delivery = await until(api, "ended")
        await eventually(lambda: told.asked, seconds=30)
    ((headers, body),) = told.asked

    said = json.loads(body)
    assert (said["type"], said["data"]["run_id"]) == ("run.completed", run_id)
    assert (delivery["source"], delivery["run_id"]) == ("api/asked", run_id)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    secret = [WebhookSecret((gateway.home / "notify-secret").read_text().strip())]
    assert verified_delivery(secret, headers, body, now=time.time()) == delivery["replies"][0]["id"]


async def test_the_end_of_a_fork_is_told_and_not_that_of_the_run_that_it_was_forked_from(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    first = (await api.post("/api/v1/runs", json={"source": "flow: {name: asked}"})).json()
    with receiver() as told:
        asked, key = {"notify": told.url}, {"Idempotency-Key": "k"}
        forks = [
            (await api.post(f"/api/v1/runs/{first['id']}/fork", json=asked, headers=key)).json()
            for _ in range(2)
        ]
        await gateway.executor.happen(first["id"], SUCCEEDED)
        await gateway.executor.happen(forks[0]["id"], SUCCEEDED)
        await until(api, "ended")
        await eventually(lambda: told.asked, seconds=30)
    ((_headers, body),) = told.asked

    assert forks[0]["id"] == forks[1]["id"] != first["id"]
    assert json.loads(body)["data"]["run_id"] == forks[0]["id"]


async def test_whoever_can_check_what_is_told_can_start_nothing_by_it(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    with receiver() as told:
        run = (await started(api, told.url)).json()
        await gateway.executor.happen(run["id"], SUCCEEDED)
        await eventually(lambda: told.asked, seconds=30)
    ((headers, body),) = told.asked

    with pytest.raises(DeliveryRefused):
        verified_delivery([WebhookSecret(gateway.webhook_secret)], headers, body, now=time.time())


async def test_a_receiver_that_is_down_is_told_once_it_is_up(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    port = free_port()
    run = (await started(api, f"http://127.0.0.1:{port}/told")).json()
    await gateway.executor.happen(run["id"], SUCCEEDED)
    delivery = await until(api, "ended")
    async with asyncio.timeout(30):
        while delivery["replies"][0]["error"] is None:
            delivery = await until(api, "ended")

    with receiver(port) as told:
        await eventually(lambda: told.asked, seconds=40)

    assert (await until(api, "ended"))["replies"][0]["tries"] == 2


async def test_the_end_of_a_batch_is_told_once_however_often_its_rows_are_asked_for(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    with receiver() as told:
        rows = [{"inputs": {"message": word}} for word in ("a", "b")]
        asked = {"workflow": "triage", "rows": rows, "notify": told.url}
        made = await api.post("/api/v1/batches", json=asked)
        first = made.json()
        again = [(await api.post("/api/v1/batches", json=asked)).json() for _ in range(2)]
        for _ in rows:
            await api.post(f"/api/v1/batches/{first['id']}/advance", json={"launch": 1})
        delivery = await until(api, "ended")
        await eventually(lambda: told.asked, seconds=30)
    ((headers, body),) = told.asked

    said = json.loads(body)
    assert {each["id"] for each in again} == {first["id"]}
    assert said["type"] == "batch.completed"
    assert said["data"]["batch_url"] == made.headers["location"]
    assert (said["data"]["rows"]["total"], said["data"]["rows"]["succeeded"]) == (2, 2)
    assert (delivery["batch_id"], delivery["run_id"]) == (first["id"], "")
    secret = [WebhookSecret((gateway.home / "notify-secret").read_text().strip())]
    assert verified_delivery(secret, headers, body, now=time.time()) == delivery["replies"][0]["id"]


async def test_a_batch_that_is_resumed_is_told_of_again_and_others_than_before_are_told_too(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    with receiver() as told:
        asked = {"workflow": "triage", "rows": [{"inputs": {}}], "notify": told.url}
        batch = (await api.post("/api/v1/batches", json=asked)).json()
        await api.post(f"/api/v1/batches/{batch['id']}/cancel")
        await eventually(lambda: len(told.asked) == 1, seconds=30)
        await until(api, "ended")
        resumed = (await api.post("/api/v1/batches", json={**asked, "resume": True})).json()
        other = {**asked, "notify": told.url + "/other"}
        await api.post("/api/v1/batches", json=other)
        await api.post(f"/api/v1/batches/{batch['id']}/advance", json={"launch": 1})
        await eventually(lambda: len(told.asked) == 3, seconds=30)

    assert resumed["id"] == batch["id"]
    types = [json.loads(body)["type"] for _, body in told.asked]
    assert types == ["batch.cancelled", "batch.completed", "batch.completed"]
    assert sorted(told.paths) == ["/told", "/told", "/told/other"]


@pytest.mark.parametrize("notify", ["http://[::ffff:10.0.0.1]/told", "http://169.254.169.254/"])
async def test_a_private_address_is_told_nothing_and_a_person_sees_it(
    gateway: Any, api: httpx.AsyncClient, notify: str
) -> None:
    run = (await started(api, notify)).json()
    await gateway.executor.happen(run["id"], SUCCEEDED)

    parked = await until(api, "parked")
    replayed = await api.post(f"/api/v1/deliveries/{parked['id']}/replay")

    assert parked["error"]["code"] == "ADDRESS_REFUSED"
    assert replayed.json()["run_id"] == run["id"]
    assert len(gateway.executor.runs) == 1


async def test_what_is_no_address_is_refused_before_anything_starts(
    gateway: Any, api: httpx.AsyncClient
) -> None:
    answer = await started(api, "ftp://example.com")

    assert (answer.status_code, answer.json()["problems"][0]["path"]) == (400, "notify")
    assert gateway.executor.runs == {}
