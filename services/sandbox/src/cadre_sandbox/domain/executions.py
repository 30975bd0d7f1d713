"""Programs, how they end, and what the walls around them are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from cadre_kit.errors import FailedPrecondition, InvalidInput, LimitExceeded, Unavailable

__all__ = [
    "CODE_BYTES",
    "MINIMUM",
    "Capabilities",
    "CodeTooLong",
    "Ending",
    "Execution",
    "Failure",
    "LimitOutOfRange",
    "Limits",
    "Outcome",
    "Program",
    "Runner",
    "RunnerLost",
    "SandboxBusy",
    "SandboxTooWeak",
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


class SandboxBusy(LimitExceeded):
    """As many programs as may run are running, and the queue is full."""

    code = "SANDBOX_BUSY"


class SandboxTooWeak(FailedPrecondition):
    """The walls that programs must have around them do not all hold on this machine."""

    code = "SANDBOX_TOO_WEAK"


class RunnerLost(Unavailable):
    """The process that starts programs died, and took the program with it. Another is started at once."""

    code = "SANDBOX_WORKER_LOST"


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


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use: wall clock and CPU in seconds, memory in MiB, each kind of output in bytes."""

    timeout_seconds: float
    cpu_seconds: float
    memory_mb: int
    output_bytes: int


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run."""

    code: str = field(repr=False)
    inputs: Mapping[str, Any] = field(repr=False)
    limits: Limits


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


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a program did not succeed."""

    code: str
    message: str
    resolution: str


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a program ended, and what it left. `result` is JSON text."""

    outcome: Outcome
    stdout: str
    stderr: str
    result: str | None
    limits_reached: Sequence[UsedUp]
    usage: Usage
    failure: Failure | None


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
    runs: bool


class Runner(Protocol):
    """Runs programs behind walls."""

    async def run(self, program: Program) -> Ending:
        """Runs it to its end. Raises RunnerLost. Cancelling kills the program."""
        ...

    def walls(self) -> Sequence[Wall]:
        """The walls that hold and those that do not."""
        ...


# Either wall of the last group will do.
MINIMUM: tuple[frozenset[str], ...] = (
    frozenset(("language",)),
    frozenset(("process",)),
    frozenset(("limits",)),
    frozenset(("network", "syscalls")),
)


def missing_walls(walls: Sequence[Wall]) -> list[str]:
    """What the walls lack to the least that code may run behind."""
    held = {wall.name for wall in walls if wall.holds}
    return [" or ".join(sorted(group)) for group in MINIMUM if not group & held]
