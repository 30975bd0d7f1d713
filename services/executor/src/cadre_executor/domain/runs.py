"""Runs and what happens in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from cadre_kit.errors import (
    AlreadyExists,
    CadreError,
    Conflict,
    FailedPrecondition,
    InvalidInput,
    NotFound,
)

__all__ = [
    "FINAL",
    "Ending",
    "Event",
    "EventType",
    "Failure",
    "IdempotencyConflict",
    "NotFailed",
    "Question",
    "RaisedBudget",
    "Run",
    "RunIdTaken",
    "RunNotFound",
    "RunPage",
    "RunQuery",
    "RunStatus",
    "Step",
    "StepOfRun",
    "Usage",
]


class RunNotFound(NotFound):
    """No run has the id."""

    code = "RUN_NOT_FOUND"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"no run {run_id!r}",
            resolution="List the runs with `cadre runs list`.",
            metadata={"run_id": run_id},
        )


class RunIdTaken(AlreadyExists):
    """The id that a new run shall have is that of another."""

    code = "RUN_ID_TAKEN"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"there is a run {run_id!r} already",
            resolution="Give the new run another id, or none.",
            metadata={"run_id": run_id},
        )


class IdempotencyConflict(Conflict):
    """The key came before, with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self, key: str, run_id: str) -> None:
        super().__init__(
            f"the idempotency key {key!r} already started run {run_id!r} with another request",
            resolution="Use a new key for a new request.",
            metadata={"key": key, "run_id": run_id},
        )


class NotFailed(FailedPrecondition):
    """Only a run that failed can be resumed."""

    code = "RUN_NOT_FAILED"

    def __init__(self, run_id: str, status: "RunStatus") -> None:
        super().__init__(
            f"run {run_id!r} did not fail; it is {status.value}",
            resolution="Only failed runs can be resumed; `cadre runs fork` starts a new run from any other.",
            metadata={"run_id": run_id, "status": status.value},
        )


class StepOfRun(FailedPrecondition):
    """A run that is a step of another goes on only with that."""

    code = "RUN_IS_STEP"

    def __init__(self, run: "Run") -> None:
        super().__init__(
            f"run {run.id!r} is a step of run {run.root_run_id!r}, and goes on only with it",
            resolution=f"Resume that one, `cadre runs resume {run.root_run_id}`: this one goes on with it.",
            metadata={"run_id": run.id, "root_run_id": run.root_run_id},
        )


class BadPageToken(InvalidInput):
    """The page token is not one that a list answered."""

    code = "BAD_PAGE_TOKEN"


class RunStatus(Enum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})


class EventType(Enum):
    """What happened in a run."""

    RUN_QUEUED = "run_queued"
    RUN_STARTED = "run_started"
    RUN_RESUMED = "run_resumed"
    RUN_SUCCEEDED = "run_succeeded"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"
    NODE_STARTED = "node_started"
    NODE_SUCCEEDED = "node_succeeded"
    NODE_FAILED = "node_failed"
    NODE_RETRIED = "node_retried"
    NODE_SKIPPED = "node_skipped"
    NODE_WAITING = "node_waiting"
    NODE_ANSWERED = "node_answered"
    NODE_TEXT = "node_text"
    TOOL_CALLED = "tool_called"
    TOOL_RETURNED = "tool_returned"
    AGENT_TASK = "agent_task"
    BUDGET_WARNED = "budget_warned"
    SERVICE_AWAITED = "service_awaited"

    @property
    def is_last(self) -> bool:
        """Whether the run ended with it; only a person's resuming lets events follow."""
        return self in _LAST


_LAST = frozenset({EventType.RUN_SUCCEEDED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What model calls used. `known_usd` is the sum of the calls whose price is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    known_usd: Decimal = Decimal(0)
    calls: int = 0
    unpriced_calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            known_usd=self.known_usd + other.known_usd,
            calls=self.calls + other.calls,
            unpriced_calls=self.unpriced_calls + other.unpriced_calls,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return self + other.times(-1)

    def times(self, number: int) -> "Usage":
        """What so many of the same used."""
        return Usage(
            input_tokens=self.input_tokens * number,
            output_tokens=self.output_tokens * number,
            known_usd=self.known_usd * number,
            calls=self.calls * number,
            unpriced_calls=self.unpriced_calls * number,
        )

    @property
    def document(self) -> list[Any]:
        """The whole as JSON; the money as an exact decimal."""
        return [
            self.input_tokens,
            self.output_tokens,
            str(self.known_usd),
            self.calls,
            self.unpriced_calls,
        ]

    @classmethod
    def of(cls, document: Sequence[Any]) -> "Usage":
        """The usage of a document."""
        input_tokens, output_tokens, usd, calls, unpriced = document
        return cls(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            known_usd=Decimal(usd),
            calls=calls,
            unpriced_calls=unpriced,
        )

    @property
    def cost_usd(self) -> Decimal | None:
        """The whole cost; None when the price of any call is unknown."""
        return None if self.unpriced_calls else self.known_usd


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a node, or the run, failed; `node` is empty when no node did."""

    code: str
    message: str
    resolution: str = ""
    node: str = ""

    @classmethod
    def of(cls, error: CadreError, *, node: str = "") -> "Failure":
        """The failure that an error says."""
        return cls(code=error.code, message=error.message, resolution=error.resolution, node=node)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened. The store gives it its sequence; 0 until then. `item` is the place from 1 in the node's
    for_each; 0 for the node as a whole."""

    type: EventType
    time: datetime
    sequence: int = 0
    node: str = ""
    iteration: int = 0
    attempt: int = 0
    data: Mapping[str, Any] | None = None
    usage: Usage | None = None
    error: Failure | None = None
    duration_ms: int = 0
    item: int = 0

    def numbered(self, sequence: int) -> "Event":
        """The same event in its place."""
        return replace(self, sequence=sequence)


@dataclass(frozen=True, kw_only=True)
class RaisedBudget:
    """What a run may spend in all, in place of what its file says; None leaves that."""

    run_id: str
    usd: Decimal | None = None
    tokens: int | None = None

    @property
    def has_amount(self) -> bool:
        """Whether it changes anything."""
        return self.usd is not None or self.tokens is not None

    @property
    def in_words(self) -> str:
        """The amounts."""
        usd = [] if self.usd is None else [f"${self.usd:f}"]
        tokens = [] if self.tokens is None else [f"{self.tokens} tokens"]
        return " and ".join([*usd, *tokens])

    def at_least(self, other: "RaisedBudget | None") -> "RaisedBudget":
        """The larger of each amount."""
        if other is None:
            return self
        usd = [each for each in (self.usd, other.usd) if each is not None]
        tokens = [each for each in (self.tokens, other.tokens) if each is not None]
        return replace(self, usd=max(usd, default=None), tokens=max(tokens, default=None))


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a node asks a person on one of its visits. Without `choices` the answer is in the person's own words.
    `on_timeout` is the choice that counts when `deadline` is over; without one the node fails then. `raises` is of
    questions about budgets: what the choice `raise` gives the run; without an amount the budget is not the run's own.
    `run_id` is the run that asks. In a run above that one, `node` begins with the steps that lead there: see
    `Step.place`.
    """

    node: str
    iteration: int
    message: str
    choices: tuple[str, ...]
    asked_time: datetime
    deadline: datetime | None = None
    on_timeout: str = ""
    raises: RaisedBudget | None = None
    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a run is a step of another: on which visit of which of its nodes, and for which item of its for_each, from
    1; 0 without one."""

    parent_run_id: str
    node: str
    iteration: int
    item: int = 0

    @property
    def place(self) -> str:
        """How people name it: `review`, `review.3` of the third item, `review@2` of the second visit."""
        visit = f"@{self.iteration}" if self.iteration > 1 else ""
        item = f".{self.item}" if self.item else ""
        return f"{self.node}{visit}{item}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of one version of a workflow; `version` 0 is a file that was not applied.

    `questions` are those that nobody has answered, of the runs below it too. `paused_seconds` is how long it waited for
    people, which its time limit leaves out. `parent_run_id` names the run that it is a step of, `parent_visit` where
    there, as `Place.visit` does, `root_run_id` the one at the top; empty when it is no step. `depth` is how many runs
    are above it. `schedule` is the one that started it, or the run at the top; empty when none did; so is `api_key`,
    the name of a key. `batch_row` is the row of the batch `batch_id` that it is for, from 1; 0 when it is for none.
    `raised` is the budget that a person gave it. `runs_before` is how many runs wait for the same place before it.
    """

    id: str
    workflow: str
    version: int
    status: RunStatus
    source: str
    inputs: Mapping[str, Any]
    trigger: str
    created_time: datetime
    outputs: Mapping[str, Any] | None = None
    usage: Usage = Usage()
    error: Failure | None = None
    started_time: datetime | None = None
    ended_time: datetime | None = None
    trace_parent: str = ""
    forked_from: str = ""
    questions: tuple[Question, ...] = ()
    paused_seconds: float = 0.0
    max_concurrent_runs: int | None = None
    last_sequence: int = 0
    parent_run_id: str = ""
    parent_visit: str = ""
    root_run_id: str = ""
    depth: int = 0
    schedule: str = ""
    api_key: str = ""
    batch_id: str = ""
    batch_row: int = 0
    raised: RaisedBudget | None = None
    runs_before: int = 0

    @property
    def trace_id(self) -> str:
        """The middle part of a W3C traceparent; empty without one."""
        parts = self.trace_parent.split("-")
        return parts[1] if len(parts) == 4 else ""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ends: its final status with the outputs or the failure."""

    status: RunStatus
    event: Event
    outputs: Mapping[str, Any] | None = None
    error: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class RunQuery:
    """Which runs to list, newest first; `before` is the last id of the previous page. `source` is a file's text: only
    runs of that very file; empty means any."""

    limit: int
    before: str = ""
    workflow: str = ""
    status: RunStatus | None = None
    source: str = ""
    schedule: str = ""
    batch_id: str = ""


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """Runs without inputs, outputs and source; `more` when older ones follow."""

    runs: tuple[Run, ...]
    more: bool
