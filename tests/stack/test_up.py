"""The whole platform, as `make up` starts it: services, web UI, MLflow, Prefect and its worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.fakes.openai_server import openai_server
from tests.platform import Platform, eventually

from cadre_cli.supervisor.processes import mark_of
from cadre_cli.supervisor.state import Home, PlatformState, ProgramState

EXAMPLES = Path(__file__).parents[2] / "examples"
# MLflow and Prefect migrate their databases at their first start, behind everything else.
BEHIND_SECONDS = 240.0
pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("home")
    with openai_server() as provider:
        settings = dict(provider.settings)
        made = Platform(home, settings)
        settings["CADRE_TRACES_ENDPOINT"] = f"http://127.0.0.1:{made.ports['mlflow']}/v1/traces"
        try:
            with left_by_a_killed_platform(home):
                started = made.cadre("up", "--detach")
            assert started.returncode == 0, started.stdout + started.stderr
            (home / "said").write_text(started.stdout)
            yield made
        finally:
            made.close_clients()
            made.cadre("down")
            for process in of_home(made):
                process.kill()


@contextmanager
def left_by_a_killed_platform(home: Path) -> Iterator[None]:
    """A state that says that all is well, with a process that takes its time to end."""
    stays = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", stays]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as left:
        assert left.stdout is not None
        left.stdout.readline()
        program = ProgramState(name="gateway", address="", process=mark_of(left.pid))
        Home(path=home).write_state(PlatformState(supervisor=1, programs=(program,), usable=True))
        yield
        left.kill()


def of_home(on: Platform) -> list[psutil.Process]:
    """The processes that have this platform's home in their environment."""
    wanted = str(on.home)
    return [p for p in psutil.process_iter() if _home(p) == wanted and p.pid != os.getpid()]


def _home(process: psutil.Process) -> str:
    try:
        return process.environ().get("CADRE_HOME", "")
    except psutil.Error:
        return ""


def services(on: Platform) -> dict[str, dict[str, Any]]:
    shown = on.cadre("status", "--json")
    return {service["name"]: service for service in json.loads(shown.stdout)["services"]}


def test_it_says_what_is_ready_and_where_it_is(running: Platform) -> None:
    said = (running.home / "said").read_text()

    assert "Stop it with " in said
    assert all(f"{n}/8 " in said for n in range(1, 7))
    assert "Cadre is ready after " in said
    assert running.frontend_url in said
    assert running.gateway_url in said
    assert httpx.get(f"{running.frontend_url}/", trust_env=False).status_code == 200


def test_status_names_every_service_with_its_process(running: Platform) -> None:
    found = services(running)

    needed = ("gateway", "executor", "llm-proxy", "sandbox", "memory", "frontend")
    assert {*needed, "mlflow", "prefect"} <= set(found)
    assert {found[name]["status"] for name in needed} == {"ready"}
    assert all(psutil.pid_exists(found[name]["pid"]) for name in needed)
    assert all(found[name]["uptime_s"] > 0 for name in needed)


def test_a_second_up_changes_nothing(running: Platform) -> None:
    before = {name: service["pid"] for name, service in services(running).items()}

    again = running.cadre("up", "--detach")

    assert again.returncode == 0
    assert "runs already" in again.stdout
    after = {name: service["pid"] for name, service in services(running).items()}
    assert all(after[name] == pid for name, pid in before.items() if pid is not None)


def test_a_run_succeeds_while_mlflow_and_prefect_are_still_starting(running: Platform) -> None:
    message = "message=Thank you!"

    ran = running.cadre("run", str(EXAMPLES / "triage.yaml"), "-i", message, "--json")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["outputs"]["mood"] == "happy"


def test_a_killed_service_is_started_again_and_the_reason_is_said(running: Platform) -> None:
    before = services(running)["memory"]["pid"]

    os.kill(before, signal.SIGKILL)
    log = running.home / "logs" / "supervisor.log"
    eventually(lambda: "memory is ready again" in log.read_text(), seconds=60)

    assert "memory was killed by SIGKILL" in log.read_text()
    assert services(running)["memory"]["pid"] not in (before, None)


def test_a_schedule_starts_runs_through_prefect(running: Platform) -> None:
    client = running.client()
    client.apply((EXAMPLES / "triage.yaml").read_text())
    eventually(lambda: behind_is_ready(running), seconds=BEHIND_SECONDS)

    made = running.cadre("deploy", "triage", "--cron", "0 0 1 1 *", "-i", "message=Scheduled")
    assert made.returncode == 0, made.stderr
    listed = json.loads(running.cadre("schedules", "list", "--json").stdout)["schedules"]
    trigger(running, "triage")
    eventually(lambda: scheduled(running), seconds=120)

    assert [(s["name"], s["cron"]) for s in listed] == [("triage", "0 0 1 1 *")]
    run = scheduled(running)[0]
    assert client.run(run.id).inputs == {"message": "Scheduled"}


def behind_is_ready(on: Platform) -> bool:
    found = services(on)
    return all(found[name]["status"] == "ready" for name in ("prefect", "prefect-worker"))


def trigger(on: Platform, name: str) -> None:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{on.ports['prefect']}/api", trust_env=False, timeout=30
    ) as api:
        found = api.get(f"/deployments/name/run-workflow/{name}")
        assert found.is_success, found.text
        deployment = found.json()["id"]
        made = api.post(f"/deployments/{deployment}/create_flow_run", json={})
        assert made.is_success, made.text


def scheduled(on: Platform) -> list[Any]:
    runs = on.client().runs(workflow="triage")
    return [run for run in runs if run.trigger == "schedule" and run.status == "succeeded"]


def test_down_stops_everything_within_ten_seconds(running: Platform) -> None:
    assert len(of_home(running)) >= 8
    began = time.monotonic()

    stopped = running.cadre("down")

    took = time.monotonic() - began
    assert stopped.returncode == 0
    assert "no process is left" in stopped.stdout
    assert of_home(running) == []
    assert took <= 12, "ten seconds, and two for the command itself to start"
