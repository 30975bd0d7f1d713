"""What the executor stores, and what it asks of the store."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cadre_executor.domain.answers import AnswerRun, Asked
from cadre_executor.domain.checkpoints import Checkpoint, Position
from cadre_executor.domain.definitions import Definition
from cadre_executor.domain.journals import Batch
from cadre_executor.domain.runs import Ending, Event, RaisedBudget, Run, RunPage, RunQuery

__all__ = ["Candidate", "Claim", "DefinitionStore", "DrivenRuns", "ResultCache", "RunStore"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A run that has not ended and may be taken up. `owner` is empty when nobody holds it."""

    run_id: str
    owner: str
    lease_expires: float
    is_child: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run that is ours to drive, and what it goes on from. All by node and visit: `made` is what visits of the step
    under way changed, `attempts` the try to go on with, `asked` the questions of the run. `effects` is what
    was done within visits that have not ended, by key.

    `interrupted` tells a run whose executor died or stopped from one that an answer, or a person, sent on.
    """

    run: Run
    position: Position | None = None
    made: Mapping[tuple[str, int], str] = field(default_factory=dict)
    attempts: Mapping[tuple[str, int], int] = field(default_factory=dict)
    effects: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[tuple[str, int], Asked] = field(default_factory=dict)
    interrupted: bool = False


class DrivenRuns(Protocol):
    """What driving a run needs of where it is stored. Every method raises what is wrong with the database."""

    async def get(self, run_id: str) -> Run:
        """The run. Raises RunNotFound."""

    async def paused_below(self, run_id: str, *, now: float) -> float:
        """How long the runs that are steps of a run, and those below them, waited for people until `now`, in seconds:
        the sum of all of them."""

    async def commit(self, run_id: str, batch: Batch, *, owner: str, expires: float) -> None:
        """Stores a batch and renews the lease. Raises LeaseLost."""

    async def finish(
        self, run_id: str, ending: Ending, batch: Batch | None, *, owner: str | None
    ) -> bool:
        """Ends a run; with an owner only if it holds the lease, which then is free. False when the run had ended, or
        the lease was lost. Without a batch the usage stays as stored. A failed run keeps what it can go on from."""

    async def suspend(
        self,
        run_id: str,
        batch: Batch,
        *,
        owner: str,
        expires: float,
        open_visits: Collection[tuple[str, int]],
    ) -> Mapping[tuple[str, int], Asked]:
        """Stores a batch, and lets the run wait for its open questions, held by nobody; unless some of them were
        answered by then: those, and the run stays ours, its lease renewed. Raises LeaseLost."""


class RunStore(DrivenRuns, Protocol):
    """Runs, their events, checkpoints and leases."""

    async def add(
        self,
        run: Run,
        event: Event,
        *,
        key: str,
        fingerprint: str,
        owner: str,
        expires: float,
        position: Position | None = None,
    ) -> tuple[Run, bool]:
        """Stores a run, that begins at a position or at its start, or finds the one of the same key; whether it was
        stored. Raises IdempotencyConflict."""

    async def of_key(self, key: str) -> Run | None:
        """The run that was started with an idempotency key."""

    async def list(self, query: RunQuery) -> RunPage:
        """A page of runs, newest first."""

    async def events(self, run_id: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a sequence number, in order."""

    async def owners(self) -> Sequence[str]:
        """Who holds runs that have not ended; "" among them when some are held by nobody."""

    async def candidates(
        self, *, owners: Sequence[str], now: float, limit: int
    ) -> Sequence[Candidate]:
        """Runs that have not ended and are held by nobody, by one of `owners`, or by a lease that is over; oldest
        first."""

    async def claim(self, candidate: Candidate, *, owner: str, expires: float) -> Claim | None:
        """Takes a run if its lease still is as the candidate says; None when another was quicker."""

    async def answer(self, request: AnswerRun) -> Sequence[str]:
        """Stores an answer, with the budget that it raises, and lets the run that asked go on; the runs whose events
        say so: that one and those above it. The same answer again changes nothing. Raises RunNotFound, NotWaiting,
        UnknownQuestion, UnknownChoice, and AnswerChosen after another."""

    async def raise_budget(self, raised: RaisedBudget) -> None:
        """Gives a run another budget than its file does."""

    async def overdue(self, *, now: float, limit: int) -> Sequence[AnswerRun]:
        """What to answer to the questions of runs that have not ended whose deadline is over."""

    async def resume(self, run_id: str, event: Event) -> None:
        """Lets a failed run go on, with a time limit that begins anew. Raises RunNotFound, and NotFailed."""

    async def checkpoints(self, run_id: str) -> Sequence[Checkpoint]:
        """The checkpoints that are kept, oldest first. Raises RunNotFound."""

    async def checkpoint(self, run_id: str, checkpoint_id: str) -> Checkpoint:
        """One checkpoint; an empty id means the last. Raises CheckpointNotFound."""

    async def renew(self, run_ids: Sequence[str], *, owner: str, expires: float) -> frozenset[str]:
        """Renews the leases; those that still are ours, of runs that have not ended."""

    async def release(self, run_ids: Sequence[str], *, owner: str) -> None:
        """Gives leases back."""

    async def open_children(self, run_id: str) -> Sequence[str]:
        """The runs that are steps of a run and have not ended."""

    async def is_held(self, run_id: str, *, now: float) -> bool:
        """Whether some executor's lease on the run has not expired."""


class ResultCache(Protocol):
    """Results of nodes that may be taken again. Every method raises what is wrong with the database."""

    async def find(self, digest: str, *, now: float) -> Any | None:
        """The document kept under a digest, if it is not too old."""

    async def keep(self, digest: str, document: object, *, now: float, expires: float) -> None:
        """Keeps a document in place of an earlier one; drops what is too old."""


class DefinitionStore(Protocol):
    """Applied workflow files. Every method raises what is wrong with the database."""

    async def apply(self, definition: Definition) -> tuple[Definition, bool]:
        """Stores the next version, unless the newest has the same text; whether it was stored."""

    async def get(self, name: str, version: int) -> Definition:
        """One version; 0 is the newest. Raises WorkflowNotFound."""

    async def list(self, *, limit: int, after: str) -> Sequence[Definition]:
        """The newest versions, by name, after a name."""

    async def newest(self) -> Sequence[Definition]:
        """The newest version of every workflow, by name; with its source only where that may have triggers."""

    async def versions(self, name: str) -> Sequence[Definition]:
        """All versions, newest first. Raises WorkflowNotFound."""

    async def delete(self, name: str) -> None:
        """Hides a workflow and its versions. Raises WorkflowNotFound."""
