"""The platform in containers: a Compose project of its own, on free ports of this machine."""

import json
import os
import shlex
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from tests.ports import free_port

from cadre_client import Client

ROOT = Path(__file__).parents[2]
_COMPOSE_COMMANDS = (("docker", "compose"), ("docker-compose",))
_BUILD_SECONDS = 1500.0
_START_SECONDS = 300.0
_COMMAND_SECONDS = 120.0


def installed_compose_commands() -> list[tuple[str, ...]]:
    """The ways to call Compose that this machine has, version 2 first."""
    return [command for command in _COMPOSE_COMMANDS if _works([*command, "version"])]


class Stack:
    """A project: containers, networks and volumes under one name. `folder` takes what it needs on disk."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self.ports = {"gateway": free_port(), "frontend": free_port()}
        self._name = f"cadre-test-{uuid.uuid4().hex[:8]}"
        # Neither settings nor keys of this machine are the tests' to use.
        no_settings = folder / "settings"
        no_settings.touch()
        kept = {k: v for k, v in os.environ.items() if not _is_setting(k)}
        self._command = [*command, "--env-file", str(no_settings), "--project-name", self._name]
        self._environment = {
            **kept,
            "CADRE_IMAGE_TAG": "test",
            "CADRE_GATEWAY_PORT": str(self.ports["gateway"]),
            "CADRE_FRONTEND_PORT": str(self.ports["frontend"]),
            "DOCKER_BUILDKIT": "1" if _builds_with_buildkit() else "0",
        }

    def client(self) -> Client:
        """A client of the gateway, with the key that the gateway made."""
        key = self.execute("gateway", "cat", "/var/lib/cadre-key/api-key").strip()
        return Client(f"http://127.0.0.1:{self.ports['gateway']}", key)

    def build(self) -> None:
        """Builds every image."""
        self.compose("build", seconds=_BUILD_SECONDS)

    def start(self) -> None:
        """Starts everything and returns when all containers are healthy. Raises AssertionError with the logs."""
        try:
            self.compose("up", "--detach", seconds=_START_SECONDS)
            self._await_health()
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self._logs()}") from exc

    def renew(self, service: str) -> None:
        """Puts a new container in the place of a service's, as an upgrade would, and waits until it is healthy."""
        self.compose("up", "--detach", "--no-deps", "--force-recreate", service)
        self._await_health()

    def stop(self) -> None:
        """Removes containers, networks and volumes."""
        self.compose("down", "--volumes", "--timeout", "10")

    def execute(self, service: str, *command: str) -> str:
        """What a command prints in a service's container."""
        return self.compose("exec", "-T", service, *command)

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each service's container."""
        return {
            service: json.loads(_output(["docker", "inspect", container]))[0]
            for service, container in self._ids().items()
        }

    def type(self, lines: list[str]) -> str:
        """What a shell prints, with its errors, when commands are typed there that call Compose by its newer name."""
        call = shlex.join(self._command)
        script = "\n".join(line.replace("docker compose", call) for line in lines)
        reached = {"CADRE_GATEWAY_URL": f"http://127.0.0.1:{self.ports['gateway']}"}
        shell = ["bash", "-euc", f"exec 2>&1\n{script}"]
        return _output(shell, {**self._environment, **reached}, _COMMAND_SECONDS)

    def compose(self, *arguments: str, seconds: float = _COMMAND_SECONDS) -> str:
        """What a compose command prints. Raises AssertionError with its errors when it fails."""
        return _output([*self._command, *arguments], self._environment, seconds)

    def _ids(self) -> dict[str, str]:
        ours = f"label=com.docker.compose.project={self._name}"
        columns = '{{.Label "com.docker.compose.service"}} {{.ID}}'
        listing = _output(["docker", "ps", "--all", "--filter", ours, "--format", columns])
        return dict(line.split() for line in listing.splitlines())

    def _await_health(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while waiting := self._not_healthy():
            assert time.monotonic() < deadline, f"not healthy in time: {', '.join(waiting)}"
            time.sleep(0.5)

    def _not_healthy(self) -> list[str]:
        states = {name: known["State"] for name, known in self.containers().items()}
        return [name for name, state in states.items() if state["Health"]["Status"] != "healthy"]

    def _logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "40")


def _is_setting(variable: str) -> bool:
    return variable.startswith(("CADRE_", "COMPOSE_")) or variable.endswith(
        ("_API_KEY", "_API_BASE")
    )


def _works(command: list[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


def _builds_with_buildkit() -> bool:
    # Docker's own client needs a plug-in for it, and says so whatever it is asked for.
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    asked = subprocess.run(
        ["docker", "build", "--help"],
        env=environment,
        capture_output=True,
        timeout=20,
        check=False,
    )
    return asked.returncode == 0


def _output(
    command: list[str],
    environment: dict[str, str] | None = None,
    seconds: float = _COMMAND_SECONDS,
) -> str:
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, (
        f"{command} ended with {ended.returncode}:\n{ended.stderr[-4000:]}"
    )
    return ended.stdout
