"""Webhooks: a genuine delivery starts one run, however often it comes; any other starts none and learns nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from cadre_gateway.domain.webhooks import WebhookSecret
from cadre_kit.errors import Unavailable

BODY = b'{"message": "hello"}'


@pytest.fixture
async def sender(running: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the gateway without a key; the workflow triage is applied."""
    async with httpx.AsyncClient(base_url=running.url, verify=False) as client:
        key = {"Authorization": f"Bearer {running.key}"}
        await client.post("/api/v1/workflows", json={"source": "flow: {name: triage}"}, headers=key)
        yield client


def signed(
    secret: str, body: bytes, *, delivery: str = "msg_1", ago: float = 0
) -> Mapping[str, str]:
    timestamp = str(int(time.time() - ago))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{delivery}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {
        "webhook-id": delivery,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1a,zzz v1,{signature}",
    }


async def test_a_signed_delivery_starts_a_run(
    running: Any, sender: httpx.AsyncClient, eventually: Any
) -> None:
    answer = await sender.post(
        "/hooks/triage", content=BODY, headers=signed(running.webhook_secret, BODY)
    )

    assert answer.status_code == 202
    run_id = answer.json()["run_id"]
    await eventually(lambda: run_id in running.executor.runs)
    run = running.executor.runs[run_id]
    assert answer.json()["run_url"] == f"/api/v1/runs/{run_id}" == answer.headers["location"]
    assert (run.workflow, run.trigger, run.inputs.text) == (
        "triage",
        "webhook",
        '{"message":"hello"}',
    )


async def test_a_repeated_delivery_gets_the_first_answer(
    running: Any, sender: httpx.AsyncClient, eventually: Any
) -> None:
    first = await sender.post(
        "/hooks/triage", content=BODY, headers=signed(running.webhook_secret, BODY)
    )
    again = await sender.post(
        "/hooks/triage", content=BODY, headers=signed(running.webhook_secret, BODY, ago=60)
    )
    other = await sender.post(
        "/hooks/triage", content=BODY, headers=signed(running.webhook_secret, BODY, delivery="m2")
    )

    assert (again.status_code, again.json()) == (202, first.json())
    assert other.json() != first.json()
    await eventually(lambda: len(running.executor.runs) == 2)
    assert first.json()["run_id"] in running.executor.runs


async def test_a_delivery_signed_as_github_does_starts_one_run(
    running: Any, sender: httpx.AsyncClient
) -> None:
    right = hmac.new(running.webhook_secret.encode(), BODY, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={right}", "X-GitHub-Delivery": "72d3162e"}

    first = await sender.post("/hooks/triage", content=BODY, headers=headers)
    again = await sender.post("/hooks/triage", content=BODY, headers=headers)

    assert first.status_code == 202
    assert again.json() == first.json()


async def test_strangers_learn_nothing(running: Any, sender: httpx.AsyncClient) -> None:
    stale = signed(running.webhook_secret, BODY, ago=301)
    wrong = signed("whsec_" + "A" * 44, BODY)
    tries = [{}, stale, wrong, {**wrong, "webhook-id": "ü"}, {"X-Hub-Signature-256": "sha256=00"}]

    answers = [
        await sender.post(f"/hooks/{name}", content=BODY, headers=encoded(headers))
        for headers in tries
        for name in ("triage", "unknown", "ünknown")
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text.replace(answer.json()["request_id"], "") for answer in answers}) == 1
    assert running.executor.runs == {}


def encoded(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


async def test_those_with_the_secret_are_told_what_is_wrong(
    running: Any, sender: httpx.AsyncClient
) -> None:
    secret = running.webhook_secret
    tries = {
        ("unknown", BODY): (404, "WORKFLOW_NOT_FOUND"),
        ("triage", b"[1]"): (400, "BODY_NOT_AN_OBJECT"),
        ("triage", b"payload=x"): (400, "BODY_NOT_JSON"),
        ("triage", b"{" * 5000): (400, "BODY_NOT_JSON"),
        ("triage", b'{"a": "\\ud800"}'): (400, "BODY_NOT_JSON"),
    }

    for number, ((name, body), expected) in enumerate(tries.items()):
        headers = signed(secret, body, delivery=f"m{number}")
        answer = await sender.post(f"/hooks/{name}", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == expected


async def test_a_delivery_that_is_too_large_is_refused_unread(sender: httpx.AsyncClient) -> None:
    answer = await sender.post("/hooks/triage", content=b"x" * (1024 * 1024 + 1))

    assert answer.status_code == 413


async def test_the_secret_is_made_once_and_signs(running: Any) -> None:
    assert running.webhook_secret.startswith("whsec_")
    assert (running.home / "webhook-secret").stat().st_mode & 0o777 == 0o600
    WebhookSecret(running.webhook_secret)


async def test_while_the_executor_cannot_say_what_there_is_nothing_is_refused_for_good(
    running: Any, sender: httpx.AsyncClient
) -> None:
    known = signed(running.webhook_secret, BODY)
    await sender.post("/hooks/triage", content=BODY, headers=known)
    running.executor.failure = Unavailable("it is away", code="SERVICE_UNAVAILABLE")

    async def answered(workflow: str) -> int:
        answer = await sender.post(f"/hooks/{workflow}", content=BODY, headers=known)
        return answer.status_code

    # What it said within the last second still holds.
    while await answered("applied-since") == 404:
        pass

    assert [await answered("applied-since") for _ in range(3)] == [503, 503, 503]
    assert await answered("triage") == 202


async def test_a_delivery_is_answered_alike_past_the_apps_routing_and_through_it(
    running: Any, sender: httpx.AsyncClient
) -> None:
    async def both(path: str, headers: Mapping[str, str]) -> Sequence[httpx.Response]:
        # What has a query goes through the app's routing.
        return [
            await sender.post(path + query, content=BODY, headers={**headers, "x-request-id": "me"})
            for query in ("", "?wait=0")
        ]

    genuine = signed(running.webhook_secret, BODY)
    for path, headers in (
        ("/hooks/triage", genuine),
        ("/hooks/triage", {**genuine, "webhook-id": "msg_2"}),
        ("/hooks/none", genuine),
        ("/hooks/" + "n" * 101, genuine),
        ("/hooks/webhook/triage", genuine),
        ("/hooks/pigeon/post", genuine),
        ("/hooks/slack/none", genuine),
        ("/hooks/", genuine),
    ):
        plain, routed = await both(path, headers)

        assert plain.status_code == routed.status_code
        assert plain.content == routed.content
        assert _without_date(plain) == _without_date(routed)


async def test_a_delivery_past_the_apps_routing_is_counted_at_its_route(
    running: Any, sender: httpx.AsyncClient, http: httpx.AsyncClient
) -> None:
    await sender.post("/hooks/triage", content=BODY, headers=signed(running.webhook_secret, BODY))
    await sender.post("/hooks/slack/none", content=BODY)

    counted = (await http.get("/metrics")).text
    assert 'route="/hooks/{workflow}",status="202"} 1.0' in counted
    assert 'route="/hooks/{kind}/{name}",status="401"} 1.0' in counted


def _without_date(answer: httpx.Response) -> Mapping[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}
