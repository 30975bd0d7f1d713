"""Batches: a workflow over the rows of a dataset, some of them at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from cadre_executor.domain.runs import FINAL, Run, RunStatus, Usage
from cadre_kit.errors import Conflict, NotFound

__all__ = [
    "Batch",
    "BatchNotFound",
    "BatchRow",
    "BatchStore",
    "BatchTakenOver",
    "DueRow",
    "Launcher",
    "Row",
    "RowCounts",
]


class BatchNotFound(NotFound):
    """No batch has the id."""

    code = "BATCH_NOT_FOUND"

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"no batch {batch_id!r}",
            resolution="List the batches with `cadre batches list`.",
            metadata={"batch_id": batch_id},
        )


class BatchTakenOver(Conflict):
    """A later flow run sees to the batch."""

    code = "BATCH_TAKEN_OVER"

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"another flow run sees to batch {batch_id!r}",
            resolution="Nothing is to be done: the later one goes on with it.",
            metadata={"batch_id": batch_id},
        )


@dataclass(frozen=True, kw_only=True)
class RowCounts:
    """How many rows there are. `pending` are those to start, or to go on with."""

    total: int
    pending: int = 0
    running: int = 0
    waiting: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one version of a workflow; `version` 0 is a file that was not applied.

    `fingerprint` is equal for equal rows of the same file. `launches` is how often it was handed to Prefect, whose last
    flow run alone counts. `api_key` is the name of the key that its runs are attributed to. `usage` is that of all its
    runs, those included that others took the place of.
    """

    id: str
    workflow: str
    version: int
    source: str
    fingerprint: str
    max_concurrent: int
    created_time: datetime
    rows: RowCounts
    usage: Usage = field(default_factory=Usage)
    flow_run_id: str = ""
    launches: int = 0
    driven_time: datetime | None = None
    cancelled: bool = False
    api_key: str = ""

    @property
    def status(self) -> RunStatus:
        """Where it stands, by its rows: waiting when all that is left waits for people, failed when all have ended and
        some did not succeed."""
        rows = self.rows
        if self.cancelled:
            return RunStatus.CANCELLED
        if rows.pending or rows.running:
            began = self.driven_time is not None
            return RunStatus.RUNNING if began else RunStatus.QUEUED
        if rows.waiting:
            return RunStatus.WAITING
        succeeded = rows.succeeded == rows.total
        return RunStatus.SUCCEEDED if succeeded else RunStatus.FAILED

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it, unless it is resumed."""
        return self.status in FINAL


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one run is given; `line` is where it stands in its file, 0 if that is unknown."""

    inputs: Mapping[str, Any]
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class BatchRow:
    """A row of a batch, `number` from 1, with its run, once it was started."""

    number: int
    line: int
    run: Run | None = None


@dataclass(frozen=True, kw_only=True)
class DueRow:
    """A row to start. `run_id` is its run that failed or was cancelled before the batch was resumed; empty without."""

    number: int
    inputs: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    status: RunStatus | None = None


class BatchStore(Protocol):
    """Batches and their rows. Every method raises what is wrong with the database, and, with an id, BatchNotFound."""

    async def add(self, batch: Batch, rows: Sequence[Row]) -> None:
        """Stores a batch that nobody has seen."""

    async def remove(self, batch_id: str) -> None:
        """Removes a batch of which no row was started."""

    async def newest(self, fingerprint: str) -> Batch | None:
        """The newest batch of the same rows."""

    async def get(self, batch_id: str) -> Batch:
        """The batch as it stands."""

    async def list(self, *, limit: int, before: str) -> Sequence[Batch]:
        """Batches, newest first, before an id."""

    async def rows(self, batch_id: str, *, after: int, limit: int) -> Sequence[BatchRow]:
        """Rows after a number, in order, their runs without inputs and source."""

    async def drive(self, batch_id: str, *, launch: int, now: datetime) -> Batch:
        """Notes that a flow run sees to it. Raises BatchTakenOver unless it is the last one."""

    async def silent(self, *, after: datetime, before: datetime) -> Sequence[str]:
        """The batches, not cancelled, for which a flow run asked last between two times; ended ones too."""

    async def due(self, batch: Batch, *, limit: int) -> Sequence[DueRow]:
        """Rows to start: first those that never were, in order."""

    async def retire(self, run_id: str) -> None:
        """Another run took the place of a row's run."""

    async def launching(self, batch_id: str, *, launches: int) -> bool:
        """Notes that the batch is handed to Prefect once more; False when somebody else does that."""

    async def launched(self, batch_id: str, *, launches: int, flow_run_id: str) -> None:
        """Notes as which flow run the batch was handed to Prefect."""

    async def go_on(
        self, batch_id: str, *, max_concurrent: int, resumed_time: datetime | None
    ) -> None:
        """Changes how many rows go on at once. With a time, the batch is no longer cancelled, and rows whose runs
        failed or were cancelled until then are due again."""

    async def cancel(self, batch_id: str) -> None:
        """Lets no further row start."""

    async def open_runs(self, batch_id: str) -> Sequence[str]:
        """The runs of its rows that have not ended."""


class Launcher(Protocol):
    """Hands batches to Prefect, whose workers then advance them. Every method raises PrefectUnavailable."""

    async def prepare(self) -> None:
        """Returns when batches can be handed over."""

    async def launch(self, batch_id: str, launch: int) -> str:
        """The id of the flow run that sees to the batch from now on; the same for the same launch."""

    async def is_alive(self, flow_run_id: str) -> bool:
        """Whether the flow run has not ended, as far as Prefect knows."""

    async def give_up(self, flow_run_id: str) -> None:
        """Ends a flow run that no worker has taken, or whose worker is gone."""

    async def put_back(self, *, before: datetime) -> None:
        """Lets workers take flow runs, of schedules too, that one took before a time and never began."""

    async def under_way(self) -> Sequence[str]:
        """The flow runs of schedules that run, as far as Prefect knows."""

    async def tell_end(self, flow_run_id: str, status: RunStatus) -> None:
        """Says of a flow run how the run ended that it stands for."""
