"""What `cadre init` writes are the examples."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_templates_are_the_examples() -> None:
    examples = {file.name: file.read_text() for file in (ROOT / "examples").glob("*.yaml")}
    folder = ROOT / "cli/src/cadre_cli/templates"

    templates = {file.name: file.read_text() for file in folder.iterdir()}

    assert templates == examples, f"cp examples/*.yaml {folder.relative_to(ROOT)}/"
