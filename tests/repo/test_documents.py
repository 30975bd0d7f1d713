"""What the pages tell people to type exists, and what they link to is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from cadre_cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("services/*/README.md"),
    ]
)
PARTS = ("cli", "frontend", *(f"services/{p.name}" for p in ROOT.glob("services/*")))
COMMANDS = (
    "up down status doctor init validate test plan schema apply workflows run runs models costs"
    " budgets deploy schedules"
)


def typed(page: Path) -> set[str]:
    """The commands that a page shows: in code spans, and lines of fenced blocks."""
    text = page.read_text()
    blocks = re.findall(r"```(?:console|sh|bash|shell)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return {*lines, *re.findall(r"`((?:\.venv/bin/)?cadre [^`]+|make [a-z]+)`", text)}


def cadre_commands() -> list[tuple[str, str]]:
    return [
        (page.relative_to(ROOT).as_posix(), command.split("#")[0].strip())
        for page in PAGES
        for command in sorted(typed(page))
        if re.match(r"(\.venv/bin/)?cadre [a-z]", command)
    ]


def make_targets() -> set[str]:
    lines = [line for page in PAGES for line in typed(page)]
    return {found[1] for line in lines if (found := re.match(r"make ([a-z]+)", line))}


@pytest.mark.parametrize(("page", "command"), cadre_commands())
def test_a_command_on_a_page_exists_with_its_options(page: str, command: str) -> None:
    found = typer.main.get_command(app)
    words = shlex.split(command)[1:]
    while words and isinstance(found, TyperGroup):
        assert words[0] in found.commands, f"{page}: {command}"
        found = found.commands[words.pop(0)]

    known = {name for p in found.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    assert {w.split("=")[0] for w in words if w.startswith("-") and len(w) > 1} <= known


def test_every_make_target_on_a_page_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    assert make_targets() <= targets
    assert {"up", "down", "test"} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())

    missing = [at for at in links if "://" not in at and not (page.parent / at).exists()]

    assert missing == []


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_a_page_of_its_own(part: str) -> None:
    page = (ROOT / part / "README.md").read_text()

    assert page.startswith("# ")
    assert len(page.splitlines()) <= 120


def test_the_command_line_names_its_commands() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "cadre_cli", "--help"], capture_output=True, text=True, check=True
    ).stdout

    assert all(re.search(rf"\b{name}\b", said) for name in COMMANDS.split())
