"""Files that are made to exhaust the parser are refused quickly and in little memory."""

import json
import subprocess
import sys
from typing import Any

import pytest

_SECONDS = 3.0
_MEBIBYTES = 64

_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)
_MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}], k{i}: v}}\n" for i in range(1, 30)
)
_BOMBS = {
    "a billion laughs": (_LAUGHS, "FILE_TOO_LARGE"),
    "merges of merges": (_MERGES, "FILE_TOO_LARGE"),
    "a long text many times": (
        f"a: &a {'x' * 500_000}\nb: [{', '.join(['*a'] * 20_000)}]",
        "FILE_TOO_LARGE",
    ),
    "an anchor within itself": ("a: &a [*a]", "UNKNOWN_ANCHOR"),
    "open brackets": ("[" * 900_000, "NESTED_TOO_DEEP"),
    "open braces": ("{a: " * 200_000, "FILE_TOO_LARGE"),
    "open dashes": ("- " * 400_000, "NESTED_TOO_DEEP"),
    "many values": ("- x\n" * 200_000, "FILE_TOO_LARGE"),
    "more than a mebibyte": ("x" * 5_000_000, "FILE_TOO_LARGE"),
    "many documents": ("---\n" * 200_000, "SEVERAL_DOCUMENTS"),
    "a long number": (f"a: {'9' * 900_000}", "MISSING_FIELD"),
    "a tag": ("!!python/object/apply:os.system [id]", "UNSAFE_TAG"),
}
_MEASURED = """
import json, resource, sys, time
from cadre_executor.language import parse_workflow
parse_workflow("flow: {name: a}\\nnodes: [{id: a, prompt: hi}]")
bombs = json.load(sys.stdin)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = {}
for name, source in bombs.items():
    started = time.process_time()
    parsed = parse_workflow(source)
    found[name] = ([each.code for each in parsed.problems], time.process_time() - started)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"found": found, "grown_kib": grown}))
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """What each bomb was called and how long that took, and by how much the process grew at its largest."""
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURED],
        input=json.dumps({name: source for name, (source, _) in _BOMBS.items()}),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


@pytest.mark.parametrize("name", _BOMBS)
def test_a_bomb_is_refused_quickly(measured: dict[str, Any], name: str) -> None:
    codes, seconds = measured["found"][name]

    assert _BOMBS[name][1] in codes
    assert seconds < _SECONDS


def test_bombs_are_refused_in_little_memory(measured: dict[str, Any]) -> None:
    assert measured["grown_kib"] < _MEBIBYTES * 1024
