"""A bot as people use it: a local Bot API in front of the real gateway, with a small executor behind."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from tests.fakes.connections import add_trigger, api_of, arrived, end, run_of, until_parked
from tests.fakes.telegram import (
    CHAT,
    GROUP,
    PERSON,
    TOKEN,
    Refused,
    TelegramServer,
    telegram_server,
)

from cadre.executor.v1 import runs_pb2
from cadre_kit.documents import from_json


@pytest.fixture
def telegram(monkeypatch: pytest.MonkeyPatch) -> Iterator[TelegramServer]:
    monkeypatch.setenv("CADRE_TELEGRAM_HELPER_TOKEN", TOKEN)
    with telegram_server() as server:
        yield server


@pytest.fixture
async def gateway(start: Any, telegram: TelegramServer) -> AsyncIterator[Any]:
    """A gateway to which Telegram was told to send."""
    async with start(telegram_api_url=telegram.url) as running:
        add_trigger(running, "telegram", "helper")
        async with api_of(running) as api:
            address = {"url": "https://cadre.example.org"}
            await api.post("/api/v1/triggers/telegram/helper/connect", json=address)
        yield running


@pytest.fixture
async def api(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with api_of(gateway) as found:
        yield found


async def push(telegram: TelegramServer, gateway: Any, update: dict[str, Any]) -> httpx.Response:
    return await asyncio.to_thread(telegram.push, update, gateway.url)


async def until_none_waits(api: httpx.AsyncClient) -> None:
    """Until the gateway has done what every update so far asked for."""
    async with asyncio.timeout(30):
        while (await api.get("/api/v1/deliveries?status=received")).json()["deliveries"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def test_connecting_tells_telegram_where_to_send_and_with_which_secret(
    gateway: Any, api: httpx.AsyncClient, telegram: TelegramServer
) -> None:
    again = await api.post(
        "/api/v1/triggers/telegram/helper/connect", json={"url": "https://cadre.example.org/"}
    )
    stranger = await asyncio.to_thread(
        httpx.post,
        f"{gateway.url}/hooks/telegram/helper",
        json=telegram.message("hi"),
        verify=False,
    )

    assert again.json() == {
        "username": "helper_bot",
        "address": "https://cadre.example.org/hooks/telegram/helper",
        "pending": 0,
        "last_error": "",
    }
    assert telegram.webhook["allowed_updates"] == ["message", "edited_message", "callback_query"]
    assert stranger.status_code == 401
    gone = await api.post("/api/v1/triggers/telegram/helper/disconnect")
    assert (gone.json()["address"], telegram.webhook) == ("", {})
    unset = await api.post("/api/v1/triggers/telegram/other/disconnect")
    assert (unset.status_code, unset.json()["code"]) == (400, "SECRET_NOT_SET")


async def test_a_message_is_answered_once_in_its_chat_however_often_it_comes(
    gateway: Any, telegram: TelegramServer, eventually: Any
) -> None:
    telegram.refusals["sendMessage"] = [Refused(429, "Too Many Requests", retry_after=1)]
    update = telegram.message("is it on?")

    answers = [await push(telegram, gateway, update) for _ in range(3)]
    run = await run_of(gateway)
    await eventually(lambda: telegram.sent("sendChatAction"), seconds=30)
    await end(gateway, run, "**Yes**, " + "word " * 1500)
    await eventually(lambda: len(telegram.sent()) == 2, seconds=60)

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 3
    assert len(gateway.executor.runs) == 1
    content = arrived(gateway, run)
    assert (content["text"], content["conversation"]) == ("is it on?", "42")
    first, second = telegram.sent()
    assert first["reply_parameters"]["message_id"] == update["message"]["message_id"]
    assert first["entities"] == [{"type": "bold", "offset": 0, "length": 3}]
    assert "reply_parameters" not in second
    assert telegram.sent("sendChatAction")[0] == {"chat_id": 42, "action": "typing"}


async def test_a_question_is_asked_once_whatever_else_is_asked_or_answered_meanwhile(
    gateway: Any, telegram: TelegramServer, eventually: Any
) -> None:
    await push(telegram, gateway, telegram.message("do it"))
    run = await run_of(gateway)
    for number, node in enumerate(("review", "release"), start=1):
        await gateway.executor.ask(run.id, node)
        await eventually(lambda number=number: len(telegram.sent()) >= number, seconds=30)
    del run.questions[0]
    await gateway.executor.ask(run.id, "archive")
    await eventually(lambda: len(telegram.sent()) >= 3, seconds=30)
    await end(gateway, run, answer="Done.")
    await eventually(lambda: telegram.sent()[-1]["text"] == "Done.", seconds=30)

    assert [each["text"] for each in telegram.sent()] == ["Send it?"] * 3 + ["Done."]


async def test_a_question_is_answered_by_a_button_and_by_nobody_elsewhere(
    gateway: Any, telegram: TelegramServer, eventually: Any
) -> None:
    await push(telegram, gateway, telegram.message("do it"))
    run = await run_of(gateway)
    await gateway.executor.ask(run.id, "review")
    await eventually(telegram.sent, seconds=30)
    (keys,) = telegram.sent()[0]["reply_markup"]["inline_keyboard"]

    def pushed(query_id: str, chat: dict[str, Any]) -> dict[str, Any]:
        message = {"message_id": 5, "chat": chat, "text": "Send it?"}
        data = keys[1]["callback_data"]
        query = {"id": query_id, "from": PERSON, "message": message, "data": data}
        return {"update_id": telegram.number(), "callback_query": query}

    await push(telegram, gateway, pushed("forged", {"id": 43, "type": "private"}))
    await eventually(lambda: telegram.sent("answerCallbackQuery"), seconds=30)
    still_waiting = run.status == runs_pb2.RUN_STATUS_WAITING
    await push(telegram, gateway, pushed("first", CHAT))
    await push(telegram, gateway, pushed("late", CHAT))
    await eventually(lambda: len(telegram.sent("editMessageText")) == 3, seconds=30)

    assert still_waiting
    notes = {
        each["callback_query_id"]: each["text"] for each in telegram.sent("answerCallbackQuery")
    }
    assert notes["forged"] == "There is no such question here."
    assert sorted([notes["first"], notes["late"]]) == ["Answered: no", "That was answered already."]
    (said,) = [event for event in gateway.executor.events[run.id] if event.node == "review"][1:]
    answer = from_json(said.data, field="data")
    assert answer == {"choice": "no", "comment": "", "by": "telegram/42", "iteration": 1}
    assert any(
        each["text"] == "Send it?\n\nAnswered: no (Ada)"
        for each in telegram.sent("editMessageText")
    )


async def test_what_a_group_began_goes_on_when_it_has_become_a_supergroup(
    gateway: Any, api: httpx.AsyncClient, telegram: TelegramServer, eventually: Any
) -> None:
    former = {"id": -7, "type": "group", "title": "All"}
    await push(telegram, gateway, telegram.message("@helper_bot do it", chat=former))
    run = await run_of(gateway)
    await gateway.executor.ask(run.id, "review")
    await eventually(telegram.sent, seconds=30)
    (keys,) = telegram.sent()[0]["reply_markup"]["inline_keyboard"]

    moved = telegram.message(chat=former, migrate_to_chat_id=GROUP["id"])
    await push(telegram, gateway, moved)
    told = telegram.message(chat=GROUP, migrate_from_chat_id=former["id"])
    await push(telegram, gateway, told)
    await until_none_waits(api)
    message = {"message_id": 5, "chat": GROUP, "text": "Send it?"}
    query = {"id": "q", "from": PERSON, "message": message, "data": keys[1]["callback_data"]}
    await push(telegram, gateway, {"update_id": telegram.number(), "callback_query": query})
    await eventually(lambda: telegram.sent("answerCallbackQuery"), seconds=30)

    assert telegram.sent("answerCallbackQuery")[0]["text"] == "Answered: no"
    assert len(gateway.executor.runs) == 1


async def test_status_and_cancel_are_about_the_chat_s_last_run(
    gateway: Any, telegram: TelegramServer, eventually: Any
) -> None:
    await push(telegram, gateway, telegram.message("/status"))
    await eventually(lambda: len(telegram.sent()) == 1, seconds=30)
    await push(telegram, gateway, telegram.message("work"))
    run = await run_of(gateway)
    await push(telegram, gateway, telegram.message("/status"))
    await eventually(lambda: len(telegram.sent()) == 2, seconds=30)
    await push(telegram, gateway, telegram.message("/cancel"))
    await eventually(lambda: len(telegram.sent()) == 3, seconds=30)

    assert [each["text"] for each in telegram.sent()] == [
        "Nothing was started here yet.",
        f"triage is running (run {run.id}).",
        f"The run {run.id} cancelled.",
    ]
    assert run.status == runs_pb2.RUN_STATUS_CANCELLED


async def test_a_photo_comes_with_its_bytes_and_in_groups_only_mentions_count(
    gateway: Any, telegram: TelegramServer, eventually: Any
) -> None:
    telegram.files["AgAC"] = b"\xff\xd8 a photo"
    photo = [{"file_id": "AgAC", "file_size": 10}]

    await push(telegram, gateway, telegram.message("nobody is meant", chat=GROUP))
    await push(
        telegram,
        gateway,
        telegram.message(caption="@helper_bot what is it?", photo=photo, chat=GROUP),
    )
    run = await run_of(gateway)

    content = arrived(gateway, run)
    assert content["text"] == "what is it?"
    assert content["files"] == [
        {
            "name": "photo.jpg",
            "media_type": "image/jpeg",
            "size": 10,
            "data": base64.b64encode(b"\xff\xd8 a photo").decode(),
        }
    ]
    assert len(gateway.executor.runs) == 1


async def test_the_pictures_of_an_album_are_one_run_however_often_each_comes(
    gateway: Any, telegram: TelegramServer
) -> None:
    telegram.files |= {"one": b"first", "two": b"second"}
    captions = {"one": "which is better?", "two": ""}
    album = [
        telegram.message(
            caption=caption, photo=[{"file_id": name, "file_size": 6}], media_group_id="7"
        )
        for name, caption in captions.items()
    ]

    for update in [*album, *album]:
        await push(telegram, gateway, update)
    run = await run_of(gateway)
    await push(telegram, gateway, album[1])

    content = arrived(gateway, run)
    assert content["text"] == "which is better?"
    assert [base64.b64decode(file["data"]) for file in content["files"]] == [b"first", b"second"]
    assert len(gateway.executor.runs) == 1


async def test_who_sends_a_larger_file_than_telegram_says_is_told(
    gateway: Any, api: httpx.AsyncClient, telegram: TelegramServer, eventually: Any
) -> None:
    telegram.files["AgAC"] = b"x" * (2 * 1024 * 1024 + 1)
    await push(telegram, gateway, telegram.message(document={"file_id": "AgAC"}))
    parked = await until_parked(api)
    await eventually(telegram.sent, seconds=30)

    assert parked["error"]["code"] == "ATTACHMENT_TOO_LARGE"
    assert "larger than 2 MiB" in telegram.sent()[0]["text"]
    assert not gateway.executor.runs


@pytest.mark.parametrize(
    ("refusal", "changed"),
    [
        (Refused(400, "Bad Request: can't parse entities: bad url"), {"entities": None}),
        (Refused(400, "Bad Request: ENTITY_BOUNDS_INVALID"), {"entities": None}),
        (Refused(400, "group chat was upgraded", migrate_to_chat_id=-1002), {"chat_id": -1002}),
    ],
)
async def test_a_reply_is_mended_where_telegram_says_how(
    gateway: Any,
    telegram: TelegramServer,
    eventually: Any,
    refusal: Refused,
    changed: dict[str, Any],
) -> None:
    await push(telegram, gateway, telegram.message("hi"))
    telegram.refusals["sendMessage"] = [refusal]
    await end(gateway, await run_of(gateway), "**Yes**")
    await eventually(telegram.sent, seconds=30)

    (sent,) = telegram.sent()
    assert {name: sent.get(name) for name in changed} == changed
    assert sent["text"] == "Yes"


async def test_a_reply_to_who_blocked_the_bot_is_parked_and_the_next_goes_out(
    gateway: Any, api: httpx.AsyncClient, telegram: TelegramServer, eventually: Any
) -> None:
    telegram.refusals["sendMessage"] = [Refused(403, "Forbidden: bot was blocked by the user")]
    await push(telegram, gateway, telegram.message("first"))
    await end(gateway, await run_of(gateway), "one")
    await eventually(lambda: not telegram.refusals["sendMessage"], seconds=30)
    await push(telegram, gateway, telegram.message("second"))
    await end(gateway, await run_of(gateway, number=2), "two")
    await eventually(telegram.sent, seconds=30)

    (parked,) = (await api.get("/api/v1/deliveries?status=parked")).json()["deliveries"]
    assert parked["error"]["code"] == "TELEGRAM_REFUSED"
    assert "blocked by the user" in parked["error"]["message"]
    assert TOKEN not in str(parked)
    assert [each["text"] for each in telegram.sent()] == ["two"]


async def test_a_gateway_without_an_address_asks_for_messages_and_rubbish_stops_nothing(
    start: Any, telegram: TelegramServer, eventually: Any
) -> None:
    telegram.queue(
        {"update_id": 1, "message": "rubbish"},
        {"update_id": 2, "message": {"deep": [[[]]] * 3, "chat": None}},
        telegram.message("is it on?"),
    )
    async with start(telegram_api_url=telegram.url, telegram_polling=True) as gateway:
        add_trigger(gateway, "telegram", "helper")
        run = await run_of(gateway)
        await end(gateway, run, "Yes")
        await eventually(telegram.sent, seconds=30)
        await eventually(lambda: not telegram.updates, seconds=30)

    assert [each["text"] for each in telegram.sent()] == ["Yes"]
    assert len(gateway.executor.runs) == 1
    asked = telegram.sent("getUpdates")
    assert asked[0]["timeout"] == 50


async def test_of_two_gateways_one_asks_for_messages_and_the_other_goes_on_when_it_stops(
    start: Any, telegram: TelegramServer, eventually: Any
) -> None:
    async with start(telegram_api_url=telegram.url, telegram_polling=True) as second:
        async with start(telegram_api_url=telegram.url, telegram_polling=True) as first:
            add_trigger(first, "telegram", "helper")
            await eventually(lambda: len(telegram.sent("getUpdates")) > 2, seconds=30)
            add_trigger(second, "telegram", "helper")
            await eventually(lambda: len(telegram.sent("getMe")) > 1, seconds=30)
            telegram.queue(telegram.message("one"))
            await run_of(first)
        telegram.queue(telegram.message("two"))
        await run_of(second)

    assert telegram.conflicts == 0
    assert len(first.executor.runs) == len(second.executor.runs) == 1
