"""One visit of a node: whether it runs now, its tries, what it writes, and where the run goes from it."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import Span, StatusCode

from cadre_executor.domain.answers import Asked, Asks
from cadre_executor.domain.approvals import answered, question_of
from cadre_executor.domain.checkpoints import Position
from cadre_executor.domain.cuts import shown_outputs
from cadre_executor.domain.decisions import Decisions
from cadre_executor.domain.items import Items, items_of
from cadre_executor.domain.journals import Journal, VisitWrites
from cadre_executor.domain.overruns import (
    STOP,
    StoppedByPerson,
    asks_for_more,
    pauses,
)
from cadre_executor.domain.routes import Plan
from cadre_executor.domain.runs import Event, EventType, Failure, Question, Usage
from cadre_executor.domain.states import (
    Advance,
    Progress,
    advanced,
    no_progress,
    visible,
    with_writes,
    writes_of,
    writes_of_items,
)
from cadre_executor.domain.tasks import Means, Place
from cadre_executor.domain.tries import try_often
from cadre_executor.domain.workflows import (
    END,
    START,
    ApprovalAction,
    Exits,
    ForEach,
    Goto,
    Loop,
    Node,
    OnError,
    Scope,
    State,
    Workflow,
    WorkflowAction,
)
from cadre_kit import semconv
from cadre_kit.documents import json_text
from cadre_kit.errors import CadreError, FailedPrecondition, LimitExceeded, StoreFailed
from cadre_kit.tracing import tracer

__all__ = [
    "Drive",
    "LoopLimitReached",
    "RunFailed",
    "Step",
    "after",
    "begin",
    "startable",
    "visit",
]

# How MLflow shows a node's span.
_SPAN_TYPES = {"code": "TOOL", "memory": "MEMORY", "agent": "AGENT"}


class LoopLimitReached(LimitExceeded):
    """A node was visited too often through cycles that no loop bounds."""

    code = "LOOP_LIMIT_REACHED"


class StepLimitReached(LimitExceeded):
    """The run visited more nodes than it may."""

    code = "STEP_LIMIT_REACHED"


class StateTooLarge(LimitExceeded):
    """The fields of the run together are larger than they may be."""

    code = "STATE_TOO_LARGE"

    def __init__(self, position: Position, size: int, limit: int) -> None:
        sizes = {name: len(json_text(value)) for name, value in position.fields.items()}
        largest = max(sizes, key=lambda name: sizes[name])
        super().__init__(
            f"the run's state has {size:,} characters, more than its limit of {limit:,};"
            f" {sizes[largest]:,} of them are in {largest!r}",
            resolution="Keep less in the state, such as a name or a summary of what is large,"
            " or raise CADRE_EXECUTOR_MAX_STATE_BYTES.",
            metadata={"field": largest, "size": str(size), "limit": str(limit)},
        )


class NoRoute(FailedPrecondition):
    """None of the conditions on the ways out of a node holds."""

    code = "NO_ROUTE"


class RunFailed(Exception):
    """The run cannot go on; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A run while it is driven. `attempts` holds the try to go on with of visits that were interrupted, `made` what
    visits of the step under way changed before, `asked` the run's questions; all by node and visit."""

    run_id: str
    workflow: Workflow
    plan: Plan
    journal: Journal
    means: Means
    attempts: dict[tuple[str, int], int] = field(default_factory=dict)
    made: Mapping[tuple[str, int], "Step"] = field(default_factory=dict)
    asked: dict[tuple[str, int], Asked] = field(default_factory=dict)
    max_state_bytes: int = 16 * 1024 * 1024

    def begin_step(self, position: Position) -> None:
        """Takes the checkpoint of a step that begins. Raises RunFailed when the state is too large."""
        if self.journal.reach(position):
            self.check_size(position)

    def check_size(self, position: Position) -> None:
        """Raises RunFailed when the state is too large."""
        size = len(position.document)
        if size > self.max_state_bytes:
            raise RunFailed(Failure.of(StateTooLarge(position, size, self.max_state_bytes)))

    def ask(self, question: Question, *, attempt: int) -> None:
        """Asks a person, in place of what the visit asked before; `attempt` is the try that goes on with the answer."""
        self.journal.ask(question)
        self.asked[question.node, question.iteration] = Asked(question=question)
        self.attempts[question.node, question.iteration] = attempt

    def waits(self, node: str, iteration: int) -> bool:
        """Whether what a visit asked has no answer. A question that was let go of keeps nobody waiting."""
        asked = self.asked.get((node, iteration))
        return asked is not None and asked.answer is None


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a visit changes. `wake` names the nodes that look again whether they run."""

    writes: Mapping[str, Any]
    advance: Advance
    wake: tuple[str, ...]

    @classmethod
    def of(cls, document: str) -> "Step":
        """The step of a document."""
        writes, advance, wake = json.loads(document)
        return cls(writes=writes, advance=advance, wake=tuple(wake))

    @property
    def document(self) -> str:
        """The whole as JSON."""
        return json_text([self.writes, self.advance, self.wake])


@dataclass(frozen=True, kw_only=True)
class _Route:
    targets: tuple[str, ...]
    loop: tuple[int, int] | None = None
    took_loop: bool = False


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """How the tries of a visit ended: with writes, or with the error of the last one; one by which a person `stopped`
    the run is the run's, whatever the node says. `told` is what the event says beside that."""

    attempt: int
    writes: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage | None = None
    error: CadreError | None = None
    skipped: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)
    waits: bool = False
    stopped: bool = False


def begin(workflow: Workflow, plan: Plan, fields: State) -> Position:
    """Where a run with these fields begins. Raises RunFailed when no way leads on."""
    progress = no_progress()
    scope = Scope(state=visible(workflow, fields, progress))
    try:
        route = _route(workflow, START, scope, progress, Decisions())
    except CadreError as error:
        raise RunFailed(Failure.of(error)) from error
    first = _advance(plan, START, route, progress, visits={})
    return Position(fields=fields, progress=advanced(progress, first))


def startable(position: Position, *, drive: Drive) -> tuple[str, ...]:
    """The nodes that a run goes on with: all that were reached and wait for no other, nor for a person."""
    progress = position.progress
    return tuple(
        node
        for node in progress["arrivals"]
        if node in _ready(drive.plan, progress)
        and not (node in progress["asked"] and drive.waits(node, progress["asked"][node]))
    )


async def visit(node: Node, fields: State, progress: Progress, *, drive: Drive) -> Step | None:
    """Runs a node that was reached, and says what follows; None when it has to wait for other branches.

    Raises RunFailed when its failure ends the run.
    """
    ready = _ready(drive.plan, progress)
    if node.id not in ready or node.id not in progress["arrivals"]:
        return None
    iteration = progress["visits"].get(node.id, 0) + 1
    if (node.id, iteration) in drive.made:
        return drive.made[node.id, iteration]
    _check_limits(node, progress, drive)
    with _span(node, drive, iteration) as span, _busy(node, drive):
        started = time.monotonic() - _asked_seconds(node.id, iteration, drive)
        decisions = Decisions()
        outcome = await _run(
            node, fields, progress, drive=drive, iteration=iteration, decisions=decisions
        )
        if outcome.waits:
            return Step(writes={}, advance=_asks(node.id, iteration), wake=())
        route = _leave(node, fields, progress, outcome, drive=drive, decisions=decisions)
        event = _event(node, iteration, outcome, route, decisions, started)
        if isinstance(route, Failure):
            drive.journal.emit(event)
            span.set_status(StatusCode.ERROR, route.code)
            span.set_attribute(semconv.ERROR_TYPE, route.code)
            raise RunFailed(route)
    waiting = tuple(n for n in progress["arrivals"] if n not in ready)
    step = Step(
        writes=outcome.writes,
        advance=_advance(drive.plan, node.id, route, progress, visits={node.id: iteration}),
        wake=tuple(dict.fromkeys((*route.targets, *waiting))),
    )
    made = VisitWrites(node=node.id, iteration=iteration, step=step)
    drive.journal.keep(made, event)
    drive.means.records.forget(f"{node.id}/{iteration}")
    return step


def after(position: Position, step: Step, workflow: Workflow) -> Position:
    """Where a run stands after a visit that nothing else went on beside."""
    return Position(
        fields=with_writes(workflow, position.fields, step.writes),
        progress=advanced(position.progress, step.advance),
    )


def _busy(node: Node, drive: Drive) -> AbstractContextManager[None]:
    """A visit that runs other workflows is as busy as they are, which they say themselves."""
    return nullcontext() if isinstance(node.action, WorkflowAction) else drive.journal.busy()


def _asked_seconds(node: str, iteration: int, drive: Drive) -> float:
    """How long ago the visit asked a person; 0 when it did not."""
    asked = drive.asked.get((node, iteration))
    if asked is None:
        return 0.0
    return (datetime.now(UTC) - asked.question.asked_time).total_seconds()


def _ready(plan: Plan, progress: Progress) -> frozenset[str]:
    return plan.ready({n: (a[0], a[1]) for n, a in progress["arrivals"].items()})


def _asks(node: str, iteration: int) -> Advance:
    return Advance(arrivals={}, visits={}, loops={}, laps={}, asked={node: iteration})


def _check_limits(node: Node, progress: Progress, drive: Drive) -> None:
    limits = drive.workflow.limits
    if node.id in drive.plan.unbounded and progress["laps"].get(node.id, 0) >= limits.max_visits:
        error: CadreError = LoopLimitReached(
            f"node {node.id!r} was visited {limits.max_visits} times by a cycle that no loop bounds",
            resolution="Give the cycle a loop with max_iterations, or a condition that leaves it sooner.",
            metadata={"node": node.id, "max_visits": str(limits.max_visits)},
        )
        raise RunFailed(Failure.of(error, node=node.id))
    if sum(progress["visits"].values()) >= limits.max_steps:
        error = StepLimitReached(
            f"the run took {limits.max_steps} steps, which is its limit",
            resolution="Raise config.execution.max_steps, or mend what makes the run so long.",
            metadata={"max_steps": str(limits.max_steps)},
        )
        raise RunFailed(Failure.of(error, node=node.id))


async def _run(
    node: Node,
    fields: State,
    progress: Progress,
    *,
    drive: Drive,
    iteration: int,
    decisions: Decisions,
) -> _Outcome:
    attempt = drive.attempts.get((node.id, iteration), 1)
    asked = drive.asked.get((node.id, iteration))
    # What the budget asked is not for what the node does.
    own_asked = None if asked is None or asked.question.raises is not None else asked
    place = Place(node=node, iteration=iteration, attempt=attempt, asked=own_asked)
    state = visible(drive.workflow, fields, progress)
    try:
        if asked is None and not _is_wanted(node, Scope(state=state), decisions):
            return _Outcome(attempt=attempt, skipped=True)
    except CadreError as error:
        return _Outcome(attempt=attempt, error=error)
    if asked is not None and (stands := _without_budget(asked, attempt)):
        return stands
    outcome = await _tried(place, state, drive=drive, is_new=asked is None)
    if outcome.error is None or not pauses(outcome.error):
        return outcome
    question = asks_for_more(
        node.id, iteration, outcome.error, run_id=drive.run_id, budgets=drive.means.budgets.known
    )
    drive.ask(question, attempt=attempt)
    return _Outcome(attempt=attempt, waits=True)


def _without_budget(asked: Asked, attempt: int) -> _Outcome | None:
    """How a visit whose budget is used up stands; None when it goes on with more, or asked something else."""
    if asked.question.raises is None:
        return None
    if asked.answer is None:
        return _Outcome(attempt=attempt, waits=True)
    if asked.answer.choice == STOP:
        return _Outcome(attempt=attempt, error=StoppedByPerson(asked), stopped=True)
    return None


async def _tried(place: Place, state: State, *, drive: Drive, is_new: bool) -> _Outcome:
    """`is_new`: the visit begins, and does not go on from a question."""
    node, iteration, attempt = place.node, place.iteration, place.attempt
    if node.for_each is not None:
        return await _each(node.for_each, place, state, drive=drive, is_new=is_new)
    if is_new:
        drive.journal.emit(place.event(EventType.NODE_STARTED, {"kind": node.kind}))
    try:
        outer = Scope(state=state)
        inputs = {name: template.resolve(outer) for name, template in node.inputs.items()}
    except CadreError as error:
        return _Outcome(attempt=attempt, error=error)
    scope = Scope(state=state, inputs=inputs)
    if isinstance(node.action, ApprovalAction):
        return _approve(node, node.action, scope, drive=drive, iteration=iteration)
    return await _once(place, scope, drive=drive)


def _is_wanted(node: Node, scope: Scope, decisions: Decisions) -> bool:
    return node.when is None or decisions.holds(node.when, scope, to=(node.id,))


async def _once(place: Place, scope: Scope, *, drive: Drive) -> _Outcome:
    if place.asked is not None and place.asked.answer is None:
        return _Outcome(attempt=place.attempt, waits=True)
    await drive.journal.secure()
    try:
        tried = await try_often(
            place,
            scope,
            lambda result: writes_of(place.node, result, drive.workflow.fields),
            means=drive.means,
        )
    except Asks as asks:
        drive.ask(asks.question, attempt=asks.attempt)
        return _Outcome(attempt=asks.attempt, waits=True)
    return _Outcome(
        attempt=tried.place.attempt,
        writes=tried.accepted or {},
        usage=tried.usage if tried.usage.calls else None,
        error=tried.error,
        told=tried.told,
    )


async def _each(
    each: ForEach, place: Place, state: State, *, drive: Drive, is_new: bool
) -> _Outcome:
    node = place.node
    items = Items(place=place, each=each, state=state, means=drive.means)
    writes: Mapping[str, Any] = {}
    error: CadreError | None = None
    try:
        found = items_of(each, Scope(state=state))
        if is_new:
            data = {"kind": node.kind, "items": len(found)}
            drive.journal.emit(place.event(EventType.NODE_STARTED, data))
        await drive.journal.secure()
        writes = writes_of_items(node, await items.all(found), drive.workflow.fields)
    except StoreFailed:
        raise
    except CadreError as exc:
        error = exc
    usage = items.usage if items.usage.calls else None
    return _Outcome(attempt=place.attempt, writes=writes, usage=usage, error=error)


def _approve(
    node: Node, action: ApprovalAction, scope: Scope, *, drive: Drive, iteration: int
) -> _Outcome:
    """What the person answered; asks, the first time."""
    asked = drive.asked.get((node.id, iteration))
    try:
        if asked is None:
            drive.ask(question_of(node.id, iteration, action, scope), attempt=1)
        if asked is None or asked.answer is None:
            return _Outcome(attempt=1, waits=True)
        result = answered(asked)
        return _Outcome(attempt=1, writes=writes_of(node, result, drive.workflow.fields))
    except CadreError as error:
        return _Outcome(attempt=1, error=error)


def _leave(
    node: Node,
    fields: State,
    progress: Progress,
    outcome: _Outcome,
    *,
    drive: Drive,
    decisions: Decisions,
) -> _Route | Failure:
    """Where the run goes; a failure when it ends here."""
    if outcome.error is not None:
        match OnError.FAIL if outcome.stopped else node.on_error:
            case OnError.FAIL:
                return Failure.of(outcome.error, node=node.id)
            case Goto() as goto:
                return _Route(targets=_without_end((goto.node,)))
            case OnError.CONTINUE:
                pass
    after = with_writes(drive.workflow, fields, outcome.writes)
    scope = Scope(state=visible(drive.workflow, after, progress))
    try:
        return _route(drive.workflow, node.id, scope, progress, decisions)
    except CadreError as error:
        return Failure.of(error, node=node.id)


def _route(
    workflow: Workflow, node: str, scope: Scope, progress: Progress, decisions: Decisions
) -> _Route:
    exits = workflow.exits.get(node, Exits())
    if exits.loop is None:
        return _Route(targets=_first_rule(node, exits, scope, decisions))
    taken, goes_on = progress["loops"].get(node, [0, 0])
    if not goes_on:
        # The run comes to the loop anew, from a cycle around it.
        taken = 0
    if taken < exits.loop.max_iterations and not _is_done(exits.loop, scope, decisions):
        return _Route(targets=_without_end((exits.loop.to,)), loop=(taken + 1, 1), took_loop=True)
    targets = exits.loop.exits or _first_rule(node, exits, scope, decisions)
    return _Route(targets=_without_end(targets), loop=(taken, 0))


def _is_done(loop: Loop, scope: Scope, decisions: Decisions) -> bool:
    return loop.until is not None and decisions.holds(loop.until, scope, to=loop.exits)


def _first_rule(node: str, exits: Exits, scope: Scope, decisions: Decisions) -> tuple[str, ...]:
    for rule in exits.rules:
        if rule.condition is None or decisions.holds(rule.condition, scope, to=rule.targets):
            return _without_end(rule.targets)
    if not exits.rules:
        return ()
    conditions = ", ".join(repr(r.condition.text) for r in exits.rules if r.condition is not None)
    raise NoRoute(
        f"none of the conditions on the ways out of {node!r} holds: {conditions}",
        resolution="Add a route with the condition `default`.",
        metadata={"node": node, "conditions": conditions},
    )


def _without_end(targets: Sequence[str]) -> tuple[str, ...]:
    return tuple(target for target in targets if target != END)


def _advance(
    plan: Plan, node: str, route: _Route, progress: Progress, *, visits: dict[str, int]
) -> Advance:
    arrivals: dict[str, list[int]] = {}
    for target in dict.fromkeys(route.targets):
        back = (node, target) in plan.back_edges
        arrivals[target] = [0, 1] if back else [1, 0]
    if node in progress["arrivals"]:
        forward, back_count = progress["arrivals"][node]
        was = arrivals.get(node, [0, 0])
        arrivals[node] = [was[0] - forward, was[1] - back_count]
    laps = {}
    if node in plan.unbounded:
        laps[node] = progress["laps"].get(node, 0) + 1
    if route.took_loop:
        laps |= dict.fromkeys(plan.restarts.get(node, ()), 0)
    loops = {} if route.loop is None else {node: list(route.loop)}
    return Advance(arrivals=arrivals, visits=visits, loops=loops, laps=laps, asked={})


def _event(
    node: Node,
    iteration: int,
    outcome: _Outcome,
    route: _Route | Failure,
    decisions: Decisions,
    started: float,
) -> Event:
    error = None if outcome.error is None else Failure.of(outcome.error, node=node.id)
    data: dict[str, Any] = {}
    if isinstance(route, Failure):
        error, kind = route, EventType.NODE_FAILED
    else:
        kind = _kind(outcome)
        data["route"] = list(route.targets) or [END]
        if route.loop is not None:
            data["loop"] = route.loop[0]
    if decided := decisions.document():
        data["decisions"] = decided
    if kind is EventType.NODE_SUCCEEDED:
        data["outputs"] = shown_outputs(dict(outcome.writes))
    data |= outcome.told
    return Event(
        type=kind,
        time=datetime.now(UTC),
        node=node.id,
        iteration=iteration,
        attempt=outcome.attempt,
        data=data or None,
        usage=outcome.usage,
        error=error,
        duration_ms=_since(started),
    )


def _kind(outcome: _Outcome) -> EventType:
    if outcome.error is not None:
        return EventType.NODE_FAILED
    return EventType.NODE_SKIPPED if outcome.skipped else EventType.NODE_SUCCEEDED


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _span(node: Node, drive: Drive, iteration: int) -> AbstractContextManager[Span]:
    return tracer().start_as_current_span(
        f"node {node.id}",
        attributes={
            semconv.RUN_ID: drive.run_id,
            semconv.NODE_ID: node.id,
            semconv.NODE_KIND: node.kind,
            semconv.NODE_ITERATION: iteration,
            semconv.MLFLOW_SPAN_TYPE: _SPAN_TYPES.get(node.kind, "CHAIN"),
        },
        record_exception=False,
        set_status_on_exception=False,
    )
