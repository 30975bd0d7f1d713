"""Batches: a workflow over the rows of a dataset."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status

from cadre.executor.v1 import batches_pb2
from cadre_gateway.entrypoint import batch_documents as documents
from cadre_gateway.entrypoint.access import READ, RUN, TheCaller
from cadre_gateway.entrypoint.dependencies import TheExecutor, TheParts
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_gateway.entrypoint.once import ONCE, OnceRoute
from cadre_kit.wire import problem_from_message

__all__ = ["router"]

router = APIRouter(tags=["batches"], route_class=OnceRoute)

_BatchId = Annotated[str, Path(max_length=200, description="The batch's id.")]


@router.post("/api/v1/batches", status_code=status.HTTP_202_ACCEPTED, dependencies=[RUN, ONCE])
async def create_batch(
    asked: documents.NewBatch, parts: TheParts, caller: TheCaller, response: Response
) -> documents.Batch:
    """Checks every row, stores them and hands the batch to Prefect; 400 with a problem for each wrong row, 503 while
    Prefect is down: then nothing is stored. The same rows again are the same batch as long as that goes on."""
    if (asked.workflow is None) == (asked.source is None):
        raise InvalidRequest(
            "either workflow or source must be given, and not both",
            resolution="Name an applied workflow, or send a file's text as source.",
        )
    executor = parts.services.executor
    answer = await executor.call(executor.batches.CreateBatch, asked.message(api_key=caller.name))
    if answer.problems:
        raise InvalidRequest(
            f"rows do not fit the workflow's inputs; nothing was started: {answer.problems[0].message}",
            code="BATCH_ROWS_REFUSED",
            resolution="Mend the rows that the problems name by their line.",
            problems=[problem_from_message(each) for each in answer.problems],
        )
    batch = documents.batch(answer.batch)
    response.headers["Location"] = f"/api/v1/batches/{batch.id}"
    if asked.notify is not None:
        await parts.reception.tell_batch_end(batch, asked.notify)
    return batch


@router.get("/api/v1/batches", dependencies=[READ])
async def list_batches(
    executor: TheExecutor,
    page_size: Annotated[int, Query(ge=1, le=500, description="At most this many.")] = 50,
    page_token: Annotated[
        str, Query(max_length=1000, description="The last page's next_page_token.")
    ] = "",
) -> documents.BatchPage:
    """Lists batches, newest first."""
    request = batches_pb2.ListBatchesRequest(page_size=page_size, page_token=page_token)
    answer = await executor.call(executor.batches.ListBatches, request)
    batches = [documents.batch(one) for one in answer.batches]
    return documents.BatchPage(batches=batches, next_page_token=answer.next_page_token)


@router.get("/api/v1/batches/{batch_id}", dependencies=[READ])
async def get_batch(batch_id: _BatchId, executor: TheExecutor) -> documents.Batch:
    """Returns a batch as it stands."""
    request = batches_pb2.GetBatchRequest(batch_id=batch_id)
    answer = await executor.call(executor.batches.GetBatch, request)
    return documents.batch(answer.batch)


@router.get("/api/v1/batches/{batch_id}/rows", dependencies=[READ])
async def list_batch_rows(
    batch_id: _BatchId,
    executor: TheExecutor,
    after: Annotated[int, Query(ge=0, le=10_000, description="Only rows after this one.")] = 0,
    page_size: Annotated[int, Query(ge=1, le=500, description="At most this many.")] = 50,
) -> documents.BatchRowPage:
    """Lists a batch's rows in their order, each with its run and that run's outputs."""
    request = batches_pb2.ListBatchRowsRequest(
        batch_id=batch_id, after_row=after, page_size=page_size
    )
    answer = await executor.call(executor.batches.ListBatchRows, request)
    return documents.batch_row_page(answer)


@router.post("/api/v1/batches/{batch_id}/advance", dependencies=[RUN])
async def advance_batch(
    batch_id: _BatchId, asked: documents.BatchLaunch, executor: TheExecutor
) -> documents.Batch:
    """Starts as many rows as may go on at once, and waits some seconds for news. For the batch's own flow run, which
    asks again and again."""
    request = batches_pb2.AdvanceBatchRequest(batch_id=batch_id, launch=asked.launch)
    answer = await executor.call(executor.batches.AdvanceBatch, request)
    return documents.batch(answer.batch)


@router.post("/api/v1/batches/{batch_id}/cancel", dependencies=[RUN])
async def cancel_batch(batch_id: _BatchId, executor: TheExecutor) -> documents.Batch:
    """Stops a batch: no further row starts, and the runs under way are cancelled."""
    request = batches_pb2.CancelBatchRequest(batch_id=batch_id)
    answer = await executor.call(executor.batches.CancelBatch, request)
    return documents.batch(answer.batch)
