"""From a delivery to its run and its reply, over real HTTP: the executor, Slack and receivers are small servers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import pytest
from tests.fakes.connections import api_of, arrived
from tests.fakes.receiver import Receiver, receiver
from tests.fakes.slack import TOKEN, SlackServer, slack_server

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_gateway.domain.webhooks import WebhookSecret, standard_headers, verified_delivery
from cadre_kit.documents import from_json, to_json
from cadre_kit.errors import FailedPrecondition, Unavailable

SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"
NEW, OLD = "a-new-secret-of-some-length", "an-old-secret-of-some-length"
SUCCEEDED = runs_pb2.EVENT_TYPE_RUN_SUCCEEDED


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with slack_server() as server:
        yield server


@pytest.fixture
def receiving() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
async def gateway(
    start: Any, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    monkeypatch.setenv("CADRE_SLACK_HELPER_SIGNING_SECRET", SIGNING)
    monkeypatch.setenv("CADRE_SLACK_HELPER_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("HOOK_NEW", NEW)
    monkeypatch.setenv("HOOK_OLD", OLD)
    async with start(slack_api_url=slack.url, allowed_addresses="127.0.0.1") as running:
        running.executor.workflows["triage"] = [workflows_pb2.Workflow(name="triage")]
        yield running


@pytest.fixture
async def api(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with api_of(gateway) as client:
        yield client


def webhook(gateway: Any, **more: Any) -> None:
    trigger = {"workflow": "triage", "version": 1, "index": 0, "kind": "webhook", "enabled": True}
    gateway.executor.triggers.append(
        workflows_pb2.Trigger(**{**trigger, "secrets": ["HOOK_NEW", "HOOK_OLD"], **more})
    )


def signed(body: bytes, *, secret: str = NEW, key: str = "msg_1") -> Mapping[str, str]:
    return standard_headers([WebhookSecret(secret)], body, message_id=key, now=time.time())


async def deliver(
    api: httpx.AsyncClient, body: Any, path: str = "/hooks/triage", **how: Any
) -> Any:
    content = json.dumps(body).encode()
    return await api.post(path, content=content, headers=signed(content, **how))


async def mention(
    api: httpx.AsyncClient, text: str = "hello", key: str = "Ev1", **more: Any
) -> httpx.Response:
    event = {"type": "app_mention", "user": "U1", "text": f"<@U2> {text}", "ts": "1.2", **more}
    said = {"type": "event_callback", "event_id": key, "event": {**event, "channel": "C1"}}
    body, timestamp = json.dumps(said).encode(), str(int(time.time()))
    base = f"v0:{timestamp}:".encode() + body
    signature = "v0=" + hmac.new(SIGNING.encode(), base, hashlib.sha256).hexdigest()
    headers = {"x-slack-request-timestamp": timestamp, "x-slack-signature": signature}
    return await api.post(
        "/hooks/slack/helper",
        content=body,
        headers={**headers, "content-type": "application/json"},
    )


async def run_of(gateway: Any, eventually: Any) -> runs_pb2.Run:
    await eventually(lambda: gateway.executor.runs, seconds=30)
    (run,) = gateway.executor.runs.values()
    return run  # type: ignore[no-any-return]


async def end(gateway: Any, run: runs_pb2.Run, **outputs: Any) -> None:
    run.outputs.CopyFrom(to_json(outputs))
    await gateway.executor.happen(run.id, SUCCEEDED)


async def until(api: httpx.AsyncClient, status: str) -> Any:
    """The one delivery, once it stands so."""
    async with asyncio.timeout(30):
        while True:
            found = (await api.get("/api/v1/deliveries")).json()["deliveries"]
            if [one["status"] for one in found] == [status]:
                return (await api.get(f"/api/v1/deliveries/{found[0]['id']}")).json()
            await asyncio.sleep(0.05)


async def test_a_trigger_s_own_secrets_open_it_old_and_new_and_the_platform_s_does_not(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    webhook(gateway)

    by_new = await deliver(api, {"a": 1}, secret=NEW)
    by_old = await deliver(api, {"a": 1}, secret=OLD)
    by_platform = await deliver(api, {"a": 1}, secret=gateway.webhook_secret, key="m2")

    assert [r.status_code for r in (by_new, by_old, by_platform)] == [202, 202, 401]
    assert by_new.json() == by_old.json()
    run = await run_of(gateway, eventually)
    assert run.id == by_new.json()["run_id"]
    arrived = gateway.executor.arrivals[run.id]
    assert from_json(arrived.content, field="c") == {"body": {"a": 1}, "event": ""}


async def test_a_trigger_that_is_off_or_has_no_usable_secret_refuses_everybody(
    gateway: Any, api: httpx.AsyncClient
) -> None:
    webhook(gateway, enabled=False)
    off = await deliver(api, {}, secret=gateway.webhook_secret)
    gateway.executor.triggers[:] = []
    webhook(gateway, secrets=["NOT_SET"], index=1)
    await api.post("/api/v1/workflows", json={"source": "flow: {name: other}"})
    unset = await deliver(api, {}, secret=gateway.webhook_secret)

    assert (off.status_code, unset.status_code) == (401, 401)


async def test_whoever_waits_gets_the_result_and_else_the_run_s_address(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    webhook(gateway)
    waiting = asyncio.create_task(deliver(api, {"a": 1}, "/hooks/triage?wait=30"))
    run = await run_of(gateway, eventually)
    await end(gateway, run, answer="42")

    ended = await waiting
    impatient = await deliver(api, {"a": 2}, "/hooks/triage?wait=1", key="m2")
    again = await deliver(api, {"a": 1}, "/hooks/triage?wait=30")

    assert (ended.status_code, ended.json()["status"]) == (200, "succeeded")
    assert ended.json()["outputs"] == {"answer": "42"}
    assert (impatient.status_code, set(impatient.json())) == (
        202,
        {"delivery_id", "run_id", "run_url"},
    )
    assert again.json() == ended.json()


async def test_the_end_of_a_run_is_told_signed_with_both_secrets(
    gateway: Any, api: httpx.AsyncClient, receiving: Receiver, eventually: Any
) -> None:
    webhook(gateway, notify=receiving.url)
    await deliver(api, {"a": 1})
    await end(gateway, await run_of(gateway, eventually), answer="42")

    delivery = await until(api, "ended")
    await eventually(lambda: receiving.asked, seconds=30)
    (headers, body) = receiving.asked[0]

    for secret in (NEW, OLD):
        key = [WebhookSecret(secret)]
        assert (
            verified_delivery(key, headers, body, now=time.time()) == delivery["replies"][0]["id"]
        )
    told = json.loads(body)
    assert told["type"] == "run.completed"
    assert told["data"]["outputs"] == {"answer": "42"}
    assert told["data"]["run_id"] == delivery["run_id"]


async def test_a_receiver_that_is_gone_is_left_alone_until_a_person_replays(
    gateway: Any, api: httpx.AsyncClient, receiving: Receiver, eventually: Any
) -> None:
    webhook(gateway, notify=receiving.url)
    receiving.statuses = [410]
    await deliver(api, {"a": 1})
    await end(gateway, await run_of(gateway, eventually))

    parked = await until(api, "parked")
    replayed = await api.post(f"/api/v1/deliveries/{parked['id']}/replay")
    await eventually(lambda: len(receiving.asked) == 2, seconds=30)

    assert parked["error"]["code"] == "ENDPOINT_GONE"
    assert replayed.json()["status"] == "started"
    ids = {headers["webhook-id"] for headers, _ in receiving.asked}
    assert len(ids) == 1


@pytest.mark.parametrize("status", [302, 500, 429])
async def test_a_receiver_that_fails_is_asked_again_later_and_no_redirect_is_followed(
    gateway: Any, api: httpx.AsyncClient, receiving: Receiver, eventually: Any, status: int
) -> None:
    webhook(gateway, notify=receiving.url)
    receiving.statuses, receiving.retry_after = [status], "2"
    await deliver(api, {"a": 1})
    await end(gateway, await run_of(gateway, eventually))

    await eventually(lambda: len(receiving.asked) == 2, seconds=40)
    delivery = await until(api, "ended")

    assert delivery["replies"][0]["tries"] == 2
    assert set(receiving.paths) == {"/told"}


async def test_a_private_address_is_told_nothing(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    webhook(gateway, notify="http://[::ffff:10.0.0.1]/told")
    await deliver(api, {"a": 1})
    await end(gateway, await run_of(gateway, eventually))

    parked = await until(api, "parked")

    assert parked["error"]["code"] == "ADDRESS_REFUSED"


async def test_a_delivery_waits_for_an_executor_that_is_away(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    webhook(gateway)
    assert (await deliver(api, {"a": 1})).status_code == 202
    await run_of(gateway, eventually)
    gateway.executor.failure = Unavailable("away")
    accepted = (await deliver(api, {"a": 2}, key="m2")).json()
    gateway.executor.failure = None

    await eventually(lambda: accepted["run_id"] in gateway.executor.runs, seconds=30)


async def test_what_no_run_can_be_made_of_is_parked_and_replayed_under_the_mended_file(
    gateway: Any, api: httpx.AsyncClient, eventually: Any
) -> None:
    webhook(gateway)
    assert (await api.get("/api/v1/triggers")).json()["triggers"][0]["address"] == "/hooks/triage"
    gateway.executor.failure = FailedPrecondition("body.a has no value", code="REFERENCE_FAILED")
    accepted = (await deliver(api, {})).json()

    parked = await until(api, "parked")
    gateway.executor.failure = None
    gateway.executor.triggers[0].version = 2
    gateway.executor.workflows["triage"].append(workflows_pb2.Workflow(name="triage"))
    await api.post("/api/v1/workflows", json={"source": "flow: {name: other}"})
    await api.post(f"/api/v1/deliveries/{parked['id']}/replay")
    run = await run_of(gateway, eventually)
    again = await api.post(f"/api/v1/deliveries/{parked['id']}/replay")

    assert parked["error"] == {
        "code": "REFERENCE_FAILED",
        "message": "body.a has no value",
        "resolution": "",
    }
    assert (parked["content"], parked["source"], parked["key"]) == (
        {"body": {}, "event": ""},
        "webhook/triage",
        "msg_1",
    )
    assert run.id == accepted["run_id"]
    assert (await until(api, "started"))["version"] == 2
    assert (again.status_code, again.json()["code"]) == (400, "DELIVERY_NOT_PARKED")


async def test_what_is_parked_can_be_given_up(gateway: Any, api: httpx.AsyncClient) -> None:
    webhook(gateway)
    await api.get("/api/v1/triggers")
    gateway.executor.failure = FailedPrecondition("no", code="REFERENCE_FAILED")
    await deliver(api, {})
    parked = await until(api, "parked")

    await api.post(f"/api/v1/deliveries/{parked['id']}/discard")

    assert (await until(api, "discarded"))["next_time"] is None
    missing = await api.post("/api/v1/deliveries/none/discard")
    assert (missing.status_code, missing.json()["code"]) == (404, "DELIVERY_NOT_FOUND")
    filtered = await api.get("/api/v1/deliveries", params={"status": "parked"})
    assert filtered.json() == {"deliveries": [], "next_page_token": ""}


def slack_trigger(gateway: Any, **more: Any) -> None:
    said = {"workflow": "triage", "version": 1, "index": 0, "kind": "slack", "connection": "helper"}
    gateway.executor.triggers.append(
        workflows_pb2.Trigger(**{**said, "reply": "answer", "enabled": True, **more})
    )


async def test_a_mention_gets_one_reply_in_its_thread_however_often_slack_sends_it(
    gateway: Any, api: httpx.AsyncClient, slack: SlackServer, eventually: Any
) -> None:
    slack_trigger(gateway)
    slack.answers = [(429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"})]

    answers = [await mention(api) for _ in range(3)]
    await end(gateway, await run_of(gateway, eventually), answer="Because <it> is.")
    await eventually(lambda: slack.messages, seconds=30)

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    expected = {"channel": "C1", "thread_ts": "1.2", "text": "Because &lt;it&gt; is."}
    assert slack.messages == [expected]
    assert (await until(api, "ended"))["replies"][0]["tries"] == 2


async def test_a_run_that_waits_says_so_once_and_then_how_it_ended(
    gateway: Any, api: httpx.AsyncClient, slack: SlackServer, eventually: Any
) -> None:
    slack_trigger(gateway)
    await mention(api)
    run = await run_of(gateway, eventually)
    await gateway.executor.ask(run.id, "review")
    await eventually(lambda: slack.messages, seconds=30)
    del run.questions[:]
    await end(gateway, run, answer="Sent.")
    await eventually(lambda: len(slack.messages) >= 2, seconds=30)

    assert "Send it?" in slack.messages[0]["text"]
    assert [m["text"] for m in slack.messages[1:]] == ["Sent."]


async def test_a_file_of_slack_comes_along_and_who_sent_one_that_is_not_given_is_told(
    gateway: Any, api: httpx.AsyncClient, slack: SlackServer, eventually: Any
) -> None:
    slack_trigger(gateway)
    slack.files["/files/F1/a.txt"] = b"a file"
    url = slack.url.removesuffix("/api") + "/files/{}/a.txt"
    given = {"name": "a.txt", "mimetype": "text/plain", "size": 6, "url_private": url.format("F1")}

    await mention(api, files=[given])
    run = await run_of(gateway, eventually)
    await mention(api, key="Ev2", files=[{**given, "url_private": url.format("F2")}])
    await eventually(lambda: slack.messages, seconds=30)

    (file,) = arrived(gateway, run)["files"]
    assert (file["name"], base64.b64decode(file["data"])) == ("a.txt", b"a file")
    assert "cannot read the files" in slack.messages[0]["text"]
    (parked,) = (await api.get("/api/v1/deliveries?status=parked")).json()["deliveries"]
    assert "files:read" in parked["error"]["resolution"]
    assert len(gateway.executor.runs) == 1


async def test_a_reply_that_slack_refuses_waits_for_a_person(
    gateway: Any, api: httpx.AsyncClient, slack: SlackServer, eventually: Any
) -> None:
    slack_trigger(gateway)
    slack.answers = [(200, {}, {"ok": False, "error": "not_in_channel"})]
    await mention(api)
    await end(gateway, await run_of(gateway, eventually), answer="Yes.")

    parked = await until(api, "parked")
    await api.post(f"/api/v1/deliveries/{parked['id']}/replay")
    await eventually(lambda: slack.messages, seconds=30)

    assert "not_in_channel" in parked["error"]["message"]
    assert (await until(api, "ended"))["replies"][0]["status"] == "sent"


@pytest.mark.parametrize("kind", ["webhook", "slack"])
async def test_a_sample_is_a_genuine_delivery(
    gateway: Any, api: httpx.AsyncClient, slack: SlackServer, eventually: Any, kind: str
) -> None:
    webhook(gateway)
    slack_trigger(gateway, index=1)
    name = "triage" if kind == "webhook" else "helper"

    made = (await api.post(f"/api/v1/triggers/{kind}/{name}/sample", json={"text": "hi"})).json()
    sent = await api.post(made["path"], content=made["body"], headers=made["headers"])
    await until(api, "started")
    page = await api.get("/api/v1/deliveries", params={"key": made["key"]})
    (found,) = page.json()["deliveries"]
    unknown = await api.post("/api/v1/triggers/slack/nobody/sample", json={"text": "hi"})

    assert sent.status_code in (200, 202)
    assert (found["source"], found["status"]) == (made["source"], "started")
    assert unknown.json()["code"] == "TRIGGER_UNKNOWN"


async def test_strangers_at_slack_s_address_learn_nothing(
    gateway: Any, api: httpx.AsyncClient
) -> None:
    answers = [
        await api.post(f"/hooks/slack/{name}", content=b"{}", headers={"x-slack-signature": "v0=0"})
        for name in ("helper", "nobody")
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert (await api.post("/hooks/pigeon/x", content=b"{}")).json()["code"] == "CONNECTOR_UNKNOWN"


async def test_too_many_deliveries_are_told_to_come_later(start: Any) -> None:
    async with start(gateway_hook_rate=1) as running:
        async with httpx.AsyncClient(base_url=running.url, verify=False) as client:
            answers = [await client.post("/hooks/triage", content=b"{}") for _ in range(8)]

    assert 429 in {answer.status_code for answer in answers}
    assert next(a for a in answers if a.status_code == 429).headers["retry-after"] == "1"


async def test_a_run_is_found_by_whoever_was_told_of_it_before_it_is_started(
    gateway: Any, api: httpx.AsyncClient
) -> None:
    webhook(gateway)

    accepted = (await deliver(api, {"a": 1})).json()
    run = await api.get(accepted["run_url"])

    assert (run.status_code, run.json()["id"]) == (200, accepted["run_id"])
