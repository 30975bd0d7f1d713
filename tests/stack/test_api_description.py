"""Schemathesis sends what OpenAPI allows and what it does not, and finds no failure of ours and no answer that OpenAPI
does not tell of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.platform import platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

# Nothing keeps schedules here: that is said, and is no failure.
CONFIG = """
[[operations]]
include-path-regex = "^/api/v1/(schedules|batches)"
[operations.checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""
EXAMPLES = "2"


def options(gateway_url: str, api_key: str) -> list[str]:
    return [
        *("run", f"{gateway_url}/openapi.json", "--header", f"Authorization: Bearer {api_key}"),
        # What fits the schema may still be wrong: a file that is no workflow, a name of nothing.
        *("--exclude-checks", "positive_data_acceptance", "--phases", "fuzzing"),
        *("--max-examples", EXAMPLES, "--generation-deterministic", "--no-shrink"),
        *("--request-timeout", "60", "--no-color", "--warnings", "off"),
    ]


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(config)]
    with platform(tmp_path) as running:
        found = subprocess.run(
            command + options(running.gateway_url, running.api_key),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    assert found.returncode == 0, found.stdout
    assert re.search(r"Tested: [1-9]", found.stdout)
