"""The `cadre` command against an API that answers over HTTP."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.http_api import Store, serving

from cadre_cli.main import run


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Cadre:
    """Runs commands in a folder and an environment of their own, in this process: each start costs most of a second."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, stdin: str = "") -> Ran:
        with pytest.MonkeyPatch.context() as process:
            process.chdir(self.folder)
            process.setattr(sys, "stdin", io.StringIO(stdin))
            for name in set(os.environ) - set(self.environment):
                process.delenv(name)
            for name, value in self.environment.items():
                process.setenv(name, value)
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err):
                status = run(arguments)
        return Ran(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())

    def json(self, *arguments: str) -> Any:
        """The one document that a command prints with --json."""
        return json.loads(self(*arguments, "--json").stdout)

    def write(self, name: str, text: str) -> str:
        """A file in the folder; its name."""
        (self.folder / name).write_text(text)
        return name


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    # pytest-xdist sets COLUMNS, which stands for a terminal of that width.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CADRE_") and k != "COLUMNS"}
    return {**kept, "CADRE_HOME": str(tmp_path / "home"), "CADRE_API_KEY": "cadre_test"}


@pytest.fixture
def cadre(store: Store, environment: dict[str, str], tmp_path: Path) -> Iterator[Cadre]:
    with serving(store) as url:
        yield Cadre(folder=tmp_path, environment={**environment, "CADRE_GATEWAY_URL": url})


@pytest.fixture
def cadre_alone(environment: dict[str, str], tmp_path: Path) -> Cadre:
    """Commands with no platform anywhere."""
    url = "http://127.0.0.1:9"
    return Cadre(folder=tmp_path, environment={**environment, "CADRE_GATEWAY_URL": url})


@pytest.fixture
def triage(cadre: Cadre) -> str:
    """A valid file of a workflow that succeeds."""
    return cadre.write("triage.yaml", "name: triage\nnodes: []\n")
