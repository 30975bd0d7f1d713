"""Small programs under the real supervisor; `python -m tests.fakes.small_platform SPEC` is their `cadre up`."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
from tests.platform import eventually
from tests.ports import free_port

from cadre_cli.errors import CliError
from cadre_cli.screen import print_error
from cadre_cli.starting import up
from cadre_cli.supervisor.probes import TcpProbe
from cadre_cli.supervisor.processes import ProcessMark, family
from cadre_cli.supervisor.programs import Pace, Platform, Program
from cadre_cli.supervisor.state import Home, ProgramStatus

STOP_SECONDS = 1.5


@dataclass(kw_only=True)
class SmallPlatform:
    """Programs by name with what each does wrong, as arguments of `tests.fakes.program`."""

    folder: Path
    programs: dict[str, list[str]]
    ports: dict[str, int] = field(default_factory=dict)
    supervisors: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in self.programs} | self.ports

    @property
    def home(self) -> Home:
        """Its home folder."""
        return Home(path=self.folder / "home")

    @property
    def spec(self) -> Path:
        """The file that says what it is made of."""
        path = self.folder / "spec.json"
        path.write_text(
            json.dumps(
                {"home": str(self.home.path), "programs": self.programs, "ports": self.ports}
            )
        )
        return path

    def up(self, stdin: int | IO[str] | None = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Starts a supervisor; its output is read with `said`."""
        log = (self.folder / f"up-{len(self.supervisors)}.txt").open("w")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.small_platform", str(self.spec)],
                stdin=stdin,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.supervisors.append(process)
        return process

    def said(self, number: int = -1) -> str:
        """What a supervisor has said so far, the last one's if none is named."""
        index = number % len(self.supervisors)
        return (self.folder / f"up-{index}.txt").read_text()

    def wait_until_said(self, words: str) -> None:
        """Waits until the last supervisor has said it."""

        def said() -> bool:
            return words in self.said()

        try:
            eventually(said, seconds=20)
        except AssertionError as exc:
            raise AssertionError(f"never said {words!r}:\n{self.said()}") from exc

    def mark(self, name: str) -> ProcessMark:
        """The running process of a program."""
        state = next(p for p in self.home.read_state().programs if p.name == name)
        assert state.process is not None
        return state.process

    def marks(self) -> list[ProcessMark]:
        """All running processes."""
        return self.home.read_state().processes()

    def status(self, name: str) -> ProgramStatus:
        """Where a program stands."""
        return next(p.status for p in self.home.read_state().programs if p.name == name)

    def watchdog(self) -> psutil.Process:
        """The process that looks after the supervisor."""
        children = psutil.Process(self.supervisors[-1].pid).children()
        return next(c for c in children if "cadre_cli.supervisor.watchdog" in c.cmdline())

    def clean_up(self) -> None:
        """Ends whatever a failed test has left."""
        for supervisor in self.supervisors:
            if supervisor.poll() is None:
                supervisor.send_signal(signal.SIGTERM)
                supervisor.wait(10)
        for mark in self.marks():
            for process in family(mark):
                process.kill()


def alive(marks: list[ProcessMark]) -> list[psutil.Process]:
    """What is left of the families of processes."""
    return [process for mark in marks for process in family(mark)]


def _platform(spec: dict[str, Any]) -> Platform:
    ports = spec["ports"]
    programs = tuple(
        Program(
            name=name,
            command=(
                sys.executable,
                "-m",
                "tests.fakes.program",
                "--port",
                str(ports[name]),
                *wrong,
            ),
            port=ports[name],
            port_setting=f"CADRE_{name.upper()}_PORT",
            ready=TcpProbe(host="127.0.0.1", port=ports[name]),
        )
        for name, wrong in spec["programs"].items()
    )
    first = next(iter(ports.values()))
    return Platform(
        home=Home(path=Path(spec["home"])),
        programs=programs,
        usable=TcpProbe(host="127.0.0.1", port=first),
        pace=Pace(first_pause_seconds=0.1, longest_pause_seconds=0.4, stop_seconds=STOP_SECONDS),
    )


if __name__ == "__main__":
    os.environ.pop("COLUMNS", None)
    try:
        up(_platform(json.loads(Path(sys.argv[1]).read_text())))
    except CliError as error:
        print_error(error)
        sys.exit(error.exit_status)
