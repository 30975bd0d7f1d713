"""What is searched of a text: told by few looks at it, and the same as by all of them."""

import hashlib
import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.entries import Entry, Signs
from cadre_memory.domain.stores import stored_vector
from cadre_memory.domain.texts import indexed, words_in
from cadre_memory.domain.times import days_named
from cadre_memory.domain.understanding import searched_value
from cadre_memory.domain.words import OfWords

EMBEDDER = WordLlamaEmbedder()
SAID = datetime(2024, 5, 17, 12, tzinfo=UTC)
PIECES = [
    "Ada", "moved", "to", "the", "is", "last", "Friday", "this\tmorning", "next week", "in May", "since march",
    "may_be", "5th of May", "Sept. 2021", "in 2023", "2023-04-05", "2023-13-45", "a2023-01-01", "three days ago",
    "12 months later", "one_two", "ten", "dozen", "seventeen", "31 February", "yesterday", "weekdays", "winter is",
    "laſt ſunday", "last frıday", "٣ days ago", "in ２０２４", "東京に引っ越した", "สวัสดี", "한국어", "שלום",
    "e\u0301cole", "ΑΣ", "İstanbul", "🙂", "\x00", "snake_case", "don't", "3.14", "?", "", "monday's",
    "until Augustus", "during august.",
]  # fmt: skip
TEXTS = st.builds(
    lambda pieces, between: between.join(pieces),
    st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8),
    st.sampled_from([" ", "\n", "", "_", ", ", "\u00a0"]),
)
_NUMBER = re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred)\b")


def entry(text: str) -> Entry:
    return searched_value(text, None, key="In May 7", said=SAID).entry


@settings(deadline=None)
@given(TEXTS)
def test_what_a_text_names_is_found_by_a_short_look_as_by_a_long_one(text: str) -> None:
    found = entry(text)

    named = days_named(text, today=date(2024, 5, 17))
    assert found.first_day == min((d.first.toordinal() for d in named), default=0)
    assert found.last_day == max((d.last.toordinal() for d in named), default=0)
    assert bool(found.signs & Signs.TIME) == bool(named)
    assert bool(found.signs & Signs.NUMBER) == bool(_NUMBER.search(text.lower()))
    assert bool(found.signs & Signs.QUESTION) == text.rstrip().endswith("?")


def test_what_is_searched_stays_what_it_was_in_files_that_are_there() -> None:
    texts = [" ".join(PIECES[start : start + 7]) for start in range(len(PIECES))]
    texts += [*PIECES, " ".join(PIECES * 10), "Ada saw Ada and Ada's ada"]

    stored = [(*entry(text)[7:10], entry(text).terms) for text in texts]

    digest = hashlib.sha256(repr([(int(s), f, t, terms) for s, f, t, terms in stored]).encode())
    assert digest.hexdigest()[:16] == "6fe6170db6fc2ec2"


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_meanings_of_many_texts_are_those_of_each(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]

    assert EMBEDDER.embed(texts) == [stored_vector(EMBEDDER.vector(text)) for text in texts]


@pytest.mark.parametrize(("words", "counts"), [(["a1", "b1"], [2, 2, 1]), (["a1", "a1"], [4, 1])])
def test_terms_are_counted(words: list[str], counts: list[int]) -> None:
    assert list(indexed(words, ["c1"])[4::5]) == counts
    assert list(indexed(words, words)[4::5]) == [each + each // 2 for each in counts[:-1]]


def test_words_that_come_again_are_made_once_and_old_ones_forgotten() -> None:
    made: list[str] = []

    def make(word: str) -> bytes:
        made.append(word)
        return word.encode()

    kept = OfWords(make, size=10)
    for number in range(100):
        assert kept["again"] == b"again"
        assert kept[f"w{number}"] == f"w{number}".encode()
        assert kept["long" * 20] == b"long" * 20
        assert len(kept) + len(kept._older) <= 20

    assert made.count("again") == 1
    assert made.count("w1") == 1
    assert kept["w1"] == b"w1"
    assert made.count("w1") == 2


def test_words_are_those_of_a_text_in_order() -> None:
    assert words_in("Ada’s É, e\u0301: 2") == ["ada", "s", "e", "e", "2"]
