"""What Telegram's updates ask for, and what replies look like in its words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.telegram import BOT_ID, CHAT, GROUP, PERSON, TOKEN

from cadre_gateway.connectors.buttons import button, pushed
from cadre_gateway.connectors.telegram import TelegramConnector
from cadre_gateway.connectors.telegram_api import TelegramApi
from cadre_gateway.connectors.telegram_texts import styled_pieces
from cadre_gateway.connectors.telegram_updates import Bot, message_in
from cadre_gateway.domain.actions import AnswerQuestion, CancelRun, Say, ShowStatus, StartRun
from cadre_gateway.domain.connectors import DeliveryRefused, Incoming, Message, Trigger
from cadre_gateway.domain.deliveries import Delivery, RunNews, RunQuestion
from cadre_kit.addresses import AddressRules
from cadre_kit.ids import new_id
from cadre_kit.outgoing import outgoing_client

RUN = "01JD2N3Q8ZC4R6T8V0X2Z4B6D8"
BOT = Bot(id=BOT_ID, username="helper_bot")
FIRST = Trigger(kind="telegram", workflow="triage", connection="helper", index=0, reply="answer")
SECOND = Trigger(kind="telegram", workflow="ask", connection="helper", index=0)
WAITS = RunQuestion(node="n" * 100, iteration=999, message="Send it?", choices=("yes", "no"))


def update(**message: Any) -> dict[str, Any]:
    said = {"message_id": 7, "from": PERSON, "chat": CHAT, "date": 1_790_000_000}
    return {"update_id": 10_000, "message": {**said, **message}}


def found(asked: Mapping[str, Any]) -> Message:
    message = message_in(asked, BOT, [FIRST, SECOND])
    assert message is not None
    return message


@pytest.fixture
def telegram() -> TelegramConnector:
    api = TelegramApi(
        variables={"CADRE_TELEGRAM_HELPER_TOKEN": TOKEN},
        url="https://api.telegram.org",
        client=outgoing_client(AddressRules()),
    )
    return TelegramConnector(api=api, secret="a-secret-of-the-platform", polls=False)


def a_delivery(**more: Any) -> Delivery:
    return Delivery(
        id="d", kind="telegram", name="helper", key="k", workflow="w", version=1, trigger=0, content={},
        run_id=RUN, received_time=0.0, reply="answer",
        **{"back": {"chat": 42, "message": 7}, **more},
    )  # fmt: skip


def test_only_who_shows_the_bot_s_secret_is_let_in(telegram: TelegramConnector) -> None:
    def request(secret: str, name: str = "helper") -> Incoming:
        headers = {"x-telegram-bot-api-secret-token": secret}
        return Incoming(method="POST", name=name, headers=headers, body=b"{}", now=0.0)

    right = telegram.webhook_secret("helper")
    off = Trigger(kind="telegram", workflow="off", connection="helper", enabled=False)

    assert telegram.verify(request(right), [off, FIRST]) == [FIRST]
    for wrong in (request(""), request(right[:-1]), request("ü"), request(right, "other")):
        with pytest.raises(DeliveryRefused):
            telegram.verify(wrong, [FIRST])


def test_a_message_starts_a_run_of_the_first_workflow_in_its_chat() -> None:
    message = found(update(text="is it on?"))

    assert (message.key, message.trigger, message.action) == ("10000", FIRST, StartRun())
    expected = {"text": "is it on?", "sender": "42", "conversation": "42", "event": "message"}
    assert {name: message.content[name] for name in expected} == expected
    assert (message.content["files"], message.back) == ([], {"chat": 42, "message": 7})


def test_an_edit_starts_a_run_of_its_own_that_says_so() -> None:
    edited = {"update_id": 10_001, "edited_message": update(text="was it?")["message"]}

    assert found(edited).content["event"] == "edited_message"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("/status", ShowStatus()),
        ("/cancel", CancelRun()),
        ("/CANCEL@helper_bot", CancelRun()),
    ],
)
def test_commands_are_about_the_chat_s_run(text: str, action: Any) -> None:
    assert found(update(text=text)).action == action


@pytest.mark.parametrize("text", ["/start", "/help", "/run nowhere hello", "/run"])
def test_help_says_which_workflows_there_are(text: str) -> None:
    action = found(update(text=text)).action

    assert isinstance(action, Say)
    assert "triage, ask" in action.text


def test_run_starts_the_workflow_it_names_with_the_rest() -> None:
    message = found(update(text="/run ask why?"))

    assert (message.trigger, message.content["text"]) == (SECOND, "why?")


def test_run_takes_the_photo_that_it_is_the_caption_of() -> None:
    photo = [{"file_id": "f", "file_size": 9}]
    message = found(update(caption="/run ask what is it?", photo=photo))
    large = found(update(caption="/run ask", photo=[{"file_id": "f", "file_size": 3_000_000}]))

    assert (message.trigger, message.content["text"]) == (SECOND, "what is it?")
    assert [file["id"] for file in message.content["files"]] == ["f"]
    assert isinstance(large.action, Say)


def test_a_command_of_the_workflow_s_own_is_a_message() -> None:
    assert found(update(text="/weather Berlin")).content["text"] == "/weather Berlin"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"text": "hello all"}, None),
        ({"text": "/status"}, None),
        ({"text": "/status@other_bot"}, None),
        ({"text": "@helper_bot_2 hi"}, None),
        ({"text": "write to ada@helper_bot"}, None),
        ({"text": "@Helper_Bot is it on?"}, "is it on?"),
        ({"text": "on?", "reply_to_message": {"from": {"id": BOT_ID}}}, "on?"),
        ({"caption": "@helper_bot look", "photo": [{"file_id": "f", "file_size": 9}]}, "look"),
    ],
)
def test_in_a_group_only_what_is_meant_for_the_bot_counts(
    more: dict[str, Any], text: str | None
) -> None:
    message = message_in(update(chat=GROUP, **more), BOT, [FIRST])

    assert (message.content["text"] if message else None) == text


@pytest.mark.parametrize(
    "rubbish",
    [
        {},
        {"update_id": "1"},
        {"update_id": 1, "message": None},
        {"update_id": 1, "message": {"chat": 1}},
        {"update_id": 1, "callback_query": {"data": "a:b"}},
        {"update_id": 1, "my_chat_member": {}},
        update(text="hi", **{"from": {"id": 9, "is_bot": True}}),
        update(new_chat_title="x"),
        update(text=["x"]),
    ],
)
def test_what_nobody_says_to_the_bot_starts_nothing(rubbish: dict[str, Any]) -> None:
    assert message_in(rubbish, BOT, [FIRST]) is None


def test_the_largest_photo_that_fits_is_taken_and_a_large_file_is_not() -> None:
    sizes = [{"file_id": n, "file_size": s} for n, s in (("s", 9), ("m", 99), ("l", 3_000_000))]
    large = {"file_id": "f", "file_name": "x.pdf", "file_size": 3_000_000}

    photo = found(update(photo=sizes, caption="what is it?"))
    refused = found(update(document=large)).action

    assert [one["id"] for one in photo.content["files"]] == ["m"]
    assert photo.content["text"] == "what is it?"
    assert isinstance(refused, Say)
    assert "larger than 2 MiB" in refused.text
    assert isinstance(found(update(sticker={})).action, Say)


def test_topics_are_conversations_of_their_own() -> None:
    message = found(update(text="hi", message_thread_id=5, is_topic_message=True))

    assert (message.content["conversation"], message.back["thread"]) == ("42/5", 5)


def test_a_button_says_which_answer_to_which_question_of_which_run() -> None:
    data = button(RUN, WAITS, 1)
    query = {"id": "q", "from": PERSON, "data": data, "message": update(text="Send it?")["message"]}
    message = found({"update_id": 3, "callback_query": query})

    assert len(data) <= 64
    assert message.action == pushed(data)
    assert isinstance(message.action, AnswerQuestion)
    assert (message.action.run_id, message.action.choice) == (RUN, 1)
    assert message.back["callback"] == "q"


def test_an_answer_in_words_is_a_reply_to_the_question(telegram: TelegramConnector) -> None:
    asks = RunQuestion(node="n", iteration=1, message="Which one?", choices=())
    (post,) = telegram.reply(
        a_delivery(), RunNews(id=RUN, workflow="w", status="waiting", questions=[asks])
    )
    asked = {"from": {"id": BOT_ID}, "text": post["fields"]["text"]}

    action = found(update(text="the red one", reply_to_message=asked)).action

    assert action == AnswerQuestion(run_id=RUN, words="the red one")


def test_questions_come_with_buttons_below_the_last_part(telegram: TelegramConnector) -> None:
    asks = RunQuestion(node="n", iteration=1, message="long " * 1000, choices=("yes", "no"))
    news = RunNews(id=RUN, workflow="w", status="waiting", questions=[asks])

    first, last = (post["fields"] for post in telegram.reply(a_delivery(), news))

    assert "reply_markup" not in first
    (row,) = last["reply_markup"]["inline_keyboard"]
    assert [key["text"] for key in row] == ["yes", "no"]
    assert first["reply_parameters"]["message_id"] == 7


def test_a_sample_is_genuine_and_nothing_is_replied_to_it(telegram: TelegramConnector) -> None:
    sample = telegram.sample("helper", "hello", [FIRST], now=0.0)
    request = Incoming(
        method="POST", name="helper", headers=sample.headers, body=sample.body, now=0.0
    )
    telegram.verify(request, [FIRST])
    (message,) = telegram.parse(request, [FIRST]).messages
    ended = RunNews(id=new_id(), workflow="w", status="succeeded", outputs={"answer": "x"})

    assert (message.key, message.content["text"]) == (sample.key, "hello")
    assert json.loads(sample.body)["update_id"] == int(sample.key)
    assert telegram.reply(a_delivery(back=message.back), ended) == []


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def test_markdown_becomes_entities_that_cover_what_they_should() -> None:
    (piece,) = styled_pieces("# Plan 😀\n\n**bold** and `code`\n\n```python\nx = 1\n```\n\n- one\n")

    raw = piece.text.encode("utf-16-le")
    covered = {
        entity["type"]: raw[2 * entity["offset"] :][: 2 * entity["length"]].decode("utf-16-le")
        for entity in piece.entities
    }
    assert "**" not in piece.text
    assert "`" not in piece.text
    assert covered["code"] == "code"
    assert covered["pre"].strip() == "x = 1"


def test_what_looks_like_html_is_shown_as_it_is() -> None:
    (piece,) = styled_pieces(
        "Use List<int> and `a<b>`, see <https://x.org>\n\n<answer>\n42\n</answer>"
    )

    assert piece.text == "Use List<int> and a<b>, see https://x.org\n\n<answer>\n42\n</answer>"


def test_a_long_bold_text_stays_bold_over_the_cut_and_no_word_is_broken() -> None:
    words = ["wörd😀"] * 2000
    found = styled_pieces(f"**{' '.join(words)}**")

    assert len(found) > 2
    assert [word for piece in found for word in piece.text.split()] == words
    for piece in found:
        assert units(piece.text) <= 4096
        (bold,) = piece.entities
        assert (bold["type"], bold["offset"], bold["length"]) == ("bold", 0, units(piece.text))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab *_`#[]()\n>-😀é\\", max_size=300), st.integers(4, 40))
def test_pieces_of_any_text_fit_and_so_do_their_entities(text: str, limit: int) -> None:
    for piece in styled_pieces(text, limit=limit):
        assert 0 < units(piece.text) <= limit
        assert piece.text.strip()
        for entity in piece.entities:
            assert entity["length"] > 0
            assert entity["offset"] + entity["length"] <= units(piece.text)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 2**70),
        st.sampled_from(["/run", "/status@", "@helper_bot", "group", "private", "a:b", "x" * 300]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(
                "message_id from chat id type text entities caption photo document file_id file_size "
                "reply_to_message data message is_topic_message message_thread_id sticker".split()
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["message", "edited_message", "callback_query"]), VALUES)
def test_no_update_breaks_the_parser(kind: str, value: Any) -> None:
    message = message_in({"update_id": 2**80, kind: value}, BOT, [FIRST, SECOND])

    if message is not None:
        assert len(message.key) <= 200
        json.dumps({"content": message.content, "back": message.back})
