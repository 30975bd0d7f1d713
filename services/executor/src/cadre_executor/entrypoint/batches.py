"""BatchService: gRPC to domain and back."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc

from cadre.executor.v1 import batches_pb2, batches_pb2_grpc
from cadre_executor.domain.batches import Batch, BatchRow, Row
from cadre_executor.domain.dispatch import CreateBatch, Dispatch, Refused
from cadre_executor.entrypoint.messages import (
    checked_name,
    page_size,
    page_token,
    run_message,
    status_message,
    time_message,
    token_key,
    usage_message,
)
from cadre_kit.documents import object_from_json, to_json
from cadre_kit.wire import problem_to_message

__all__ = ["BatchServicer"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_PAGE = 50


class BatchServicer(batches_pb2_grpc.BatchServiceServicer):
    """Answers BatchService."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def CreateBatch(
        self, request: batches_pb2.CreateBatchRequest, context: Context
    ) -> batches_pb2.CreateBatchResponse:
        """Stores a batch, or finds it."""
        rows = [
            Row(inputs=object_from_json(row.inputs, field=f"rows[{place}]"), line=row.line)
            for place, row in enumerate(request.rows)
        ]
        asked = CreateBatch(
            rows=rows,
            workflow=request.workflow,
            version=request.version if request.workflow else 0,
            source=request.source,
            max_concurrent=request.max_concurrent,
            resume=request.resume,
            api_key=checked_name(request.api_key, field="api_key"),
        )
        made = await self._dispatch.create(asked)
        if isinstance(made, Refused):
            problems = [problem_to_message(problem) for problem in made.problems]
            return batches_pb2.CreateBatchResponse(problems=problems)
        batch, created = made
        return batches_pb2.CreateBatchResponse(batch=_batch(batch), created=created)

    async def GetBatch(
        self, request: batches_pb2.GetBatchRequest, context: Context
    ) -> batches_pb2.GetBatchResponse:
        """Returns a batch."""
        batch = await self._dispatch.get(request.batch_id)
        return batches_pb2.GetBatchResponse(batch=_batch(batch))

    async def ListBatches(
        self, request: batches_pb2.ListBatchesRequest, context: Context
    ) -> batches_pb2.ListBatchesResponse:
        """Lists batches, newest first."""
        size = page_size(request.page_size, default=_PAGE)
        found = await self._dispatch.list(limit=size + 1, before=token_key(request.page_token))
        return batches_pb2.ListBatchesResponse(
            batches=[_batch(batch) for batch in found[:size]],
            next_page_token=page_token(found[size - 1].id) if len(found) > size else "",
        )

    async def ListBatchRows(
        self, request: batches_pb2.ListBatchRowsRequest, context: Context
    ) -> batches_pb2.ListBatchRowsResponse:
        """Lists rows in their order."""
        size = page_size(request.page_size, default=_PAGE)
        rows = await self._dispatch.rows(request.batch_id, after=request.after_row, limit=size)
        batch = await self._dispatch.get(request.batch_id)
        return batches_pb2.ListBatchRowsResponse(
            rows=[_row(row) for row in rows],
            more=bool(rows) and rows[-1].number < batch.rows.total,
        )

    async def AdvanceBatch(
        self, request: batches_pb2.AdvanceBatchRequest, context: Context
    ) -> batches_pb2.AdvanceBatchResponse:
        """Starts rows for some seconds."""
        batch = await self._dispatch.advance(request.batch_id, launch=request.launch)
        return batches_pb2.AdvanceBatchResponse(batch=_batch(batch))

    async def CancelBatch(
        self, request: batches_pb2.CancelBatchRequest, context: Context
    ) -> batches_pb2.CancelBatchResponse:
        """Stops a batch."""
        batch = await self._dispatch.cancel(request.batch_id)
        return batches_pb2.CancelBatchResponse(batch=_batch(batch))


def _batch(batch: Batch) -> batches_pb2.Batch:
    rows = batch.rows
    return batches_pb2.Batch(
        id=batch.id,
        workflow=batch.workflow,
        version=batch.version,
        status=status_message(batch.status),
        max_concurrent=batch.max_concurrent,
        rows=batches_pb2.RowCounts(
            total=rows.total,
            pending=rows.pending,
            running=rows.running,
            waiting=rows.waiting,
            succeeded=rows.succeeded,
            failed=rows.failed,
            cancelled=rows.cancelled,
        ),
        created_time=time_message(batch.created_time),
        flow_run_id=batch.flow_run_id,
        driven_time=None if batch.driven_time is None else time_message(batch.driven_time),
        launches=batch.launches,
        usage=usage_message(batch.usage),
    )


def _row(row: BatchRow) -> batches_pb2.BatchRow:
    message = batches_pb2.BatchRow(row=row.number, line=row.line)
    if row.run is not None:
        message.run.CopyFrom(run_message(row.run, listed=True))
        if row.run.outputs is not None:
            message.run.outputs.CopyFrom(to_json(row.run.outputs))
    return message
