"""What an update of Telegram asks for: a run, a command's answer, an answer to a question, or nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cadre_gateway.connectors.buttons import pushed
from cadre_gateway.domain.actions import (
    Action,
    AnswerQuestion,
    CancelRun,
    MoveConversation,
    Say,
    ShowStatus,
    StartRun,
)
from cadre_gateway.domain.connectors import FILES_TOO_LARGE, MOST_FILE_BYTES, Message, Trigger

__all__ = ["SAMPLE_CHAT", "Bot", "message_in"]

SAMPLE_CHAT = 0
"""The chat of samples: Telegram has none of that number."""

_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]{1,64}))?(?:\s+|$)")
_ASKED = re.compile(r"\(run ([0-9A-Z]{26})\)\s*$")
_LONGEST_KEY = 200
_GROUPS = ("group", "supergroup")
# What people send that a workflow is given nothing of.
_NOT_READ = (
    "sticker", "voice", "audio", "video", "video_note", "animation", "location", "contact", "poll",
)  # fmt: skip
_NOT_UNDERSTOOD = "I read text, photos and documents."


@dataclass(frozen=True, kw_only=True)
class Bot:
    """Whom messages are to: None and empty for what is not known."""

    id: int | None
    username: str


@dataclass(frozen=True, kw_only=True)
class _Said:
    """A message of a person, as far as it matters. `addressed`: in a group, that the bot is meant."""

    update_id: int
    event: str
    message: Mapping[str, Any]
    text: str
    addressed: bool

    @property
    def chat(self) -> Mapping[str, Any]:
        chat: Mapping[str, Any] = self.message["chat"]
        return chat


def message_in(update: Mapping[str, Any], bot: Bot, triggers: Sequence[Trigger]) -> Message | None:
    """What the update asks for; None for what asks for nothing, and for what no trigger takes."""
    update_id = update.get("update_id")
    if not isinstance(update_id, int) or not triggers:
        return None
    if isinstance(query := update.get("callback_query"), dict):
        return _pushed(update_id, query, triggers[0])
    if (moved := _moved(update_id, update.get("message"), triggers[0])) is not None:
        return moved
    for event in ("message", "edited_message"):
        message = update.get(event)
        if isinstance(message, dict) and _is_of_a_person(message):
            return _asked(_said(update_id, event, message, bot), bot, triggers)
    return None


def _is_of_a_person(message: Mapping[str, Any]) -> bool:
    chat, sender = message.get("chat"), message.get("from")
    if not isinstance(chat, dict) or not isinstance(sender, dict) or sender.get("is_bot"):
        return False
    numbers = (chat.get("id"), sender.get("id"), message.get("message_id"))
    return all(isinstance(number, int) for number in numbers)


def _said(update_id: int, event: str, message: Mapping[str, Any], bot: Bot) -> _Said:
    raw = message.get("text") or message.get("caption") or ""
    text, addressed = raw if isinstance(raw, str) else "", True
    if message["chat"].get("type") in _GROUPS:
        mention = re.compile(rf"(?<!\w)@{re.escape(bot.username)}\b", re.IGNORECASE)
        mentioned = bool(bot.username) and mention.search(text) is not None
        addressed = mentioned or _answers(message, bot)
        if mentioned and not _COMMAND.match(text):
            text = mention.sub("", text, count=1).strip()
    return _Said(update_id=update_id, event=event, message=message, text=text, addressed=addressed)


def _answers(message: Mapping[str, Any], bot: Bot) -> bool:
    """Whether it is a reply to a message of the bot."""
    before = message.get("reply_to_message")
    sender = before.get("from") if isinstance(before, dict) else None
    return isinstance(sender, dict) and bot.id is not None and sender.get("id") == bot.id


def _asked(said: _Said, bot: Bot, triggers: Sequence[Trigger]) -> Message | None:
    if not said.addressed:
        return None
    command = _COMMAND.match(said.text)
    if command is not None:
        name, addressee = command.group(1).lower(), command.group(2)
        if addressee and addressee.lower() != bot.username.lower():
            return None
        action = _commanded(name, triggers)
        if action is not None:
            return _message(said, triggers[0], action=action)
        if name == "run":
            return _run(said, said.text[command.end() :].strip(), triggers)
    words = _words_for_a_run(said, bot)
    if words is not None:
        return _message(said, triggers[0], action=words)
    return _with_files(said, said.text, triggers[0])


def _commanded(name: str, triggers: Sequence[Trigger]) -> Action | None:
    match name:
        case "start" | "help":
            return Say(text=_help(triggers))
        case "status":
            return ShowStatus()
        case "cancel":
            return CancelRun()
        case _:
            return None


def _help(triggers: Sequence[Trigger]) -> str:
    names = ", ".join(dict.fromkeys(trigger.workflow for trigger in triggers))
    return (
        f"Write to me, and I start {triggers[0].workflow}.\n\n"
        f"/run WORKFLOW text: start one of {names}\n"
        "/status: how the last run here stands\n"
        "/cancel: stop it\n"
        "/help: this"
    )


def _run(said: _Said, rest: str, triggers: Sequence[Trigger]) -> Message:
    """Only workflows that the bot is a trigger of: anybody may write to it."""
    name, _, text = rest.partition(" ")
    for trigger in triggers:
        if trigger.workflow == name.strip():
            started = _with_files(said, text.strip(), trigger)
            return started or _message(said, trigger, text="")
    return _message(said, triggers[0], action=Say(text=_help(triggers)))


def _words_for_a_run(said: _Said, bot: Bot) -> Action | None:
    """The answer to a question that a run asked in words: a reply to that message, which ends with the run."""
    if not _answers(said.message, bot):
        return None
    asked = _ASKED.search(str(said.message["reply_to_message"].get("text", "")))
    return AnswerQuestion(run_id=asked.group(1), words=said.text) if asked and said.text else None


def _with_files(said: _Said, text: str, trigger: Trigger) -> Message | None:
    file = _file(said.message)
    if file is not None and file["size"] > MOST_FILE_BYTES:
        return _message(said, trigger, action=Say(text=FILES_TOO_LARGE))
    if file is not None or text:
        return _message(said, trigger, text=text, files=[file] if file is not None else [])
    if any(kind in said.message for kind in _NOT_READ):
        return _message(said, trigger, action=Say(text=_NOT_UNDERSTOOD))
    return None


def _file(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document, or the largest size of the photo that is not too large."""
    document, sizes = message.get("document"), message.get("photo")
    if isinstance(document, dict) and isinstance(document.get("file_id"), str):
        name, kind = document.get("file_name"), document.get("mime_type")
        return _named(document, str(name or "document"), str(kind or "application/octet-stream"))
    photos = [one for one in sizes if isinstance(one, dict)] if isinstance(sizes, list) else []
    photos = [one for one in photos if isinstance(one.get("file_id"), str)]
    if not photos:
        return None
    found = sorted((_named(one, "photo.jpg", "image/jpeg") for one in photos), key=_size)
    fitting = [one for one in found if one["size"] <= MOST_FILE_BYTES]
    return fitting[-1] if fitting else found[0]


def _named(file: Mapping[str, Any], name: str, media_type: str) -> dict[str, Any]:
    size = file.get("file_size")
    return {
        "id": file["file_id"],
        "name": name[:200],
        "media_type": media_type[:100],
        "size": size if isinstance(size, int) else 0,
    }


def _size(file: Mapping[str, Any]) -> int:
    size: int = file["size"]
    return size


def _message(
    said: _Said,
    trigger: Trigger,
    *,
    action: Action | None = None,
    text: str | None = None,
    files: Sequence[Mapping[str, Any]] = (),
) -> Message:
    message = said.message
    thread = message.get("message_thread_id") if message.get("is_topic_message") else None
    topic = {"thread": thread} if isinstance(thread, int) else {}
    chat = said.chat["id"]
    return Message(
        trigger=trigger,
        key=str(said.update_id)[:_LONGEST_KEY],
        content={
            "body": message,
            "text": said.text if text is None else text,
            "sender": str(message["from"]["id"]),
            "conversation": f"{chat}/{thread}" if topic else str(chat),
            "event": said.event,
            "files": list(files),
        },
        back={"chat": chat, "message": message["message_id"], **topic},
        action=action or StartRun(),
        album=_album(said, action, files),
    )


def _album(said: _Said, action: Action | None, files: Sequence[object]) -> str:
    group = said.message.get("media_group_id")
    is_new = said.event == "message" and action is None
    if not is_new or not files or not isinstance(group, str) or not group:
        return ""
    return f"album {said.chat['id']} {group}"[:_LONGEST_KEY]


def _moved(update_id: int, message: Any, trigger: Trigger) -> Message | None:
    """A group has become a supergroup, which has another number; both say so."""
    chat = message.get("chat") if isinstance(message, dict) else None
    here = chat.get("id") if isinstance(chat, dict) else None
    if not isinstance(here, int):
        return None
    former, now = message.get("migrate_from_chat_id", here), message.get("migrate_to_chat_id", here)
    if not isinstance(former, int) or not isinstance(now, int) or former == now:
        return None
    return Message(
        trigger=trigger,
        key=str(update_id)[:_LONGEST_KEY],
        content={
            "body": message,
            "text": "",
            "sender": "",
            "conversation": str(now),
            "event": "message",
            "files": [],
        },
        back={"chat": now, "message": message.get("message_id")},
        action=MoveConversation(former=str(former)),
    )


def _pushed(update_id: int, query: Mapping[str, Any], trigger: Trigger) -> Message | None:
    """A button. Whose it is, and whether it may be pushed here, is known when the run is looked up."""
    message, sender, data = query.get("message"), query.get("from"), query.get("data")
    if not isinstance(message, dict) or not isinstance(sender, dict) or not isinstance(data, str):
        return None
    answer = pushed(data)
    chat = message.get("chat")
    if answer is None or not isinstance(chat, dict) or not isinstance(chat.get("id"), int):
        return None
    thread = message.get("message_thread_id") if message.get("is_topic_message") else None
    asked = message.get("text")
    who = sender.get("first_name") or sender.get("username") or sender.get("id")
    return Message(
        trigger=trigger,
        key=str(update_id)[:_LONGEST_KEY],
        content={
            "body": query,
            "text": data,
            "sender": str(sender.get("id", "")),
            "conversation": str(chat["id"]) if thread is None else f"{chat['id']}/{thread}",
            "event": "callback_query",
            "files": [],
        },
        back={
            "chat": chat["id"],
            "message": message.get("message_id"),
            "callback": str(query.get("id", "")),
            "who": str(who)[:100],
            "question": asked if isinstance(asked, str) else "",
        },
        action=answer,
    )
