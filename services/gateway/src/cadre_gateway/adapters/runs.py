"""Runs of deliveries, and batches, at the executor."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cadre.executor.v1 import batches_pb2, runs_pb2
from cadre_gateway.adapters.services import Executor
from cadre_gateway.domain.deliveries import Delivery, RunNews, RunQuestion, Trouble
from cadre_kit.documents import object_from_json, to_json
from cadre_kit.errors import AlreadyExists, Conflict

__all__ = ["answer_run", "cancel_run", "news_of", "news_of_batch", "start_run"]

_WORDS = {
    runs_pb2.RUN_STATUS_WAITING: "waiting",
    runs_pb2.RUN_STATUS_SUCCEEDED: "succeeded",
    runs_pb2.RUN_STATUS_FAILED: "failed",
    runs_pb2.RUN_STATUS_CANCELLED: "cancelled",
}


async def start_run(executor: Executor, delivery: Delivery, content: Mapping[str, Any]) -> None:
    """Starts the delivery's run on its completed content, unless it was started. Raises what the executor says."""
    request = runs_pb2.StartRunRequest(
        workflow=delivery.workflow,
        version=delivery.version,
        trigger=delivery.kind,
        run_id=delivery.run_id,
    )
    if delivery.trigger is None:
        request.inputs.CopyFrom(to_json(content["body"]))
    else:
        request.arrival.trigger = delivery.trigger
        request.arrival.content.CopyFrom(to_json(content))
    # Its own id and not the sender's: that is known to others, and any text may be an idempotency key of theirs.
    # A delivery that is replayed under another version may have been started under the first.
    with suppress(Conflict, AlreadyExists):
        await executor.call(
            executor.runs.StartRun, request, idempotency_key=f"delivery/{delivery.id}"
        )


async def news_of(executor: Executor, run_id: str) -> RunNews | None:
    """What there is to tell of a run: None while it goes on. Raises what the executor says."""
    answer = await executor.call(executor.runs.GetRun, runs_pb2.GetRunRequest(run_id=run_id))
    run = answer.run
    if run.status not in _WORDS:
        return None
    error = None
    if run.HasField("error"):
        error = Trouble(
            code=run.error.code, message=run.error.message, resolution=run.error.resolution
        )
    return RunNews(
        id=run.id,
        workflow=run.workflow,
        status=_WORDS[run.status],
        outputs=object_from_json(run.outputs, field="outputs"),
        error=error,
        questions=[_question(each) for each in run.questions],
    )


async def news_of_batch(executor: Executor, batch_id: str) -> RunNews | None:
    """What there is to tell of a batch: None while it goes on. Raises what the executor says."""
    request = batches_pb2.GetBatchRequest(batch_id=batch_id)
    batch = (await executor.call(executor.batches.GetBatch, request)).batch
    if batch.status not in _WORDS:
        return None
    rows = {each.name: getattr(batch.rows, each.name) for each in batch.rows.DESCRIPTOR.fields}
    return RunNews(id=batch.id, workflow=batch.workflow, status=_WORDS[batch.status], rows=rows)


def _question(message: runs_pb2.Question) -> RunQuestion:
    return RunQuestion(
        node=message.node,
        iteration=message.iteration,
        message=message.message,
        choices=tuple(message.choices),
    )


async def cancel_run(executor: Executor, run_id: str) -> None:
    """Cancels a run; one that has ended stays as it is. Raises what the executor says."""
    await executor.call(executor.runs.CancelRun, runs_pb2.CancelRunRequest(run_id=run_id))


async def answer_run(
    executor: Executor, *, run_id: str, question: RunQuestion, choice: str, by: str
) -> None:
    """Answers what a run asks. Raises what the executor says, such as that somebody else was first."""
    request = runs_pb2.AnswerRunRequest(
        run_id=run_id,
        node=question.node,
        iteration=question.iteration,
        choice=choice,
        answered_by=by,
    )
    await executor.call(executor.runs.AnswerRun, request)
