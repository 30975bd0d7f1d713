"""The committed contracts are what the protos say."""

import filecmp
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_contracts_equal_what_the_protos_generate(tmp_path: Path) -> None:
    generate = [sys.executable, str(ROOT / "protos" / "generate.py"), str(tmp_path)]
    subprocess.run(generate, check=True, capture_output=True, timeout=60)
    committed = ROOT / "libs" / "contracts" / "src"
    fresh = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.py*"))
    kept = sorted(p.relative_to(committed) for p in committed.rglob("*_pb2*.py*"))

    kept = [path for path in kept if "__pycache__" not in path.parts]
    assert fresh == kept
    _, differing, missing = filecmp.cmpfiles(tmp_path, committed, fresh, shallow=False)
    assert (differing, missing) == ([], []), "run `make protos` and commit what it wrote"
