"""docs/tools.md names every tool and setting, and its examples answer what it says."""

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations
from tests.unit.executor_tools.conftest import RUN, bench_in

from cadre_executor.adapters.tools.mcp_servers import read_mcp_servers
from cadre_executor.domain.catalogue import CATALOGUE
from cadre_executor.language import parse_workflow
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

PAGE = (Path(__file__).parents[2] / "docs/tools.md").read_text()
CALL = re.compile(r"(\w+) (\{.*?\})(?: with (\{.*\}))?")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def examples() -> Iterator[tuple[str, dict[str, Any], dict[str, Any], Any]]:
    for block in blocks("tool"):
        lines = block.splitlines()
        for asked, answer in zip(lines[::2], lines[1::2], strict=True):
            found = CALL.fullmatch(asked)
            assert found is not None, asked
            name, arguments, config = found.groups()
            yield name, json.loads(arguments), json.loads(config or "{}"), json.loads(answer)


async def test_the_page_s_examples_answer_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "workspaces" / RUN
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "sales.db") as database:
        database.executescript(
            "CREATE TABLE sales (city, amount); INSERT INTO sales VALUES ('Ulm', 3), ('Bonn', 5)"
        )
    database.close()

    async with build(SandboxSettings(_env_file=None, sandbox_docker=False)) as services:
        async with serving(services, host="127.0.0.1", port=0) as address:
            async with bench_in(tmp_path, sandbox_address=address) as bench:
                for name, arguments, config, answer in examples():
                    assert await bench(name, config=config, **arguments) == answer, name


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_tool_and_argument_is_on_the_page(name: str) -> None:
    tool = CATALOGUE[name]

    assert f"`{name}`" in PAGE
    for word in (*tool.spec.parameters["properties"], *tool.config["properties"]):
        assert re.search(rf"`[^`]*\b{word}\b[^`]*`", PAGE), f"{name}: {word}"


@pytest.mark.parametrize("source", blocks("yaml"), ids=range(len(blocks("yaml"))))
def test_the_page_s_workflows_are_valid(source: str) -> None:
    assert [p for p in parse_workflow(source).problems if p.severity.value == "error"] == []


def test_the_page_s_servers_are_valid(tmp_path: Path) -> None:
    (block,) = blocks("servers")
    file = tmp_path / "servers.yaml"
    file.write_text(block)

    assert list(read_mcp_servers(file)) == list(yaml.safe_load(block)["servers"])
