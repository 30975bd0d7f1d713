"""A test that is added to a file leaves the rest of it as it was, however it is written."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadre_executor.language import parse_workflow, with_test_added
from cadre_executor.language.documents import read_document

HEAD = """# A file with comments
flow: {name: one}   # its name
state: {fields: {text: str}}
nodes:
  - {id: ask, prompt: Ask, outputs: [text]}
"""
TEST: dict[str, Any] = {
    "name": "added",
    "replies": {"ask": 'It\'s "there": 1\n'},
    "expect": ["state.text == 'a'"],
}


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("", "", ""),
        ("tests:\n  - {name: a}\n", "tests:\n  - {name: a}\n", ""),
        ("tests:\n- name: a\n  # of a\n# end", "- name: a\n", "  # of a\n# end"),
        ("tests:\n  - name: a\n\n# of what follows\nconfig: {}\n", "- name: a\n", "\n# of what"),
        ("tests: [{name: a}]  # all\nconfig: {}\n", "{name: a}", "]  # all\nconfig: {}\n"),
        ("tests: []\n", "tests: [", "]\n"),
        ("tests:\nconfig: {}\n", "tests:\n", "config: {}\n"),
    ],
)
def test_the_rest_of_the_file_stays_as_it_was(file: str, before: str, after: str) -> None:
    added = with_test_added(HEAD + file, TEST)

    assert added.startswith(HEAD)
    start = added.index("added")
    assert before in added[:start]
    assert added[start:].endswith(after) or after in added[start:]
    parsed = parse_workflow(added)
    assert parsed.valid, parsed.problems
    assert parsed.cases[-1].name == "added"
    assert read_document(added).value["tests"][-1] == TEST


def test_line_ends_and_a_file_in_json_are_kept() -> None:
    windows = with_test_added(HEAD.replace("\n", "\r\n"), TEST)
    json_file = with_test_added('{"flow": {"name": "one"}, "nodes": []}\n', TEST)

    assert windows.count("\r\n") == windows.count("\n")
    assert json_file.startswith('{"flow": {"name": "one"}, "nodes": [], "tests": [{"name": "added"')


_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS
    | st.sampled_from(["yes", "0o17", "1e5", "~", "null", "<<", "- a", "a: b", "# c", "*a", "&a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(value=_VALUES)
def test_every_reply_is_read_back_as_it_was(value: Any) -> None:
    test = {"name": "t", "replies": {"ask": {"value": value}}}

    added = with_test_added(HEAD + "tests:\n  - {name: a}\n", test)

    assert read_document(added).value["tests"][-1] == test
