"""Conversations: what is said, by whom and when, and which of it belongs together."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cadre_memory.domain.entries import (
    Entry,
    Role,
    Searched,
    cues_of,
    thread_of,
)
from cadre_memory.domain.items import (
    LABEL_CHARACTERS,
    FieldInvalid,
    Item,
    Turn,
    message_key,
    valid_metadata,
    valid_together,
    valid_value,
)
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import Draft, Embedder, micros
from cadre_memory.domain.texts import TEXT_CHARACTERS, indexed, words_in

AT_ONCE = 1_000
"""Messages, or values, of one call."""

SESSION_GAP = timedelta(hours=6)
"""After such a silence a new session begins, unless the caller names sessions."""

END = 2**62
"""A position after every message."""

_CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True, kw_only=True)
class Message:
    """Something said. `session` is empty where the caller leaves it to the times; `metadata` is a JSON object."""

    role: Role
    name: str
    text: str
    time: datetime
    session: str
    metadata: str

    @classmethod
    def of(cls, item: Item, turn: Turn) -> "Message":
        """The message that an item is."""
        return cls(
            role=turn.role,
            name=turn.name,
            text=json.loads(item.value),
            time=turn.time,
            session=turn.session,
            metadata=item.metadata,
        )


@dataclass(frozen=True, kw_only=True)
class Understood:
    """A message with what of it is searched; where it stands is not known yet."""

    message: Message
    entry: Entry


def valid_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Messages within every limit. Raises FieldInvalid and NotJson."""
    if not 1 <= len(messages) <= AT_ONCE:
        raise FieldInvalid(
            "messages",
            f"messages has {len(messages)} entries; 1 to {AT_ONCE} are allowed",
            code="MESSAGES_INVALID",
            resolution="Append them in several calls.",
        )
    valid_together("messages", (message.text for message in messages))
    return tuple(_valid(place, message) for place, message in enumerate(messages))


def _valid(place: int, message: Message) -> Message:
    valid_value(json.dumps(message.text, ensure_ascii=False))
    for field, value in (("name", message.name), ("session", message.session)):
        if len(value) > LABEL_CHARACTERS or "\x00" in value:
            raise FieldInvalid(
                f"messages[{place}].{field}",
                f"messages[{place}].{field} has {len(value)} characters; at most {LABEL_CHARACTERS}, without NUL,"
                " are allowed",
                code="MESSAGES_INVALID",
            )
    return replace(message, metadata=valid_metadata(message.metadata))


def understood(messages: Sequence[Message], *, embedder: Embedder) -> list[Understood]:
    """What of messages is searched, with their meanings as far as the embedder knows them at once."""
    searched = [searched_message(each) for each in messages]
    meanings = embedder.embed([each.text for each in searched])
    return [
        Understood(message=message, entry=each.entry.meaning(vector))
        for message, each, vector in zip(messages, searched, meanings, strict=True)
    ]


def searched_message(message: Message) -> Searched:
    """What of a message is searched: its text, and its speaker's name among the words."""
    text = message.text[:TEXT_CHARACTERS]
    words = words_in(text)
    signs, first_day, last_day = cues_of(text, words, said=message.time)
    entry = Entry(
        item_id=0,
        expires=None,
        said=micros(message.time),
        thread=0,
        position=0,
        speaker=message.name,
        role=message.role,
        signs=signs,
        first_day=first_day,
        last_day=last_day,
        terms=indexed([*words_in(message.name), *words]),
        embedding=None,
    )
    return Searched(entry=entry, text=text)


def drafts_after(
    last: Turn | None, said: Sequence[Understood], *, namespace: Namespace
) -> Iterator[Draft]:
    """The messages as items that follow the last one of their conversation."""
    for each in said:
        turn = _turn_after(last, each.message)
        thread = thread_of(namespace, turn.session)
        yield Draft(
            namespace=namespace,
            key=message_key(turn.position),
            value=json.dumps(each.message.text, ensure_ascii=False),
            metadata=each.message.metadata,
            tags=(),
            expires=None,
            if_version=0,
            turn=turn,
            entry=each.entry._replace(thread=thread, position=turn.position),
        )
        last = turn


def _turn_after(last: Turn | None, message: Message) -> Turn:
    session = message.session
    if not session:
        goes_on = last is not None and abs(message.time - last.time) <= SESSION_GAP
        session = last.session if last is not None and goes_on else message.time.isoformat()
    return Turn(
        position=0 if last is None else last.position + 1,
        role=message.role,
        name=message.name,
        session=session,
        time=message.time,
    )


def tokens_of(text: str) -> int:
    """About how many tokens a model takes a text for: one for four characters, and four for who said it."""
    return len(text) // _CHARACTERS_A_TOKEN + 4
