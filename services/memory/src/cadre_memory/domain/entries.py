"""What of an item is searched: its terms, its meaning, and who said it, when, after what."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import NamedTuple

from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.times import days_named, may_name_days


class Role(IntEnum):
    """Who speaks in a conversation."""

    NONE = 0
    USER = 1
    ASSISTANT = 2
    SYSTEM = 3
    TOOL = 4


class Signs(IntEnum):
    """What a text looks like, whatever its words: bits of a number."""

    QUESTION = 1
    NUMBER = 2
    TIME = 4


class Entry(NamedTuple):
    """An item as the index has it. Times are microseconds since 1970, days are ordinals, 0 means none."""

    item_id: int
    expires: int | None
    said: int
    thread: int
    position: int
    speaker: str
    role: int
    signs: int
    first_day: int
    last_day: int
    terms: bytes
    embedding: bytes | None

    def meaning(self, embedding: bytes | None) -> "Entry":
        """The same with a meaning."""
        return Entry(*self[:-1], embedding)


class Searched(NamedTuple):
    """What of an item is searched, but for its meaning, and the text that has the meaning."""

    entry: Entry
    text: str


_NUMBERS = "one two three four five six seven eight nine ten dozen hundred".split()
_NUMBER = re.compile(rf"\b(?:{'|'.join(_NUMBERS)})\b")
_NUMBERING = frozenset(_NUMBERS)
_DIGIT = re.compile(r"\d")


def thread_of(namespace: Namespace, session: str) -> int:
    """A number for one session of one conversation; never 0."""
    said = "\x1f".join((*namespace, "", session)).encode()
    digest = hashlib.blake2b(said, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) or 1


def cues_of(text: str, words: Sequence[str], *, said: datetime) -> tuple[int, int, int]:
    """What a text of these words looks like, as Signs, and the first and the last day that it names, as ordinals; 0 and
    0 when it names none."""
    digits = _DIGIT.search(text) is not None
    signs, first, last = 0, 0, 0
    if text.rstrip().endswith("?"):
        signs |= Signs.QUESTION
    if digits or _says_number(text, words):
        signs |= Signs.NUMBER
    if may_name_days(text, words, digits=digits):
        first, last = _days_of(text, said=said)
    if first:
        signs |= Signs.TIME
    return signs, first, last


def _says_number(text: str, words: Sequence[str]) -> bool:
    if text.isascii() and _NUMBERING.isdisjoint(words):
        return False
    return _NUMBER.search(text.lower()) is not None


def _days_of(text: str, *, said: datetime) -> tuple[int, int]:
    named = days_named(text, today=said.astimezone(UTC).date())
    if not named:
        return 0, 0
    return min(d.first for d in named).toordinal(), max(d.last for d in named).toordinal()
