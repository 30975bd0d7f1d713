"""The catalogue of built-in tools."""

import re

import jsonschema
import pytest

from cadre_executor.adapters.tools.schemas import ArgumentsRefused, check_arguments
from cadre_executor.domain.catalogue import CATALOGUE, FIRST_GENERATION

FIFTEEN = (
    "web_search serper_search web_scrape http_client file_read file_write file_glob file_move "
    "sql_query dataframe_to_csv json_parse yaml_parse shell process env_vars"
).split()
NAMES = sorted(CATALOGUE)


def test_every_tool_of_the_language_is_there_by_each_of_its_names() -> None:
    added = {"python", "memory_search", "memory_save"}

    assert set(CATALOGUE) == {*FIFTEEN, *added, *FIRST_GENERATION}
    assert {tool.runs for tool in FIRST_GENERATION.values()} <= {*FIFTEEN, *added}


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_config_have_closed_schemas_that_say_what_each_is(name: str) -> None:
    tool = CATALOGUE[name]

    for schema in (tool.spec.parameters, tool.config):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) <= set(schema["properties"])
        assert all(inner["description"] for inner in schema["properties"].values())


@pytest.mark.parametrize("name", NAMES)
def test_a_model_can_be_offered_every_tool(name: str) -> None:
    spec = CATALOGUE[name].spec

    assert spec.name == name
    assert re.fullmatch(r"[a-z_]{1,64}", name)
    assert spec.description.endswith(".")


@pytest.mark.parametrize("name", sorted(FIRST_GENERATION))
def test_what_an_older_name_settles_cannot_be_said_again(name: str) -> None:
    tool = FIRST_GENERATION[name]
    schema = CATALOGUE[tool.runs].spec.parameters

    jsonschema.validate(tool.preset, {**schema, "required": []})
    assert not set(tool.preset) & set(tool.spec.parameters["properties"])


def test_what_a_tool_was_given_is_not_in_the_error_that_it_does_not_fit() -> None:
    schema = {"type": "object", "properties": {"path": {"type": "string", "maxLength": 5}}}

    with pytest.raises(ArgumentsRefused) as refused:
        check_arguments("file_read", schema, {"path": "sk-secret"})
    with pytest.raises(ArgumentsRefused, match="path: what is given is not of type 'string'"):
        check_arguments("file_read", schema, {"path": 5})

    assert "sk-secret" not in refused.value.message
