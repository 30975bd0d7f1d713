"""What of an item is searched: its terms, its meaning, and who said it, when, after what."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import IntEnum, IntFlag
from typing import NamedTuple

from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.times import days_named


class Role(IntEnum):
    """Who speaks in a conversation."""

    NONE = 0
    USER = 1
    ASSISTANT = 2
    SYSTEM = 3
    TOOL = 4


class Signs(IntFlag):
    """What a text looks like, whatever its words."""

    NONE = 0
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


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What of an item is searched, but for its meaning, and the text that has the meaning."""

    entry: Entry
    text: str


_NUMBER = re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred)\b")


def thread_of(namespace: Namespace, session: str) -> int:
    """A number for one session of one conversation; never 0."""
    said = "\x1f".join((*namespace, "", session)).encode()
    digest = hashlib.blake2b(said, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) or 1


def signs_of(text: str) -> Signs:
    """What a text looks like; whether it names a time is for `days_of`."""
    signs = Signs.QUESTION if text.rstrip().endswith("?") else Signs.NONE
    return signs | Signs.NUMBER if _NUMBER.search(text.lower()) else signs


def days_of(text: str, *, said: datetime) -> tuple[int, int]:
    """The first and the last day that a text names, as ordinals; 0 and 0 when it names none."""
    today: date = said.astimezone(UTC).date()
    named = days_named(text, today=today)
    if not named:
        return 0, 0
    return min(d.first for d in named).toordinal(), max(d.last for d in named).toordinal()
