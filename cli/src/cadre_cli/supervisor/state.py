"""What a running platform leaves in its home folder for other commands: a lock and a state file."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from cadre_cli.supervisor.processes import ProcessMark

__all__ = ["Home", "PlatformState", "ProgramState", "ProgramStatus"]

# Other commands look at the lock by holding it for a moment.
_LOCK_SECONDS = 0.5


class ProgramStatus(StrEnum):
    """Where a program stands, as far as its supervisor knows."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class ProgramState:
    """A program as its supervisor sees it. `reason` says why it ended last; times are Unix seconds."""

    name: str
    address: str
    status: ProgramStatus = ProgramStatus.WAITING
    process: ProcessMark | None = None
    restarts: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class PlatformState:
    """All programs, and whether the platform has become usable. `supervisor` is the pid of who wrote it."""

    supervisor: int = 0
    programs: tuple[ProgramState, ...] = ()
    usable: bool = False
    stopping: bool = False

    def with_program(self, changed: ProgramState) -> "PlatformState":
        """The same with one program's state replaced."""
        return replace(
            self, programs=tuple(changed if p.name == changed.name else p for p in self.programs)
        )

    def processes(self) -> list[ProcessMark]:
        """The marks of all programs that were started."""
        return [program.process for program in self.programs if program.process is not None]


@dataclass(frozen=True, kw_only=True)
class Home:
    """The folder of all state of a local platform."""

    path: Path

    @property
    def logs(self) -> Path:
        """The folder with one log file per program."""
        return self.path / "logs"

    @property
    def state_file(self) -> Path:
        """The state file's path."""
        return self.path / "platform.json"

    @property
    def _lock_file(self) -> Path:
        return self.path / "platform.lock"

    def create(self) -> None:
        """Makes the folder, for its owner only. Raises OSError where that cannot be."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Holds the platform's lock, and yields whether it could: another supervisor may hold it.

        The system releases it when the process ends, however it ends.
        """
        with self._lock_file.open("a+", encoding="ascii") as file:
            held = _lock(file.fileno())
            if held:
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            yield held

    def supervisor_pid(self) -> int | None:
        """The pid of the process that holds the lock; None when nobody does, 0 when it has not said yet."""
        try:
            file = self._lock_file.open(encoding="ascii")
        except FileNotFoundError:
            return None
        with file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
            return None

    def read_state(self) -> PlatformState:
        """The last state that was written; an empty one when there is none, or it cannot be read."""
        try:
            return _state_of(json.loads(self.state_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            return PlatformState()

    def running_state(self) -> PlatformState:
        """What the supervisor that runs has written; an empty state while it has written none, or when none runs: the
        last one's may still be there."""
        state = self.read_state()
        return (
            state
            if state.supervisor and state.supervisor == self.supervisor_pid()
            else PlatformState()
        )

    def write_state(self, state: PlatformState) -> None:
        """Replaces the state file in one step. Raises OSError where it cannot be written."""
        fresh = self.state_file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(state)), encoding="utf-8")
        fresh.replace(self.state_file)


def _lock(descriptor: int) -> bool:
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.02)
        else:
            return True


def _state_of(document: dict[str, object]) -> PlatformState:
    programs = document["programs"]
    if not isinstance(programs, list):
        raise TypeError
    return PlatformState(
        supervisor=int(str(document.get("supervisor", 0))),
        programs=tuple(_program_of(**program) for program in programs),
        usable=bool(document["usable"]),
        stopping=bool(document["stopping"]),
    )


def _program_of(
    *,
    name: str,
    address: str,
    status: str,
    process: dict[str, float] | None,
    restarts: int,
    reason: str,
) -> ProgramState:
    mark = process and ProcessMark(pid=int(process["pid"]), started=float(process["started"]))
    return ProgramState(
        name=name,
        address=address,
        status=ProgramStatus(status),
        process=mark or None,
        restarts=restarts,
        reason=reason,
    )
