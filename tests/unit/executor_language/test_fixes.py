"""Problems whose remedy leaves no doubt carry the change to the file that mends them."""

import pytest

from cadre_executor.language import parse_workflow
from cadre_kit.errors import Problem, TextEdit

_FILE = """flow: {{name: fixes}}
state: {{fields: {{message: str, mood: {{type: str, default: calm}}, score: int}}}}
nodes:
  - id: classify
    {node}
edges:
  - {edge}
  - {{from: classify, to: END}}
"""
_NODE = 'prompt: "hi {state.message}"'
_EDGE = "{from: START, to: classify}"


def _edited(source: str, edit: TextEdit) -> str:
    lines = source.splitlines(keepends=True)
    before = "".join(lines[: edit.line - 1]) + lines[edit.line - 1][: edit.column - 1]
    after = lines[edit.end_line - 1][edit.end_column - 1 :] + "".join(lines[edit.end_line :])
    return before + edit.text + after


def _problem(source: str) -> Problem:
    (problem,) = parse_workflow(source).problems
    return problem


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('promt: "hi"', 'prompt: "hi"'),
        ('prompt: "hi {state.mesage}, {state.mood}"', 'prompt: "hi {state.message}, {state.mood}"'),
        ('prompt: "a mesage: { state.mesage }"', 'prompt: "a mesage: { state.message }"'),
        ("prompt: hi\n    outputs: [mod]", "prompt: hi\n    outputs: [mood]"),
        ("prompt: hi\n    output_schema: string", "prompt: hi\n    output_schema: str"),
        ("prompt: hi\n    tools: [web_serch]", "prompt: hi\n    tools: [web_search]"),
        ("prompt: hi\n    when: score > 1 && score < 5", "prompt: hi\n    when: score > 1 and score < 5"),
        ("prompt: hi\n    when: mood == glad", "prompt: hi\n    when: mood == 'glad'"),
        ("prompt: hi\n    when: 'mood == glad'", "prompt: hi\n    when: 'mood == \"glad\"'"),
        ("prompt: hi\n    when: state.scoer > 1", "prompt: hi\n    when: state.score > 1"),
        ("prompt: {state.message}", 'prompt: "{state.message}"'),
        ("prompt: hi\n    system: 5", 'prompt: hi\n    system: "5"'),
        ("prompt: hi\n    timeout_seconds: 5", "prompt: hi\n    timeout: 5"),
        ("prompt: hi\n    on_error: goto:classfy", "prompt: hi\n    on_error: goto:classify"),
    ],
)  # fmt: skip
def test_a_change_mends_its_problem(written: str, meant: str) -> None:
    source = _FILE.format(node=written, edge=_EDGE)
    fix = _problem(source).fix
    assert fix is not None

    mended = _edited(source, fix)

    assert mended == _FILE.format(node=meant, edge=_EDGE)


def test_a_node_s_name_is_mended_where_an_edge_names_it() -> None:
    source = _FILE.format(node=_NODE, edge="{from: START, to: [clasify]}")
    fix = _problem(source).fix
    assert fix is not None

    assert parse_workflow(_edited(source, fix)).problems == ()


@pytest.mark.parametrize(
    "written",
    [
        'prompt: "hi {state.nothing_like_it}"',
        "prompt: hi\n    when: \"score > 'scoer' and state.scoer > 1 and state.scoer < 2\"",
        "prompt: {state.message: hi}",
        "prompt: hi\n    retry: {max_attempts: 90}",
    ],
)
def test_what_only_the_author_can_tell_has_no_change(written: str) -> None:
    problems = parse_workflow(_FILE.format(node=written, edge=_EDGE)).problems

    assert problems
    assert all(problem.fix is None for problem in problems)


def test_two_names_that_are_as_near_as_each_other_are_not_chosen_between() -> None:
    source = _FILE.format(node="prompt: hi\n    outputs: [moods]", edge=_EDGE).replace(
        "score: int", "modes: int"
    )

    assert _problem(source).fix is None


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_change_s_place_is_right_behind_other_alphabets_and_line_ends(line_end: str) -> None:
    node = "prompt: 'Grüße 😀 {state.mesage}'"
    source = _FILE.format(node=node, edge=_EDGE).replace("\n", line_end)

    fix = _problem(source).fix

    assert fix == TextEdit(line=5, column=22, end_line=5, end_column=36, text="{state.message}")
