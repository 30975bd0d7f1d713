"""Facts: what a model may say of a conversation, and what that changes in what is known."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from cadre_memory.domain.items import Item
from cadre_memory.domain.memories import NewItem
from cadre_memory.domain.models import ReplyUnusable
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.texts import TERM, indexed, words_in
from cadre_memory.domain.validity import VALID_FROM, VALID_TO, Span, day_start, span_of

FACT_TAG = "fact"
FACTS_LABEL = "facts"
"""The last segment of the namespaces that hold facts."""

_FACT_CHARACTERS = 500
_AT_ONCE = 10

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["facts"],
    "properties": {
        "facts": {
            "type": "array",
            "maxItems": _AT_ONCE,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["fact", "action", "known", "since", "until"],
                "properties": {
                    "fact": {"type": "string"},
                    "action": {"type": "string", "enum": ["add", "update", "supersede", "ignore"]},
                    "known": {"type": "integer"},
                    "since": {"type": "string"},
                    "until": {"type": "string"},
                },
            },
        }
    },
}
"""A model's reply: `known` is the number of a known fact or 0; `since` and `until` are days, or empty."""


class Action(Enum):
    """What a fact is to what is known."""

    ADD = "add"
    UPDATE = "update"
    SUPERSEDE = "supersede"
    IGNORE = "ignore"


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One fact that a model found. `known` is the key of the fact that it updates or supersedes; empty for none."""

    text: str
    action: Action
    known: str = ""
    since: date | None = None
    until: date | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The whole as JSON."""
        return {
            "text": self.text,
            "action": self.action.value,
            "known": self.known,
            "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Lesson":
        """The lesson of a document."""
        return cls(
            text=document["text"],
            action=Action(document["action"]),
            known=document["known"],
            since=_day(document["since"] or ""),
            until=_day(document["until"] or ""),
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where facts come from: the messages, when they were said, and what is put into each fact's metadata about it."""

    facts: Namespace
    text: str
    said: datetime
    prefix: str
    metadata: Mapping[str, Any]


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore")

    fact: str
    action: Action
    known: int = 0
    since: str = ""
    until: str = ""


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore")

    facts: list[_Said]


def lessons_of(reply: str, known: Sequence[Item], *, source: Source) -> tuple[Lesson, ...]:
    """What a model's reply says, without what cannot be meant: facts of words that nobody said, or said again, and
    references to what is not there. Raises ReplyUnusable."""
    try:
        said = _Reply.model_validate_json(reply).facts
    except ValidationError as exc:
        raise ReplyUnusable("the model's reply is no list of facts") from exc
    seen = {_plain(json.loads(item.value)) for item in known}
    lessons = []
    for each in said[:_AT_ONCE]:
        lesson = _lesson(each, known)
        if lesson.action is Action.IGNORE or not _is_grounded(lesson.text, source.text):
            continue
        if _plain(lesson.text) not in seen:
            seen.add(_plain(lesson.text))
            lessons.append(lesson)
    return tuple(lessons)


def changes(
    lessons: Sequence[Lesson], known: Mapping[str, Item], *, source: Source
) -> list[NewItem]:
    """What is stored for lessons: new facts, and known ones that they update or end. `known` are the facts that lessons
    name, by key, as they are now; one that is gone is taken for unknown."""
    found: list[NewItem] = []
    touched: set[str] = set()
    for place, lesson in enumerate(lessons):
        old = None if lesson.known in touched else known.get(lesson.known)
        if old is not None:
            touched.add(old.key)
        found += _changes(f"{source.prefix}-{place}", lesson, old, source)
    return found


def _changes(key: str, lesson: Lesson, old: Item | None, source: Source) -> list[NewItem]:
    held = _held(lesson, source)
    own: dict[str, Any] = dict(source.metadata)
    if held.start:
        own[VALID_FROM] = held.start.isoformat()
    if held.end:
        own[VALID_TO] = held.end.isoformat()
    if old is None:
        return [_fact(key, lesson.text, own, source)]
    before = json.loads(old.metadata)
    if lesson.action is Action.UPDATE:
        kept = {name: value for name, value in before.items() if name.startswith("valid_")}
        return [_fact(old.key, lesson.text, {**own, **kept}, source, over=old.version)]
    began = span_of(before).start
    if held.start is None or (began is not None and held.start < began):
        # Told late: what is known came after it.
        if began is not None:
            own.setdefault(VALID_TO, began.isoformat())
        return [_fact(key, lesson.text, {**own, "superseded_by": old.key}, source)]
    ended = {**before, VALID_TO: held.start.isoformat(), "superseded_by": key}
    return [
        _fact(old.key, json.loads(old.value), ended, source, over=old.version),
        _fact(key, lesson.text, {**own, "supersedes": old.key}, source),
    ]


def _held(lesson: Lesson, source: Source) -> Span:
    """When a fact holds: since it was said, unless that is after its end; nobody meant an end before its beginning."""
    since = day_start(lesson.since) if lesson.since else None
    until = day_start(lesson.until) if lesson.until else None
    if since is None:
        return Span(start=source.said if until is None or until > source.said else None, end=until)
    return Span(start=since, end=until if until is None or until > since else None)


def _fact(
    key: str, text: str, metadata: Mapping[str, Any], source: Source, *, over: int = 0
) -> NewItem:
    return NewItem(
        namespace=source.facts,
        key=key,
        value=json.dumps(text, ensure_ascii=False),
        metadata=json.dumps(metadata),
        tags=(FACT_TAG,),
        if_version=over,
    )


def _lesson(said: _Said, known: Sequence[Item]) -> Lesson:
    names_known = 1 <= said.known <= len(known)
    wants_known = said.action in (Action.UPDATE, Action.SUPERSEDE)
    return Lesson(
        text=" ".join(said.fact.split())[:_FACT_CHARACTERS],
        action=Action.ADD if wants_known and not names_known else said.action,
        known=known[said.known - 1].key if names_known and wants_known else "",
        since=_day(said.since),
        until=_day(said.until),
    )


def _is_grounded(fact: str, said: str) -> bool:
    return bool(_stems(fact) & _stems(said))


def _stems(text: str) -> set[int]:
    return set(np.frombuffer(indexed(words_in(text)), TERM)["term"].tolist())


def _plain(text: object) -> str:
    return " ".join(str(text).casefold().split()).rstrip(".")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip()[:10])
    except ValueError:
        return None
