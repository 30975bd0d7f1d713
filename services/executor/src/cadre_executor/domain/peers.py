"""The services that nodes call: what each is asked, what it answers, and the ports behind which they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from cadre_executor.domain.run_files import RunFiles
from cadre_executor.domain.runs import Run, Usage
from cadre_executor.domain.tools import Tools, ToolSpec
from cadre_executor.domain.workflows import Budget, ModelChoice, SandboxLimits, Upkeep
from cadre_kit.errors import CadreError

__all__ = [
    "BudgetWarning",
    "Call",
    "ChildRun",
    "Children",
    "Execution",
    "Hit",
    "Memory",
    "Message",
    "Models",
    "Outcome",
    "Peers",
    "Program",
    "ProgramUsage",
    "Question",
    "Recent",
    "Reply",
    "Role",
    "RunBudget",
    "Said",
    "Sandbox",
    "SandboxSessions",
    "ToolCall",
    "Unanswered",
]


@dataclass(frozen=True, kw_only=True)
class RunBudget:
    """What a run, with the runs that are steps of it, may spend on models."""

    run_id: str
    budget: Budget


@dataclass(frozen=True, kw_only=True)
class Call:
    """For whom a service is called. `key` is the step's idempotency key: the same when the step is repeated. `budgets`
    are those of the run and of the one at the top. `schedule` and `api_key` name what started the run."""

    workflow: str
    version: int
    run_id: str
    root_run_id: str
    node: str
    key: str
    schedule: str = ""
    api_key: str = ""
    budgets: tuple[RunBudget, ...] = ()
    timeout_seconds: float | None = None

    def at(self, step: str) -> "Call":
        """The call of one step of what this call is for."""
        return replace(self, key=f"{self.key}/{step}")

    def seconds(self, default: float) -> float:
        """How long the call may take."""
        return default if self.timeout_seconds is None else self.timeout_seconds


class Role(Enum):
    """Who says a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call of a tool that a model asks for; `id` is unique in its reply."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a conversation; what a tool says names its call."""

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a model is asked. The reply must fit `schema` when there is one; it may call `tools` if `may_call`."""

    messages: tuple[Message, ...]
    model: ModelChoice = field(default_factory=ModelChoice)
    schema: Mapping[str, Any] | None = None
    tools: tuple[ToolSpec, ...] = ()
    may_call: bool = True


@dataclass(frozen=True, kw_only=True)
class BudgetWarning:
    """How a period of a budget stood when a call brought it near its limit; a limit of None is none."""

    budget: str
    period: str
    used_usd: str
    used_tokens: int
    limit_usd: str | None = None
    limit_tokens: int | None = None

    @property
    def in_words(self) -> str:
        """That it is nearly used up, and how far."""
        usd = [] if self.limit_usd is None else [f"${self.used_usd} of ${self.limit_usd}"]
        tokens = self.limit_tokens
        counted = [] if tokens is None else [f"{self.used_tokens} of {tokens} tokens"]
        return f"the budget {self.budget!r} is nearly used up: {' and '.join([*usd, *counted])}"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model answered. `complete` is false when it was cut off; with `tool_calls` it is no final answer.
    `warnings` are of budgets that the call brought near their limits."""

    text: str
    usage: Usage
    complete: bool = True
    tool_calls: tuple[ToolCall, ...] = ()
    warnings: tuple[BudgetWarning, ...] = ()


class Unanswered(Exception):
    """A call of a model that failed for `error` after requests were sent: what these used, and the budgets that they
    brought near their limits."""

    def __init__(
        self, error: CadreError, *, usage: Usage, warnings: Sequence[BudgetWarning]
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.usage = usage
        self.warnings = tuple(warnings)


class Outcome(Enum):
    """How a program ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    LIMIT = "limit"


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the sandbox runs, with the texts of its files by name."""

    code: str
    inputs: Mapping[str, Any]
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ProgramUsage:
    """What a program used; a peak of 0 bytes could not be measured."""

    wall_ms: int
    cpu_ms: int
    peak_memory_bytes: int
    output_bytes: int


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a program ended: `result` is None with `has_result` false when it set none; `error` has its own lines.
    `usage` is None when nothing was run, and `walls` are those that held around it."""

    outcome: Outcome
    stdout: str = ""
    stderr: str = ""
    has_result: bool = False
    result: Any = None
    error: str = ""
    resolution: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    usage: ProgramUsage | None = None
    limits_reached: tuple[str, ...] = ()
    walls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Said:
    """A message of a remembered conversation: which of it, from 0, and who said it."""

    role: Role
    text: str
    name: str = ""
    position: int = 0


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A remembered value that a search found. One that is a message is `said`, with those `around` it."""

    key: str
    value: Any
    score: float
    namespace: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    matched_text: str = ""
    said: Said | None = None
    around: tuple[Said, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recent:
    """The end of a conversation, oldest first, and a summary of what was before; empty without one."""

    messages: tuple[Said, ...]
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class ChildRun:
    """A run of an applied workflow as a step of another run. `key` starts one run, however often it comes."""

    workflow: str
    version: int
    inputs: Mapping[str, Any]
    key: str
    parent_run_id: str
    parent_visit: str
    root_run_id: str
    depth: int
    schedule: str = ""
    api_key: str = ""


class Models(Protocol):
    """Asks models."""

    async def complete(
        self,
        question: Question,
        *,
        call: Call,
        seconds: float,
        heard: Callable[[str], None] | None = None,
    ) -> Reply:
        """The whole reply within `seconds`; `heard` is told its text as it is written. Raises what the llm-proxy
        answered with, as Unanswered if anything was used. Cancelling stops the provider's call."""


class Sandbox(Protocol):
    """Runs untrusted programs."""

    async def execute(self, program: Program, *, call: Call, seconds: float) -> Execution:
        """How it ended. Cancelling kills the program."""


class SandboxSessions(Sandbox, Protocol):
    """A sandbox in which programs can find what earlier ones left."""

    async def execute(
        self, program: Program, *, call: Call, seconds: float, session: str = ""
    ) -> Execution:
        """As of any sandbox; in the session that is named. Raises NotFound when that has ended."""

    async def open_session(self, limits: SandboxLimits, *, call: Call, seconds: float) -> str:
        """The id of a session, in which programs find the variables of earlier ones and have no higher limits. A
        repeated key gets the same one while it is open. Raises Unsupported and LimitExceeded where there can be none.
        """

    async def close_session(self, session: str, *, seconds: float) -> None:
        """Ends it; nothing when it has ended."""


class Memory(Protocol):
    """Remembers values by namespace and key."""

    async def get(self, namespace: Sequence[str], key: str, *, call: Call, seconds: float) -> Any:
        """The value. Raises NotFound."""

    async def put(
        self,
        namespace: Sequence[str],
        key: str,
        value: object,
        *,
        ttl_seconds: float,
        call: Call,
        seconds: float,
    ) -> None:
        """Stores the value in place of an earlier one; gone after `ttl_seconds` unless that is 0."""

    async def delete(
        self, namespace: Sequence[str], key: str, *, call: Call, seconds: float
    ) -> bool:
        """Whether there was something to remove."""

    async def search(
        self,
        namespace: Sequence[str],
        query: str,
        *,
        top_k: int,
        call: Call,
        seconds: float,
        window: int = 0,
    ) -> Sequence[Hit]:
        """What matches best, best first; with each message `window` before and after it."""

    async def append(
        self,
        namespace: Sequence[str],
        messages: Sequence[Said],
        *,
        upkeep: Upkeep,
        call: Call,
        seconds: float,
    ) -> int:
        """Adds messages to a conversation, and has it kept up in the background; the first one's position."""

    async def recent(
        self, namespace: Sequence[str], *, max_tokens: int, call: Call, seconds: float
    ) -> Recent:
        """The end of a conversation within a number of tokens."""


class Children(Protocol):
    """Runs that are steps of other runs."""

    async def start_child(self, child: ChildRun) -> Run:
        """The run of the key, started unless it was. Raises what is wrong with the workflow or its inputs."""

    async def may_go_on(self, run_id: str, child: ChildRun) -> bool:
        """Whether a run that did not succeed is to do what the child is, by the same file with the same inputs, and can
        go on with it. Raises what is wrong with the workflow."""

    async def resume_child(self, run_id: str) -> None:
        """Lets a run that failed go on. Raises NotFailed."""

    async def wait_for(self, run_id: str) -> Run:
        """The run once it has ended."""

    async def cancel(self, run_id: str) -> Run:
        """The run, ended; no step of it goes on."""

    async def end_children(self, run_id: str) -> Usage:
        """Ends every run that is a step of a run and has not ended, and what remote agents do for it; what the runs
        used."""


@dataclass(frozen=True, kw_only=True)
class Peers:
    """The services that nodes call."""

    models: Models
    sandbox: Sandbox
    memory: Memory
    tools: Tools
    files: RunFiles
