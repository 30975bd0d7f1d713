"""The chat on the real services; its words name the pattern, so that no model is asked."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest
from tests.platform import Platform, eventually

from cadre_frontend.building import buildings

Opened = Callable[..., AppTest]
WISH = "Find out whether a mail is a question or a complaint"


def conversation_of(page: AppTest) -> str:
    given = page.query_params["conversation"]
    return given if isinstance(given, str) else given[0]


def built(page: AppTest, wish: str = WISH) -> AppTest:
    page.chat_input[0].set_value(wish).run()
    building = buildings().of(conversation_of(page))
    eventually(lambda: building is None or building.ended)
    return page.run()


def press(page: AppTest, label: str) -> AppTest:
    (found,) = [each for each in page.button if each.label == label]
    return found.click().run()


def test_a_description_becomes_a_workflow_that_can_be_saved(
    services: Platform, opened: Opened
) -> None:
    page = built(opened())

    assert 'enum: ["question", "complaint"]' in str(page.text_area[0].value)
    assert [tab.label for tab in page.tabs] == ["Diagram", "YAML", "Run"]
    press(page, "Save")

    with services.client() as client:
        assert "mail_question_complaint" in [workflow.name for workflow in client.workflows()]
    assert not page.exception


def test_a_conversation_is_there_for_whoever_opens_its_address(opened: Opened) -> None:
    page = built(opened())

    again = opened(conversation=conversation_of(page))

    assert WISH in [text.value for text in again.text]
    assert again.text_area[0].value == page.text_area[0].value
    assert not again.exception


def test_changes_by_hand_are_checked_and_kept(opened: Opened) -> None:
    page = built(opened())
    broken = str(page.text_area[0].value).replace("nodes:", "nodez:")

    page.text_area[0].set_value(broken)
    press(page, "Check and keep my changes")

    again = opened(conversation=conversation_of(page))
    assert again.text_area[0].value == broken
    assert any("UNKNOWN_FIELD" in box.value for box in again.error)
    assert [each.disabled for each in again.button if each.label == "Save"] == [True]
    assert not again.exception


def test_an_empty_file_does_not_take_the_workflow_s_place(opened: Opened) -> None:
    page = built(opened())
    source = page.text_area[0].value

    page.text_area[0].set_value("  ")
    press(page, "Check and keep my changes")

    assert [box.value for box in page.warning] == [
        "An empty file is no workflow; nothing was changed."
    ]
    assert opened(conversation=conversation_of(page)).text_area[0].value == source
    assert not page.exception


def test_a_deleted_conversation_is_gone(opened: Opened) -> None:
    page = built(opened())
    gone = conversation_of(page)

    press(page, "Delete it")

    assert conversation_of(page) != gone
    assert not opened(conversation=gone).text_area


def test_a_wish_that_is_given_up_can_be_tried_again(opened: Opened) -> None:
    page = opened()
    page.chat_input[0].set_value("Explain a word to a child").run()

    press(page, "Cancel")

    assert "Cancelled; nothing was changed." in [each.value for each in page.markdown]
    assert not page.text_area
    assert "Try again" in [each.label for each in page.button]
    assert not page.exception


@pytest.mark.parametrize("wish", ["![x](http://elsewhere.invalid/x.png) $1$", "`}}{{` <b>"])
def test_a_wish_is_shown_as_it_was_said(opened: Opened, wish: str) -> None:
    page = built(opened(), f"Find out whether it is good or bad: {wish}")

    assert f"Find out whether it is good or bad: {wish}" in [text.value for text in page.text]
    assert not page.error
    assert not page.exception
