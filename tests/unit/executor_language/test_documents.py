"""YAML that nobody trusts is read safely, and what it says keeps its place."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadre_executor.language.documents import read_document
from cadre_executor.language.parsing import parse_workflow
from cadre_executor.language.positions import Position


def test_values_mean_what_yaml_1_2_says() -> None:
    read = read_document("on: yes\nn: 0x10\nf: 1e3\nt: '5'\nz: ~\nb: true\noctal: 0777")

    assert read.value == {
        "on": "yes", "n": 16, "f": 1000.0, "t": "5", "z": None, "b": True, "octal": 777
    }  # fmt: skip


def test_every_value_and_key_keeps_its_line_and_column() -> None:
    read = read_document("a:\n  - b: 1\n    c: two\n")

    assert read.values[("a", 0, "c")] == Position(line=3, column=8, end_line=3, end_column=11)
    assert read.keys[("a", 0, "c")] == Position(line=3, column=5, end_line=3, end_column=6)


def test_an_alias_stands_for_its_anchor_and_a_merge_adds_keys() -> None:
    read = read_document("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nsame: *b")

    assert read.value["more"] == {"y": 3, "x": 1}
    assert read.value["same"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("a: !!python/object/apply:os.system [ls]", "UNSAFE_TAG"),
        ("a: !custom x", "UNSAFE_TAG"),
        ("a: 1\na: 2", "DUPLICATE_KEY"),
        ("a: 1\n---\nb: 2", "SEVERAL_DOCUMENTS"),
        ("a: *nothing", "UNKNOWN_ANCHOR"),
        ("a: &a [*a]", "UNKNOWN_ANCHOR"),
        ("<<: 5", "INVALID_MERGE"),
        ("? [a]\n: b", "KEY_NOT_TEXT"),
        ("a: .inf", "NUMBER_NOT_FINITE"),
        ("a: 1e999", "NUMBER_NOT_FINITE"),
        ("a: 'open", "INVALID_YAML"),
        ("a: b: c", "INVALID_YAML"),
        ("a: \x07", "INVALID_YAML"),
        ("a: \ud800", "NOT_UTF8"),
        ("[" * 70 + "]" * 70, "NESTED_TOO_DEEP"),
        ("x" * (1024 * 1024 + 1), "FILE_TOO_LARGE"),
        ("é" * (600 * 1024), "FILE_TOO_LARGE"),
    ],
)
def test_what_is_not_safe_is_refused_with_its_own_code(source: str, code: str) -> None:
    problem = read_document(source).problems[0]

    assert problem.code == code
    assert problem.resolution
    assert not parse_workflow(source).valid


def test_a_bomb_of_aliases_is_refused_before_it_unfolds() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    started = time.perf_counter()

    problem = parse_workflow("\n".join(lines)).problems[0]

    assert problem.code == "FILE_TOO_LARGE"
    assert time.perf_counter() - started < 1


def test_a_bomb_of_nested_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 80)]

    assert parse_workflow("\n".join(lines)).problems[0].code == "NESTED_TOO_DEEP"


@pytest.mark.parametrize(
    "source", ["[" * 500_000, "- " * 400_000, "{a: " * 200_000, "&a " * 300_000]
)
def test_hostile_nesting_is_refused_quickly(source: str) -> None:
    started = time.perf_counter()

    parsed = parse_workflow(source)

    assert not parsed.valid
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    "part",
    [
        "nodes: [{id: a, prompt: '" + "{x} " * 19_000 + "'}]",
        "nodes: [{id: a, prompt: '" + '{"' * 19_000 + "x" * 500_000 + "'}]",
        "nodes: [{id: a, prompt: '" + "}" * 900_000 + "'}]",
        "nodes: [{id: a, prompt: x, outputs: [" + "1, " * 20_000 + "]}]",
        "nodes: [{id: a, prompt: x, " + ", ".join(f"k{i}: 1" for i in range(10_000)) + "}]",
        "nodes: [{id: a, prompt: x}]\nedges: ["
        + ", ".join(["{from: a, to: END, condition: state.f + 1 > 2 or state.f < 3}"] * 2000)
        + "]",
        "nodes: [" + ", ".join(f"{{id: n{i}, prompt: x, outputs: [f]}}" for i in range(500)) + "]\n"
        "edges: [{from: START, to: [" + ", ".join(f"n{i}" for i in range(500)) + "]}]",
    ],
    ids=["references", "braces", "closing", "outputs", "keys", "conditions", "fan-out"],
)
def test_a_file_of_many_parts_is_judged_in_bounded_time(part: str) -> None:
    started = time.perf_counter()

    parsed = parse_workflow("flow: {name: x}\nstate: {fields: {f: int}}\n" + part)

    assert len(parsed.problems) <= 101
    assert time.perf_counter() - started < 10


def test_text_that_was_not_quoted_says_what_to_write() -> None:
    problem = parse_workflow("flow: {name: a}\nnodes:\n  - id: a\n    prompt: Say: this").problems[
        0
    ]

    assert (problem.line, problem.code) == (4, "INVALID_YAML")
    assert "quotes" in problem.resolution


@pytest.mark.parametrize(
    ("source", "line", "word"),
    [
        ('a: 1\nb: "open\nc: 2\n', 2, "close"),
        ("a: 1\nb 2\nc: 3\n", 2, "': '"),
        ("a: x\n\tb: 2\n", 2, "tabs"),
        ("a: 1\nb: *bold* text\n", 2, "quotes"),
        ("- a: 1\n  b: 2\n c: 3\n", 3, "line up"),
    ],
)
def test_a_slip_is_shown_where_it_was_made_with_what_to_write(
    source: str, line: int, word: str
) -> None:
    problem = read_document(source).problems[0]

    assert (problem.code, problem.line) == ("INVALID_YAML", line)
    assert word in problem.resolution


def test_a_mistake_in_a_last_line_without_an_end_is_placed_in_it() -> None:
    (problem,) = read_document("a: 1\nb: [1").problems

    assert (problem.line, problem.column) == (2, 6)


@settings(max_examples=80, deadline=2000)
@given(st.text(max_size=400))
def test_no_text_makes_the_parser_raise(source: str) -> None:
    assert parse_workflow(source).problems


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)
_WORDS = """schema_version flow state nodes edges config name fields id prompt code memory outputs llm type default
output_schema from to routes condition loop schema enum sandbox inputs when retry on_error action"""
_KEYS = st.sampled_from(_WORDS.split())
_FILES = st.recursive(
    _JSON
    | st.sampled_from(["START", "END", "a", "{state.a}", "str", "list[int]", "goto:a", "llm"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=40,
)


@settings(max_examples=60, deadline=2000)
@given(st.dictionaries(_KEYS, _FILES, max_size=8))
def test_no_document_of_the_language_s_words_makes_the_parser_raise(document: object) -> None:
    parsed = parse_workflow(json.dumps(document))

    assert parsed.valid or parsed.problems


@settings(max_examples=50, deadline=2000)
@given(
    st.lists(_FILES, max_size=3),
    st.lists(st.dictionaries(_KEYS, _FILES, max_size=5), max_size=3),
    st.dictionaries(st.sampled_from(["a", "b"]), _FILES, max_size=2),
)
def test_no_nodes_edges_and_fields_make_the_parser_raise(
    nodes: list[object], edges: list[object], fields: dict[str, object]
) -> None:
    a = {"id": "a", "prompt": "{state.a}", "outputs": ["a"]}
    document = {
        "flow": {"name": "x"},
        "state": {"fields": fields},
        "nodes": [a, *nodes],
        "edges": edges,
    }

    assert parse_workflow(json.dumps(document)).problems is not None
