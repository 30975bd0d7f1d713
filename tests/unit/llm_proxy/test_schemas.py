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
    self_contained,
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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        '{"n": "secret"}',
        "{}",
        '{"n": NaN}',
        '{"n": 1, "m": 1e999}',
        '{"n": 1, "m": "\\ud83d"}',
        "[" * 100_000,
        "```\n" + " \n" * 200_000,
    ],
)
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


def doubled(levels: int) -> dict[str, Any]:
    """A schema each of whose parts refers twice to the next."""
    parts: dict[str, Any] = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**parts, f"d{levels}": {}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
        {"properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"contains": {"$ref": "http://127.0.0.1:9/schema.json"}},
        {"properties": {"a": {"$dynamicRef": "http://127.0.0.1:9/schema.json"}}},
        {"properties": {"a": {"pattern": "("}}},
        doubled(60),
    ],
)
def test_a_schema_that_no_reply_can_be_held_against_is_refused_before_one_is_paid(
    schema: dict[str, Any],
) -> None:
    with pytest.raises(OutputSchemaInvalid):
        check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"next": {"$ref": "#"}}},
        {"properties": {"a": {"$ref": "#name"}}, "$defs": {"x": {"$anchor": "name"}}},
        {"properties": {"a": {"$ref": "#/properties/b"}, "b": {"type": "string"}}},
        doubled(6),
    ],
)
def test_a_schema_may_refer_to_itself(schema: dict[str, Any]) -> None:
    check_schema(schema)

    named = self_contained(schema)

    check_schema(named)
    assert all(said.startswith("#/$defs/") for said in references(named))
    for text in ("{}", '{"next": {"next": {}}}', '{"a": "x", "b": "y"}'):
        assert checked_output(text, named) == checked_output(text, schema)


def references(node: Any) -> list[str]:
    """All in a schema."""
    if isinstance(node, list):
        return [said for each in node for said in references(each)]
    if not isinstance(node, dict):
        return []
    return [*([node["$ref"]] if "$ref" in node else []), *references(list(node.values()))]


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"pattern": "^(a|a)*$"}, f'"{"a" * 60}!"'),
        (
            {"patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False},
            f'{{"{"a" * 60}!": 1}}',
        ),
    ],
)
def test_a_pattern_that_takes_for_ever_is_given_up(schema: dict[str, Any], text: str) -> None:
    with pytest.raises(OutputSchemaInvalid) as caught:
        checked_output(text, schema)

    assert "too long" in caught.value.message


def test_names_are_held_against_patterns() -> None:
    schema = {
        "properties": {"a": {}},
        "patternProperties": {"^n_": {"type": "integer"}},
        "additionalProperties": {"type": "string", "pattern": "^x"},
    }

    assert checked_output('{"a": 0, "n_1": 1, "b": "xy"}', schema)
    for text in ('{"n_1": "x"}', '{"b": 1}', '{"b": "y"}'):
        with pytest.raises(OutputInvalid):
            checked_output(text, schema)
