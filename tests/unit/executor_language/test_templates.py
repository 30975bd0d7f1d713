"""Templates put values in as data, and name only what there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadre_executor.domain.workflows import Scope
from cadre_executor.language.references import Names, ReferenceFailed
from cadre_executor.language.reports import Report
from cadre_executor.language.templates import Compiler, RenderedTooLong, TextTemplate
from cadre_executor.language.types import Member, ObjectOf, Text, parse_type

_PROFILE = ObjectOf(
    members={"name": Member(type=Text()), "langs": Member(type=parse_type("list[str]"))}
)
_NAMES = Names(
    state={"name": Text(), "any": parse_type("any"), "profile": _PROFILE, "n": parse_type("int")},
    inputs={"query": Text(), "name": Text()},
    nodes=("draft",),
)


def compiled(text: str) -> tuple[TextTemplate, Report]:
    report = Report()
    return Compiler(names=_NAMES, report=report).text(text, ("nodes", 0, "prompt")), report


def rendered(text: str, **state: object) -> str:
    template, report = compiled(text)
    assert not report.failed, report.problems()
    return template.render(Scope(state=state, inputs={"query": "q", "name": "inner"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi {state.name}!", "Hi outer!"),
        ("{name} {query}", "inner q"),
        ("{ state.name }", "outer"),
        ("{state.profile.name} {state.profile.langs[0]} {state.profile.langs[-1]}", "Ada en de"),
        ("{state.any['a key'].x}", "1"),
        ("{state.profile}", '{"name": "Ada", "langs": ["en", "de"]}'),
        ("{n}{state.n}", "33"),
        ("{{state.name}} {{}}", "{state.name} {}"),
        ("round {state._loop_iteration_draft}", "round 0"),
        ("a } b", "a } b"),
        ("", ""),
    ],
)
def test_values_stand_where_they_are_named(text: str, expected: str) -> None:
    profile = {"name": "Ada", "langs": ["en", "de"]}
    state = {"name": "outer", "any": {"a key": {"x": 1}}, "profile": profile, "n": 3}

    assert rendered(text, **state) == expected


@given(st.text())
def test_a_hostile_value_is_put_in_word_for_word(value: str) -> None:
    for hostile in (value, "{state.n}" + value, "{{" + value + "}}", value + "{name}"):
        assert rendered("<{state.name}|{state.name}>", name=hostile) == f"<{hostile}|{hostile}>"


def test_a_lone_reference_resolves_to_the_value_itself() -> None:
    scope = Scope(state={"any": [1, {"a": 2}], "n": 3})

    assert compiled("{state.any}")[0].resolve(scope) == [1, {"a": 2}]
    assert compiled("{state.any} ")[0].resolve(scope) == '[1, {"a": 2}] '


@pytest.mark.parametrize(
    ("text", "code", "resolution"),
    [
        ("{state.nmae}", "UNKNOWN_STATE_FIELD", "`name`"),
        ("{qery}", "UNKNOWN_STATE_FIELD", "`query`"),
        ("{state.profile.nam}", "UNKNOWN_PART", "`name`"),
        ("{state.n.x}", "UNKNOWN_PART", ""),
        ("{state.profile.langs.first}", "UNKNOWN_PART", ""),
        ("{state._loop_iteration_draff}", "UNKNOWN_NODE", "`draft`"),
        ("{state.name!r}", "TEMPLATE_SYNTAX", "{{"),
        ("{state.name:>10}", "TEMPLATE_SYNTAX", "{{"),
        ("{state.name.__class__}", "UNKNOWN_PART", ""),
        ("{__import__('os')}", "TEMPLATE_SYNTAX", "{{"),
        ("{state.}", "TEMPLATE_SYNTAX", "{{"),
        ("{not closed", "TEMPLATE_SYNTAX", "{{"),
    ],
)
def test_a_name_that_is_not_there_is_a_problem(text: str, code: str, resolution: str) -> None:
    (problem,) = compiled(text)[1].problems()

    assert problem.code == code
    assert resolution in problem.resolution


def test_a_reference_as_other_languages_write_it_is_text_and_noted() -> None:
    template, report = compiled("Hello {{ state.name }}, {{name}}")
    (problem,) = report.problems()

    assert template.render(Scope(state={"name": "Ada"})) == "Hello { state.name }, {name}"
    assert (problem.code, problem.resolution) == (
        "LITERAL_BRACES",
        "write { state.name } for the value",
    )


@pytest.mark.parametrize("text", ['Like {"a": {"b": [1, {}]}}', "{\n  'x': 1\n}", "[a-z]{2,3}"])
def test_braces_that_can_only_be_json_are_text_and_noted(text: str) -> None:
    template, report = compiled(text)

    assert template.render(Scope(state={})) == text
    assert {problem.code for problem in report.problems()} == {"LITERAL_BRACES"}
    assert all("{{" in problem.resolution for problem in report.problems())


def test_a_reference_within_json_is_still_one() -> None:
    template, _ = compiled('{"name": {state.name}}')

    assert template.render(Scope(state={"name": "x"})) == '{"name": x}'


@pytest.mark.parametrize(
    "state", [{}, {"any": None}, {"any": []}, {"any": {"b": 1}}, {"any": "text"}]
)
def test_a_part_that_is_not_there_in_the_run_is_an_error(state: dict[str, object]) -> None:
    template, _ = compiled("{state.any.a[3]}")

    with pytest.raises(ReferenceFailed, match=r"state\.any\.a\[3\]"):
        template.render(Scope(state=state))


def test_many_large_values_do_not_fill_the_memory() -> None:
    template, _ = compiled("{state.name}" * 1000)

    with pytest.raises(RenderedTooLong):
        template.render(Scope(state={"name": "x" * 100_000}))
