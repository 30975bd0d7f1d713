"""How questions and rubbish look in the Cloud API's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.fakes.whatsapp import APP_SECRET, delivered, message, text

from cadre_gateway.connectors.buttons import pushed
from cadre_gateway.connectors.whatsapp import WhatsAppConnector
from cadre_gateway.connectors.whatsapp_api import WhatsAppApi
from cadre_gateway.connectors.whatsapp_messages import question_documents, text_documents
from cadre_gateway.domain.actions import Say
from cadre_gateway.domain.connectors import Incoming, Parsed, Trigger
from cadre_gateway.domain.deliveries import RunQuestion
from cadre_kit.addresses import AddressRules
from cadre_kit.outgoing import outgoing_client

RUN = "01JD2N3Q8ZC4R6T8V0X2Z4B6D8"
TRIGGER = Trigger(kind="whatsapp", workflow="triage", connection="main", index=0, reply="answer")


async def _never(kind: str, name: str, conversation: str) -> float | None:
    return None


def connector(**variables: str) -> WhatsAppConnector:
    api = WhatsAppApi(
        variables=variables,
        url="https://graph.facebook.com/v23.0",
        client=outgoing_client(AddressRules()),
    )
    return WhatsAppConnector(api=api, variables=variables, secret="s" * 20, last_heard=_never)


def parsed(document: Any, **variables: str) -> Parsed:
    body = json.dumps(document).encode()
    request = Incoming(method="POST", name="main", headers={}, body=body, now=0.0)
    return connector(**variables).parse(request, [TRIGGER])


def asks(*choices: str, message: str = "Which one?") -> RunQuestion:
    return RunQuestion(node="n", iteration=1, message=message, choices=choices)


def test_more_than_three_choices_or_long_ones_are_a_list() -> None:
    (four,) = question_documents(RUN, asks("a", "b", "c", "d"))
    (long,) = question_documents(RUN, asks("no", "yes, and tell everybody about it"))

    rows = four["interactive"]["action"]["sections"][0]["rows"]
    assert [row["title"] for row in rows] == ["a", "b", "c", "d"]
    answer = pushed(rows[3]["id"])
    assert answer is not None
    assert (answer.run_id, answer.choice) == (RUN, 3)
    cut = long["interactive"]["action"]["sections"][0]["rows"][1]
    assert (len(cut["title"]), cut["description"]) == (24, "yes, and tell everybody about it")


def test_markdown_becomes_whatsapp_s_marks_and_no_message_is_too_long() -> None:
    said = "## Plan\n\n***Do*** [it](https://x.org)\n\n> **so** 😀\n> now\n\n```sh\nls\n```"
    (one,) = text_documents(said)
    many = text_documents("**a** " * 2_000)

    assert (
        one["text"]["body"]
        == "*Plan*\n\n*_Do_* it (https://x.org)\n\n> *so* 😀\n> now\n\n```\nls\n```"
    )
    assert all(len(each["text"]["body"]) <= 4_096 for each in many)
    assert sum(each["text"]["body"].count("*a*") for each in many) == 2_000


def test_what_has_no_room_above_the_buttons_goes_ahead() -> None:
    ahead, buttons = question_documents(RUN, asks("yes", message="word " * 400))

    assert len(ahead["text"]["body"]) > 1024
    assert buttons["interactive"]["body"]["text"] == "Please choose."


@pytest.mark.parametrize("choices", [(), tuple("abcdefghijk")])
def test_what_buttons_cannot_answer_says_how_to(choices: tuple[str, ...]) -> None:
    (said,) = question_documents(RUN, asks(*choices))

    assert f"cadre runs answer {RUN}" in said["text"]["body"]


def test_only_messages_to_the_number_that_is_set_count() -> None:
    document = delivered(text("hi"))

    assert parsed(document).messages
    assert not parsed(document, CADRE_WHATSAPP_MAIN_PHONE_NUMBER_ID="1").messages


@pytest.mark.parametrize(
    ("value", "sender", "address"),
    [
        ({"from_user_id": "US.2"}, "US.2", {"recipient": "US.2"}),
        ({"from_user_id": "US.2", "from": "22"}, "US.2", {"to": "22"}),
        ({"from": "11"}, "US.1", {"to": "11"}),
        ({"from": "33"}, "33", {"to": "33"}),
    ],
)
def test_each_message_is_of_who_wrote_it_whoever_else_is_named(
    value: dict[str, str], sender: str, address: dict[str, str]
) -> None:
    said = {"id": "wamid.1", "type": "text", "text": {"body": "hi"}, **value}
    contacts = [{"wa_id": "11", "user_id": "US.1"}, {"user_id": "US.2"}]
    for listed in (contacts, contacts[::-1]):
        (found,) = parsed(delivered({"messages": [said], "contacts": listed})).messages

        assert (found.content["sender"], found.back["address"]) == (sender, address)


def test_who_is_named_by_the_message_alone_is_answered() -> None:
    said = {"id": "wamid.1", "type": "text", "text": {"body": "hi"}, "from_user_id": "US.2"}
    (found,) = parsed(delivered({"messages": [said]})).messages

    assert found.back["address"] == {"recipient": "US.2"}


def test_what_cannot_be_read_is_said_so_and_reactions_are_not_answered() -> None:
    (voice,) = parsed(delivered(message({"type": "audio", "audio": {"id": "1"}}))).messages

    assert isinstance(voice.action, Say)
    assert not parsed(delivered(message({"type": "reaction", "reaction": {}}))).messages


@pytest.mark.parametrize(
    "rubbish",
    [
        [],
        {"entry": [{"changes": [{"field": "messages", "value": 1}]}]},
        {"entry": [{"changes": [{"field": "messages", "value": {"messages": [{}]}}]}]},
        delivered({"messages": [{"id": "x", "type": "text", "text": {"body": "hi"}}]}),
        delivered(message({"type": "text", "text": {"body": 5}})),
        delivered(message({"type": "interactive", "interactive": {"button_reply": 5}})),
        delivered({"statuses": [{"id": 1, "status": "read"}, {"id": "a", "status": "new"}]}),
        delivered(text("hi"), field="account_update"),
    ],
)
def test_rubbish_that_is_signed_starts_nothing(rubbish: Any) -> None:
    found = parsed(rubbish)

    assert (list(found.messages), list(found.receipts)) == ([], [])


def test_a_sample_is_genuine_with_meta_s_secret_and_without() -> None:
    for variables in ({}, {"CADRE_WHATSAPP_MAIN_APP_SECRET": APP_SECRET}):
        found = connector(**variables)
        sample = found.sample("main", "hello", [TRIGGER], now=0.0)
        request = Incoming(
            method="POST", name="main", headers=sample.headers, body=sample.body, now=0.0
        )

        assert found.verify(request, [TRIGGER]) == [TRIGGER]
        (said,) = found.parse(request, [TRIGGER]).messages
        assert (said.key, said.content["text"]) == (sample.key, "hello")
