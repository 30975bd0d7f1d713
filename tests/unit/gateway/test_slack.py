"""Slack's signatures, with the vector that it publishes, and what of its payloads starts a run."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from cadre_gateway.connectors.slack import SlackConnector
from cadre_gateway.domain.actions import Say
from cadre_gateway.domain.connectors import DeliveryRefused, Incoming, Parsed, Trigger
from cadre_gateway.domain.deliveries import Delivery, RunNews
from cadre_kit.addresses import AddressRules
from cadre_kit.outgoing import outgoing_client

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
HEADERS = {
    "x-slack-request-timestamp": "1531420618",
    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    "content-type": "application/x-www-form-urlencoded",
}
NOW = 1531420618.0
MESSAGES = Trigger(kind="slack", workflow="triage", connection="helper", index=0, reply="answer")
COMMAND = Trigger(kind="slack", workflow="ask", connection="helper", index=0, command="/ask")
MENTION = {
    "type": "app_mention",
    "user": "U061F7AUR",
    "text": "<@U0LAN0Z89> is it &lt;on&gt; &amp; well?",
    "ts": "1515449522.000016",
    "channel": "C123ABC456",
    "event_ts": "1515449522000016",
}


@pytest.fixture
def slack() -> SlackConnector:
    variables = {"CADRE_SLACK_HELPER_SIGNING_SECRET": SECRET}
    client = outgoing_client(AddressRules())
    return SlackConnector(variables=variables, api_url="https://slack.com/api", client=client)


def request(body: bytes = BODY, headers: Mapping[str, str] = HEADERS, now: float = NOW) -> Incoming:
    return Incoming(method="POST", name="helper", headers=headers, body=body, now=now)


def event(said: Mapping[str, Any]) -> Incoming:
    document = {"type": "event_callback", "event_id": "Ev08MFMKH6", "event": said}
    return request(json.dumps(document).encode(), {"content-type": "application/json"})


def parsed(slack: SlackConnector, incoming: Incoming, *triggers: Trigger) -> Parsed:
    return slack.parse(incoming, triggers or [MESSAGES])


def test_the_published_vector_is_genuine(slack: SlackConnector) -> None:
    off = Trigger(kind="slack", workflow="off", connection="helper", enabled=False)

    assert slack.verify(request(), [off, MESSAGES]) == [MESSAGES]
    assert slack.verify(request(now=NOW + 300), []) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"x-slack-signature": HEADERS["x-slack-signature"][:-1] + "4"},
        {"x-slack-signature": ""},
        {"x-slack-signature": "v0=ü"},
        {"x-slack-request-timestamp": "1531420619"},
        {"x-slack-request-timestamp": "-1"},
        {"x-slack-request-timestamp": ""},
    ],
)
def test_what_is_not_signed_so_is_refused(slack: SlackConnector, wrong: dict[str, str]) -> None:
    with pytest.raises(DeliveryRefused):
        slack.verify(request(headers={**HEADERS, **wrong}), [MESSAGES])


def test_a_stale_request_a_changed_body_and_an_app_without_a_secret_are_refused(
    slack: SlackConnector,
) -> None:
    stranger = Incoming(method="POST", name="other", headers=HEADERS, body=BODY, now=NOW)

    for incoming in (
        request(now=NOW + 301),
        request(now=NOW - 301),
        request(BODY + b"x"),
        stranger,
    ):
        with pytest.raises(DeliveryRefused):
            slack.verify(incoming, [MESSAGES])


def test_the_address_is_proved_with_the_challenge(slack: SlackConnector) -> None:
    body = (
        b'{"type": "url_verification", "token": "t", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY"}'
    )
    answer = parsed(slack, request(body, {"content-type": "application/json"})).answer

    assert answer is not None
    assert json.loads(answer.body) == {"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY"}


def test_a_mention_is_a_message_in_its_thread(slack: SlackConnector) -> None:
    (message,) = parsed(slack, event(MENTION)).messages

    assert (message.key, message.trigger) == ("Ev08MFMKH6", MESSAGES)
    assert message.content["text"] == "is it <on> & well?"
    assert message.content["conversation"] == "C123ABC456/1515449522.000016"
    assert message.back == {"channel": "C123ABC456", "thread_ts": "1515449522.000016"}


def test_a_direct_message_is_of_one_conversation_whatever_its_thread(slack: SlackConnector) -> None:
    direct = {**MENTION, "type": "message", "channel_type": "im", "thread_ts": "1515449000.000001"}
    (message,) = parsed(slack, event(direct)).messages

    assert message.content["conversation"] == "C123ABC456/U061F7AUR"
    assert message.back["thread_ts"] == "1515449000.000001"


@pytest.mark.parametrize(
    "more",
    [
        {"bot_id": "B1"},
        {"subtype": "bot_message"},
        {"subtype": "message_changed"},
        {"subtype": "channel_join"},
        {"edited": {"user": "U061F7AUR", "ts": "1515449530.000000"}},
        {"type": "message", "channel_type": "channel"},
        {"type": "reaction_added"},
        {"user": None},
        {"text": ["x"]},
    ],
)
def test_what_no_person_says_to_the_app_starts_nothing(
    slack: SlackConnector, more: dict[str, Any]
) -> None:
    found = parsed(slack, event({**MENTION, **more}))

    assert not found.messages
    assert found.answer is not None
    assert found.answer.status == 200


@pytest.mark.parametrize("subtype", ["file_share", "thread_broadcast", "me_message"])
def test_a_person_s_message_with_more_than_words_starts_a_run(
    slack: SlackConnector, subtype: str
) -> None:
    direct = {**MENTION, "type": "message", "channel_type": "im", "subtype": subtype}

    assert parsed(slack, event(direct)).messages


def a_file(url: Any, size: Any = 10) -> dict[str, Any]:
    return {"id": "F1", "name": "a.txt", "mimetype": "text/plain", "size": size, "url_private": url}


def test_files_are_fetched_from_slack_only_and_larger_ones_are_not(slack: SlackConnector) -> None:
    own = "https://files.slack.com/files-pri/T1-F1/a.txt"
    others = ["https://slack.com.example/x", "http://files.slack.com/x", "https://[", 5, None]
    files = [a_file(own), *(a_file(url) for url in others), "x"]
    (message,) = parsed(slack, event({**MENTION, "files": files})).messages
    (large,) = parsed(slack, event({**MENTION, "files": [a_file(own, 3_000_000)]})).messages

    assert [file["url"] for file in message.content["files"]] == [own]
    assert isinstance(large.action, Say)
    assert "larger than 2 MiB" in large.action.text


@pytest.mark.parametrize(
    "body", [b"[]", b'"x"', b"{}", b'{"event": 1}', b'{"event": {}, "event_id": 2}']
)
def test_rubbish_that_is_signed_starts_nothing(slack: SlackConnector, body: bytes) -> None:
    assert not parsed(slack, request(body, {"content-type": "application/json"})).messages


@pytest.mark.parametrize(
    ("triggers", "workflow"),
    [([MESSAGES, COMMAND], "ask"), ([MESSAGES], "triage"), ([COMMAND], "ask")],
)
def test_a_command_starts_what_asks_for_it_else_what_takes_messages(
    slack: SlackConnector, triggers: Sequence[Trigger], workflow: str
) -> None:
    fields = {"command": "/ask", "text": "why?", "user_id": "U1", "channel_id": "C1"}
    more = {"trigger_id": "1.2.3", "response_url": "https://hooks.slack.com/x", "token": "old"}
    incoming = request(urlencode({**fields, **more}).encode())

    (message,) = parsed(slack, incoming, *triggers).messages

    assert message.trigger.workflow == workflow
    assert (message.key, message.content["text"], message.content["event"]) == (
        "1.2.3",
        "why?",
        "/ask",
    )
    assert not {"token", "response_url"} & set(message.content["body"])


def test_a_command_that_nothing_takes_is_answered_so(slack: SlackConnector) -> None:
    found = parsed(slack, request(), COMMAND)

    assert found.messages == ()
    assert found.answer is not None
    assert json.loads(found.answer.body)["response_type"] == "ephemeral"


def test_a_reply_goes_into_the_thread_escaped_and_in_pieces(slack: SlackConnector) -> None:
    back = {"channel": "C1", "thread_ts": "1.2"}
    delivery = Delivery(
        id="d", kind="slack", name="helper", key="k", workflow="w", version=1, trigger=0, content={},
        run_id="r", received_time=0.0, back=back, reply="answer",
    )  # fmt: skip
    long = "word " * 1000 + "<end>"
    sent = slack.reply(
        delivery, RunNews(id="r", workflow="w", status="succeeded", outputs={"answer": long})
    )
    failed = slack.reply(delivery, RunNews(id="r", workflow="w", status="failed"))

    assert [len(one["text"]) <= 4000 for one in sent] == [True, True]
    assert sent[1]["text"].endswith("&lt;end&gt;")
    assert all({**one, **back} == one for one in sent)
    assert failed[0]["text"] == "The run r failed."


def test_markdown_becomes_slack_s_marks_and_nothing_of_it_calls_anybody(
    slack: SlackConnector,
) -> None:
    delivery = Delivery(
        id="d", kind="slack", name="helper", key="k", workflow="w", version=1, trigger=0, content={},
        run_id="r", received_time=0.0, back={"channel": "C1"}, reply="answer",
    )  # fmt: skip
    said = (
        "# Plan\n\n**Do** `a<b` [it & go](https://x.org/?a|b), <!channel> [x](!channel)\n\n- ~~no~~"
    )
    (sent,) = slack.say(delivery, said)

    assert sent["text"] == (
        "*Plan*\n\n*Do* `a&lt;b` <https://x.org/?a%7Cb|it &amp; go>, &lt;!channel&gt; x (!channel)\n\n• ~no~"
    )
