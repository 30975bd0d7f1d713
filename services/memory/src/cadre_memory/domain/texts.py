"""The words of values and of questions: what is indexed, and what is looked for."""

import asyncio
import json
import re
import threading
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from Stemmer import Stemmer

from cadre_memory.domain.words import OfWords

TEXT_CHARACTERS = 32_768
"""How much of a value's text is searched; what comes after it is stored but not found."""

QUERY_WORDS = 64
"""How many different words of a question are looked for."""

TERM = np.dtype([("term", "<u4"), ("halves", "u1")])
"""A word's stem as a number, and how often a text has it, in halves: a word of the key counts half."""

_COUNTS = [bytes([count]) for count in range(256)]

PASSAGE_CHARACTERS = 500

_SHORT = 2_000
_EACH = 500
"""Characters that are understood while another thread begins to, and those that one more text is worth."""

Result = TypeVar("Result")

_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*|[.!?\n]+")
_STEP = re.compile(r"\[[^\]]*\]|[^.\[\]]+")
_WORD = re.compile(r"[^\W_]+")
# Scripts that put no spaces between words: their pairs of characters stand for words.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]{2,}")
_STEMMER = Stemmer("english")
# The stemmer keeps its state in the object.
_STEMMING = threading.Lock()

# Words that most English texts have: they find everything, and so nothing.
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about after all also am an and any are as at be because been before being but by can could did do
        does doing for from had has have having he her here hers him his how i if in into is it its
        just me more most my no nor not of on or our ours out over own s same she should so some
        such t than that the their theirs them then there these they this those through to too under
        until up very was we were what when where which while who whom why will with would you your
        yours re ve ll m d don didn doesn isn wasn""",
    )
)


_ASIDE = r"(?:hey|hi|hello|ok|okay|so|well|sorry|now|and|also|please|thanks|(?:a\s+)?quick\s+(?:question|check))"
_ASKING = r"what|which|who|whom|whose|when|where|why|how|if|whether"
# "Can you remind me", "do you know"; and after them what is asked for.
_REQUESTS = rf"""
    (?: (?:can|could|would|will)\s+you(?:\s+(?:please|kindly|maybe|just))?\s+
        (?:(?:tell|remind|show|help)\s+me|look\s+up|find\s+out|check|recall|remember|say)
      | do\s+you\s+(?:still\s+|happen\s+to\s+)?(?:know|remember|recall)
      | (?:tell|remind|help)\s+me | look\s+up | find\s+out )
    (?:\s+(?:again|out|of|about))? (?:\s*[,:]|(?=\s+(?:{_ASKING}|my|our|your|the|his|her|their)\b))
  | (?: i\s+(?:forgot|forget|wonder|(?:can't|cannot|don't|do\s+not)\s+(?:remember|recall|know))
      | i(?:'ve|'m|\s+have|\s+am)\s+(?:been\s+)?(?:trying\s+to\s+remember|wondering) )
    (?:\s*[,:]|(?=\s+(?:{_ASKING})\b))
"""
# "Well water" begins with no aside: such a word stands before a comma, or before what begins a question.
_BEGINNING = rf"{_ASIDE}|{_ASKING}|can|could|would|will|do|tell|remind|look|find|help|i"
_ASIDES = rf"{_ASIDE}(?:\s*[^\w\s]\W*|\s+(?=(?:{_BEGINNING})\b))"
_FRAME = re.compile(rf"\W*(?:{_ASIDES}|(?:{_REQUESTS})\W*)*", re.IGNORECASE | re.VERBOSE)


async def at_once_if_short(work: Callable[[], Result], *, texts: Iterable[str]) -> Result:
    """What work on texts comes to: done by the caller where they are short, else by another thread."""
    if sum(_EACH + len(text) for text in texts) <= _SHORT:
        return work()
    return await asyncio.to_thread(work)


def text_of(value: object) -> str:
    """The words of a document: a string is itself, of anything else each leaf is a line, with its name before it."""
    text = value if isinstance(value, str) else "\n".join(_lines(value))
    text = text[:TEXT_CHARACTERS]
    # An escaped lone surrogate is JSON, but not text that can be stored or read by anyone.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def searched_text(value: object, fields: tuple[str, ...] | None) -> str:
    """The words of a document, or of only some parts of it."""
    if fields is None:
        return text_of(value)
    parts = [part for path in fields for part in parts_at(value, path)]
    return text_of("\n".join(map(text_of, parts)))


def parts_at(value: object, path: str) -> list[object]:
    """The parts of a document at a place, such as `parts[*].text`; `$` is all of it."""
    found = [value]
    for step in [] if path == "$" else _STEP.findall(path):
        found = [part for each in found for part in _parts_of(each, step)]
    return found


def _parts_of(value: object, step: str) -> list[object]:
    match value:
        case dict() if not step.startswith("["):
            return [value[step]] if step in value else []
        case list() if step == "[*]":
            return list(value)
        case list() if step.startswith("["):
            at = int(step[1:-1])
            return [value[at]] if -len(value) <= at < len(value) else []
        case _:
            return []


def _lines(value: object) -> Iterator[str]:
    # By hand and not by recursion, which deep documents would exhaust.
    room = TEXT_CHARACTERS
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting and room > 0:
        name, found = waiting.pop()
        match found:
            case dict():
                waiting.extend(reversed(found.items()))
            case list():
                waiting.extend((name, each) for each in reversed(found))
            case None | "":
                pass
            case _:
                leaf = found if isinstance(found, str) else json.dumps(found)
                line = f"{name}: {leaf}" if name else leaf
                room -= len(line)
                yield line


def asked_in(question: str) -> str:
    """A question without the words around it: "Can you remind me what ..." asks for nothing that "What ..." does not,
    and its words would find what somebody was asked, or reminded of."""
    frame = _FRAME.match(question)
    return question[frame.end() :] or question if frame else question


def words_of(question: str) -> tuple[str, ...]:
    """The different words of a question, in its order, without those that say nothing unless there are no others."""
    return tuple(dict.fromkeys(_telling(words_in(asked_in(question)))))[:QUERY_WORDS]


def terms_of(question: str) -> tuple[int, ...]:
    """The stems of a question's words, as an index of texts has them."""
    return tuple(dict.fromkeys(_term(word) for word in words_of(question)))


def indexed(text: Sequence[str], key: Sequence[str] = ()) -> bytes:
    """The stems of the words of a text and of its key, as TERM records."""
    said = [_STEMS[word] for word in _telling(text)]
    named = [_STEMS[word] for word in _telling(key)]
    if len({*said, *named}) == len(said) + len(named):
        # As most short texts have it, each once.
        return b"\x02".join([*said, b""]) + b"\x01".join([*named, b""])
    halves: dict[bytes, int] = {}
    for stems, worth in ((said, 2), (named, 1)):
        for stem in stems:
            halves[stem] = halves.get(stem, 0) + worth
    return b"".join(
        [stem + (_COUNTS[count] if count < 255 else b"\xff") for stem, count in halves.items()]
    )


def passage_of(text: str, terms: frozenset[int]) -> str:
    """The part of a text that has most of the terms, at most PASSAGE_CHARACTERS; the first of equals."""
    if len(text) <= PASSAGE_CHARACTERS:
        return text
    parts = [
        sentence[start : start + PASSAGE_CHARACTERS]
        for sentence in map(str, _SENTENCE.findall(text[:TEXT_CHARACTERS]))
        for start in range(0, len(sentence), PASSAGE_CHARACTERS)
    ]
    best: str = max(parts, key=lambda part: len(terms.intersection(map(_term, words_in(part)))))
    return best.strip()


def _telling(words: Sequence[str]) -> Sequence[str]:
    return [word for word in words if word not in _STOP_WORDS] or words


def words_in(text: str) -> list[str]:
    """The words of a text in its order, in lower case and without accents."""
    plain = text.lower()
    if plain.isascii():
        return _WORD.findall(plain)
    return [part for word in _WORD.findall(_without_accents(plain)) for part in _parts(word)]


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(c for c in apart if not unicodedata.combining(c)))


def _parts(word: str) -> Iterator[str]:
    if word.isascii() or not _UNSPACED.fullmatch(word):
        yield word
        return
    for start in range(len(word) - 1):
        yield word[start : start + 2]


def _term(word: str) -> int:
    return int.from_bytes(_STEMS[word], "little")


def _stem(word: str) -> bytes:
    """A word's stem as the number of a TERM record."""
    with _STEMMING:
        stem: str = _STEMMER.stemWord(word)
    return zlib.crc32(stem.encode()).to_bytes(4, "little")


_STEMS = OfWords(_stem, size=32_768)
