"""The gateway as a process: how it starts, says so, stops, and refuses to start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


@contextmanager
def process(home: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        "PATH": os.environ["PATH"],
        "CADRE_HOME": str(home),
        "CADRE_GATEWAY_PORT": "0",
        "CADRE_TRACES_ENDPOINT": "",
        "CADRE_EXECUTOR_ADDRESS": "127.0.0.1:1",
        "CADRE_LOG_FORMAT": "json",
        **settings,
    }
    started = subprocess.Popen(
        [sys.executable, "-m", "cadre_gateway"],
        env=environment,
        cwd=home,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def ready_address(started: subprocess.Popen[str]) -> str:
    assert started.stderr is not None
    for line in started.stderr:
        event = json.loads(line)
        if event["event"] == "service_ready":
            return str(event["address"])
    raise AssertionError(f"it ended with {started.wait()}")


def last_line(started: subprocess.Popen[str]) -> dict[str, str]:
    _, said = started.communicate(timeout=20)
    line: dict[str, str] = json.loads(said.splitlines()[-1])
    return line


def test_it_starts_without_the_others_and_stops_within_seconds(tmp_path: Path) -> None:
    with process(tmp_path) as started:
        address = ready_address(started)
        key = (tmp_path / "api-key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.get(f"http://{address}/api/v1/runs", headers=headers, timeout=15)
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=10) == 0

    assert answer.json()["code"] == "SERVICE_UNAVAILABLE"


def test_the_logs_name_requests_and_no_key(tmp_path: Path) -> None:
    with process(tmp_path) as started:
        address = ready_address(started)
        key = (tmp_path / "api-key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}", "X-Request-Id": "find-me"}
        httpx.get(f"http://{address}/api/v1/nothing?key={key}", headers=headers)
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=10)

    line = next(json.loads(line) for line in said.splitlines() if "find-me" in line)
    assert (line["event"], line["status"], line["path"]) == (
        "request_answered",
        404,
        "/api/v1/nothing",
    )
    assert key not in said


def test_a_second_start_keeps_the_key(tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        with process(tmp_path) as started:
            ready_address(started)
            keys.add((tmp_path / "api-key").read_text())

    assert len(keys) == 1


def test_a_port_that_is_taken_is_named_with_the_setting_that_moves_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with process(tmp_path, CADRE_GATEWAY_PORT=port) as started:
            line = last_line(started)
            assert started.returncode == 1

    assert (line["event"], line["code"]) == ("service_failed", "ADDRESS_IN_USE")
    assert port in line["reason"]
    assert "CADRE_GATEWAY_PORT" in line["resolution"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("CADRE_GATEWAY_PORT", "x"), ("CADRE_GATEWAY_BODY_BYTES", "-1"), ("CADRE_API_KEY", "short")],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    with process(tmp_path, **{name: value}) as started:
        _, said = started.communicate(timeout=20)

    assert (started.returncode, said.startswith(f"{name}: ")) == (2, True)
    assert "Traceback" not in said


def test_a_webhook_secret_that_cannot_sign_ends_the_start(tmp_path: Path) -> None:
    with process(tmp_path, CADRE_WEBHOOK_SECRET="whsec_tooshorttosign") as started:
        assert last_line(started)["code"] == "BAD_WEBHOOK_SECRET"
        assert started.returncode == 1
