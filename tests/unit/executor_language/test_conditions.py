"""Conditions compute what they say, and can reach nothing else."""

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadre_executor.domain.workflows import Scope
from cadre_executor.language.conditions import ConditionFailed, Expression, compile_condition
from cadre_executor.language.references import Names, ReferenceFailed
from cadre_executor.language.reports import Report
from cadre_executor.language.types import Limits, Text, limited, parse_type

_TYPES = {
    "score": "int", "ratio": "float", "kind": "str", "done": "bool", "tags": "list[str]", "map": "dict[str, int]",
    "any": "any", "maybe": "int | null",
}  # fmt: skip
_NAMES = Names(
    state={
        **{name: parse_type(text) for name, text in _TYPES.items()},
        "mood": limited(Text(), Limits(enum=("happy", "angry")), ""),
    },
    nodes=("draft",),
)
_STATE: dict[str, Any] = {
    "score": 7, "ratio": 0.5, "kind": "a", "done": False, "tags": ["x", "y"], "map": {"k": 1}, "any": {"b": [1, 2]},
    "maybe": None, "mood": "happy", "_loop_iteration_draft": 2,
}  # fmt: skip


def compiled(text: str) -> tuple[Expression | None, Report]:
    report = Report()
    return compile_condition(text, _NAMES, report, ("edges", 0, "condition")), report


def holds(text: str, **state: Any) -> bool:
    condition, report = compiled(text)
    assert condition is not None, report.problems()
    return condition.holds(Scope(state={**_STATE, **state}))


@pytest.mark.parametrize(
    "text",
    [
        "state.score >= 7 and state.kind in ['a', 'b']",
        "{state.score} >= 7 and {state._loop_iteration_draft} < 3",
        "score == 7",
        "not state.done",
        "state.kind not in ('b', 'c')",
        "1 < state.score <= 7",
        "-state.score < 0",
        "state.score + 1 == 8 and state.score - 1 == 6 and state.score * 2 == 14",
        "state.score / 2 == 3.5 and state.score % 2 == 1",
        "len(state.tags) == 2 and len(state.kind) == 1",
        "contains(state.tags, 'x') and contains(state.kind, 'a') and contains(state.map, 'k')",
        "lower(state.kind + 'B') == 'ab'",
        "'x' in state.tags and 'k' in state.map",
        "state.any.b[0] == 1 and state.any['b'][-1] == 2",
        "state.maybe == null and state.maybe == None and state.done == false and state.done == False",
        "state.mood != 'angry'",
        "state.any != true",
        "(state.kind == 'a'\n  and state.score == 7)",
        "state.kind == '{'  or state.kind == 'a'",
        "true",
    ],
)
def test_what_is_true_holds(text: str) -> None:
    assert holds(text)


def test_true_is_not_one_as_in_json() -> None:
    assert not holds("state.any == 1", any=True)
    assert not holds("1 in state.any", any=[True])


def test_an_unquoted_word_compared_with_text_is_that_text_and_noted() -> None:
    condition, report = compiled("state.kind == positive")

    assert condition is not None
    assert condition.holds(Scope(state={"kind": "positive"}))
    assert [problem.code for problem in report.problems()] == ["UNQUOTED_TEXT"]


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("state.scor > 1", "UNKNOWN_STATE_FIELD", "`score`"),
        ("state.kind > 3", "TYPE_MISMATCH", ""),
        ("state.score == 'seven'", "TYPE_MISMATCH", ""),
        ("state.mood == 'angyr'", "TYPE_MISMATCH", "'angry'"),
        ("state.tags == 3", "TYPE_MISMATCH", ""),
        ("3 in state.tags", "TYPE_MISMATCH", ""),
        ("'a' in state.score", "TYPE_MISMATCH", ""),
        ("state.kind * 1000000000", "TYPE_MISMATCH", ""),
        ("'%s' % state.kind", "TYPE_MISMATCH", ""),
        ("len(state.score) > 1", "TYPE_MISMATCH", ""),
        ("state.score = 7", "INVALID_CONDITION", "=="),
        ("state.score > 1 && state.done", "INVALID_CONDITION", "`and`"),
        ("state.maybe is None", "INVALID_CONDITION", "== null"),
        ("'{state.kind}' == 'a'", "INVALID_CONDITION", "quotes"),
        ("2 ** 999999999", "INVALID_CONDITION", ""),
        ("1 << 99", "INVALID_CONDITION", ""),
        ("f'{state.kind}' == 'a'", "INVALID_CONDITION", ""),
        ("len(state.tags, 1) > 1", "INVALID_CONDITION", ""),
        ("contains(state.tags)", "INVALID_CONDITION", ""),
        ("", "INVALID_CONDITION", ""),
        ("state", "UNKNOWN_STATE_FIELD", ""),
        ("state._loop_iteration_draff > 1", "UNKNOWN_NODE", "`draft`"),
        ("((" * 500 + "1" + "))" * 500, "INVALID_CONDITION", ""),
        ("not " * 400 + "state.done", "INVALID_CONDITION", ""),
        ("- " * 900 + "1", "INVALID_CONDITION", ""),
        ("1" * 3000, "INVALID_CONDITION", ""),
        ("state.kind == '\\d'", "INVALID_CONDITION", ""),
        ("state.kind == 'a\x00'", "INVALID_CONDITION", ""),
    ],
)
def test_what_is_wrong_is_found_when_the_file_is_read(text: str, code: str, hint: str) -> None:
    condition, report = compiled(text)

    assert condition is None
    assert [problem.code for problem in report.problems()] == [code]
    assert hint in report.problems()[0].resolution


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "state.__class__",
        "state.kind.__class__.__mro__",
        "state.any.__class__ == 1",
        "().__class__",
        "'a'.upper() == 'A'",
        "(lambda: 1)()",
        "[x for x in state.tags]",
        "open('/etc/passwd')",
        "eval('1')",
        "len.__self__",
        "getattr(state, 'x')",
        "{**state.map}",
        "(x := 1)",
        "state.tags[0:1]",
        "state.tags[len(state.tags)]",
        "await state.x",
        "yield 1",
        "b'a' == b'a'",
        "1j == 1",
        "...",
        "print",
    ],
)
def test_nothing_but_values_can_be_reached(text: str) -> None:
    condition, _ = compiled(text)

    if condition is not None:
        with pytest.raises((ReferenceFailed, ConditionFailed)):
            condition.holds(Scope(state=_STATE))


@settings(max_examples=200, deadline=1000)
@given(
    st.text(alphabet="state.score_kind()[]{}'\"+-*/%<>=! 0123456789andornotlen,\\\n", max_size=80)
)
def test_any_text_compiles_or_is_refused_and_computes_or_fails(text: str) -> None:
    condition, report = compiled(text)

    if condition is None:
        assert report.failed
        return
    with contextlib.suppress(ConditionFailed, ReferenceFailed):
        condition.holds(Scope(state=_STATE))


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("state.maybe > 3", {}),
        ("state.score % state.any == 1", {"any": 0}),
        ("state.any[5] == 1", {"any": [1]}),
        ("state.any.b.c == 1", {}),
        ("state.any < 3", {"any": "text"}),
        ("len(state.any) > 1", {"any": 5}),
        ("1 in state.any", {"any": 5}),
        ("state.ratio * state.score > 1", {"ratio": 1e308, "score": 10**400}),
        ("state.kind + state.kind == ''", {"kind": "x" * 600_000}),
        ("state.score * state.score > 1", {"score": 2**4000}),
    ],
)
def test_what_cannot_be_computed_fails_by_name(text: str, state: dict[str, Any]) -> None:
    with pytest.raises((ConditionFailed, ReferenceFailed)):
        holds(text, **state)


def test_repeated_products_stay_bounded() -> None:
    started = time.perf_counter()

    with pytest.raises(ConditionFailed, match="too large"):
        holds(" * ".join(["state.score"] * 30) + " > 1", score=2**4000)

    assert time.perf_counter() - started < 0.5
