"""Drives runs: each from where it stands to its end, in a task of its own."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from opentelemetry.trace import Span, StatusCode

from cadre_executor.domain.answers import Asked
from cadre_executor.domain.checkpoints import Position
from cadre_executor.domain.deadlines import within
from cadre_executor.domain.definitions import Document, Library
from cadre_executor.domain.delegations import Delegations
from cadre_executor.domain.journals import Batch, Journal, LeaseLost
from cadre_executor.domain.overruns import Budgets, effective
from cadre_executor.domain.peers import Children, Peers, RunBudget
from cadre_executor.domain.records import Records
from cadre_executor.domain.runs import Ending, Event, EventType, Failure, Run, RunStatus
from cadre_executor.domain.stores import Claim, DrivenRuns, ResultCache
from cadre_executor.domain.tasks import Means
from cadre_executor.domain.visits import Drive, RunFailed, Step, begin, startable
from cadre_executor.domain.workflows import Budget, State, Workflow
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

    async def advance(
        self, document: Document, drive: Drive, position: Position, *, wake: Sequence[str]
    ) -> Position:
        """Takes every step that can be taken from a position by waking nodes; where the run stands then. Raises
        RunFailed, LeaseLost, and what is wrong with the store."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What it takes to drive runs. `lease_seconds` is how long a run stays ours without a sign of life.

    `stored` is called with a run's id whenever events of it were stored. `pause` waits between the tries of a node.
    """

    store: DrivenRuns
    library: Library
    engine: Engine
    peers: Peers
    children: Children
    delegations: Delegations
    cache: ResultCache
    owner: str
    lease_seconds: float
    patience_seconds: float
    trace_content: bool
    max_state_bytes: int
    stored: Callable[[str], None]
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    def journal(self, claim: Claim, *, broken: Callable[[CadreError], None]) -> Journal:
        """The journal of a run that is ours."""
        run, position = claim.run, claim.position

        async def store(batch: Batch) -> None:
            expires = time.time() + self.lease_seconds
            await self.store.commit(run.id, batch, owner=self.owner, expires=expires)
            self.stored(run.id)

        visits = {} if position is None else position.progress["visits"]
        return Journal(store=store, usage=run.usage, visits=visits, broken=broken)

    async def drive(self, claim: Claim, journal: Journal) -> None:
        """Drives a run to its end, or until only people can let it go on, and stores that. Raises LeaseLost, and
        what is wrong with the store, with the run as it was last stored."""
        run = claim.run
        with self._span(run, resumed=run.started_time is not None) as span:
            began = datetime.now(UTC)
            if run.started_time is None:
                journal.emit(Event(type=EventType.RUN_STARTED, time=began))
            elif claim.interrupted:
                journal.emit(Event(type=EventType.RUN_RESUMED, time=began))
            ending = await self._ending(claim, journal, since=run.started_time or began)
            if ending is None:
                self.stored(run.id)
                log.info("run_waits", run_id=run.id)
                return
            self._describe(span, run, ending)
            await journal.settle()
            ended = await self.store.finish(run.id, ending, journal.take(), owner=self.owner)
        if not ended:
            raise LeaseLost(f"run {run.id!r} ended, or is driven by another executor")
        self.stored(run.id)
        code = ending.error.code if ending.error is not None else None
        log.info("run_ended", run_id=run.id, status=ending.status.value, code=code)

    async def _ending(self, claim: Claim, journal: Journal, *, since: datetime) -> Ending | None:
        """How the run ends; None when it waits."""
        status, outputs, failure = RunStatus.FAILED, None, None
        try:
            position = await self._in_time(claim, journal, since=since)
            if position is None:
                return None
            status, outputs = RunStatus.SUCCEEDED, position.fields
        except RunFailed as exc:
            failure = exc.failure
            journal.count(await self.children.end_children(claim.run.id))
        return ending_of(status, since=since, outputs=outputs, error=failure, journal=journal)

    async def _in_time(self, claim: Claim, journal: Journal, *, since: datetime) -> Position | None:
        document = await self._document(claim.run)
        limits = document.workflow.limits

        def remaining(paused_seconds: float) -> float:
            taken = (datetime.now(UTC) - since).total_seconds() - paused_seconds
            return limits.timeout_seconds - taken

        async def left() -> float:
            below = await self.store.paused_below(claim.run.id, now=time.time())
            return remaining(claim.run.paused_seconds + below)

        budgets = await self._budgets_of(claim.run, document.workflow)
        drive = self._drive(claim, journal, document, budgets)
        position = claim.position or self._start(claim.run, document)
        try:
            async with within(remaining(claim.run.paused_seconds), left=left):
                return await self._advance(document, drive, position)
        except TimeoutError as exc:
            error = RunTimeout(
                f"the run took longer than its limit of {limits.timeout_seconds:g} s",
                resolution="Raise config.execution.timeout, or give the run less to do.",
            )
            raise RunFailed(Failure.of(error)) from exc

    async def _budgets_of(self, run: Run, workflow: Workflow) -> Budgets:
        async def read() -> tuple[RunBudget, ...]:
            return await self._budgets(await self.store.get(run.id), workflow)

        return Budgets(read=read, known=await self._budgets(run, workflow))

    async def _budgets(self, run: Run, workflow: Workflow) -> tuple[RunBudget, ...]:
        """The budgets of the run and of the one at the top, as far as their files have one."""
        found = [RunBudget(run_id=run.id, budget=effective(workflow.budget, run.raised))]
        if run.root_run_id and run.root_run_id != run.id:
            root = await self.store.get(run.root_run_id)
            top = (await self._document(root)).workflow
            found.append(RunBudget(run_id=root.id, budget=effective(top.budget, root.raised)))
        return tuple(each for each in found if each.budget != Budget())

    def _drive(
        self,
        claim: Claim,
        journal: Journal,
        document: Document,
        budgets: Budgets,
    ) -> Drive:
        return Drive(
            run_id=claim.run.id,
            workflow=document.workflow,
            plan=document.plan,
            journal=journal,
            means=self._means(claim, journal, document.workflow, budgets),
            attempts=dict(claim.attempts),
            made={visit: Step.of(made) for visit, made in claim.made.items()},
            asked=dict(claim.asked),
            max_state_bytes=self.max_state_bytes,
        )

    def _means(
        self,
        claim: Claim,
        journal: Journal,
        workflow: Workflow,
        budgets: Budgets,
    ) -> Means:
        run = claim.run
        return Means(
            run_id=run.id,
            root_run_id=run.root_run_id or run.id,
            depth=run.depth,
            schedule=run.schedule,
            api_key=run.api_key,
            version=run.version,
            workflow=workflow,
            journal=journal,
            records=Records(journal, recorded=claim.effects),
            peers=self.peers,
            children=self.children,
            delegations=self.delegations,
            cache=self.cache,
            gate=asyncio.Semaphore(workflow.limits.max_concurrency),
            patience_seconds=self.patience_seconds,
            pause=self.pause,
            budgets=budgets,
            failed_before={} if claim.interrupted else claim.effects,
        )

    async def _advance(
        self, document: Document, drive: Drive, position: Position
    ) -> Position | None:
        """The position at the end; None when the run waits for people."""
        while not position.has_ended:
            wake = startable(position, drive=drive)
            if wake:
                position = await self.engine.advance(document, drive, position, wake=wake)
                continue
            answered = await self._suspend(drive, position)
            if not answered:
                return None
            # An answer may have raised one.
            await drive.means.budgets.have_changed()
            drive = replace(drive, asked={**drive.asked, **answered})
        drive.check_size(position)
        return position

    async def _suspend(self, drive: Drive, position: Position) -> Mapping[tuple[str, int], Asked]:
        """Lets the run wait, unless it got answers since."""
        journal = drive.journal
        journal.stand(position)
        await journal.settle()
        visits = position.progress["asked"].items()
        return await self.store.suspend(
            drive.run_id,
            journal.take(),
            owner=self.owner,
            expires=time.time() + self.lease_seconds,
            open_visits=visits,
        )

    async def _document(self, run: Run) -> Document:
        """The run's file. It was valid when the run was accepted; a later release may see it otherwise."""
        try:
            return await self.library.document(run.source)
        except CadreError as error:
            raise RunFailed(Failure.of(error)) from error

    def _start(self, run: Run, document: Document) -> Position:
        """Where the run begins."""
        try:
            fields = self.library.language.check_inputs(document.workflow, run.inputs)
        except CadreError as error:
            raise RunFailed(Failure.of(error)) from error
        return begin(document.workflow, document.plan, fields)

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
    outputs: State | None = None,
    error: Failure | None = None,
    journal: Journal | None = None,
) -> Ending:
    """How a run that began at `since` ends now."""
    now = datetime.now(UTC)
    usage = None if journal is None or journal.usage.calls == 0 else journal.usage
    event = Event(
        type=_ENDED_BY[status],
        time=now,
        data=None if outputs is None else {"outputs": dict(outputs)},
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
