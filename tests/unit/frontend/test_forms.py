"""What is typed into a form becomes the values of a run, by the types of the workflow's inputs."""

import json

import pytest
from streamlit.testing.v1 import AppTest

SCRIPT = """
import json, streamlit as st
from cadre_client import Input
from cadre_frontend.widgets.forms import inputs_form
given = [Input.model_validate(each) for each in json.loads({given!r})]
values = inputs_form(given, key="x")
if values is not None:
    st.code(json.dumps(values), language="json")
"""


def form(*inputs: dict[str, object]) -> AppTest:
    script = SCRIPT.format(given=json.dumps(inputs))
    return AppTest.from_string(script, default_timeout=30).run()


def sent(page: AppTest) -> object:
    page.button[0].click().run()
    assert not page.exception
    return json.loads(page.code[0].value) if page.code else [box.value for box in page.error]


def test_each_type_has_its_field() -> None:
    page = form(
        {"name": "text", "type": "str", "required": True},
        {"name": "count", "type": "int", "required": True},
        {"name": "share", "type": "float", "default": 0.001},
        {"name": "loud", "type": "bool", "default": True},
        {"name": "mood", "type": "str", "enum": ["a", "b"], "default": "b"},
    )
    page.text_area[0].set_value("two\nlines")
    page.number_input[0].set_value(3)

    assert sent(page) == {
        "text": "two\nlines",
        "count": 3,
        "share": 0.001,
        "loud": True,
        "mood": "b",
    }


def test_lists_and_objects_are_typed_as_json() -> None:
    page = form({"name": "numbers", "type": "list[float]", "required": True})
    page.text_input[0].set_value("[1, 2.5]")

    assert sent(page) == {"numbers": [1, 2.5]}


@pytest.mark.parametrize("typed", ["[1, 2", "one", "{"])
def test_what_is_no_json_is_named(typed: str) -> None:
    page = form({"name": "numbers", "type": "list[float]", "required": True})
    page.text_input[0].set_value(typed)

    assert sent(page) == ["**numbers** must be JSON for list[float], such as [1, 2] or {}."]


def test_all_that_is_missing_is_named_at_once() -> None:
    page = form(
        {"name": "a", "type": "str", "required": True},
        {"name": "b", "type": "int", "required": True},
    )

    assert sent(page) == ["**a** is required.", "**b** is required."]


def test_what_is_left_empty_keeps_the_workflows_default() -> None:
    assert sent(form({"name": "a", "type": "str", "default": None})) == {}


def test_a_number_beyond_what_browsers_count_is_kept_exactly() -> None:
    page = form({"name": "big", "type": "int", "default": 2**60 + 1})

    assert sent(page) == {"big": 2**60 + 1}


def test_a_workflow_without_inputs_is_run_as_it_is() -> None:
    assert sent(form()) == {}
