"""Drives runs: each from where it stands to its end, in a task of its own."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from opentelemetry.trace import Span, StatusCode

from cadre_executor.domain.actions import Peers
from cadre_executor.domain.definitions import Document, Library
from cadre_executor.domain.journals import Batch, Journal, LeaseLost
from cadre_executor.domain.runs import Ending, Event, EventType, Failure, Run, RunStatus
from cadre_executor.domain.stores import Claim, RunStore, Saved
from cadre_executor.domain.visits import Drive, RunFailed
from cadre_executor.domain.workflows import State
from cadre_kit import semconv
from cadre_kit.errors import CadreError, DeadlineExceeded, Internal
from cadre_kit.logs import logger
from cadre_kit.tracing import context_from, tracer

__all__ = ["Driver", "Engine", "ending_of"]

log = logger()

_ENDED_BY = {
    RunStatus.SUCCEEDED: EventType.RUN_SUCCEEDED,
    RunStatus.FAILED: EventType.RUN_FAILED,
    RunStatus.CANCELLED: EventType.RUN_CANCELLED,
}


class RunTimeout(DeadlineExceeded):
    """The run took longer than it may."""

    code = "RUN_TIMEOUT"


class Engine(Protocol):
    """Takes the steps of a workflow."""

    async def drive(
        self, document: Document, drive: Drive, *, inputs: State, saved: Saved | None
    ) -> dict[str, Any]:
        """The fields at the end. Raises RunFailed, LeaseLost, and what is wrong with the store."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What it takes to drive runs. `lease_seconds` is how long a run stays ours without a sign of life.

    `stored` is called with a run's id whenever events of it were stored.
    """

    store: RunStore
    library: Library
    engine: Engine
    peers: Peers
    owner: str
    lease_seconds: float
    patience_seconds: float
    trace_content: bool
    stored: Callable[[str], None]

    def journal(self, run: Run, *, broken: Callable[[CadreError], None]) -> Journal:
        """The journal of a run that is ours."""

        async def store(batch: Batch) -> None:
            expires = time.time() + self.lease_seconds
            await self.store.commit(run.id, batch, owner=self.owner, expires=expires)
            self.stored(run.id)

        return Journal(store=store, usage=run.usage, broken=broken)

    async def drive(self, claim: Claim, journal: Journal) -> None:
        """Drives a run to its end and stores that. Raises LeaseLost, and what is wrong with the store, with the run as
        it was last stored."""
        run = claim.run
        resumed = run.started_time is not None
        with self._span(run, resumed=resumed) as span:
            kind = EventType.RUN_RESUMED if resumed else EventType.RUN_STARTED
            began = datetime.now(UTC)
            journal.emit(Event(type=kind, time=began))
            ending = await self._ending(claim, journal, since=run.started_time or began)
            self._describe(span, run, ending)
            await journal.settle()
            ended = await self.store.finish(run.id, ending, journal.close(), owner=self.owner)
        if not ended:
            raise LeaseLost(f"run {run.id!r} ended, or is driven by another executor")
        self.stored(run.id)
        code = ending.error.code if ending.error is not None else None
        log.info("run_ended", run_id=run.id, status=ending.status.value, code=code)

    async def _ending(self, claim: Claim, journal: Journal, *, since: datetime) -> Ending:
        status, outputs, failure = RunStatus.FAILED, None, None
        try:
            outputs = await self._in_time(claim, journal, since=since)
            status = RunStatus.SUCCEEDED
        except RunFailed as exc:
            failure = exc.failure
        return ending_of(status, since=since, outputs=outputs, error=failure, journal=journal)

    async def _in_time(self, claim: Claim, journal: Journal, *, since: datetime) -> dict[str, Any]:
        document = await self._document(claim.run)
        limits = document.workflow.limits
        left = limits.timeout_seconds - (datetime.now(UTC) - since).total_seconds()
        drive = Drive(
            run_id=claim.run.id,
            version=claim.run.version,
            workflow=document.workflow,
            plan=document.plan,
            journal=journal,
            peers=self.peers,
            gate=asyncio.Semaphore(limits.max_concurrency),
            attempts=claim.attempts,
            patience_seconds=self.patience_seconds,
        )
        inputs = self._inputs(claim.run, document)
        try:
            async with asyncio.timeout(left):
                return await self.engine.drive(document, drive, inputs=inputs, saved=claim.saved)
        except TimeoutError as exc:
            error = RunTimeout(
                f"the run took longer than its limit of {limits.timeout_seconds:g} s",
                resolution="Raise config.execution.timeout, or give the run less to do.",
            )
            raise RunFailed(Failure.of(error)) from exc

    async def _document(self, run: Run) -> Document:
        """The run's file. It was valid when the run was accepted; a later release may see it otherwise."""
        try:
            return await self.library.document(run.source)
        except CadreError as error:
            raise RunFailed(Failure.of(error)) from error

    def _inputs(self, run: Run, document: Document) -> State:
        try:
            return self.library.language.check_inputs(document.workflow, run.inputs)
        except CadreError as error:
            raise RunFailed(Failure.of(error)) from error

    def _span(self, run: Run, *, resumed: bool) -> AbstractContextManager[Span]:
        return tracer().start_as_current_span(
            f"invoke_workflow {run.workflow}",
            context=context_from({"traceparent": run.trace_parent}),
            attributes={
                semconv.OPERATION: "invoke_workflow",
                semconv.WORKFLOW_NAME: run.workflow,
                semconv.WORKFLOW_VERSION: run.version,
                semconv.RUN_ID: run.id,
                semconv.MLFLOW_SPAN_TYPE: "CHAIN",
                "cadre.run.resumed": resumed,
            },
            record_exception=False,
            set_status_on_exception=False,
        )

    def _describe(self, span: Span, run: Run, ending: Ending) -> None:
        if ending.error is not None:
            span.set_status(StatusCode.ERROR, ending.error.code)
            span.set_attribute(semconv.ERROR_TYPE, ending.error.code)
        if self.trace_content:
            span.set_attribute(semconv.MLFLOW_SPAN_INPUTS, json.dumps(run.inputs))
            span.set_attribute(semconv.MLFLOW_SPAN_OUTPUTS, json.dumps(ending.outputs))


def ending_of(
    status: RunStatus,
    *,
    since: datetime,
    outputs: dict[str, Any] | None = None,
    error: Failure | None = None,
    journal: Journal | None = None,
) -> Ending:
    """How a run that began at `since` ends now."""
    now = datetime.now(UTC)
    usage = None if journal is None or journal.usage.calls == 0 else journal.usage
    event = Event(
        type=_ENDED_BY[status],
        time=now,
        data=None if outputs is None else {"outputs": outputs},
        usage=usage,
        error=error,
        duration_ms=max(0, round((now - since).total_seconds() * 1000)),
    )
    return Ending(status=status, event=event, outputs=outputs, error=error)


def mistake() -> Failure:
    """The failure of a run that ended by a mistake of ours."""
    error = Internal(
        "the executor made a mistake; its log has the details",
        resolution="Look for run_broken in the executor's log under CADRE_HOME/logs.",
    )
    return Failure.of(error)
