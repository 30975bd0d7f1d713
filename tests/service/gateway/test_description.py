"""What OpenAPI says of the API is valid, and enough to generate a client from, which then works."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

METHODS = {"get", "post", "put", "patch", "delete"}
GENERATED = "generated_cadre"


@pytest.fixture
async def description(running: Any) -> dict[str, Any]:
    found: dict[str, Any] = running.app.openapi()
    return found


def operations(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method.upper()} {path}", operation


async def test_it_is_valid_openapi_of_version_3_1(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1.")

    validate(description)


async def test_operations_are_called_by_words_of_their_own(description: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(description)]

    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+(_[a-z]+){0,3}", name)] == []


async def test_every_answer_has_a_type(description: dict[str, Any]) -> None:
    untyped = [
        f"{name} {status}"
        for name, operation in operations(description)
        for status, answer in operation["responses"].items()
        if status != "204"
        and not all("schema" in one for one in answer.get("content", {"": {}}).values())
    ]

    assert untyped == []


async def test_every_operation_says_how_it_refuses(description: dict[str, Any]) -> None:
    for name, operation in operations(description):
        kinds = {
            kind
            for status in ("401", "429", "503")
            for kind in operation["responses"][status]["content"]
        }
        wanted = "application/json" if " /v1/" in name else "application/problem+json"
        assert kinds == {wanted}, name


@pytest.fixture
def generated(
    description: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Any]]:
    """Imports modules of a client that openapi-python-client made, which warns of what it leaves out."""
    source, config, package = (tmp_path / name for name in ("api.json", "config.json", GENERATED))
    source.write_text(json.dumps(description))
    chosen = {
        "package_name_override": GENERATED,
        "post_hooks": [f"{Path(sys.executable).parent}/ruff format ."],
    }
    config.write_text(json.dumps(chosen))
    options = [
        "--path",
        str(source),
        "--config",
        str(config),
        "--meta",
        "none",
        "--output-path",
        str(package),
    ]
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "WARNING" not in made.stdout + made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: importlib.import_module(f"{GENERATED}.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == GENERATED]:
        del sys.modules[name]


async def test_a_generated_client_starts_runs_lists_them_and_reads_refusals(
    running: Any, generated: Callable[[str], Any]
) -> None:
    models, runs = generated("models"), "api.runs"
    start_run, list_runs, get_run = (
        generated(f"{runs}.{name}") for name in ("start_run", "list_runs", "get_run")
    )
    client = generated("client").AuthenticatedClient(
        base_url=running.url, token=running.key, verify_ssl=False
    )
    async with client:
        wanted = models.NewRun(source="flow: {name: asked}")
        started = [
            await start_run.asyncio(client=client, body=wanted, idempotency_key=f"k{number}")
            for number in (1, 2, 3, 3)
        ]
        first = await list_runs.asyncio(client=client, page_size=2)
        rest = await list_runs.asyncio(client=client, page_size=2, page_token=first.next_page_token)
        missing = await get_run.asyncio_detailed("nowhere", client=client)

    ids = [run.id for run in started]
    assert [run.id for run in first.runs + rest.runs] == [ids[2], ids[1], ids[0]]
    assert ids[2] == ids[3]
    assert rest.next_page_token == ""
    assert missing.status_code == 404
    assert isinstance(missing.parsed, models.ProblemDetails)
    assert missing.parsed.code == "RUN_NOT_FOUND"
