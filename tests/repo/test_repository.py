"""What is kept in the repository, and what must not be."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 1_000_000
FORBIDDEN = re.compile(
    r"(^|/)(\.env|uv\.lock|poetry\.lock|TODO\S*|PLAN\S*|STATUS\S*|SUMMARY\S*)$|\.(db|sqlite3?|log|pem|key|pyc)$"
)
# Put together here, so that this file does not hold them.
PRIVATE = ("/".join(["", "opt", "pypi"]), "/".join(["", "work", "main"]), "--index" + "-url")
KEYS = re.compile(r"\b(sk-[A-Za-z0-9]{32,}|ghp_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16})\b")


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("these files are no git repository")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts() -> dict[str, str]:
    return {name: (ROOT / name).read_bytes().decode(errors="ignore") for name in tracked()}


def test_no_file_is_over_a_megabyte() -> None:
    large = [name for name in tracked() if (ROOT / name).stat().st_size > LARGEST_BYTES]

    assert large == []


def test_no_state_plan_or_lock_file_is_kept() -> None:
    assert [name for name in tracked() if FORBIDDEN.search(name)] == []


def test_no_file_names_a_package_index_or_a_folder_of_somebody_s_machine() -> None:
    found = [name for name, text in texts().items() for sign in PRIVATE if sign in text]

    assert found == []


def test_no_file_holds_a_secret() -> None:
    assert [name for name, text in texts().items() if KEYS.search(text)] == []


def test_imports_keep_to_the_rules() -> None:
    linter = Path(sys.executable).with_name("lint-imports")

    checked = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout
