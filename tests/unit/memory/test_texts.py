"""The words of values and of questions, and the scores of what they have in common."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadre_memory.domain.texts import TEXT_CHARACTERS, asked_in, text_of, words_of

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"city": "Berlin", "since": 2020}, "city: Berlin\nsince: 2020"),
        ({"tags": ["new", {"kind": "paid"}], "none": None}, "tags: new\nkind: paid"),
        ([True, 1.5], "true\n1.5"),
        (None, ""),
        ("\ud800", "?"),
    ],
)
def test_a_document_says_its_leaves_with_their_names(value: object, text: str) -> None:
    assert text_of(value) == text


@given(DOCUMENTS)
def test_the_text_of_any_document_can_be_stored(value: object) -> None:
    text = text_of(json.loads(json.dumps(value)))

    assert len(text) <= TEXT_CHARACTERS
    assert text.encode("utf-8").decode() == text


def test_a_deep_document_has_a_text() -> None:
    assert text_of(json.loads("[" * 900 + '"deep"' + "]" * 900)) == "deep"


def test_a_question_is_asked_by_the_words_that_tell() -> None:
    assert words_of("Where does Ada live, and why does ADA live there?") == ("ada", "live")
    assert words_of("What is it?") == ("what", "is", "it")
    assert words_of('" OR snake_case NOT (') == ("snake", "case")
    assert words_of("?!") == ()
    assert len(words_of(" ".join(f"w{n}" for n in range(500)))) == 64


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Can you remind me where I had dinner?", "where I had dinner?"),
        ("Hey, could you please tell me how long it takes?", "how long it takes?"),
        ("Do you remember my sister's name?", "my sister's name?"),
        ("I forgot, who plays the cello?", "who plays the cello?"),
        ("I've been trying to remember: what did Ben lose?", "what did Ben lose?"),
        ("Thanks! And when did Ben move?", "when did Ben move?"),
    ],
)
def test_the_words_around_a_question_are_not_looked_for(question: str, asked: str) -> None:
    assert asked_in(question) == asked
    assert words_of(question) == words_of(asked)


@pytest.mark.parametrize(
    "question",
    [
        "Who forgot the keys?",
        "Well water quality?",
        "Hello Kitty?",
        "will you?",
        "I forgot my umbrella",
        "remind me",
        "please",
        "-",
        " ",
    ],
)
def test_a_question_that_has_no_words_around_it_is_whole(question: str) -> None:
    assert asked_in(question) == question
