"""What the documents and examples say of the language is what the language does."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations

from cadre_executor.language import parse_workflow, workflow_schema

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "workflow-language.md").read_text()
_FENCED = re.findall(r"^```yaml\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)
_EXAMPLES = sorted((_ROOT / "examples").glob("*.yaml"))


def test_the_committed_schema_is_the_language_s() -> None:
    committed = json.loads((_ROOT / "docs" / "workflow.schema.json").read_text())

    assert committed == workflow_schema(), "write it anew: cadre schema > docs/workflow.schema.json"


def test_the_schema_is_a_schema_and_its_examples_fit() -> None:
    schema = workflow_schema()

    jsonschema.Draft202012Validator.check_schema(schema)
    for example in schema["examples"]:
        jsonschema.validate(example, schema)
        assert parse_workflow(json.dumps(example)).valid


def test_every_key_of_the_schema_is_described_and_no_other_is_allowed() -> None:
    for name, shape in workflow_schema()["$defs"].items():
        assert shape["additionalProperties"] is False, name
        for key, value in shape["properties"].items():
            assert value.get("description"), f"{name}.{key}"


@pytest.mark.parametrize("source", _FENCED, ids=range(len(_FENCED)))
def test_the_page_s_files_are_valid_and_all_of_it_but_triggers_has_an_effect(
    source: str,
) -> None:
    parsed = parse_workflow(source)

    assert parsed.valid, parsed.problems
    assert {note.path.partition("[")[0] for note in parsed.notes} <= {"triggers"}
    jsonschema.validate(yaml.safe_load(source), workflow_schema())


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_valid_for_the_language_and_for_editors(path: Path) -> None:
    source = path.read_text()

    assert parse_workflow(source).problems == ()
    jsonschema.validate(yaml.safe_load(source), workflow_schema())


@pytest.mark.parametrize("key", ["optimize", "mlflow"])
def test_the_schema_does_not_offer_what_is_not_built(key: str) -> None:
    assert key not in workflow_schema()["$defs"]["NodeShape"]["properties"]


def test_every_key_of_a_node_and_of_the_file_is_on_the_page() -> None:
    shapes = workflow_schema()
    keys = {
        key
        for shape in (shapes, *(shapes["$defs"].values()))
        for key, value in shape.get("properties", {}).items()
        if not value.get("deprecated")
    }

    assert {key for key in keys if not re.search(rf"\b{key}\b", _PAGE)} == set()


def test_the_page_has_examples() -> None:
    assert len(_FENCED) == 4
    assert len(_EXAMPLES) >= 6
