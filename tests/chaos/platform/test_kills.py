"""Services of a running platform are killed in the middle of runs: every run ends, and nothing is paid twice."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.openai_server import OpenAiServer, openai_server
from tests.platform import SERVICES, Platform, eventually, platform

from cadre_client import Client, Event, EventType, Run

EXAMPLES = Path(__file__).parents[3] / "examples"
INPUTS: dict[str, dict[str, Any]] = {
    "review_loop": {"topic": "tests"},
    "panel": {"question": "Why?"},
    "numbers": {"numbers": [3, 1, 4]},
    "remember": {"who": "Ada", "message": "Green."},
}
# Busy machines take long to start a service again; runs wait for it.
SETTINGS = {"CADRE_EXECUTOR_PATIENCE_SECONDS": "120"}
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAiServer]:
    with openai_server() as serving:
        yield serving


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, provider: OpenAiServer) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("home")
    with platform(home, **provider.settings, **SETTINGS) as started:
        yield started


@pytest.fixture(scope="module")
def client(running: Platform) -> Client:
    return running.client()


@pytest.fixture(autouse=True)
def _well_behaved(provider: OpenAiServer) -> None:
    provider.behave()


def start(client: Client, name: str, key: str | None = None) -> Run:
    source = (EXAMPLES / f"{name}.yaml").read_text()
    return client.start_run(source=source, inputs=INPUTS[name], idempotency_key=key)


def ended(client: Client, run: Run) -> Run:
    eventually(lambda: client.run(run.id).status.is_final, seconds=120)
    return client.run(run.id)


def paid_calls(running: Platform, run: Run) -> list[str]:
    with closing(sqlite3.connect(running.home / "llm-proxy.db")) as ledger:
        rows = ledger.execute(
            "SELECT idempotency_key FROM calls WHERE run_id = ? AND status = 'succeeded'", (run.id,)
        )
        return sorted(key for (key,) in rows)


def owed_calls(run: Run, events: list[Event]) -> list[str]:
    """The model calls of the nodes that ended, one each."""
    return sorted(
        f"{run.id}/{e.node}/{e.iteration}/{e.attempt}/1"
        for e in events
        if e.type is EventType.NODE_SUCCEEDED and e.usage is not None and e.usage.calls
    )


@pytest.mark.parametrize("victim", SERVICES)
def test_runs_go_on_after_a_kill_with_no_event_lost_and_no_call_paid_twice(
    running: Platform, client: Client, provider: OpenAiServer, victim: str
) -> None:
    provider.gate.clear()
    runs = [start(client, name) for name in INPUTS]
    eventually(lambda: len(provider.asked) >= 5)
    running.kill(victim)
    provider.gate.set()
    running.start(victim)

    for run in [ended(client, run) for run in runs]:
        events = list(client.watch(run.id))
        assert run.status == "succeeded", (run.workflow, run.error)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert paid_calls(running, run) == owed_calls(run, events)
        assert run.usage.calls == len(owed_calls(run, events)) > 0


@pytest.mark.parametrize("victim", ["sandbox", "memory"])
def test_a_service_that_is_away_when_it_is_needed_is_waited_for(
    running: Platform, client: Client, provider: OpenAiServer, victim: str
) -> None:
    running.kill(victim)
    runs = [start(client, name) for name in INPUTS]
    eventually(lambda: len(provider.asked) >= 4)
    running.start(victim)

    assert {ended(client, run).status.value for run in runs} == {"succeeded"}


def test_a_request_repeated_over_a_kill_of_the_executor_gets_the_run_that_it_started(
    running: Platform, client: Client, provider: OpenAiServer
) -> None:
    provider.gate.clear()
    first = start(client, "numbers", key="the-same")
    running.kill("executor")
    provider.gate.set()
    running.start("executor")

    again = start(client, "numbers", key="the-same")

    assert again.id == first.id
    assert ended(client, first).status == "succeeded"


@pytest.mark.parametrize("victim", ["gateway", "executor"])
def test_a_command_that_follows_a_run_misses_nothing_over_a_kill(
    running: Platform, provider: OpenAiServer, victim: str
) -> None:
    provider.gate.clear()
    following = follow(running, "review_loop", "topic=tests")
    assert following.stderr is not None
    # Before, nobody has told it that the run has started.
    assert "review_loop" in following.stderr.readline()
    eventually(lambda: len(provider.asked) == 1)
    running.kill(victim)
    provider.gate.set()
    running.start(victim)

    said, shown = following.communicate(timeout=120)

    assert following.returncode == 0, shown
    assert "rounds: 3" in said
    assert [shown.count(f"✓ {node}") for node in ("write", "review", "count")] == [3, 3, 3]
    assert "Traceback" not in shown


def test_runs_of_every_kind_survive_kills_of_all_services_at_once(
    running: Platform, client: Client, provider: OpenAiServer
) -> None:
    provider.gate.clear()
    runs = [start(client, name) for name in INPUTS]
    eventually(lambda: len(provider.asked) >= 5)
    for name in SERVICES:
        running.kill(name)
    provider.gate.set()
    running.start(*SERVICES)

    for run in [ended(client, run) for run in runs]:
        events = list(client.watch(run.id))
        assert run.status == "succeeded", (run.workflow, run.error)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert paid_calls(running, run) == owed_calls(run, events)


def follow(running: Platform, name: str, *inputs: str) -> "subprocess.Popen[str]":
    given = [part for pair in inputs for part in ("-i", pair)]
    return subprocess.Popen(
        [sys.executable, "-m", "cadre_cli", "run", str(EXAMPLES / f"{name}.yaml"), *given],
        env={**running.environment, "PYTHONIOENCODING": "utf-8"},
        cwd=running.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
