"""Small programs over gRPC: mode python against a bare jailed fork, mode docker against `docker run`."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.serving import run_in_loop, serving
from cadre_sandbox.adapters.engines import Engine
from cadre_sandbox.app import build, engine_settings
from cadre_sandbox.settings import SandboxSettings

_CODE = "print(sum(range(100)))"
_TIMES = 300
_AT_ONCE = 4
_DOCKER_TIMES = 15
_AIMED_RATE = 200
_WARM_UP = 200
_PYTHON, _DOCKER = sandbox_pb2.MODE_PYTHON, sandbox_pb2.MODE_DOCKER
# In a process of its own, as it closes itself in: forks into the jail, one after the other.
_BARE_FORK = """
import os, time
os.register_at_fork = lambda **_: None
from cadre_sandbox.worker.jail import Jail, Limits
from cadre_sandbox.worker.language import modules
modules.preload()
jail = Jail.prepare(first_uid=58600)
for _ in range({times}):
    start = time.perf_counter()
    pid = jail.fork()
    if pid == 0:
        try:
            jail.enter(Limits(cpu_seconds=5, memory_mb=64), slot=0)
            sum(range(100))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    print((time.perf_counter() - start) * 1000)
"""
Stub: TypeAlias = "sandbox_pb2_grpc.SandboxServiceAsyncStub"


def _bare_forks_ms() -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", _BARE_FORK.format(times=_TIMES)],
        capture_output=True,
        check=True,
        text=True,
    )
    return [float(line) for line in done.stdout.split()]


def _docker_runs_ms(image: str, code: str) -> float:
    """The median of a container for each program."""
    took = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            ["docker", "run", "--rm", "--network", "none", image, "python3", "-c", code],
            capture_output=True,
            check=True,
        )
        took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


def _code(packages: Sequence[str]) -> str:
    return "".join(f"import {name}\n" for name in packages) + _CODE


async def _run(stub: Stub, mode: sandbox_pb2.Mode.ValueType, *packages: str) -> float:
    request = sandbox_pb2.ExecuteRequest(code=_code(packages), mode=mode, packages=packages)
    began = time.perf_counter()
    answer = await call(stub.Execute, request, service="sandbox", timeout_seconds=900)
    if answer.outcome != sandbox_pb2.OUTCOME_SUCCEEDED:
        raise SystemExit(f"the program did not succeed: {answer.error.message}")
    return (time.perf_counter() - began) * 1000


async def _rate(stub: Stub) -> float:
    began = time.perf_counter()
    for _ in range(_TIMES // _AT_ONCE):
        await asyncio.gather(*(_run(stub, _PYTHON) for _ in range(_AT_ONCE)))
    return _TIMES / (time.perf_counter() - began)


async def _docker_ms(stub: Stub, *packages: str) -> float:
    """The median with a container waiting, as the pool has one when runs leave it the time to refill."""
    await _run(stub, _DOCKER, *packages)
    took = []
    for _ in range(_DOCKER_TIMES):
        await asyncio.sleep(1.5)
        took.append(await _run(stub, _DOCKER, *packages))
    return statistics.median(took)


async def _has_docker(stub: Stub) -> bool:
    while True:
        asked = sandbox_pb2.GetCapabilitiesRequest()
        offered = await call(stub.GetCapabilities, asked, service="sandbox", timeout_seconds=10)
        if "prepared" not in offered.docker_missing:
            return not offered.docker_missing
        await asyncio.sleep(0.1)


async def _growth(stub: Stub, times: int) -> None:
    """Prints how the service and its zygote grow over many executions, after some that settle them."""
    for _ in range(_WARM_UP // _AT_ONCE):
        await asyncio.gather(*(_run(stub, _PYTHON) for _ in range(_AT_ONCE)))
    before = _usage()
    for _ in range(times // _AT_ONCE):
        await asyncio.gather(*(_run(stub, _PYTHON) for _ in range(_AT_ONCE)))
    names = ("KiB resident", "descriptors", "processes")
    print(f"{f'over {times} executions':<46}{'after':>9}{'ratio':>9}")
    for name, first, last in zip(names, before, _usage(), strict=True):
        _row(name, last, first)


def _usage() -> tuple[int, int, int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    pids = ["self", *children]
    resident = descriptors = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        resident += int(status.partition("VmRSS:")[2].split()[0])
        descriptors += len(os.listdir(f"/proc/{pid}/fd"))
    return resident, descriptors, len(pids)


def _row(name: str, value: float, baseline: float) -> None:
    print(f"{name:<46}{value:>9.1f}{value / baseline:>9.3f}")


async def _measure(growth: int) -> None:
    bare = statistics.quantiles(_bare_forks_ms(), n=100)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        settings = SandboxSettings(home=Path(home), sandbox_concurrency=_AT_ONCE)
        async with (
            build(settings) as services,
            serving(services, host="127.0.0.1", port=0) as address,
            connect(address) as channel,
        ):
            ready = (time.perf_counter() - start) * 1000
            stub = sandbox_pb2_grpc.SandboxServiceStub(channel)
            docker = await _has_docker(stub)
            await _compare_python(stub, bare, ready)
            if growth:
                await _growth(stub, growth)
            if docker:
                await _compare_docker(stub, settings)


async def _compare_python(stub: Stub, bare: Sequence[float], ready: float) -> None:
    cuts = statistics.quantiles([await _run(stub, _PYTHON) for _ in range(_TIMES)], n=100)
    print(f"{'sandbox, mode python':<46}{'ms':>9}{'ratio':>9}")
    _row("a bare jailed fork, p50 (baseline)", bare[49], bare[49])
    _row("a bare jailed fork, p99", bare[98], bare[49])
    _row("Execute over gRPC, p50 (aim 3)", cuts[49], bare[49])
    _row("Execute over gRPC, p99 (aim 5)", cuts[98], bare[49])
    _row("service ready, walls proved", ready, bare[49])
    print(f"{f'{_AT_ONCE} at a time':<46}{'a second':>9}{'ratio':>9}")
    _row("executions; 1 is the aim", await _rate(stub), _AIMED_RATE)


async def _compare_docker(stub: Stub, settings: SandboxSettings) -> None:
    engine = Engine(engine_settings(settings))
    await engine.connect()
    print(f"{'sandbox, mode docker':<46}{'ms':>9}{'ratio':>9}")
    try:
        for packages in ((), ("pandas",)):
            image = await engine.image(packages)
            baseline = await asyncio.to_thread(_docker_runs_ms, image, _code(packages))
            loaded = "".join(f" with {name}" for name in packages)
            _row(f"docker run --rm{loaded}, p50 (baseline)", baseline, baseline)
            pooled = await _docker_ms(stub, *packages)
            _row(f"Execute from the pool{loaded}, p50 (aim 0.04)", pooled, baseline)
    finally:
        engine.close()


def main(growth: int = 2_000) -> None:
    """Prints the tables, looking for growth over so many executions. Builds an image with pandas if there is none."""
    run_in_loop(_measure(growth))


if __name__ == "__main__":
    main()
