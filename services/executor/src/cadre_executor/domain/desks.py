"""Where runs are accepted, watched, cancelled, and taken up again after a crash."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from opentelemetry import propagate

from cadre_executor.domain.answers import Answer, AnswerChosen, AnswerRun, NotWaiting
from cadre_executor.domain.checkpoints import Checkpoint, CheckpointNotFound, Position
from cadre_executor.domain.definitions import Document, Library
from cadre_executor.domain.delegations import Delegations
from cadre_executor.domain.drivers import Driver, ending_of, mistake
from cadre_executor.domain.journals import Journal, LeaseLost
from cadre_executor.domain.overruns import CONTINUE, RAISE
from cadre_executor.domain.peers import Children, ChildRun
from cadre_executor.domain.runs import (
    FINAL,
    Event,
    EventType,
    Question,
    RaisedBudget,
    Run,
    RunPage,
    RunQuery,
    RunStatus,
    StepOfRun,
    Usage,
)
from cadre_executor.domain.stores import Claim, DefinitionStore, RunStore
from cadre_executor.domain.triggers import OutsideTrigger, TriggerNotFound
from cadre_executor.domain.watchers import Watchers
from cadre_kit.errors import CadreError
from cadre_kit.ids import new_id
from cadre_kit.logs import logger

__all__ = ["Arrival", "Desk", "ForkRun", "StartRun"]

log = logger()

_EVENTS_AT_ONCE = 200
# How long a watcher waits for word before it looks for itself: another executor may drive the run.
_LOOK_SECONDS = 1.0
_LOOK_FOR_RUNS_SECONDS = 1.0
_LOOK_FOR_DEADLINES_SECONDS = 0.5
_RENEWALS_PER_LEASE = 3
_CANCEL_SECONDS = 30.0
_LOOK_FOR_LEASE_SECONDS = 0.05
_CANDIDATES = 500
# What a fork does not take over from the run that it starts from.
_NOTHING_YET: dict[str, Any] = {
    "outputs": None,
    "usage": Usage(),
    "error": None,
    "started_time": None,
    "ended_time": None,
    "questions": (),
    "paused_seconds": 0.0,
    "last_sequence": 1,
    "parent_run_id": "",
    "parent_visit": "",
    "root_run_id": "",
    "depth": 0,
    "schedule": "",
    "batch_id": "",
    "batch_row": 0,
    "raised": None,
    "runs_before": 0,
}


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """What came from outside for one of the workflow's triggers, which says what inputs that makes."""

    trigger: int
    content: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StartRun:
    """What to run: an applied workflow by name (version 0 is the newest), or a file's text; with `inputs`, or with
    those that an arrival makes. A file's text is of a version when that is given. `run_id` is the id that it shall
    have, empty for a new one."""

    inputs: Mapping[str, Any]
    workflow: str = ""
    version: int = 0
    source: str = ""
    trigger: str = "api"
    schedule: str = ""
    api_key: str = ""
    batch_id: str = ""
    batch_row: int = 0
    key: str = ""
    run_id: str = ""
    arrival: Arrival | None = None

    @property
    def fingerprint(self) -> str:
        """Equal for equal requests."""
        said = [self.workflow, self.version, self.source, self.inputs, self.trigger]
        if self.arrival is not None:
            said += [self.arrival.trigger, self.arrival.content]
        if self.schedule:
            said.append(self.schedule)
        return _fingerprint(said)


@dataclass(frozen=True, kw_only=True)
class ForkRun:
    """From where a new run starts, and which state fields are changed there. No `checkpoint_id` means the last one."""

    run_id: str
    changes: Mapping[str, Any]
    checkpoint_id: str = ""
    api_key: str = ""
    key: str = ""

    @property
    def fingerprint(self) -> str:
        """Equal for equal requests."""
        return _fingerprint([self.run_id, self.checkpoint_id, self.changes])


def _fingerprint(said: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _inputs_of(document: Document, arrival: Arrival) -> Mapping[str, Any]:
    triggers = document.parsed.triggers
    found = triggers[arrival.trigger] if 0 <= arrival.trigger < len(triggers) else None
    if not isinstance(found, OutsideTrigger):
        raise TriggerNotFound(
            f"the workflow {document.workflow.name!r} has no trigger {arrival.trigger} for what comes from outside",
            resolution="Ask ListTriggers again; the file may have changed.",
            metadata={"workflow": document.workflow.name, "trigger": str(arrival.trigger)},
        )
    return found.inputs_from(arrival.content)


@dataclass(kw_only=True)
class _Driven:
    """A run that is ours. `held_since` is when the lease was last asked for, by the monotonic clock; `error` is why it
    cannot go on here, if its journal could not be stored; `steps` are the runs below that it waits for, with whether
    they wait for people."""

    journal: Journal
    held_since: float
    is_child: bool = False
    has_turn: bool = False
    task: "asyncio.Task[None] | None" = None
    error: CadreError | None = None
    cancelling: bool = False
    steps: dict[str, bool] = field(default_factory=dict)

    @property
    def rests(self) -> bool:
        """Whether only people can let it go on: it holds no place of those driven at once then."""
        return bool(self.steps) and all(self.steps.values()) and not self.journal.busy_visits


class Desk:
    """Accepts runs and sees to it that each of them ends.

    `is_dead` tells of the owner of a lease whether that process has ended: its runs need not wait for the lease.
    `max_runs` bounds how many are driven at once; others wait in the store, oldest first. Runs that are steps of others
    do not wait and do not count: a run that holds a place waits for them. One that does nothing but wait for people
    holds none.
    """

    def __init__(
        self,
        *,
        store: RunStore,
        definitions: DefinitionStore,
        library: Library,
        driver: Callable[[Children], Driver],
        delegations: Delegations,
        watchers: Watchers,
        is_dead: Callable[[str], bool],
        max_runs: int,
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._library = library
        self._driver = driver(self)
        self._delegations = delegations
        self._is_dead = is_dead
        self._max_runs = max_runs
        self._driven: dict[str, _Driven] = {}
        self._starting: set[str] = set()
        self._watchers = watchers
        self._room = asyncio.Event()
        self._open = True

    @property
    def driver(self) -> Driver:
        """What drives the runs."""
        return self._driver

    async def start(self, request: StartRun) -> tuple[Run, bool]:
        """Checks and stores a run, and begins to drive it; whether it is new. Raises what is wrong with the request."""
        run = await self._run_of(request)
        return await self._accept(run, key=request.key, fingerprint=request.fingerprint)

    async def _run_of(self, request: StartRun) -> Run:
        document, source, version = await self.target(
            workflow=request.workflow, version=request.version, source=request.source
        )
        inputs = request.inputs
        if request.arrival is not None:
            inputs = _inputs_of(document, request.arrival)
        self._library.language.check_inputs(document.workflow, inputs)
        return Run(
            id=request.run_id or new_id(),
            workflow=document.workflow.name,
            version=version,
            status=RunStatus.QUEUED,
            source=source,
            inputs=inputs,
            trigger=request.trigger,
            schedule=request.schedule,
            api_key=request.api_key,
            batch_id=request.batch_id,
            batch_row=request.batch_row,
            created_time=datetime.now(UTC),
            trace_parent=_trace_parent(),
            max_concurrent_runs=document.workflow.limits.max_concurrent_runs,
        )

    async def fork(self, request: ForkRun) -> Run:
        """Stores a run that goes on from a checkpoint of another, and begins to drive it. Raises RunNotFound,
        CheckpointNotFound, and what is wrong with the changes."""
        origin = await self._store.get(request.run_id)
        document = await self._library.document(origin.source)
        inputs = {**origin.inputs, **request.changes}
        fields = self._library.language.check_inputs(document.workflow, inputs)
        position = await self._origin(request)
        if position is not None:
            position = position.edited({name: fields[name] for name in request.changes})
        run = replace(
            origin,
            id=new_id(),
            status=RunStatus.QUEUED,
            inputs=inputs,
            trigger="fork",
            api_key=request.api_key,
            created_time=datetime.now(UTC),
            trace_parent=_trace_parent(),
            forked_from=origin.id,
            **_NOTHING_YET,
        )
        fork, _ = await self._accept(
            run, key=request.key, fingerprint=request.fingerprint, position=position
        )
        return fork

    async def checkpoints(self, run_id: str) -> Sequence[Checkpoint]:
        """The checkpoints of a run that are kept, oldest first. Raises RunNotFound."""
        return await self._store.checkpoints(run_id)

    async def resume(self, run_id: str, raised: RaisedBudget | None = None) -> Run:
        """Lets a failed run go on from the step that failed, or one that waits for a budget: with an amount for its
        own, without for one that it shares. Raises RunNotFound, NotFailed and StepOfRun."""
        run = await self._store.get(run_id)
        asks = [
            q for q in run.questions if q.raises and q.raises.has_amount == (raised is not None)
        ]
        if asks:
            return await self._answer_all(run, asks, raised)
        if run.parent_run_id and run.status is RunStatus.FAILED:
            raise StepOfRun(run)
        if raised is not None and run.status is RunStatus.FAILED:
            await self._store.raise_budget(raised)
        await self._store.resume(run_id, Event(type=EventType.RUN_RESUMED, time=datetime.now(UTC)))
        return await self._sent_on(run_id)

    async def _answer_all(
        self, run: Run, asks: Sequence[Question], raised: RaisedBudget | None
    ) -> Run:
        choice = CONTINUE if raised is None else RAISE
        for question in asks:
            assert question.raises is not None
            request = AnswerRun(
                run_id=run.id,
                node=question.node,
                iteration=question.iteration,
                answer=Answer(choice=choice, time=datetime.now(UTC)),
                raises=raised and replace(raised, run_id=question.raises.run_id),
            )
            await self.answer(request)
        return await self._sent_on(run.id)

    async def answer(self, request: AnswerRun) -> Run:
        """Gives a run, or the one below it that asks, its answer. Raises RunNotFound, NotWaiting, UnknownQuestion,
        UnknownChoice and AnswerChosen."""
        for told in await self._store.answer(request):
            self._watchers.notify(told)
        return await self._sent_on(request.run_id)

    async def _sent_on(self, run_id: str) -> Run:
        """A run that may go on now; it is taken up at once if there is room."""
        self._room.set()
        self._watchers.notify(run_id)
        return await self._store.get(run_id)

    async def _origin(self, request: ForkRun) -> Position | None:
        """Where a fork begins; None when that is the start, since the run took no step."""
        try:
            checkpoint = await self._store.checkpoint(request.run_id, request.checkpoint_id)
        except CheckpointNotFound:
            if request.checkpoint_id:
                raise
            return None
        return checkpoint.position

    async def _accept(
        self, run: Run, *, key: str, fingerprint: str, position: Position | None = None
    ) -> tuple[Run, bool]:
        """Stores a run, and drives it if there is room. One whose workflow bounds how many go on at once is taken up
        in its turn."""
        may_go = run.max_concurrent_runs is None and (bool(run.parent_run_id) or self._has_room())
        has_room = self._open and may_go
        # Until it is driven, its lease looks like one that we lost sight of.
        self._starting.add(run.id)
        asked = time.monotonic()
        try:
            stored, created = await self._store.add(
                run,
                Event(type=EventType.RUN_QUEUED, time=run.created_time),
                key=key,
                fingerprint=fingerprint,
                owner=self._driver.owner if has_room else "",
                expires=self._lease() if has_room else 0.0,
                position=position,
            )
            if created and has_room and self._open:
                self._drive(Claim(run=stored, position=position), held_since=asked)
        finally:
            self._starting.discard(run.id)
        if not may_go:
            self._room.set()
        return stored, created

    async def start_child(self, child: ChildRun) -> Run:
        """The run of the child's key, started unless it was. Raises what is wrong with the workflow or its inputs."""
        request = StartRun(
            workflow=child.workflow,
            version=child.version,
            inputs=child.inputs,
            trigger="workflow",
            key=child.key,
        )
        run = replace(
            await self._run_of(request),
            parent_run_id=child.parent_run_id,
            parent_visit=child.parent_visit,
            root_run_id=child.root_run_id,
            depth=child.depth,
            schedule=child.schedule,
            api_key=child.api_key,
            # Whoever waits for it has its turn already.
            max_concurrent_runs=None,
        )
        stored, _ = await self._accept(run, key=request.key, fingerprint=request.fingerprint)
        return stored

    async def may_go_on(self, run_id: str, child: ChildRun) -> bool:
        """Whether a run is to do what the child is, and did not end for good. Raises RunNotFound and what is wrong with
        the workflow."""
        run = await self._store.get(run_id)
        _, source, _ = await self.target(workflow=child.workflow, version=child.version, source="")
        is_same = source == run.source and dict(child.inputs) == dict(run.inputs)
        return is_same and run.status is not RunStatus.CANCELLED

    async def resume_child(self, run_id: str) -> None:
        """Lets a run that failed go on from the step that failed. Raises RunNotFound and NotFailed."""
        await self._store.resume(run_id, Event(type=EventType.RUN_RESUMED, time=datetime.now(UTC)))
        await self._sent_on(run_id)

    async def wait_for(self, run_id: str) -> Run:
        """The run once it has ended. Raises RunNotFound."""
        holder = None
        try:
            with self._watchers.waiting(run_id) as word:
                while True:
                    word.clear()
                    run = await self._store.get(run_id)
                    if run.status in FINAL:
                        return run
                    holder = self._driven.get(run.parent_run_id)
                    self._note_rest(run, holder)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_SECONDS):
                            await word.wait()
        finally:
            if holder is not None:
                holder.steps.pop(run_id, None)

    def _note_rest(self, step: Run, holder: _Driven | None) -> None:
        """A run whose steps all wait for people, and do nothing else, may let others have its place."""
        if holder is None:
            return
        waits = step.status is RunStatus.WAITING
        if waits and not holder.steps.get(step.id):
            # What it asks is in the events of the runs above it, too.
            self._watchers.notify(step.parent_run_id)
            self._room.set()
        holder.steps[step.id] = waits

    async def end_children(self, run_id: str) -> Usage:
        """Ends every run that is a step of a run and has not ended, and what remote agents do for it; what the runs
        used."""
        await self._delegations.end(run_id)
        children = await self._store.open_children(run_id)
        ended = await asyncio.gather(*(self.cancel(child) for child in children))
        return sum((run.usage for run in ended), Usage())

    async def get(self, run_id: str) -> Run:
        """The run. Raises RunNotFound."""
        return await self._store.get(run_id)

    async def of_key(self, key: str) -> Run | None:
        """The run that was started with an idempotency key."""
        return await self._store.of_key(key)

    async def list(self, query: RunQuery) -> RunPage:
        """A page of runs, newest first."""
        return await self._store.list(query)

    async def watch(self, run_id: str, *, after: int) -> AsyncIterator[Event]:
        """Every event after a sequence number, once and in order, until the last. Raises RunNotFound.

        Events are read from the store, so a slow watcher holds up nobody.
        """
        run = await self._store.get(run_id)
        with self._watchers.waiting(run_id) as word:
            while run.status not in FINAL or run.last_sequence > after:
                word.clear()
                events = await self._watchers.events(
                    run_id, after, partial(self._events, run_id, after)
                )
                for event in events:
                    yield event
                    after = event.sequence
                if events and events[-1].type.is_last:
                    # A person may have resumed the run since.
                    run = await self._store.get(run_id)
                elif len(events) < _EVENTS_AT_ONCE:
                    run = await self._word_of(run, after, word)

    async def _events(self, run_id: str, after: int) -> Sequence[Event]:
        return await self._store.events(run_id, after=after, limit=_EVENTS_AT_ONCE)

    async def _word_of(self, run: Run, after: int, word: asyncio.Event) -> Run:
        """Waits for word of a run, and looks from time to time whether another executor had some."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await word.wait()
                return run
            found = await self._watchers.run(run.id, partial(self._store.get, run.id))
            if found.last_sequence > after or found.status in FINAL:
                return found

    async def cancel(self, run_id: str) -> Run:
        """Ends a run that has not ended. When it returns no further step can start. Raises RunNotFound."""
        run = await self._store.get(run_id)
        if run.status in FINAL:
            return run
        driven = self._driven.get(run_id)
        if driven is not None and not driven.cancelling:
            await self._cancel_ours(run, driven)
        else:
            ending = ending_of(RunStatus.CANCELLED, since=run.started_time or run.created_time)
            await self._store.finish(run_id, ending, None, owner=None)
            await self._wait_until_let_go(run_id)
            await self.end_children(run_id)
        self._watchers.notify(run_id)
        return await self._store.get(run_id)

    async def run(self) -> None:
        """Renews leases and takes up runs that nobody drives, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_for_ever("renew", self._renew))
            tasks.create_task(_for_ever("guard", self._guard))
            tasks.create_task(_for_ever("take_up", self._take_up))
            tasks.create_task(_for_ever("expire", self._expire))

    async def close(self) -> None:
        """Stops driving at once and gives the leases back: another executor, or the next start, goes on."""
        self._open = False
        driven = dict(self._driven)
        for one in driven.values():
            await self._halt(one)
        await self._release(list(driven))

    async def _cancel_ours(self, run: Run, driven: _Driven) -> None:
        driven.cancelling = True
        since = run.started_time or run.created_time
        try:
            await self._halt(driven)
            driven.journal.count(await self.end_children(run.id))
            ending = ending_of(RunStatus.CANCELLED, since=since, journal=driven.journal)
            batch = driven.journal.take()
            ended = await self._store.finish(run.id, ending, batch, owner=self._driver.owner)
            if not ended:
                await self._store.release([run.id], owner=self._driver.owner)
        finally:
            # Whatever went wrong, the run then has no driver, and is taken up again.
            self._forget(run.id, driven)

    async def target(
        self, *, workflow: str, version: int, source: str
    ) -> tuple[Document, str, int]:
        """The file that is meant, its text, and its version. Raises WorkflowNotFound and WorkflowInvalid."""
        if source:
            return await self._library.document(source), source, version
        definition = await self._definitions.get(workflow, version)
        document = await self._library.document(definition.source)
        return document, definition.source, definition.version

    def _lease(self) -> float:
        return time.time() + self._driver.lease_seconds

    def _drive(self, claim: Claim, *, held_since: float) -> None:
        run_id = claim.run.id

        def broken(error: CadreError) -> None:
            if driven.error is None and driven.task is not None:
                driven.error = error
                driven.task.cancel()

        driven = _Driven(
            journal=self._driver.journal(claim, broken=broken),
            held_since=held_since,
            is_child=bool(claim.run.parent_run_id),
            has_turn=claim.run.max_concurrent_runs is not None,
        )
        self._driven[run_id] = driven
        driven.task = asyncio.create_task(self._see_through(claim, driven), name=f"run {run_id}")
        # Not by the task itself: one that is cancelled before its first step never takes it.
        driven.task.add_done_callback(lambda _: self._stopped(run_id, driven))

    async def _see_through(self, claim: Claim, driven: _Driven) -> None:
        """The outermost frame of a run's task."""
        run_id = claim.run.id
        try:
            await self._driver.drive(claim, driven.journal)
        except asyncio.CancelledError:
            if driven.error is None:
                raise
            self._log_stop(run_id, driven.error)
        except LeaseLost as error:
            self._log_stop(run_id, error)
            # Whoever cancelled the run waits for its lease to be free.
            await self._release([run_id])
        except CadreError as error:
            self._log_stop(run_id, error)
        except Exception as exc:
            log.error("run_broken", run_id=run_id, exc_info=exc)
            await self._end_broken(claim.run, driven.journal)
        finally:
            await driven.journal.settle()

    def _stopped(self, run_id: str, driven: _Driven) -> None:
        """A run that is not forgotten keeps its lease, and nobody drives it."""
        if not driven.cancelling:
            self._forget(run_id, driven)

    def _forget(self, run_id: str, driven: _Driven) -> None:
        if self._driven.get(run_id) is driven:
            if driven.has_turn or not self._has_room():
                self._room.set()
            del self._driven[run_id]

    def _has_room(self) -> bool:
        held = sum(not one.is_child and not one.rests for one in self._driven.values())
        return held < self._max_runs

    def _log_stop(self, run_id: str, error: CadreError) -> None:
        """The run stays as it was last stored; whoever has its lease, or we when the store is well again, goes on."""
        log.warning(
            "run_interrupted",
            run_id=run_id,
            code=error.code,
            reason=error.message,
            cause=type(error.__cause__).__name__,
        )

    async def _end_broken(self, run: Run, journal: Journal) -> None:
        since = run.started_time or run.created_time
        ending = ending_of(RunStatus.FAILED, since=since, error=mistake(), journal=journal)
        try:
            await self._store.finish(run.id, ending, journal.take(), owner=self._driver.owner)
        except CadreError as error:
            self._log_stop(run.id, error)
        self._watchers.notify(run.id)

    async def _halt(self, driven: _Driven) -> None:
        task = driven.task
        if task is None or task.done():
            return
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_SECONDS)

    async def _wait_until_let_go(self, run_id: str) -> None:
        """Until the executor that drives an ended run has noticed, or its lease is over."""
        deadline = time.monotonic() + _CANCEL_SECONDS
        while time.monotonic() < deadline:
            if not await self._store.is_held(run_id, now=time.time()):
                return
            await asyncio.sleep(_LOOK_FOR_LEASE_SECONDS)

    async def _renew(self) -> None:
        await asyncio.sleep(self._driver.lease_seconds / _RENEWALS_PER_LEASE)
        run_ids = [run_id for run_id, one in self._driven.items() if not one.cancelling]
        asked = time.monotonic()
        ours: frozenset[str] = frozenset()
        if run_ids:
            ours = await self._store.renew(run_ids, owner=self._driver.owner, expires=self._lease())
        for run_id in ours & self._driven.keys():
            self._driven[run_id].held_since = asked
        await self._let_go([run_id for run_id in run_ids if run_id not in ours])

    async def _guard(self) -> None:
        """Stops driving when the leases ended because the store could not be reached: others may drive by now."""
        since = time.monotonic() - self._driver.lease_seconds
        for run_id, driven in list(self._driven.items()):
            if driven.held_since <= since and not driven.cancelling and driven.error is None:
                driven.error = LeaseLost(
                    f"the lease of run {run_id!r} could not be renewed in time"
                )
                if driven.task is not None:
                    driven.task.cancel()
        await asyncio.sleep(_LOOK_FOR_LEASE_SECONDS)

    async def _expire(self) -> None:
        """Answers the questions that nobody answered in time."""
        for request in await self._store.overdue(now=time.time(), limit=_CANDIDATES):
            # A person may be quicker, and the run may have ended.
            with suppress(AnswerChosen, NotWaiting):
                await self.answer(request)
        await asyncio.sleep(_LOOK_FOR_DEADLINES_SECONDS)

    async def _let_go(self, run_ids: Sequence[str]) -> None:
        """Stops driving runs that were ended, or taken, by others."""
        for run_id in run_ids:
            driven = self._driven.get(run_id)
            if driven is not None and not driven.cancelling:
                driven.error = LeaseLost(f"run {run_id!r} ended, or is driven by another executor")
                await self._halt(driven)
        await self._release(run_ids)

    async def _release(self, run_ids: Sequence[str]) -> None:
        if not run_ids:
            return
        try:
            await self._store.release(run_ids, owner=self._driver.owner)
        except CadreError as error:
            # The leases end by themselves.
            log.warning("leases_not_released", code=error.code, reason=error.message)

    async def _take_up(self) -> None:
        self._room.clear()
        if self._open:
            await self._take_up_once()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_FOR_RUNS_SECONDS):
                await self._room.wait()

    async def _take_up_once(self) -> None:
        # Ours too: a run that we hold and do not drive is one whose store failed for a while.
        free = [
            o for o in await self._store.owners() if o == self._driver.owner or self._is_dead(o)
        ]
        now = time.time()
        for candidate in await self._store.candidates(owners=free, now=now, limit=_CANDIDATES):
            if candidate.run_id in self._driven or candidate.run_id in self._starting:
                continue
            if not candidate.is_child and not self._has_room():
                continue
            asked = time.monotonic()
            claim = await self._store.claim(
                candidate, owner=self._driver.owner, expires=self._lease()
            )
            if claim is not None:
                log.info("run_taken_up", run_id=candidate.run_id)
                await self._go_on(claim, held_since=asked)

    async def _go_on(self, claim: Claim, *, held_since: float) -> None:
        """Drives a run, unless the run that it is a step of has ended meanwhile: nobody waits for it then."""
        self._drive(claim, held_since=held_since)
        parent_run_id = claim.run.parent_run_id
        if parent_run_id and (await self._store.get(parent_run_id)).status in FINAL:
            await self.cancel(claim.run.id)


async def _for_ever(name: str, step: Callable[[], Awaitable[None]]) -> None:
    """The outermost frame of what goes on as long as the executor does."""
    while True:
        try:
            await step()
        except CadreError as error:
            log.warning("upkeep_failed", name=name, code=error.code, reason=error.message)
            await asyncio.sleep(_LOOK_FOR_RUNS_SECONDS)
        except Exception as exc:
            log.error("upkeep_broken", name=name, exc_info=exc)
            await asyncio.sleep(_LOOK_FOR_RUNS_SECONDS)


def _trace_parent() -> str:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent", "")
