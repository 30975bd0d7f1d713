"""Types accept what fits them, coerce where nothing is lost, and say it as JSON Schema."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadre_executor.domain.workflows import ValueRefused
from cadre_executor.language.types import (
    Anything,
    BadType,
    DictOf,
    Limits,
    ListOf,
    Member,
    Nullable,
    ObjectOf,
    Pattern,
    Text,
    Type,
    limited,
    parse_type,
)

_PERSON = {"name": Member(type=Text()), "age": Member(type=parse_type("int"), required=False)}


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("str", 3, "3"),
        ("str", True, "true"),
        ("int", "3", 3),
        ("int", 3.0, 3),
        ("float", 3, 3.0),
        ("float", "1e3", 1000.0),
        ("bool", "yes", True),
        ("bool", 0, False),
        ("any", {"a": [None]}, {"a": [None]}),
        ("list[int]", ["1", 2], [1, 2]),
        ("list[int]", "[1, 2]", [1, 2]),
        ("dict[str, float]", {"a": 1}, {"a": 1.0}),
        ("dict[int, str]", {"1": "a"}, {"1": "a"}),
        ("dict", '{"a": 1}', {"a": 1}),
        ("int | null", None, None),
        ("null | str", "x", "x"),
        ("list[str | null]", ["a", None], ["a", None]),
        ("object", {"anything": 1}, {"anything": 1}),
    ],
)
def test_what_loses_nothing_is_coerced(type_: str, value: object, expected: object) -> None:
    accepted = parse_type(type_).accept(value)

    assert accepted == expected
    assert type(accepted) is type(expected)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("str", None),
        ("str", ["a"]),
        ("str", "\ud800"),
        ("int", 3.5),
        ("int", True),
        ("int", "three"),
        ("float", "nan"),
        ("float", float("inf")),
        ("float", 10**400),
        ("bool", "perhaps"),
        ("bool", 2),
        ("list[int]", ["a"]),
        ("list[int]", {"a": 1}),
        ("list", "not json"),
        ("dict[int, str]", {"x": "a"}),
        ("dict", [1]),
        ("any", float("nan")),
        ("any", {1: 2}),
        ("any", {"a": object()}),
    ],
)
def test_what_does_not_fit_is_refused(type_: str, value: object) -> None:
    with pytest.raises(ValueRefused, match="the value"):
        parse_type(type_).accept(value)


def test_a_refusal_says_where_and_why_without_the_text() -> None:
    type_ = parse_type("list[object]", _PERSON)

    with pytest.raises(ValueRefused) as refused:
        type_.accept([{"name": "a"}, {"name": "b", "age": "s3cret"}])

    assert refused.value.message == "the value at [1].age must be int, not text"


def test_an_object_is_closed_and_its_optional_fields_have_their_default() -> None:
    type_ = ObjectOf(members={**_PERSON, "kind": Member(type=Text(), required=False, default="x")})

    assert type_.accept({"name": "Ada"}) == {"name": "Ada", "age": None, "kind": "x"}
    for wrong in ({"name": "Ada", "more": 1}, {"age": 1}):
        with pytest.raises(ValueRefused):
            type_.accept(wrong)


@pytest.mark.parametrize(
    ("type_", "limits", "good", "bad"),
    [
        ("str", Limits(enum=("a", "b")), "a", "c"),
        ("str", Limits(min_length=2, max_length=3), "ab", "abcd"),
        ("str", Limits(pattern=Pattern("^[a-z]+$")), "abc", "a1"),
        ("int", Limits(min=1, max=5), 5, 6),
        ("int", Limits(enum=(1, 2)), "1", 3),
        ("float", Limits(min=0.5), 0.5, 0.4),
        ("list[str]", Limits(max_length=1), ["a"], ["a", "b"]),
        ("dict", Limits(min_length=1), {"a": 1}, {}),
    ],
)
def test_limits_hold(type_: str, limits: Limits, good: object, bad: object) -> None:
    made = limited(parse_type(type_), limits, "")

    made.accept(good)
    with pytest.raises(ValueRefused):
        made.accept(bad)


@pytest.mark.parametrize(
    "text", ["", "strr", "list[", "list[str", "list[str]]", "dict[str]", "dict[list, str]", "str | int", "null",
             "list[" * 40 + "str" + "]" * 40, "str" * 300, "list[str] x", "😀"]
)  # fmt: skip
def test_a_type_written_wrong_is_refused(text: str) -> None:
    with pytest.raises(BadType):
        parse_type(text)


@pytest.mark.parametrize(
    ("type_", "limits"),
    [("str", Limits(min=1)), ("int", Limits(min_length=1)), ("int", Limits(min=5, max=1)),
     ("bool", Limits(enum=(True,))), ("str", Limits(enum=())), ("int", Limits(enum=("a",))),
     ("list", Limits(pattern=Pattern("a")))],
)  # fmt: skip
def test_a_limit_that_does_not_apply_is_refused(type_: str, limits: Limits) -> None:
    with pytest.raises(BadType):
        limited(parse_type(type_), limits, "")


@pytest.mark.parametrize("pattern", ["(", "(?=a)b", r"(a)\1", "(a{1000}){1000}"])
def test_a_pattern_that_could_run_away_is_refused(pattern: str) -> None:
    with pytest.raises(BadType):
        Pattern(pattern)


def test_a_pattern_takes_time_linear_in_the_text() -> None:
    assert not Pattern("^(a+)+$").found_in("a" * 100_000 + "b")


_NAMES = st.text(alphabet="abc", min_size=1, max_size=3)
_TYPES: st.SearchStrategy[Type] = st.recursive(
    st.sampled_from(["str", "int", "float", "bool", "any"]).map(parse_type),
    lambda inner: (
        inner.map(lambda type_: ListOf(items=type_))
        | inner.map(lambda type_: DictOf(keys=Text(), values=type_))
        | inner.filter(lambda type_: not isinstance(type_, (Nullable, Anything))).map(
            lambda type_: Nullable(of=type_)
        )
        | st.dictionaries(_NAMES, inner, min_size=1, max_size=3).map(
            lambda types: ObjectOf(
                members={name: Member(type=each) for name, each in types.items()}
            )
        )
    ),
    max_leaves=6,
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=1000)
@given(_TYPES, _VALUES)
def test_what_is_accepted_fits_the_json_schema_and_is_accepted_again(
    type_: Type, value: Any
) -> None:
    try:
        accepted = type_.accept(value)
    except ValueRefused:
        return

    jsonschema.validate(accepted, type_.json_schema())
    assert type_.accept(accepted) == accepted


@given(_TYPES)
def test_a_type_is_read_as_it_is_written(type_: Type) -> None:
    if "object" not in type_.text:
        assert parse_type(type_.text).text == type_.text


def test_a_schema_carries_limits_and_descriptions_and_requires_everything() -> None:
    mood = limited(Text(), Limits(enum=("happy", "angry")), "how they feel")
    type_ = ObjectOf(members={"mood": Member(type=mood), "note": _PERSON["age"]})

    assert type_.json_schema() == {
        "type": "object",
        "properties": {
            "mood": {"type": "string", "enum": ["happy", "angry"], "description": "how they feel"},
            "note": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "required": ["mood", "note"],
        "additionalProperties": False,
    }
