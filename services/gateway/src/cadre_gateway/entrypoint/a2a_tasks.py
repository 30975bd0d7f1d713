"""Runs as tasks of A2A: a message starts one or answers it, and its events are the task's updates."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_gateway.adapters.services import Executor
from cadre_gateway.entrypoint import a2a_documents as a2a
from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint import documents as d
from cadre_gateway.entrypoint.a2a_documents import A2aError, Fault
from cadre_gateway.entrypoint.dependencies import Waits
from cadre_gateway.entrypoint.run_events import run_events
from cadre_gateway.entrypoint.spoken import FieldUnclear, inputs_with
from cadre_kit.documents import to_json
from cadre_kit.errors import CadreError, Kind

__all__ = ["Tasks"]

_BY_STATE: Mapping[str, runs_pb2.RunStatus.ValueType] = {
    "": runs_pb2.RUN_STATUS_UNSPECIFIED,
    "TASK_STATE_UNSPECIFIED": runs_pb2.RUN_STATUS_UNSPECIFIED,
    "TASK_STATE_SUBMITTED": runs_pb2.RUN_STATUS_QUEUED,
    "TASK_STATE_WORKING": runs_pb2.RUN_STATUS_RUNNING,
    "TASK_STATE_INPUT_REQUIRED": runs_pb2.RUN_STATUS_WAITING,
    "TASK_STATE_COMPLETED": runs_pb2.RUN_STATUS_SUCCEEDED,
    "TASK_STATE_FAILED": runs_pb2.RUN_STATUS_FAILED,
    "TASK_STATE_CANCELED": runs_pb2.RUN_STATUS_CANCELLED,
}
_ANSWERS = frozenset({"choice", "node", "comment"})


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The runs of one workflow, as tasks of one agent; what starts is the API key's. Methods raise A2aError,
    and CadreError for what is wrong with the platform or the workflow's name."""

    workflow: str
    executor: Executor
    waits: Waits
    api_key: str

    async def card(self, url: str) -> dict[str, Any]:
        """The agent's card, when it is reached at an address."""
        return a2a.card(await self._definition(), url)

    async def send(self, asked: a2a.SendMessage) -> d.Run:
        """The run that a message starts or answers, as it stands then; unless the caller wants it at once, when it has
        ended or asks, or after as long as a model may take."""
        run = await self.begin(asked)
        if asked.configuration.return_immediately or run.status.is_final:
            return run
        return await self._settled(run)

    async def begin(self, asked: a2a.SendMessage) -> d.Run:
        """The run that a message starts or answers."""
        if asked.configuration.task_push_notification_config is not None:
            raise A2aError(Fault.PUSH_NOTIFICATION_NOT_SUPPORTED, "push notifications are not sent")
        if asked.message.task_id:
            return await self._answer(asked.message)
        return await self._start(asked.message)

    async def get(self, task_id: str) -> d.Run:
        """A run of this workflow."""
        try:
            answer = await self.executor.call(
                self.executor.runs.GetRun, runs_pb2.GetRunRequest(run_id=task_id)
            )
        except CadreError as error:
            if error.kind is Kind.NOT_FOUND:
                raise _not_found(task_id) from error
            raise
        run = conversions.run(answer.run)
        if run.workflow != self.workflow:
            raise _not_found(task_id)
        return run

    async def list(self, asked: a2a.ListTasks) -> dict[str, Any]:
        """A page of tasks, newest first. How many there are in all is not known (-1)."""
        if asked.status not in _BY_STATE:
            return {"tasks": [], "nextPageToken": "", "pageSize": asked.page_size, "totalSize": 0}
        request = runs_pb2.ListRunsRequest(
            workflow=self.workflow,
            status=_BY_STATE[asked.status],
            page_size=asked.page_size,
            page_token=asked.page_token,
        )
        answer = await self._refusing(self.executor.runs.ListRuns, request)
        runs = [run for run in map(conversions.run, answer.runs) if _is_wanted(run, asked)]
        if asked.include_artifacts:
            runs = list(await asyncio.gather(*(self.get(run.id) for run in runs)))
        return {
            "tasks": [a2a.task(run, artifacts=asked.include_artifacts) for run in runs],
            "nextPageToken": answer.next_page_token,
            "pageSize": asked.page_size,
            "totalSize": -1,
        }

    async def cancel(self, task_id: str) -> d.Run:
        """The run, stopped."""
        run = await self.get(task_id)
        if not run.status.is_final:
            answer = await self.executor.call(
                self.executor.runs.CancelRun, runs_pb2.CancelRunRequest(run_id=task_id)
            )
            run = conversions.run(answer.run)
        if run.status is not d.RunStatus.CANCELLED:
            raise A2aError(Fault.TASK_NOT_CANCELABLE, f"task {task_id!r} ended before")
        return run

    async def subscribed(self, task_id: str) -> d.Run:
        """A run that has not ended, to follow."""
        run = await self.get(task_id)
        if run.status.is_final:
            raise A2aError(Fault.UNSUPPORTED_OPERATION, f"task {task_id!r} has ended")
        return run

    async def updates(self, run: d.Run) -> AsyncIterator[dict[str, Any]]:
        """The run as a task, then what happens to it, until it has ended or asks something."""
        yield {"task": a2a.task(run)}
        if run.status.is_final or a2a.is_asking(run):
            return
        since = datetime.now(UTC)
        async with aclosing(self._events(run.id)) as events:
            async for event in events:
                if event.type is d.EventType.NODE_STARTED and event.time >= since:
                    yield _update(run, {"state": "TASK_STATE_WORKING"}, node=event.node)
                elif event.type is d.EventType.NODE_WAITING or event.type.is_last:
                    run = await self.get(run.id)
                    if run.status.is_final or a2a.is_asking(run):
                        break
        if run.status is d.RunStatus.SUCCEEDED:
            yield {
                "artifactUpdate": {
                    "taskId": run.id,
                    "contextId": a2a.context_of(run),
                    "artifact": a2a.result(run),
                    "lastChunk": True,
                }
            }
        yield _update(run, a2a.status(run))

    async def _start(self, message: a2a.Message) -> d.Run:
        inputs = _inputs(message, (await self._definition()).inputs)
        key = hashlib.sha256(message.message_id.encode()).hexdigest()
        # The same for a repeated message: a request that differs would be refused.
        context = message.context_id or str(uuid.uuid5(uuid.NAMESPACE_OID, message.message_id))
        request = runs_pb2.StartRunRequest(
            workflow=self.workflow,
            inputs=to_json(inputs),
            trigger=f"{a2a.TRIGGER}{context}",
            api_key=self.api_key,
        )
        answer = await self._refusing(
            self.executor.runs.StartRun, request, key=f"a2a/{self.workflow}/{key}"
        )
        return conversions.run(answer.run)

    async def _answer(self, message: a2a.Message) -> d.Run:
        run = await self.get(message.task_id)
        if message.context_id and message.context_id != a2a.context_of(run):
            raise A2aError(Fault.INVALID_PARAMS, "the task belongs to another context")
        if run.status.is_final:
            raise A2aError(Fault.UNSUPPORTED_OPERATION, f"task {run.id!r} has ended")
        said = _said(message)
        node = said.get("node") or (run.questions[0].node if len(run.questions) == 1 else "")
        choices = next((q.choices for q in run.questions if q.node == node), [])
        request = runs_pb2.AnswerRunRequest(
            run_id=run.id,
            node=node,
            choice=_choice(said["choice"], choices),
            comment=said.get("comment", ""),
            answered_by="a2a",
        )
        answer = await self._refusing(self.executor.runs.AnswerRun, request)
        return conversions.run(answer.run)

    async def _settled(self, run: d.Run) -> d.Run:
        try:
            async with asyncio.timeout(self.waits.completion_seconds):
                async with aclosing(self._events(run.id)) as events:
                    async for event in events:
                        if event.type is d.EventType.NODE_WAITING or event.type.is_last:
                            run = await self.get(run.id)
                            if run.status.is_final or a2a.is_asking(run):
                                break
        except TimeoutError:
            return await self.get(run.id)
        return run

    def _events(self, run_id: str) -> Any:
        return run_events(
            self.executor, run_id, after=0, reconnect_seconds=self.waits.reconnect_seconds
        )

    async def _definition(self) -> d.Workflow:
        request = workflows_pb2.GetWorkflowRequest(name=self.workflow)
        answer = await self.executor.call(self.executor.workflows.GetWorkflow, request)
        return conversions.workflow(answer.workflow)

    async def _refusing(self, method: Any, request: Any, *, key: str = "") -> Any:
        """A call whose refusal is the caller's own doing, said in the protocol's words."""
        try:
            return await self.executor.call(method, request, idempotency_key=key)
        except CadreError as error:
            fault = _FAULTS.get(error.kind)
            if fault is None:
                raise
            told = "; ".join(p.message for p in error.problems) or error.message
            raise A2aError(fault, f"{error.code}: {told}") from error


_FAULTS = {
    Kind.INVALID_INPUT: Fault.INVALID_PARAMS,
    Kind.CONFLICT: Fault.INVALID_PARAMS,
    Kind.FAILED_PRECONDITION: Fault.UNSUPPORTED_OPERATION,
}


def _not_found(task_id: str) -> A2aError:
    return A2aError(Fault.TASK_NOT_FOUND, f"no task {task_id!r}")


def _is_wanted(run: d.Run, asked: a2a.ListTasks) -> bool:
    if asked.context_id and a2a.context_of(run) != asked.context_id:
        return False
    changed, after = (
        run.ended_time or run.started_time or run.created_time,
        asked.status_timestamp_after,
    )
    if after is None or changed is None:
        return True
    return changed > (after if after.tzinfo else after.replace(tzinfo=UTC))


def _update(run: d.Run, status: Mapping[str, Any], *, node: str = "") -> dict[str, Any]:
    update: dict[str, Any] = {
        "taskId": run.id,
        "contextId": a2a.context_of(run),
        "status": dict(status),
    }
    if node:
        update["metadata"] = {"node": node}
    return {"statusUpdate": update}


def _inputs(message: a2a.Message, inputs: Sequence[d.Input]) -> dict[str, JsonValue]:
    """The run's inputs: the data, and the text in the one field that it can be meant for."""
    if not message.text:
        return message.data
    try:
        return inputs_with(message.text, message.data, inputs)
    except FieldUnclear as error:
        raise A2aError(Fault.INVALID_PARAMS, error.message) from error


def _said(message: a2a.Message) -> dict[str, str]:
    """An answer: text, or data with `choice`, and maybe `node` and `comment`."""
    data = message.data
    said = {name: str(data[name]) for name in _ANSWERS & data.keys()}
    said.setdefault("choice", message.text)
    return said


def _choice(text: str, choices: Sequence[str]) -> str:
    """The choice that a text means, whatever its case; the text itself when it is none."""
    meant = text.strip()
    return next(
        (choice for choice in choices if choice.lower() == meant.lower()),
        text if not choices else meant,
    )
