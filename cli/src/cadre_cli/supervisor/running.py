"""The whole life of a platform: started from this process, and stopped from another."""

import asyncio
import signal
import time
from collections.abc import Callable

import psutil

from cadre_cli.errors import CliError
from cadre_cli.supervisor.ports import port_problems
from cadre_cli.supervisor.processes import ProcessMark, lives, mark_of, stop_families
from cadre_cli.supervisor.programs import Platform
from cadre_cli.supervisor.state import Home
from cadre_cli.supervisor.supervisor import Supervisor
from cadre_cli.supervisor.watchdog import watchdog

__all__ = ["AlreadyRuns", "run_platform", "stop_platform"]

# What a supervisor does besides waiting for its programs.
_MARGIN_SECONDS = 4.0
_LEFTOVER_SECONDS = 3.0


class AlreadyRuns(Exception):
    """Another supervisor holds this home folder. Its pid is 0 while it has not said."""

    def __init__(self, supervisor_pid: int) -> None:
        super().__init__(f"a supervisor runs already (pid {supervisor_pid})")
        self.supervisor_pid = supervisor_pid


def run_platform(
    platform: Platform, *, say: Callable[[str], None], on_usable: Callable[[float], None]
) -> None:
    """Runs the platform until SIGINT, SIGTERM or SIGHUP; a second one kills what is left.

    Raises AlreadyRuns, or CliError when a port or the home folder cannot be had; then nothing was started.
    """
    home = platform.home
    _create(home)
    with home.hold() as held:
        if not held:
            raise AlreadyRuns(home.supervisor_pid() or 0)
        if left := stop_families(home.read_state().processes(), grace_seconds=_LEFTOVER_SECONDS):
            say(f"Stopped {left} processes that an earlier platform had left behind")
        _require_ports(platform)
        with watchdog(home):
            asyncio.run(_run(platform, say, on_usable))


def stop_platform(home: Home, *, stop_seconds: float) -> bool:
    """Stops the platform of a home folder, with all that is left of one whose supervisor died; False when none ran.

    Takes `stop_seconds` and a few more at most.
    """
    pid = home.supervisor_pid()
    if pid is None:
        return stop_families(home.read_state().processes(), grace_seconds=stop_seconds) > 0
    supervisor = mark_of(pid)
    _send(pid, signal.SIGTERM)
    if not _ended(home, supervisor, within_seconds=stop_seconds + _MARGIN_SECONDS):
        _send(pid, signal.SIGKILL)
        stop_families(home.read_state().processes(), grace_seconds=0.0)
    return True


async def _run(
    platform: Platform, say: Callable[[str], None], on_usable: Callable[[float], None]
) -> None:
    supervisor = Supervisor(platform, say=say, on_usable=on_usable)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run()


def _create(home: Home) -> None:
    try:
        home.create()
    except OSError as exc:
        raise CliError(
            f"the folder {home.path} cannot be made: {exc.strerror}",
            code="HOME_NOT_WRITABLE",
            resolution="Set CADRE_HOME to a folder that you may write to.",
        ) from exc


def _require_ports(platform: Platform) -> None:
    problems = port_problems(platform.programs)
    if not problems:
        return
    others = [f"{problem.message}. {problem.resolution}" for problem in problems[1:]]
    raise CliError(
        problems[0].message,
        code="PORT_TAKEN",
        resolution=problems[0].resolution,
        details=others,
    )


def _send(pid: int, number: signal.Signals) -> None:
    if not pid:
        return
    try:
        psutil.Process(pid).send_signal(number)
    except psutil.Error:
        return


def _ended(home: Home, supervisor: ProcessMark | None, *, within_seconds: float) -> bool:
    """Whether the supervisor let go of the home folder and its process, which takes a moment longer, is gone."""
    give_up = time.monotonic() + within_seconds
    while home.supervisor_pid() is not None or (supervisor is not None and lives(supervisor)):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True
