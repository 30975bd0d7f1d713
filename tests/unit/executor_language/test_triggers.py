"""What a file says of its triggers, and what comes of it when something arrives."""

from collections.abc import Callable
from typing import Any

import pytest

from cadre_executor.domain.triggers import OutsideTrigger
from cadre_executor.language import parse_workflow
from cadre_kit.errors import CadreError

MakeFile = Callable[..., str]
ISSUE = {
    "body": {"issue": {"title": "It {state.x} broke", "labels": ["a", "b"]}},
    "event": "issues",
}
FIELDS = {"title": "str", "labels": "list[str]", "about": "str"}


def trigger(make_file: MakeFile, **said: Any) -> OutsideTrigger:
    parsed = parse_workflow(make_file(fields=FIELDS, triggers=[said]))
    assert parsed.valid, parsed.problems
    assert parsed.notes == ()
    (found,) = parsed.triggers
    assert isinstance(found, OutsideTrigger)
    return found


def test_templates_take_parts_of_the_body_as_data(make_file: MakeFile) -> None:
    templates = {
        "title": "{body.issue.title}",
        "labels": "{body.issue.labels}",
        "about": "{event}: {body.issue.title}",
    }

    found = trigger(make_file, webhook={"input": templates}).inputs_from(ISSUE)

    assert found == {
        "title": "It {state.x} broke",
        "labels": ["a", "b"],
        "about": "issues: It {state.x} broke",
    }


def test_without_templates_the_body_s_members_are_the_inputs(make_file: MakeFile) -> None:
    webhook = trigger(make_file, webhook={"default_inputs": {"title": "none", "about": "x"}})

    assert webhook.inputs_from({"body": {"title": "given"}}) == {"title": "given", "about": "x"}
    with pytest.raises(CadreError, match="not a JSON object"):
        webhook.inputs_from({"body": ["given"]})


def test_what_a_template_does_not_find_is_said_unless_there_is_a_default(
    make_file: MakeFile,
) -> None:
    said = {"input": {"title": "{body.no.title}"}}
    with_default = {**said, "default_inputs": {"title": "none"}}

    with pytest.raises(CadreError, match=r"body.no.title has no value"):
        trigger(make_file, webhook=said).inputs_from(ISSUE)
    assert trigger(make_file, webhook=with_default).inputs_from(ISSUE) == {"title": "none"}


def test_a_message_goes_into_the_field_or_the_templates_that_are_named(make_file: MakeFile) -> None:
    message = {"text": "hello", "sender": "U1", "conversation": "C1/1.2"}
    field = trigger(make_file, slack={"app": "helper", "input": "title", "reply": "about"})
    templates = trigger(make_file, slack={"app": "helper", "input": {"about": "{sender}: {text}"}})

    assert (field.connection, field.reply) == ("helper", "about")
    assert field.inputs_from(message) == {"title": "hello"}
    assert templates.inputs_from(message) == {"about": "U1: hello"}


def test_secrets_are_named_one_or_several_while_they_change(make_file: MakeFile) -> None:
    assert trigger(make_file, webhook={"secret": "NEW"}).secrets == ("NEW",)
    assert trigger(make_file, webhook={"secret": ["NEW", "OLD"]}).secrets == ("NEW", "OLD")
    assert trigger(make_file, webhook={}).secrets == ()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"webhook": {"input": {"unknown": "{body}"}}}, "UNKNOWN_STATE_FIELD"),
        ({"webhook": {"input": {"title": "{state.title}"}}}, "UNKNOWN_STATE_FIELD"),
        ({"webhook": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!"}}, "INVALID_VALUE"),
        ({"webhook": {"notify": "ftp://example.com"}}, "INVALID_VALUE"),
        ({"slack": {"app": "helper", "input": "labels"}}, "TYPE_MISMATCH"),
        ({"slack": {"app": "helper", "reply": "unknown"}}, "UNKNOWN_STATE_FIELD"),
    ],
)
def test_a_trigger_s_mistake_is_found(
    make_file: MakeFile, codes: Callable[[str], set[str]], said: dict[str, Any], code: str
) -> None:
    assert codes(make_file(fields=FIELDS, triggers=[said])) == {code}
