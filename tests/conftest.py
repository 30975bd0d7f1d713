"""What the machine can run decides which kinds of test run; each kind left out is named at the end, with why."""

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.postgresql import Postgresql, postgresql, programs
from tests.redis_server import RedisServer, program, redis_server

from cadre_kit.tracing import tracer

# Nothing in a test may look for a price list, send a trace or report usage.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["CADRE_TRACES_ENDPOINT"] = ""
os.environ["DO_NOT_TRACK"] = "1"
# A shell's background job ignores Ctrl-C, and so would every program that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _no_docker() -> str:
    if shutil.which("docker") is None:
        return "no Docker client is installed (apt-get install docker.io)"
    answered = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    return "" if answered.returncode == 0 else "no Docker engine answers (start dockerd)"


def _no_browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return "" if found else "no Chromium is installed (apt-get install chromium)"


def _not_root() -> str:
    return "" if os.geteuid() == 0 else "only root can drop to another user"


def _no_postgresql() -> str:
    return "" if programs() else "no PostgreSQL server is installed (apt-get install postgresql)"


def _no_redis() -> str:
    return "" if program() else "no Redis server is installed (apt-get install redis-server)"


NEEDS: dict[str, Callable[[], str]] = {
    "docker": _no_docker,
    "browser": _no_browser,
    "root": _not_root,
    "postgresql": _no_postgresql,
    "redis": _no_redis,
}
_LEFT_OUT = rf"Skipped: ((?:{'|'.join(NEEDS)}) tests: .*)"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgresql]:
    """One server for all tests; each makes databases of its own. Only for tests marked `postgresql`."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def redis_at() -> Iterator[RedisServer]:
    """One server for all tests; each makes databases of its own. Only for tests marked `redis`."""
    with redis_server() as server:
        yield server


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans that end during a test. Only for tests that start what they trace after they asked for this."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    # A tracer stays with the provider that it first met.
    tracer.cache_clear()
    yield exporter
    tracer.cache_clear()
    provider.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests whose kind this machine cannot run."""
    used = {kind for item in items for kind in NEEDS if item.get_closest_marker(kind)}
    reasons = {kind: reason for kind in sorted(used) if (reason := NEEDS[kind]())}
    for item in items:
        for kind, reason in reasons.items():
            if item.get_closest_marker(kind):
                item.add_marker(pytest.mark.skip(reason=f"{kind} tests: {reason}"))
                break


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Ends with a line for each kind that was left out."""
    # From the reports, which is all that comes back from tests that run in other processes.
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    found = (re.fullmatch(_LEFT_OUT, where[2]) for where in skipped if isinstance(where, tuple))
    for what, count in sorted(Counter(match[1] for match in found if match).items()):
        terminalreporter.write_line(f"left out: {count} {what}", yellow=True)
