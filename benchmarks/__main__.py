"""`make bench`: runs every benchmark here, or those named; each prints its table of ratios against a baseline.

What begins with `-`, and all after it, is for the benchmarks: `python -m benchmarks sandbox --growth 10000`.
"""

import importlib
import sys
from itertools import takewhile
from pathlib import Path

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def main(chosen: list[str]) -> int:
    """Runs the chosen benchmarks, all when none is named; 2 for a name that is none."""
    if unknown := sorted(set(chosen) - set(NAMES)):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in chosen or NAMES:
        importlib.import_module(f"benchmarks.{name}").main()
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(list(takewhile(lambda word: word[:1] != "-", sys.argv[1:]))))
