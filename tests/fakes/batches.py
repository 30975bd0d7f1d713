"""Batches behind the gateway, in memory: each time that one is advanced, it runs one row more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cadre.executor.v1 import batches_pb2, batches_pb2_grpc, runs_pb2
from cadre_kit.documents import object_from_json
from cadre_kit.errors import CadreError, Conflict, NotFound, Problem
from cadre_kit.ids import new_id
from cadre_kit.wire import problem_to_message

__all__ = ["FakeBatches"]

_FINAL = (
    runs_pb2.RUN_STATUS_SUCCEEDED,
    runs_pb2.RUN_STATUS_FAILED,
    runs_pb2.RUN_STATUS_CANCELLED,
)


class FakeBatches(batches_pb2_grpc.BatchServiceServicer):
    """Rows with an input `unknown` are wrong. `failure` gives what every call is to raise, or None."""

    def __init__(self, failure: Callable[[], CadreError | None]) -> None:
        self.batches: dict[str, batches_pb2.Batch] = {}
        self.rows: dict[str, list[batches_pb2.BatchRow]] = {}
        self._failure = failure
        self._of_rows: dict[str, str] = {}

    async def CreateBatch(
        self, request: batches_pb2.CreateBatchRequest, context: Any
    ) -> batches_pb2.CreateBatchResponse:
        self._check()
        problems = [
            Problem(code="UNKNOWN_INPUT", message="unknown input", line=row.line)
            for row in request.rows
            if "unknown" in object_from_json(row.inputs, field="inputs")
        ]
        if problems:
            messages = [problem_to_message(problem) for problem in problems]
            return batches_pb2.CreateBatchResponse(problems=messages)
        digest = f"{request.workflow}{request.source}{request.rows}"
        known = self.batches.get(self._of_rows.get(digest, ""))
        if known is not None and (request.resume or known.status not in _FINAL):
            if known.status in _FINAL:
                known.status = runs_pb2.RUN_STATUS_RUNNING
            return batches_pb2.CreateBatchResponse(batch=known)
        batch = batches_pb2.Batch(
            id=new_id(),
            workflow=request.workflow,
            version=request.version,
            status=runs_pb2.RUN_STATUS_QUEUED,
            max_concurrent=request.max_concurrent or 8,
            rows=batches_pb2.RowCounts(total=len(request.rows), pending=len(request.rows)),
            launches=1,
        )
        batch.created_time.GetCurrentTime()
        self.batches[batch.id] = batch
        self._of_rows[digest] = batch.id
        self.rows[batch.id] = [
            batches_pb2.BatchRow(row=number, line=row.line)
            for number, row in enumerate(request.rows, 1)
        ]
        return batches_pb2.CreateBatchResponse(batch=batch, created=True)

    async def GetBatch(
        self, request: batches_pb2.GetBatchRequest, context: Any
    ) -> batches_pb2.GetBatchResponse:
        return batches_pb2.GetBatchResponse(batch=self._batch(request.batch_id))

    async def ListBatches(
        self, request: batches_pb2.ListBatchesRequest, context: Any
    ) -> batches_pb2.ListBatchesResponse:
        self._check()
        before = request.page_token
        ids = sorted((one for one in self.batches if not before or one < before), reverse=True)
        page = ids[: request.page_size or 50]
        return batches_pb2.ListBatchesResponse(
            batches=[self.batches[one] for one in page],
            next_page_token=page[-1] if len(page) < len(ids) else "",
        )

    async def ListBatchRows(
        self, request: batches_pb2.ListBatchRowsRequest, context: Any
    ) -> batches_pb2.ListBatchRowsResponse:
        rest = self.rows[self._batch(request.batch_id).id][request.after_row :]
        page = rest[: request.page_size or 50]
        return batches_pb2.ListBatchRowsResponse(rows=page, more=len(page) < len(rest))

    async def AdvanceBatch(
        self, request: batches_pb2.AdvanceBatchRequest, context: Any
    ) -> batches_pb2.AdvanceBatchResponse:
        batch = self._batch(request.batch_id)
        if request.launch != batch.launches:
            raise Conflict("another flow run took its place", code="BATCH_TAKEN_OVER")
        batch.driven_time.GetCurrentTime()
        if batch.rows.pending:
            self._run_one(batch)
        return batches_pb2.AdvanceBatchResponse(batch=batch)

    async def CancelBatch(
        self, request: batches_pb2.CancelBatchRequest, context: Any
    ) -> batches_pb2.CancelBatchResponse:
        batch = self._batch(request.batch_id)
        batch.status = runs_pb2.RUN_STATUS_CANCELLED
        return batches_pb2.CancelBatchResponse(batch=batch)

    def _run_one(self, batch: batches_pb2.Batch) -> None:
        row = next(row for row in self.rows[batch.id] if not row.HasField("run"))
        run = runs_pb2.Run(id=new_id(), workflow=batch.workflow, batch_id=batch.id)
        run.status = runs_pb2.RUN_STATUS_SUCCEEDED
        run.batch_row = row.row
        row.run.CopyFrom(run)
        batch.rows.pending -= 1
        batch.rows.succeeded += 1
        status = runs_pb2.RUN_STATUS_RUNNING if batch.rows.pending else run.status
        batch.status = status

    def _check(self) -> None:
        failure = self._failure()
        if failure is not None:
            raise failure

    def _batch(self, batch_id: str) -> batches_pb2.Batch:
        self._check()
        if batch_id not in self.batches:
            raise NotFound(f"no batch {batch_id!r}", code="BATCH_NOT_FOUND")
        return self.batches[batch_id]
