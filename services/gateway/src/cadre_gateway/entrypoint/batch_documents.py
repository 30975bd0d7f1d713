"""What the API takes and answers about batches."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, StrictBool, StrictInt

from cadre.executor.v1 import batches_pb2, runs_pb2
from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint.documents import (
    Answer,
    Asked,
    JsonObject,
    Notify,
    Run,
    RunStatus,
    Text,
    Usage,
)
from cadre_kit.documents import to_json

__all__ = [
    "Batch",
    "BatchLaunch",
    "BatchPage",
    "BatchRowPage",
    "NewBatch",
    "batch",
    "batch_row_page",
]


class NewBatchRow(Asked):
    """What one run is given."""

    inputs: JsonObject = Field(description="Values for state fields.")
    line: StrictInt = Field(
        0, ge=0, le=2**31 - 1, description="Its line in its file, for problems."
    )


class NewBatch(Asked):
    """Rows to run an applied workflow, or a file's source, over."""

    workflow: Text | None = Field(None, description="An applied workflow's name.")
    version: StrictInt = Field(
        0, ge=0, le=2**31 - 1, description="Of that workflow; 0 is the newest."
    )
    source: Text | None = Field(
        None, description="A workflow file's YAML text, run without being applied; at most 1 MiB."
    )
    rows: list[NewBatchRow] = Field(min_length=1, max_length=10_000)
    max_concurrent: StrictInt = Field(
        0, ge=0, le=200, description="At most this many rows go on at once; 0 means 8."
    )
    resume: StrictBool = Field(
        False,
        description="Go on with the newest batch of these rows, also when it was cancelled or rows failed.",
    )
    notify: Notify | None = None

    def message(self, *, api_key: str) -> batches_pb2.CreateBatchRequest:
        """As the executor is asked, for a key."""
        request = batches_pb2.CreateBatchRequest(
            version=self.version,
            rows=[
                batches_pb2.BatchInput(inputs=to_json(row.inputs), line=row.line)
                for row in self.rows
            ],
            max_concurrent=self.max_concurrent,
            resume=self.resume,
            api_key=api_key,
        )
        if self.source is not None:
            request.source = self.source
        else:
            request.workflow = self.workflow or ""
        return request


class BatchLaunch(Asked):
    """Which flow run of a batch asks."""

    launch: StrictInt = Field(
        ge=1, le=2**31 - 1, description="Its `launches` when the flow run was made."
    )


class RowCounts(Answer):
    """How many rows there are, and where their runs stand."""

    total: int
    pending: int = Field(description="Not started, or to be gone on with.")
    running: int
    waiting: int = Field(description="Their runs wait for a person.")
    succeeded: int
    failed: int
    cancelled: int


class Batch(Answer):
    """A workflow over the rows of a dataset."""

    id: str
    workflow: str
    version: int = Field(description="0 for a file that is run without being applied.")
    status: RunStatus
    max_concurrent: int
    rows: RowCounts
    created_time: datetime | None
    flow_run_id: str = Field(description="The Prefect flow run that it is handed to.")
    driven_time: datetime | None = Field(
        description="When its flow run last asked for it; null before a worker took it."
    )
    launches: int = Field(description="How often it was handed to Prefect.")
    usage: Usage = Field(
        description="What the runs of its rows used so far, those begun anew included."
    )


class BatchPage(Answer):
    """Batches, newest first."""

    batches: list[Batch]
    next_page_token: str = Field(description="Names the next page; empty on the last one.")


class BatchRow(Answer):
    """A row of a batch."""

    row: int = Field(description="Its number, from 1.")
    line: int = Field(description="Its line in its file; 0 when unknown.")
    run: Run | None = Field(description="Without inputs and source; null before it was started.")


class BatchRowPage(Answer):
    """Rows in their order."""

    rows: list[BatchRow]
    more: bool = Field(description="Whether others follow the last.")


def batch(message: batches_pb2.Batch) -> Batch:
    """A batch."""
    rows = message.rows
    return Batch(
        id=message.id,
        workflow=message.workflow,
        version=message.version,
        status=conversions.run_status(message.status),
        max_concurrent=message.max_concurrent,
        rows=RowCounts(
            total=rows.total,
            pending=rows.pending,
            running=rows.running,
            waiting=rows.waiting,
            succeeded=rows.succeeded,
            failed=rows.failed,
            cancelled=rows.cancelled,
        ),
        created_time=conversions.moment(message, "created_time"),
        flow_run_id=message.flow_run_id,
        driven_time=conversions.moment(message, "driven_time"),
        launches=message.launches,
        usage=conversions.usage(message.usage),
    )


def batch_row_page(message: batches_pb2.ListBatchRowsResponse) -> BatchRowPage:
    """Rows of a batch."""
    rows = [
        BatchRow(row=row.row, line=row.line, run=_run(row.run) if row.HasField("run") else None)
        for row in message.rows
    ]
    return BatchRowPage(rows=rows, more=message.more)


def _run(message: runs_pb2.Run) -> Run:
    return conversions.run(message)
