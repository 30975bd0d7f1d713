"""5,000 deliveries, sent again until they are taken, while gateway and executor are killed 50 times at random.

The aim is that none is lost and none starts two runs. Takes as long as 50 starts take: several minutes.
"""

import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.gateway import SECRET, WORKFLOW
from tests.fakes.deliveries import Provider, numbers_of_runs, send_while_killing
from tests.platform import eventually, platform

DELIVERIES = 5_000
KILLS = 50


def main() -> None:
    """Prints what became of the deliveries."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with platform(Path(folder), "executor", "gateway", HOOK_SECRET=SECRET) as running:
            running.client().apply(WORKFLOW)
            provider = Provider(url=f"{running.gateway_url}/hooks/accepted", secret=SECRET)
            send_while_killing(running, provider, deliveries=DELIVERIES, kills=KILLS)
            eventually(lambda: len(numbers_of_runs(running)) >= provider.taken, seconds=600)
            found = numbers_of_runs(running)
    wanted = Counter(range(DELIVERIES))
    lost, doubled = wanted - found, found - wanted
    print(f"{DELIVERIES} deliveries, {KILLS} kills, {time.perf_counter() - started:.0f} s:")
    print(f"  taken {provider.taken}, lost {lost.total()}, doubled {doubled.total()} (aim: none)")
