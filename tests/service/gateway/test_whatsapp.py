"""A WhatsApp number as people use it: what Meta sends, signed, to the real gateway, and a local Graph API behind."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.fakes.connections import add_trigger, api_of, arrived, end, run_of, until_parked
from tests.fakes.whatsapp import (
    APP_SECRET,
    PERSON,
    TOKEN,
    USER_ID,
    WhatsAppServer,
    delivered,
    message,
    signed,
    text,
    whatsapp_server,
)

from cadre.executor.v1 import runs_pb2

HOOK = "/hooks/whatsapp/main"


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[WhatsAppServer]:
    monkeypatch.setenv("CADRE_WHATSAPP_MAIN_APP_SECRET", APP_SECRET)
    monkeypatch.setenv("CADRE_WHATSAPP_MAIN_VERIFY_TOKEN", "a-word-of-ours")
    monkeypatch.setenv("CADRE_WHATSAPP_MAIN_TOKEN", TOKEN)
    with whatsapp_server() as server:
        yield server


@pytest.fixture
async def gateway(start: Any, meta: WhatsAppServer) -> AsyncIterator[Any]:
    async with start(whatsapp_api_url=meta.url) as running:
        add_trigger(running, "whatsapp", "main")
        yield running


@pytest.fixture
async def api(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with api_of(gateway) as found:
        yield found


async def push(api: httpx.AsyncClient, document: Any) -> httpx.Response:
    body, headers = signed(document)
    return await api.post(HOOK, content=body, headers=headers)


async def test_the_address_is_proved_with_the_bare_challenge(api: httpx.AsyncClient) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": "a-word-of-ours"}
    right = await api.get(HOOK, params={**asked, "hub.challenge": "1158201444"})
    wrong = [
        await api.get(HOOK, params={**asked, "hub.verify_token": "another"}),
        await api.get(HOOK, params={**asked, "hub.mode": "unsubscribe"}),
        await api.get("/hooks/whatsapp/other", params={"hub.mode": "subscribe"}),
    ]

    assert (right.status_code, right.text) == (200, "1158201444")
    assert right.headers["content-type"].startswith("text/plain")
    assert [answer.status_code for answer in wrong] == [403, 403, 403]


async def test_a_missing_signature_is_401_and_a_wrong_one_403(api: httpx.AsyncClient) -> None:
    body, headers = signed(delivered(text("hi")))
    unsigned = await api.post(HOOK, content=body)
    changed = await api.post(HOOK, content=body + b" ", headers=headers)
    _, others = signed(delivered(text("hi")), secret="another")
    forged = await api.post(HOOK, content=body, headers=others)

    assert [one.status_code for one in (unsigned, changed, forged)] == [401, 403, 403]


async def test_every_message_of_a_batch_is_read_and_answered_once(
    gateway: Any, api: httpx.AsyncClient, meta: WhatsAppServer, eventually: Any
) -> None:
    meta.refusals = [(400, 130429)]
    other = {"event": "x"}
    batch = delivered(text("first", "wamid.1"), text("second", "wamid.2"), {"statuses": [other]})
    batch["entry"].append({"changes": [{"field": "account_update", "value": {}}, 7]})

    answers = [(await push(api, batch)).status_code for _ in range(2)]
    await run_of(gateway, number=2)
    await eventually(lambda: len(meta.read) == 2, seconds=30)
    for run in list(gateway.executor.runs.values()):
        await end(gateway, run, "word " * 1000)
    await eventually(lambda: len(meta.messages) == 4, seconds=60)

    assert answers == [200, 200]
    assert len(gateway.executor.runs) == 2
    contents = [arrived(gateway, run) for run in gateway.executor.runs.values()]
    texts = {each["text"]: each["conversation"] for each in contents}
    assert texts == {"first": USER_ID, "second": USER_ID}
    named = [one["context"]["message_id"] for one in meta.messages if "context" in one]
    assert sorted(named) == ["wamid.1", "wamid.2"]
    assert {one["to"] for one in meta.messages} == {PERSON}
    assert meta.read[0]["typing_indicator"] == {"type": "text"}


async def test_who_hides_their_number_is_answered_by_their_id(
    gateway: Any, api: httpx.AsyncClient, meta: WhatsAppServer, eventually: Any
) -> None:
    await push(api, delivered(text("hi", user_id=USER_ID)))
    await end(gateway, await run_of(gateway), "Yes")
    await eventually(lambda: meta.messages, seconds=30)

    assert (meta.messages[0]["recipient"], "to" in meta.messages[0]) == (USER_ID, False)


async def test_a_question_is_answered_by_a_button(
    gateway: Any, api: httpx.AsyncClient, meta: WhatsAppServer, eventually: Any
) -> None:
    await push(api, delivered(text("do it")))
    run = await run_of(gateway)
    await gateway.executor.ask(run.id, "review")
    await eventually(lambda: meta.messages, seconds=30)
    keys = [one["reply"] for one in meta.messages[0]["interactive"]["action"]["buttons"]]
    pushed = {"type": "interactive", "interactive": {"button_reply": keys[1]}}
    elsewhere = message(pushed, "wamid.2", wa_id="4912345")

    await push(api, delivered(elsewhere))
    await eventually(lambda: len(meta.messages) == 2, seconds=30)
    still_waiting = run.status == runs_pb2.RUN_STATUS_WAITING
    await push(api, delivered(message(pushed, "wamid.3")))
    await eventually(lambda: len(meta.messages) == 3, seconds=30)

    assert [key["title"] for key in keys] == ["yes", "no"]
    assert still_waiting
    assert [one["text"]["body"] for one in meta.messages[1:]] == [
        "There is no such question here.",
        "Answered: no",
    ]
    assert not run.questions


async def test_what_became_of_a_reply_is_known_and_a_failed_one_waits_for_a_person(
    gateway: Any, api: httpx.AsyncClient, meta: WhatsAppServer, eventually: Any
) -> None:
    await push(api, delivered(text("hi")))
    await end(gateway, await run_of(gateway), "Yes")
    await eventually(lambda: meta.messages, seconds=30)
    (listed,) = (await api.get("/api/v1/deliveries")).json()["deliveries"]
    address = f"/api/v1/deliveries/{listed['id']}"

    async def told(**status: Any) -> Any:
        # What is sent is noted down a moment after.
        async with asyncio.timeout(30):
            while (  # noqa: ASYNC110 - nobody tells
                await api.get(address)
            ).json()["replies"][0]["status"] == "pending":
                await asyncio.sleep(0.05)
        sent = {"id": "wamid.out1", "timestamp": "1790000001", "recipient_id": PERSON}
        await push(api, delivered({"statuses": [{**sent, **status}]}))
        return (await api.get(address)).json()

    read = await told(status="read")
    late = await told(status="delivered")
    failed = await told(status="failed", errors=[{"code": 131026, "title": "Undeliverable"}])

    assert (read["replies"][0]["receipt"], read["status"]) == ("read", "ended")
    assert late["replies"] == read["replies"]
    assert (failed["replies"][0]["receipt"], failed["status"]) == ("failed", "parked")
    assert "131026" in failed["error"]["message"]
    assert len(gateway.executor.runs) == 1


@pytest.mark.parametrize("by", ["our clock", "Meta"])
async def test_after_24_hours_a_template_is_sent_or_a_person_is_told_to_set_one(
    start: Any, meta: WhatsAppServer, eventually: Any, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setenv("CADRE_WHATSAPP_OTHER_TOKEN", TOKEN)
    monkeypatch.setenv("CADRE_WHATSAPP_OTHER_APP_SECRET", APP_SECRET)
    monkeypatch.setenv("CADRE_WHATSAPP_OTHER_TEMPLATE", "answer:de")
    if by == "Meta":
        meta.refusals = [(400, 131047), (400, 131047)]
    async with start(whatsapp_api_url=meta.url) as gateway:
        for name in ("main", "other"):
            add_trigger(gateway, "whatsapp", name, workflow=name)
        async with api_of(gateway) as api:
            for name in ("main", "other"):
                body, signature = signed(delivered(text("hi")))
                await api.post(f"/hooks/whatsapp/{name}", content=body, headers=signature)
            await run_of(gateway, number=2)
            if by == "our clock":
                _let_a_day_go_by(gateway.home / "gateway.db")
            for run in list(gateway.executor.runs.values()):
                await end(gateway, run, "Yes,\nit is")
            await eventually(lambda: meta.messages, seconds=40)
            parked = await until_parked(api)

    (sent,) = meta.messages
    assert sent["template"]["name"] == "answer"
    assert sent["template"]["language"] == {"code": "de"}
    assert sent["template"]["components"][0]["parameters"][0]["text"] == "Yes, it is"
    assert parked["error"]["code"] == "WINDOW_CLOSED"
    assert "CADRE_WHATSAPP_MAIN_TEMPLATE" in parked["error"]["resolution"]


def _let_a_day_go_by(database: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE deliveries SET received_time = :then"), {"then": time.time() - 86_500}
        )
    engine.dispose()


async def test_an_image_comes_with_its_bytes(
    gateway: Any, api: httpx.AsyncClient, meta: WhatsAppServer, eventually: Any
) -> None:
    meta.media["2762702990552401"] = b"\xff\xd8 an image"
    image = {"id": "2762702990552401", "mime_type": "image/jpeg", "caption": "what is it?"}
    await push(api, delivered(message({"type": "image", "image": image})))
    run = await run_of(gateway)

    content = arrived(gateway, run)
    (file,) = content["files"]
    assert base64.b64decode(file["data"]) == b"\xff\xd8 an image"
    assert (content["text"], file["name"]) == ("what is it?", "image.jpeg")
