"""`cadre up`: a supervisor in this process, or in one of its own."""

import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.screen import output, print_table
from cadre_cli.supervisor.programs import Platform
from cadre_cli.supervisor.running import AlreadyRuns, run_platform
from cadre_cli.supervisor.state import Home, ProgramState, ProgramStatus

__all__ = ["up", "up_detached"]

_TITLES = {
    "frontend": "Web UI",
    "gateway": "HTTP API",
    "mlflow": "MLflow (traces)",
    "prefect": "Prefect (schedules)",
}
_USABLE_SECONDS = 120.0


def up(platform: Platform) -> None:
    """Runs the platform in the foreground until it is told to stop; says so and returns when it runs already."""
    home = platform.home

    def on_usable(seconds: float) -> None:
        _say(f"\nCadre is ready after {seconds:.1f} s.")
        _print_addresses(home)
        _say("Stop it with Ctrl-C, or `cadre down`.\n")

    try:
        run_platform(platform, say=_say, on_usable=on_usable)
    except AlreadyRuns as running:
        _tell_running(home, running.supervisor_pid)
        return
    _say("Stopped; no process is left.")


def up_detached(home: Home) -> int:
    """Runs the platform in the background; when it is usable, or has ended, returns the exit status.

    What the supervisor says on the way is passed on, and stays in `logs/supervisor.log`.
    """
    if (pid := home.supervisor_pid()) is not None:
        _tell_running(home, pid)
        return ExitStatus.SUCCEEDED
    home.create()
    log = home.logs / "supervisor.log"
    with log.open("ab") as file:
        supervisor = _start_supervisor(file)
    with log.open("rb") as said:
        said.seek(0, 2)
        return _follow(supervisor, home, log, said)


def _start_supervisor(file: BinaryIO) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "cadre_cli", "up"],
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=file,
        start_new_session=True,
    )


def _follow(supervisor: "subprocess.Popen[bytes]", home: Home, log: Path, said: BinaryIO) -> int:
    give_up = time.monotonic() + _USABLE_SECONDS
    while supervisor.poll() is None:
        state = home.running_state()
        usable = state.usable and state.supervisor == supervisor.pid
        _relay(said)
        if usable:
            return ExitStatus.SUCCEEDED
        if time.monotonic() > give_up:
            raise _too_slow(log)
        time.sleep(0.05)
    _relay(said)
    return supervisor.returncode


def _relay(said: BinaryIO) -> None:
    sys.stdout.write(said.read().decode(errors="replace"))
    sys.stdout.flush()


def _too_slow(log: Path) -> CliError:
    return CliError(
        f"the platform is not usable after {_USABLE_SECONDS:.0f} s; it goes on starting in the background",
        code="START_SLOW",
        resolution=f"See {log} for what it waits for, or stop it with `cadre down`.",
        exit_status=ExitStatus.FAILED,
    )


def _print_addresses(home: Home) -> None:
    states = {state.name: state for state in home.running_state().programs}
    rows = [_row(title, states[name]) for name, title in _TITLES.items() if name in states]
    print_table(["", "", ""], [*rows, ("Logs", str(home.logs), "")], empty="")


def _row(title: str, state: ProgramState) -> tuple[str, str, str]:
    coming = "" if state.status is ProgramStatus.READY else f"[dim]{state.status}[/]"
    return title, state.address, coming


def _tell_running(home: Home, pid: int) -> None:
    doing = "is stopping" if home.running_state().stopping else "runs already"
    _say(f"Cadre {doing} (supervisor: pid {pid}); nothing was changed.")
    _print_addresses(home)


def _say(line: str) -> None:
    output().print(line, markup=False, highlight=False)
    sys.stdout.flush()
