"""The whole platform: how long until its first page can be used, and what it holds in memory when idle.

Starting it is compared with starting a bare Streamlit page; its memory with a bare Python that serves gRPC.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

_SERVICES = (
    "GATEWAY",
    "FRONTEND",
    "EXECUTOR",
    "LLM_PROXY",
    "SANDBOX",
    "MEMORY",
    "MLFLOW",
    "PREFECT",
)
_BEHIND = ("mlflow", "prefect")
_AIM_SECONDS = 15
_AIM_MB = 900
_SECONDS = 180.0
_SETTLING_SECONDS = 3.0
_BARE_GRPC = """
import asyncio, grpc
async def main():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()
asyncio.run(main())
"""


def main() -> None:
    """Prints both tables."""
    print(f"load of this machine: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        page = _page_seconds(Path(folder))
        bare_mb = _bare_grpc_mb()
        with _platform(Path(folder)) as (seconds, rows):
            _print_start(seconds, page)
            _print_memory(rows, bare_mb)


def _print_start(seconds: float, page: float) -> None:
    print(f"{'until the first page can be used':<40} {'seconds':>8} {'ratio':>7}")
    print(f"{'a bare Streamlit page':<40} {page:>8.1f} {1:>7.2f}")
    print(f"{f'cadre up (aim: {_AIM_SECONDS} s)':<40} {seconds:>8.1f} {seconds / page:>7.2f}")


def _print_memory(rows: list[tuple[str, float, float]], bare_mb: float) -> None:
    print(f"\n{'idle, without MLflow and Prefect':<40} {'PSS MB':>8} {'RSS MB':>8} {'ratio':>7}")
    print(f"{'a bare Python that serves gRPC':<40} {bare_mb:>8.0f} {'':>8} {1:>7.2f}")
    for name, pss, rss in rows:
        print(f"{name:<40} {pss:>8.0f} {rss:>8.0f} {pss / bare_mb:>7.2f}")
    total = sum(pss for _, pss, _ in rows)
    held = sum(rss for _, _, rss in rows)
    print(f"{f'total (aim: {_AIM_MB} MB)':<40} {total:>8.0f} {held:>8.0f} {total / bare_mb:>7.2f}")


@contextmanager
def _platform(home: Path) -> Iterator[tuple[float, list[tuple[str, float, float]]]]:
    """A platform from `cadre up`: the seconds until it was usable, and what its processes hold."""
    environment = _environment(home)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "cadre_cli", "up", "--detach"],
        env=environment,
        check=True,
        capture_output=True,
    )
    seconds = time.perf_counter() - began
    try:
        time.sleep(_SETTLING_SECONDS)
        yield seconds, _held(home)
    finally:
        subprocess.run(
            [sys.executable, "-m", "cadre_cli", "down"],
            env=environment,
            check=True,
            capture_output=True,
        )


def _held(home: Path) -> list[tuple[str, float, float]]:
    """Name, PSS and RSS of each of the platform's processes in MB, MLflow's and Prefect's left out."""
    rows = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CADRE_HOME") != str(home):
                continue
            name, memory = _name(process), process.memory_full_info()
        except psutil.Error:
            continue
        if not any(behind in name for behind in _BEHIND):
            rows.append((name, memory.pss / 1e6, memory.rss / 1e6))
    return sorted(rows, key=lambda row: -row[1])


def _name(process: psutil.Process) -> str:
    return " ".join(process.cmdline()[1:]).removeprefix("-m ").replace("\n", " ")[:38]


def _page_seconds(folder: Path) -> float:
    page = folder / "page.py"
    page.write_text("import streamlit as st\nst.write('Hello')\n")
    port = _free_port()
    began = time.perf_counter()
    serving = subprocess.Popen(
        [
            *(sys.executable, "-m", "streamlit", "run", str(page), "--server.headless", "true"),
            *("--server.port", str(port), "--browser.gatherUsageStats", "false"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(f"http://127.0.0.1:{port}/_stcore/health"):
            if time.perf_counter() - began > _SECONDS:
                raise SystemExit("Streamlit does not start")
            time.sleep(0.05)
        return time.perf_counter() - began
    finally:
        serving.terminate()
        serving.wait()


def _bare_grpc_mb() -> float:
    serving = subprocess.Popen(
        [sys.executable, "-c", _BARE_GRPC], stdout=subprocess.PIPE, text=True
    )
    try:
        assert serving.stdout is not None
        serving.stdout.readline()
        return float(psutil.Process(serving.pid).memory_full_info().pss / 1e6)
    finally:
        serving.terminate()
        serving.wait()
        if serving.stdout is not None:
            serving.stdout.close()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CADRE_")}
    ports = {f"CADRE_{name}_PORT": str(_free_port()) for name in _SERVICES}
    return {**kept, **ports, "CADRE_HOME": str(home)}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
