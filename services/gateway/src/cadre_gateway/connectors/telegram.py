"""Telegram: messages to a bot start runs; replies answer them, questions come with buttons.

The bot named `helper` has its token in CADRE_TELEGRAM_HELPER_TOKEN. Telegram proves itself with a secret that is made
of the platform's, and that `cadre telegram connect` tells it.
"""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cadre_gateway.connectors.bodies import json_body
from cadre_gateway.connectors.buttons import button
from cadre_gateway.connectors.files import attached
from cadre_gateway.connectors.telegram_api import TelegramApi, TelegramRefused
from cadre_gateway.connectors.telegram_texts import LONGEST_TEXT, Styled, styled_pieces
from cadre_gateway.connectors.telegram_updates import SAMPLE_CHAT, Bot, message_in
from cadre_gateway.domain.connectors import (
    MOST_FILE_BYTES,
    Answer,
    AttachmentTooLarge,
    Connector,
    DeliveryRefused,
    Incoming,
    Listener,
    Parsed,
    Sample,
    Trigger,
)
from cadre_gateway.domain.deliveries import Delivery, RunNews, RunQuestion
from cadre_gateway.domain.texts import pieces, utf16_length
from cadre_kit.errors import Unavailable
from cadre_kit.ids import new_id
from cadre_kit.outgoing import TooLarge

__all__ = ["ALLOWED_UPDATES", "Connected", "TelegramConnector"]

ALLOWED_UPDATES = ("message", "edited_message", "callback_query")
_SECRET_HEADER = "x-telegram-bot-api-secret-token"
_SHOW_SECONDS = 4.0
_MOST_CONNECTIONS = 40
# What fails when somebody was faster, or a question is old; nothing is lost by it.
_MAY_FAIL = frozenset({"answerCallbackQuery", "editMessageText"})
_LONGEST_NOTE = 200
# Telegram takes no more in a message; what is over would be plain anyway.
_MOST_ENTITIES = 100
_BUTTONS_IN_ROW = 3
_LONGEST_IN_ROW = 24


class BotUnknown(Unavailable):
    """The gateway does not know yet how its bot is called, and so not whether a group speaks to it."""

    code = "BOT_NAME_UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class Connected:
    """Where Telegram sends a bot's updates: empty for nowhere. `pending` ones wait; `last_error` is why it could not
    send one."""

    username: str
    address: str
    pending: int
    last_error: str


class TelegramConnector(Connector):
    """`secret` is the platform's. `polls`: updates are asked for, not sent to the gateway."""

    kind = "telegram"

    def __init__(self, *, api: TelegramApi, secret: str, polls: bool) -> None:
        self._api = api
        self._secret = secret
        self._polls = polls
        self._usernames: dict[str, str] = {}

    def webhook_secret(self, bot: str) -> str:
        """What Telegram shows with every update."""
        return hmac.new(
            self._secret.encode(), f"telegram/{bot}".encode(), hashlib.sha256
        ).hexdigest()

    def verify(self, request: Incoming, triggers: Sequence[Trigger]) -> Sequence[Trigger]:
        """All triggers of the bot, when its secret was shown."""
        given = request.headers.get(_SECRET_HEADER, "")
        right = self.webhook_secret(request.name)
        if request.method != "POST" or not hmac.compare_digest(right.encode(), given.encode()):
            raise DeliveryRefused
        return [trigger for trigger in triggers if trigger.enabled]

    def parse(self, request: Incoming, triggers: Sequence[Trigger]) -> Parsed:
        """One update. Raises BotUnknown, so that it is sent again, while that matters."""
        update = json_body(request.body)
        bot = Bot(id=self._api.bot_id(request.name), username=self._usernames.get(request.name, ""))
        found = message_in(update, bot, triggers) if isinstance(update, dict) else None
        if found is None and not bot.username and bot.id is not None and _may_mention(update):
            raise BotUnknown(
                "the bot's name is not known yet",
                resolution="Telegram sends it again; look in the gateway's log for connection_failed.",
            )
        return Parsed(messages=[found] if found is not None else [], answer=Answer())

    def reply(self, delivery: Delivery, run: RunNews) -> Sequence[Mapping[str, Any]]:
        """The field that the trigger names, or the questions with their buttons, as a reply to what was said."""
        if delivery.back["chat"] == SAMPLE_CHAT:
            return []
        if run.status != "waiting":
            return _texts(delivery, styled_pieces(run.words(delivery.reply)))
        found: list[Mapping[str, Any]] = []
        for question in run.questions:
            found += _question(delivery, run.id, question)
        return found

    def say(self, delivery: Delivery, text: str) -> Sequence[Mapping[str, Any]]:
        """A reply; for a button that was pushed a note, and the choice in the place of the buttons."""
        back = delivery.back
        if back["chat"] == SAMPLE_CHAT:
            return []
        if "callback" not in back:
            return _texts(delivery, [Styled(text=each.text) for each in styled_pieces(text)])
        note = {"callback_query_id": back["callback"], "text": text[:_LONGEST_NOTE]}
        posts: list[Mapping[str, Any]] = [_post(delivery, "answerCallbackQuery", note)]
        edited = {"chat_id": back["chat"], "message_id": back["message"], **_answered(back, text)}
        posts.append(_post(delivery, "editMessageText", edited))
        return posts

    async def send(self, document: Mapping[str, Any], *, post_id: str, now: float) -> str:
        """One method of the Bot API, again where the chat has moved or the text is not taken with its entities."""
        bot, method, fields = document["bot"], document["method"], dict(document["fields"])
        try:
            return await self._sent(bot, method, fields)
        except TelegramRefused as refused:
            if method in _MAY_FAIL and refused.status == 400:
                return ""
            mended = _mended(fields, refused)
            if mended is None:
                raise
        return await self._sent(bot, method, mended)

    async def _sent(self, bot: str, method: str, fields: Mapping[str, Any]) -> str:
        result = await self._api.call(bot, method, fields)
        return str(result.get("message_id", "")) if isinstance(result, dict) else ""

    async def show_work(self, delivery: Delivery, *, tick: int) -> None:
        """Shows that the bot is typing."""
        back = delivery.back
        if back["chat"] != SAMPLE_CHAT:
            fields = {"chat_id": back["chat"], "action": "typing", **_thread(back)}
            await self._api.call(delivery.name, "sendChatAction", fields, seconds=_SHOW_SECONDS)

    async def complete(self, delivery: Delivery) -> Mapping[str, Any]:
        """Fetches photos and documents, those of an album that fit: in base64 under `data`."""
        files: list[Mapping[str, Any]] = []
        left = MOST_FILE_BYTES
        for file in delivery.content["files"]:
            if files and file["size"] > left:
                continue
            try:
                raw = await self._api.download(delivery.name, file["id"], max_bytes=left)
            except TooLarge as exc:
                raise AttachmentTooLarge from exc
            files.append(attached(file["name"], file["media_type"], raw))
            left -= len(raw)
        return {**delivery.content, "files": files}

    async def prepare(self, name: str) -> None:
        """Asks how the bot is called, which groups mention it by. A bot without a token answers nobody."""
        if self._api.bot_id(name) is not None:
            me = await self._api.call(name, "getMe", {})
            self._usernames[name] = str(me.get("username", ""))

    def listener(self, name: str) -> AbstractAsyncContextManager[Listener] | None:
        """Polls, where that is set."""
        return self._polling(name) if self._polls else None

    @asynccontextmanager
    async def _polling(self, name: str) -> AsyncIterator[Listener]:
        yield _Polling(self._api, name)

    async def connect(self, name: str, base_url: str) -> Connected:
        """Has Telegram send the bot's updates to the gateway, which is at `base_url` for the world outside."""
        address = f"{base_url.rstrip('/')}/hooks/telegram/{name}"
        fields = {
            "url": address,
            "secret_token": self.webhook_secret(name),
            "allowed_updates": ALLOWED_UPDATES,
            "max_connections": _MOST_CONNECTIONS,
        }
        await self._api.call(name, "setWebhook", fields)
        return await self._connected(name)

    async def disconnect(self, name: str) -> Connected:
        """Has Telegram send nothing any more; it keeps what comes for a day."""
        await self._api.call(name, "deleteWebhook", {})
        return await self._connected(name)

    async def _connected(self, name: str) -> Connected:
        await self.prepare(name)
        found = await self._api.call(name, "getWebhookInfo", {})
        return Connected(
            username=self._usernames.get(name, ""),
            address=str(found.get("url", "")),
            pending=int(found.get("pending_update_count", 0)),
            last_error=str(found.get("last_error_message", "")),
        )

    def sample(self, name: str, text: str, triggers: Sequence[Trigger], *, now: float) -> Sample:
        """A private message in a chat that there is not."""
        # Telegram's own numbers are far below; so a sample never takes the place of a real update.
        update_id = int.from_bytes(hashlib.sha256(new_id().encode()).digest()[:6], "big") + 2**50
        person = {"id": SAMPLE_CHAT, "is_bot": False, "first_name": "Sample"}
        message = {
            "message_id": 1,
            "from": person,
            "chat": {"id": SAMPLE_CHAT, "type": "private"},
            "date": int(now),
            "text": text,
        }
        body = json.dumps({"update_id": update_id, "message": message}).encode()
        headers = {"content-type": "application/json", _SECRET_HEADER: self.webhook_secret(name)}
        return Sample(
            path=f"/hooks/telegram/{name}", headers=headers, body=body, key=str(update_id)
        )


class _Polling:
    """Asks for a bot's updates. To ask for those after one confirms it; so nothing has to be kept here."""

    _WAIT_SECONDS = 50
    _AT_ONCE = 50

    def __init__(self, api: TelegramApi, bot: str) -> None:
        self._api = api
        self._bot = bot
        self._next = 0

    async def fetch(self) -> Sequence[Incoming]:
        fields = {
            "offset": self._next,
            "limit": self._AT_ONCE,
            "timeout": self._WAIT_SECONDS,
            "allowed_updates": ALLOWED_UPDATES,
        }
        found = await self._api.call(
            self._bot, "getUpdates", fields, seconds=self._WAIT_SECONDS + 10.0
        )
        return [self._incoming(update) for update in found if isinstance(update, dict)]

    async def confirm(self, request: Incoming) -> None:
        update_id = json.loads(request.body).get("update_id")
        if isinstance(update_id, int):
            self._next = max(self._next, update_id + 1)

    def _incoming(self, update: Mapping[str, Any]) -> Incoming:
        body = json.dumps(update).encode()
        return Incoming(method="POST", name=self._bot, headers={}, body=body, now=time.time())


def _may_mention(update: Any) -> bool:
    """Whether somebody is mentioned in a group."""
    message = update.get("message") if isinstance(update, dict) else None
    if not isinstance(message, dict):
        return False
    lists = [message.get(name) for name in ("entities", "caption_entities")]
    marks = [mark for found in lists if isinstance(found, list) for mark in found]
    return any(
        isinstance(mark, dict) and mark.get("type") in ("mention", "bot_command") for mark in marks
    )


def _post(delivery: Delivery, method: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"bot": delivery.name, "method": method, "fields": fields}


def _thread(back: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"message_thread_id": back["thread"]} if "thread" in back else {}


def _texts(
    delivery: Delivery, pieces: Sequence[Styled], *, keyboard: Mapping[str, Any] | None = None
) -> list[Mapping[str, Any]]:
    """Messages in turn: the first answers what was said, the last has the buttons."""
    back, found = delivery.back, []
    for number, piece in enumerate(pieces):
        fields: dict[str, Any] = {"chat_id": back["chat"], "text": piece.text, **_thread(back)}
        if piece.entities:
            fields["entities"] = list(piece.entities[:_MOST_ENTITIES])
        if number == 0:
            about = {"message_id": back["message"], "allow_sending_without_reply": True}
            fields["reply_parameters"] = about
        if keyboard is not None and number == len(pieces) - 1:
            fields["reply_markup"] = keyboard
        found.append(_post(delivery, "sendMessage", fields))
    return found


def _question(delivery: Delivery, run_id: str, question: RunQuestion) -> list[Mapping[str, Any]]:
    if not question.choices:
        asked = f"{question.message}\n\nReply to this message with your answer. (run {run_id})"
        return _texts(delivery, styled_pieces(asked))
    keys = [
        {"text": choice[:_LONGEST_NOTE], "callback_data": button(run_id, question, number)}
        for number, choice in enumerate(question.choices)
    ]
    short = sum(len(choice) for choice in question.choices) <= _LONGEST_IN_ROW
    in_row = _BUTTONS_IN_ROW if short else 1
    rows = [keys[start : start + in_row] for start in range(0, len(keys), in_row)]
    pieces = styled_pieces(question.message) or [Styled(text="Please choose.")]
    return _texts(delivery, pieces, keyboard={"inline_keyboard": rows})


def _answered(back: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    """The question with its answer below, and without its buttons."""
    asked, answer = back["question"], f"\n\n{text} ({back['who']})"
    room = LONGEST_TEXT - utf16_length(answer)
    shown = next(iter(pieces(asked, room, length=utf16_length)), "")
    return {"text": (shown + answer).strip(), "reply_markup": {"inline_keyboard": []}}


def _mended(fields: Mapping[str, Any], refused: TelegramRefused) -> Mapping[str, Any] | None:
    """What to send in place of what was refused; None where there is nothing else to try."""
    moved = refused.parameters.get("migrate_to_chat_id")
    if isinstance(moved, int) and "chat_id" in fields:
        return {**fields, "chat_id": moved}
    if refused.status == 400 and "entities" in fields:
        # Whatever it is about: what it says of entities has many words, and the text is worth more than its looks.
        return {name: value for name, value in fields.items() if name != "entities"}
    return None
