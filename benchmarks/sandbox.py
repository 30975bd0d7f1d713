"""One small program through the sandbox's gRPC service, against starting a bare `python -c` for it."""

import asyncio
import statistics
import subprocess
import sys
import time

from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings

_CODE = "print(sum(range(100)))"
_TIMES = 300
_SPAWNS = 30
_AT_ONCE = 4


def _spawned_ms() -> list[float]:
    took = []
    for _ in range(_SPAWNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", _CODE], capture_output=True, check=True)
        took.append((time.perf_counter() - start) * 1000)
    return took


async def _measured() -> tuple[float, list[float], float]:
    """Milliseconds until the service is ready, of each call, and calls a second with some under way at once."""
    start = time.perf_counter()
    settings = SandboxSettings(sandbox_concurrency=_AT_ONCE)
    async with (
        build(settings) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        connect(address) as channel,
    ):
        ready = (time.perf_counter() - start) * 1000
        stub = sandbox_pb2_grpc.SandboxServiceStub(channel)
        request = sandbox_pb2.ExecuteRequest(code=_CODE)

        async def run() -> float:
            began = time.perf_counter()
            await call(stub.Execute, request, service="sandbox", timeout_seconds=30)
            return (time.perf_counter() - began) * 1000

        took = [await run() for _ in range(_TIMES)]
        began = time.perf_counter()
        for _ in range(_TIMES // _AT_ONCE):
            await asyncio.gather(*(run() for _ in range(_AT_ONCE)))
        return ready, took, _TIMES / (time.perf_counter() - began)


def main() -> None:
    """Prints the table."""
    spawned = statistics.median(_spawned_ms())
    ready, took, rate = asyncio.run(_measured())
    cuts = statistics.quantiles(took, n=100)
    print(f"{'sandbox':<34}{'ms':>9}{'ratio':>9}")
    for name, value in (
        ("python -c, a process each (baseline)", spawned),
        ("Execute over gRPC, p50", cuts[49]),
        ("Execute over gRPC, p95", cuts[94]),
        ("service ready, walls proved", ready),
    ):
        print(f"{name:<34}{value:>9.1f}{value / spawned:>9.2f}")
    print(f"{rate:.0f} executions a second, {_AT_ONCE} at a time")


if __name__ == "__main__":
    main()
