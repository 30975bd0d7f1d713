"""Programs, how they end, and what the walls around them are."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from cadre_kit.errors import (
    FailedPrecondition,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unavailable,
    Unsupported,
)

__all__ = [
    "CODE_BYTES",
    "CONTAINER_MINIMUM",
    "MINIMUM",
    "Capabilities",
    "CodeTooLong",
    "Containers",
    "Ending",
    "Execution",
    "Failure",
    "File",
    "FileEntry",
    "FileNotFound",
    "FileRefused",
    "HostNotAllowed",
    "Kernel",
    "LimitOutOfRange",
    "Limits",
    "Mode",
    "ModeNotOffered",
    "OnOutput",
    "Outcome",
    "PackageNotAllowed",
    "Program",
    "Runner",
    "RunnerLost",
    "SandboxBusy",
    "SandboxTooWeak",
    "SessionsNotOffered",
    "Usage",
    "UsedUp",
    "Wall",
    "missing_walls",
]

CODE_BYTES = 1024 * 1024


class CodeTooLong(InvalidInput):
    """The program's text is over 1 MiB."""

    code = "CODE_TOO_LONG"


class LimitOutOfRange(InvalidInput):
    """A limit is under its least value or over the operator's ceiling."""

    code = "LIMIT_OUT_OF_RANGE"


class FileRefused(InvalidInput):
    """A file's name leaves the program's folder, or the files are too many or too large."""

    code = "FILE_REFUSED"


class PackageNotAllowed(InvalidInput):
    """The package is not one of those that the operator allows."""

    code = "PACKAGE_NOT_ALLOWED"


class HostNotAllowed(InvalidInput):
    """The host is not one of those that the operator allows."""

    code = "HOST_NOT_ALLOWED"


class FileNotFound(NotFound):
    """There is no regular file of that name in the session's folder."""

    code = "FILE_NOT_FOUND"


class SessionsNotOffered(Unsupported):
    """A session's processes could not be counted and ended together on this machine."""

    code = "SESSIONS_NOT_OFFERED"


class ModeNotOffered(Unsupported):
    """The mode is not one of this sandbox's."""

    code = "MODE_NOT_OFFERED"


class SandboxBusy(LimitExceeded):
    """As many programs as may run are running, and the queue is full."""

    code = "SANDBOX_BUSY"


class SandboxTooWeak(FailedPrecondition):
    """The walls that programs must have around them do not all hold on this machine."""

    code = "SANDBOX_TOO_WEAK"


class RunnerLost(Unavailable):
    """The process that starts programs died, and took the program with it. Another is started at once."""

    code = "SANDBOX_WORKER_LOST"


class Mode(Enum):
    """How a program is run."""

    PYTHON = "python"
    DOCKER = "docker"


class Outcome(Enum):
    """How a program ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    LIMIT = "limit"


class UsedUp(Enum):
    """A limit that a program reached."""

    TIME = "time"
    CPU = "cpu"
    MEMORY = "memory"
    OUTPUT = "output"
    PROCESSES = "processes"
    FILES = "files"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use: wall clock and CPU in seconds, memory in MiB, each kind of output in bytes."""

    timeout_seconds: float
    cpu_seconds: float
    memory_mb: int
    output_bytes: int
    cpus: float = 1.0


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a program, by its path within the program's folder."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file without what is in it."""

    name: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run. Files, packages and hosts that it may reach are for containers."""

    code: str = field(repr=False)
    inputs: Mapping[str, Any] = field(repr=False)
    limits: Limits
    files: Sequence[File] = ()
    packages: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a program used."""

    wall_ms: int
    cpu_ms: int
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The bare facts of a program's end, as its process left them; none of what it said is to be trusted.

    `said` is the program's own last word (outcome, code, message), None when it was cut short. `killed` says why its
    process was ended from outside: time, cpu, output; "" when it was not. `status` is the exit status, negative for the
    signal that ended it.
    """

    stdout: bytes
    stdout_cut: bool
    stderr: bytes
    stderr_cut: bool
    result: bytes | None
    result_cut: bool
    said: Mapping[str, str] | None
    killed: str
    status: int
    usage: Usage
    output_bytes: int = 0
    files: Sequence[File] = ()
    files_left_out: bool = False
    session_reset: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a program did not succeed."""

    code: str
    message: str
    resolution: str


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a program ended, and what it left. `result` is JSON text; `output_bytes` counts it and all that was written,
    what was left out of `stdout` and `stderr` too."""

    outcome: Outcome
    stdout: str
    stderr: str
    result: str | None
    limits_reached: Sequence[UsedUp]
    usage: Usage
    failure: Failure | None
    output_bytes: int = 0
    files: Sequence[File] = ()
    walls: Sequence[str] = ()
    session_reset: bool = False


@dataclass(frozen=True, kw_only=True)
class Wall:
    """One wall around programs."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the sandbox can do on this machine."""

    walls: Sequence[Wall]
    modules: Sequence[str]
    ceiling: Limits
    modes: Sequence[Mode]
    docker_walls: Sequence[Wall]
    docker_missing: str
    packages: Sequence[str]
    session_modes: Sequence[Mode]
    hosts: Sequence[str]


OnOutput = Callable[[bool, bytes], None]
"""Takes output as it is written: whether it is stderr, and the bytes."""


class Kernel(Protocol):
    """Holds what the programs of one session leave; runs one at a time. `ended` is set when it has ended by itself."""

    ended: asyncio.Event

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        """Runs a program on what is there. Raises RunnerLost. Cancelling kills the program."""
        ...

    async def write(self, file: File) -> None:
        """Puts a file into the folder. Raises FileRefused and RunnerLost."""
        ...

    async def read(self, name: str) -> File:
        """A file of the folder. Raises FileNotFound, FileRefused and RunnerLost."""
        ...

    async def entries(self) -> Sequence[FileEntry]:
        """The regular files of the folder. Raises RunnerLost."""
        ...

    async def close(self) -> None:
        """Ends everything in it, a program under way included."""
        ...


class Runner(Protocol):
    """Runs programs behind walls."""

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        """Runs it to its end. Raises RunnerLost. Cancelling kills the program."""
        ...

    async def open(self, shape: Program) -> Kernel:
        """A kernel for programs of that shape, whose code and inputs do not count. Raises SessionsNotOffered and
        RunnerLost."""
        ...

    @property
    def has_sessions(self) -> bool:
        """Whether `open` can be called."""
        ...

    def walls(self) -> Sequence[Wall]:
        """The walls that hold and those that do not."""
        ...


class Containers(Runner, Protocol):
    """Runs programs in containers, where there is an engine for them."""

    @property
    def missing(self) -> str:
        """Why no program can be run, and what would make it; "" when one can."""
        ...

    @property
    def packages(self) -> Sequence[str]:
        """What programs may ask for."""
        ...

    @property
    def hosts(self) -> Sequence[str]:
        """What programs may reach when they ask for it."""
        ...

    @property
    def hosts_missing(self) -> str:
        """Why they can reach none; "" when they can."""
        ...


# Either wall of the last group will do.
MINIMUM: tuple[frozenset[str], ...] = (
    frozenset(("language",)),
    frozenset(("process",)),
    frozenset(("limits",)),
    frozenset(("network", "syscalls")),
)
# A container that lacks one of these is no wall.
CONTAINER_MINIMUM: tuple[frozenset[str], ...] = tuple(
    frozenset((name,)) for name in ("network", "user", "privileges", "files", "limits", "syscalls")
)


def missing_walls(walls: Sequence[Wall], minimum: Sequence[frozenset[str]] = MINIMUM) -> list[str]:
    """What the walls lack to the least that code may run behind."""
    held = {wall.name for wall in walls if wall.holds}
    return [" or ".join(sorted(group)) for group in minimum if not group & held]
