"""Schemas as providers want them, and replies held against them."""

import json
from typing import Any

import pytest

from cadre_llm_proxy.domain.facts import OutputInvalid, OutputSchemaInvalid
from cadre_llm_proxy.domain.schemas import (
    bounded,
    check_schema,
    checked_output,
    is_strict,
    tightened,
)

NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
    },
    "required": ["name", "tags"],
    "$defs": {
        "tag": {"type": "object", "properties": {"t": {"type": "string"}}, "required": ["t"]}
    },
}


def test_objects_are_closed_wherever_they_are() -> None:
    closed = tightened(NESTED)

    assert closed["additionalProperties"] is False
    assert closed["$defs"]["tag"]["additionalProperties"] is False
    assert "additionalProperties" not in NESTED
    assert is_strict(closed)


def test_an_optional_property_is_not_strict() -> None:
    assert not is_strict(tightened({**NESTED, "required": ["name"]}))


def test_an_object_that_is_open_on_purpose_stays_open() -> None:
    open_object = {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}

    assert tightened(open_object) == open_object


def test_every_string_and_list_gets_an_end() -> None:
    limited = bounded(NESTED)

    assert limited["properties"]["name"]["maxLength"] == 400
    assert limited["properties"]["tags"]["maxItems"] == 8
    assert limited["$defs"]["tag"]["properties"]["t"]["maxLength"] == 400


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "maxLength": 9},
        {"type": "string", "enum": ["a"]},
        {"type": "array", "maxItems": 2},
        {"type": ["integer", "null"]},
    ],
)
def test_what_has_an_end_is_left_alone(schema: dict[str, Any]) -> None:
    assert bounded(schema) == schema


@pytest.mark.parametrize(
    "text",
    ['{"n": 1}', ' {"n": 1}\n', '```json\n{"n": 1}\n```', '```\n{"n": 1}```'],
)
def test_a_document_is_found_with_or_without_a_fence(text: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    assert json.loads(checked_output(text, schema)) == {"n": 1}


@pytest.mark.parametrize("text", ["", "no", '{"n": "secret"}', "{}", '{"n": NaN}', "[" * 100_000])
def test_a_reply_against_the_schema_is_refused_without_quoting_it(text: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    with pytest.raises(OutputInvalid) as caught:
        checked_output(text, schema)

    assert "secret" not in caught.value.message


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"properties": []}, {"maxLength": -1}])
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(OutputSchemaInvalid):
        check_schema(schema)


def test_a_reference_to_an_address_is_not_fetched() -> None:
    with pytest.raises(OutputSchemaInvalid):
        checked_output("{}", {"$ref": "http://127.0.0.1:9/schema.json"})
