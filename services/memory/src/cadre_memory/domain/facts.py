"""Facts: what a model may say of a conversation, and what that changes in what is known."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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

_BEFORE, _AFTER = "supersedes", "superseded_by"
# What an update of a fact leaves as it was.
_KEPT = (VALID_FROM, VALID_TO, _BEFORE, _AFTER)
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
    name, by key, as they are now, with what those replaced and what replaced them; one that is gone is taken for
    unknown."""
    facts = _Facts({key: _Fact.of(item) for key, item in known.items()})
    for place, lesson in enumerate(lessons):
        _learn(f"{source.prefix}-{place}", lesson, facts, source)
    return [_put(key, fact, source) for key, fact in facts.changed.items()]


def neighbours_of(fact: Item) -> tuple[str, ...]:
    """The keys of what a fact replaced, and of what replaced it."""
    metadata = json.loads(fact.metadata)
    return tuple(filter(None, (_linked(metadata, link) for link in (_BEFORE, _AFTER))))


def _linked(metadata: Mapping[str, Any], link: str) -> str:
    # Whoever may write there may have put in anything.
    key = metadata.get(link)
    return key if isinstance(key, str) else ""


@dataclass(frozen=True, kw_only=True)
class _Fact:
    """A fact as it is, or will be: `version` 0 is new."""

    text: str
    metadata: Mapping[str, Any]
    version: int = 0

    @classmethod
    def of(cls, item: Item) -> "_Fact":
        return cls(
            text=json.loads(item.value), metadata=json.loads(item.metadata), version=item.version
        )

    @property
    def span(self) -> Span:
        return span_of(self.metadata)

    def saying(self, **metadata: str) -> "_Fact":
        return replace(self, metadata={**self.metadata, **metadata})


class _Facts:
    """The facts that are known, while lessons change them."""

    def __init__(self, known: dict[str, _Fact]) -> None:
        self.changed: dict[str, _Fact] = {}
        self._known = known

    def get(self, key: str) -> _Fact | None:
        return self.changed.get(key) or self._known.get(key)

    def put(self, key: str, fact: _Fact) -> None:
        self.changed[key] = fact

    def around(self, key: str, start: datetime | None) -> tuple[str, str]:
        """The keys of the last of those that replaced each other to have begun at a time, and of the next one; empty
        for none."""
        chain = self._chain(key)
        begun = [each for each in chain if _has_begun(self._known_span(each).start, start)]
        later = [each for each in chain if each not in begun]
        return (begun[-1] if begun else ""), (later[0] if later else "")

    def _chain(self, key: str) -> list[str]:
        """All that replaced each other, in that order."""
        chain: list[str] = []
        for link in (_BEFORE, _AFTER):
            step = key
            while (fact := self.get(step)) is not None:
                if step not in chain:
                    chain.insert(0 if link == _BEFORE else len(chain), step)
                step = _linked(fact.metadata, link)
                if step in chain:
                    break
        return chain

    def _known_span(self, key: str) -> Span:
        fact = self.get(key)
        return fact.span if fact else Span()


def _has_begun(start: datetime | None, now: datetime | None) -> bool:
    """Whether what begins at one time has at another; what began nobody knows when, before all else."""
    return now is not None and (start is None or start <= now)


def _learn(key: str, lesson: Lesson, facts: _Facts, source: Source) -> None:
    old = facts.get(lesson.known)
    if old is not None and lesson.action is Action.UPDATE and lesson.known not in facts.changed:
        kept = {name: value for name, value in old.metadata.items() if name in _KEPT}
        facts.put(
            lesson.known, replace(old, text=lesson.text, metadata={**source.metadata, **kept})
        )
        return
    held = _held(lesson, source)
    own = dict(source.metadata)
    if held.start:
        own[VALID_FROM] = held.start.isoformat()
    if held.end:
        own[VALID_TO] = held.end.isoformat()
    facts.put(key, _Fact(text=lesson.text, metadata=own))
    if lesson.action is Action.SUPERSEDE:
        _put_between(*facts.around(lesson.known, held.start), key, facts)


def _put_between(before: str, after: str, key: str, facts: _Facts) -> None:
    """Has a new fact take its place among those that replaced each other: it ends one, and another ends it."""
    new, earlier, later = facts.changed[key], facts.get(before), facts.get(after)
    start = new.span.start
    # Two of one reply that begin together are both true.
    together = earlier is not None and earlier.version == 0 and earlier.span.start == start
    if later is not None and later.span.start is not None:
        new = new.saying(**{VALID_TO: later.span.start.isoformat(), **new.metadata, _AFTER: after})
        if not together:
            facts.put(after, later.saying(**{_BEFORE: key}))
    if earlier is not None and start is not None and not together:
        ended = earlier.span.end
        end = start if ended is None or ended > start else ended
        facts.put(before, earlier.saying(**{VALID_TO: end.isoformat(), _AFTER: key}))
        new = new.saying(**{_BEFORE: before})
    facts.put(key, new)


def _held(lesson: Lesson, source: Source) -> Span:
    """When a fact holds: since it was said, unless that is after its end; nobody meant an end before its beginning."""
    since = day_start(lesson.since) if lesson.since else None
    until = day_start(lesson.until) if lesson.until else None
    if since is None:
        return Span(start=source.said if until is None or until > source.said else None, end=until)
    return Span(start=since, end=until if until is None or until > since else None)


def _put(key: str, fact: _Fact, source: Source) -> NewItem:
    return NewItem(
        namespace=source.facts,
        key=key,
        value=json.dumps(fact.text, ensure_ascii=False),
        metadata=json.dumps(fact.metadata),
        tags=(FACT_TAG,),
        if_version=fact.version,
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
