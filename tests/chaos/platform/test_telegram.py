"""A chat with a bot on the real platform, by polling: it remembers what was said, asks with buttons, and a gateway that
is killed meanwhile repeats and loses nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fakes.telegram import CHAT, PERSON, TOKEN, TelegramServer, telegram_server
from tests.platform import Platform, eventually, platform

WORKFLOW = """
flow: {name: chatty}
state:
  fields:
    said: {type: str, default: ""}
    thread: {type: str, default: ""}
    history: {type: list, default: []}
    verdict: {type: dict, default: {}}
nodes:
  - {id: keep, memory: {action: append, scope: conversation, namespace: "{state.thread}", value: "{state.said}"}}
  - {id: recall, memory: {action: load, scope: conversation, namespace: "{state.thread}"}, outputs: [history]}
  - {id: review, type: approval, message: "Send **it**?", choices: ["yes", "no"], outputs: [verdict]}
edges: [{from: START, to: keep}, {from: keep, to: recall}, {from: recall, to: review}, {from: review, to: END}]
triggers:
  - telegram: {bot: helper, input: {said: "{text}", thread: "{conversation}"}, reply: history}
"""
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def telegram() -> Iterator[TelegramServer]:
    with telegram_server() as server:
        yield server


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, telegram: TelegramServer
) -> Iterator[Platform]:
    settings = {
        "CADRE_TELEGRAM_HELPER_TOKEN": TOKEN,
        "CADRE_TELEGRAM_API_URL": telegram.url,
        "CADRE_TELEGRAM_POLLING": "true",
    }
    home = tmp_path_factory.mktemp("home")
    with platform(home, "executor", "memory", "gateway", **settings) as started:
        started.client().apply(WORKFLOW)
        yield started


def pushed(telegram: TelegramServer, asked: dict[str, Any]) -> dict[str, Any]:
    """Somebody pushes the first button of a message."""
    data = asked["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
    message = {"message_id": 1, "chat": CHAT, "text": asked["text"]}
    query = {"id": str(telegram.number()), "from": PERSON, "data": data, "message": message}
    return {"update_id": telegram.number(), "callback_query": query}


def sent(telegram: TelegramServer, number: int) -> dict[str, Any]:
    """The message of that number that the bot sends."""
    eventually(lambda: len(telegram.sent()) >= number, seconds=90)
    return telegram.sent()[number - 1]


def is_known_as_sent(running: Platform) -> bool:
    """Whether the gateway knows that what the newest delivery led to has arrived."""
    client = running.client()
    (delivery,) = client.deliveries(limit=1)
    return [reply.status for reply in client.delivery(delivery.id).replies] == ["sent"]


def test_a_chat_goes_on_over_a_kill_and_remembers_what_was_said(
    running: Platform, telegram: TelegramServer
) -> None:
    telegram.queue(telegram.message("one"))
    first_question = sent(telegram, 1)
    # Killed before that, it would ask again: Telegram has no key by which it could know a message that it got before.
    eventually(lambda: is_known_as_sent(running))
    running.kill("gateway")
    telegram.queue(pushed(telegram, first_question))
    running.start("gateway")
    # Only what was answered is remembered for certain by what comes next.
    sent(telegram, 2)
    telegram.queue(telegram.message("two"))
    telegram.queue(pushed(telegram, sent(telegram, 3)))
    sent(telegram, 4)
    eventually(lambda: not telegram.updates, seconds=60)

    questions = [each for each in telegram.sent() if "reply_markup" in each]
    answers = [each["text"] for each in telegram.sent() if "reply_markup" not in each]
    assert [each["text"] for each in questions] == ["Send it?"] * 2
    assert questions[0]["entities"] == [{"type": "bold", "offset": 5, "length": 2}]
    assert [[one["text"] for one in json.loads(answer)] for answer in answers] == [
        ["one"],
        ["one", "two"],
    ]
    assert len(telegram.sent("answerCallbackQuery")) == 2
    assert {run.status for run in running.client().runs(limit=10)} == {"succeeded"}
    assert TOKEN not in running.log("gateway")


def test_it_can_be_connected_and_disconnected(running: Platform, telegram: TelegramServer) -> None:
    connected = running.cadre(
        "telegram", "connect", "helper", "--url", "https://cadre.example.org", "--json"
    )
    wrong = running.cadre("telegram", "connect", "helper", "--url", "http://cadre.example.org")
    gone = running.cadre("telegram", "disconnect", "helper")

    assert json.loads(connected.stdout)["address"].endswith("/hooks/telegram/helper")
    assert (wrong.returncode, gone.returncode) == (2, 0)
    assert "Messages to @helper_bot are sent nowhere." in gone.stdout
    assert telegram.webhook == {}
