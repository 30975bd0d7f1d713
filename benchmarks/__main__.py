"""`make bench`: runs every benchmark here, or those named; each prints its table of ratios against a baseline.

A number after a name is for that benchmark, such as the calls of `python -m benchmarks llm_proxy 100000`, or the
executions of `python -m benchmarks sandbox 10000`.
"""

import importlib
import sys
from itertools import takewhile
from pathlib import Path

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def main(chosen: list[str]) -> int:
    """Runs the chosen benchmarks, all when none is named; 2 for a name that is none."""
    names = [each for each in chosen if not each.isdigit()]
    if unknown := sorted(set(names) - set(NAMES)):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        importlib.import_module(f"benchmarks.{name}").main(*_numbers_of(name, chosen))
        print(flush=True)
    return 0


def _numbers_of(name: str, chosen: list[str]) -> list[int]:
    """The numbers that follow a name, up to the next."""
    after = chosen[chosen.index(name) + 1 :] if name in chosen else []
    return [int(each) for each in takewhile(str.isdigit, after)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
