"""Runs in the database."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from cadre_executor.adapters import questions
from cadre_executor.adapters.checkpoint_rows import Checkpoints
from cadre_executor.adapters.database import (
    EVENTS,
    IDEMPOTENCY_KEYS,
    RUNS,
    SOURCES,
)
from cadre_executor.adapters.documents import raised_to_text, seconds, usage_to_text
from cadre_executor.adapters.effect_rows import effects_of, keep_effects
from cadre_executor.adapters.kin import TOLD, above, below, paused_below, stands
from cadre_executor.adapters.run_rows import (
    attempts_of,
    ending_row,
    event_of,
    event_row,
    run_of,
    run_row,
)
from cadre_executor.adapters.sources import digest_of
from cadre_executor.domain.answers import AnswerRun, Asked, answered_event, waiting_event
from cadre_executor.domain.checkpoints import Checkpoint, Position
from cadre_executor.domain.journals import Batch, LeaseLost
from cadre_executor.domain.overruns import RAISE
from cadre_executor.domain.runs import (
    FINAL,
    Ending,
    Event,
    EventType,
    IdempotencyConflict,
    NotFailed,
    RaisedBudget,
    Run,
    RunIdTaken,
    RunNotFound,
    RunPage,
    RunQuery,
    RunStatus,
)
from cadre_executor.domain.stores import Candidate, Claim
from cadre_kit.transactions import ConnectionStatements, Statements, Transactions

__all__ = ["SqlRunStore"]

_UNENDED = (RunStatus.QUEUED.value, RunStatus.RUNNING.value)

# Built once: the statements of a step, with their parameters left open, cost less to run than to build.
_OURS = sa.and_(
    RUNS.c.id == sa.bindparam("run"),
    RUNS.c.lease_owner == sa.bindparam("owner"),
    RUNS.c.ended_time.is_(None),
)
_COMMIT = (
    sa.update(RUNS)
    .where(_OURS)
    .values(
        last_sequence=RUNS.c.last_sequence + sa.bindparam("more"),
        lease_expires=sa.bindparam("expires"),
        usage=sa.bindparam("used"),
        busy_visits=sa.bindparam("busy"),
    )
    .returning(RUNS.c.last_sequence)
)
_START = (
    sa.update(RUNS)
    .where(_OURS, RUNS.c.started_time.is_(None))
    .values(status=RunStatus.RUNNING.value, started_time=sa.bindparam("started"))
)
_IS_OURS = sa.select(RUNS.c.id).where(_OURS)
_HAS_RUN = sa.select(RUNS.c.id).where(RUNS.c.id == sa.bindparam("known"))
_ADD_RUN = sa.insert(RUNS)
_ADD_EVENT = sa.insert(EVENTS)
_LET_GO = sa.update(RUNS).where(RUNS.c.id == sa.bindparam("run")).values(lease_owner="")
_COUNT = (
    sa.update(RUNS)
    .where(RUNS.c.id == sa.bindparam("run"), RUNS.c.ended_time.is_(None))
    .values(usage=sa.bindparam("used"))
)
_FINISH = (
    sa.update(RUNS)
    .where(RUNS.c.id == sa.bindparam("run"), RUNS.c.ended_time.is_(None))
    .values(
        status=sa.bindparam("final"),
        outputs=sa.bindparam("result"),
        error=sa.bindparam("failure"),
        ended_time=sa.bindparam("ended"),
        last_sequence=RUNS.c.last_sequence + sa.bindparam("more"),
    )
    .returning(RUNS.c.last_sequence)
)
_KEYED = sa.select(IDEMPOTENCY_KEYS.c.run_id).where(IDEMPOTENCY_KEYS.c.key == sa.bindparam("known"))
_FINGERPRINT = sa.select(IDEMPOTENCY_KEYS.c.fingerprint).where(
    IDEMPOTENCY_KEYS.c.key == sa.bindparam("known")
)
_ADD_KEY = sa.insert(IDEMPOTENCY_KEYS)
_HAS_SOURCE = sa.select(SOURCES.c.digest).where(SOURCES.c.digest == sa.bindparam("kept"))
_ADD_SOURCE = sa.insert(SOURCES)
_WHOLE_RUN = sa.select(*TOLD, SOURCES.c.text.label("source")).join(
    SOURCES, SOURCES.c.digest == RUNS.c.digest
)
# Runs that go on, of workflows that bound how many do.
_GOING = (
    sa.select(RUNS.c.workflow, sa.func.count())
    .where(RUNS.c.status == RunStatus.RUNNING.value, RUNS.c.max_concurrent_runs.is_not(None))
    .group_by(RUNS.c.workflow)
)
_CANDIDATE = (
    RUNS.c.id,
    RUNS.c.workflow,
    RUNS.c.status,
    RUNS.c.lease_owner,
    RUNS.c.lease_expires,
    RUNS.c.parent_run_id,
    RUNS.c.max_concurrent_runs,
)
_EVENTS = (
    sa.select(EVENTS)
    .where(EVENTS.c.run_id == sa.bindparam("run"), EVENTS.c.sequence > sa.bindparam("seen"))
    .order_by(EVENTS.c.sequence)
    .limit(sa.bindparam("most"))
)
_STATUS = sa.select(RUNS.c.status).where(RUNS.c.id == sa.bindparam("run"))
_WAIT = (
    sa.update(RUNS)
    .where(RUNS.c.id == sa.bindparam("run"))
    .values(status=RunStatus.WAITING.value, waiting_since=sa.bindparam("since"), lease_owner="")
)
_NUMBER_EVENT = (
    sa.update(RUNS)
    .where(RUNS.c.id == sa.bindparam("run"), RUNS.c.ended_time.is_(None))
    .values(last_sequence=RUNS.c.last_sequence + 1)
    .returning(RUNS.c.last_sequence)
)
# An answered run waits for its turn like a new one; how long it waited for people does not count.
_WAKE = (
    sa.update(RUNS)
    .where(RUNS.c.id == sa.bindparam("run"), RUNS.c.status == RunStatus.WAITING.value)
    .values(
        status=RunStatus.QUEUED.value,
        paused_seconds=RUNS.c.paused_seconds + sa.bindparam("now") - RUNS.c.waiting_since,
        waiting_since=None,
        lease_expires=0.0,
    )
)
_RESUME = (
    sa.update(RUNS)
    .where(RUNS.c.id == sa.bindparam("run"), RUNS.c.status == RunStatus.FAILED.value)
    .values(
        status=RunStatus.QUEUED.value,
        error=None,
        ended_time=None,
        lease_owner="",
        lease_expires=0.0,
        paused_seconds=sa.bindparam("now", type_=sa.Float) - RUNS.c.started_time,
        last_sequence=RUNS.c.last_sequence + 1,
        resumed_sequence=RUNS.c.last_sequence + 1,
    )
    .returning(RUNS.c.last_sequence)
)
_LISTED = [c for c in TOLD if c.name not in ("inputs", "outputs")]


class SqlRunStore:
    """Runs, events, checkpoints, questions and leases, in SQLite or PostgreSQL. Of each run the last `kept_checkpoints`
    steps at most can be gone back to."""

    def __init__(self, database: Transactions, *, kept_checkpoints: int = 20) -> None:
        self._database = database
        self._checkpoints = Checkpoints(kept=kept_checkpoints)

    async def add(
        self,
        run: Run,
        event: Event,
        *,
        key: str,
        fingerprint: str,
        owner: str,
        expires: float,
        position: Position | None = None,
    ) -> tuple[Run, bool]:
        """Stores a run with its first event, or finds the one of the same key. Raises RunIdTaken."""

        def work(statements: Statements) -> tuple[str, bool]:
            if key and (known := _keyed(statements, key, fingerprint)):
                return known, False
            if statements.scalar(_HAS_RUN, {"known": run.id}) is not None:
                raise RunIdTaken(run.id)
            row = run_row(run) | {"lease_owner": owner, "lease_expires": expires}
            row["digest"] = _keep_source(statements, run.source)
            statements.add(_ADD_RUN, [row])
            _add_events(statements, run.id, [event], last=1)
            if position is not None:
                first = Checkpoint(position=position, time=run.created_time)
                self._checkpoints.keep(statements, run.id, first, forgets=False)
            if key:
                keyed = {"key": key, "fingerprint": fingerprint, "run_id": run.id}
                statements.add(_ADD_KEY, [keyed])
            return run.id, True

        stored, created = await self._database.write_fast(work)
        return (run, True) if created else (await self.get(stored), False)

    async def get(self, run_id: str) -> Run:
        """The run. Raises RunNotFound."""
        return await self._database.read(lambda connection: _get(connection, run_id))

    async def of_key(self, key: str) -> Run | None:
        """The run that was started with an idempotency key."""

        def work(connection: sa.Connection) -> Run | None:
            known = connection.execute(_KEYED, {"known": key}).scalar()
            return None if known is None else _get(connection, known)

        return await self._database.read(work)

    async def list(self, query: RunQuery) -> RunPage:
        """A page of runs, newest first: ids sort by time."""
        statement = sa.select(*_LISTED).order_by(RUNS.c.id.desc()).limit(query.limit + 1)
        if query.before:
            statement = statement.where(RUNS.c.id < query.before)
        if query.workflow:
            statement = statement.where(RUNS.c.workflow == query.workflow)
        if query.schedule:
            # The indexes leave out the runs of none, which are most.
            statement = statement.where(RUNS.c.schedule == query.schedule, RUNS.c.schedule != "")
        if query.batch_id:
            statement = statement.where(RUNS.c.batch_id == query.batch_id, RUNS.c.batch_id != "")
        if query.status is not None:
            statement = statement.where(stands(query.status))
        if query.source:
            statement = statement.where(RUNS.c.digest == digest_of(query.source))

        def work(connection: sa.Connection) -> RunPage:
            rows = connection.execute(statement).mappings().all()
            runs = tuple(run_of({**row, "inputs": "{}", "outputs": None}) for row in rows)
            return RunPage(runs=runs[: query.limit], more=len(runs) > query.limit)

        return await self._database.read(work)

    async def events(self, run_id: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a sequence number, in order."""
        values = {"run": run_id, "seen": after, "most": limit}
        rows = await self._database.read_fast(lambda statements: statements.rows(_EVENTS, values))
        return [event_of(row) for row in rows]

    async def owners(self) -> Sequence[str]:
        """Who holds runs that have not ended."""
        statement = sa.select(RUNS.c.lease_owner).where(RUNS.c.status.in_(_UNENDED)).distinct()
        return await self._database.read(lambda c: list(c.execute(statement).scalars()))

    async def candidates(
        self, *, owners: Sequence[str], now: float, limit: int
    ) -> Sequence[Candidate]:
        """Runs that have not ended and that may be taken up, oldest first."""
        free = (
            sa.select(RUNS)
            .where(
                RUNS.c.status.in_(_UNENDED),
                sa.or_(RUNS.c.lease_owner.in_(["", *owners]), RUNS.c.lease_expires < now),
            )
            .order_by(RUNS.c.id)
            .limit(limit)
        )

        def work(connection: sa.Connection) -> list[Candidate]:
            going = dict(connection.execute(_GOING).tuples().all())
            statement = free.with_only_columns(*_CANDIDATE).where(_has_turn(going))
            rows = connection.execute(statement).mappings()
            return [_candidate(row) for row in rows if _takes_turn(row, going)]

        return await self._database.read(work)

    async def claim(self, candidate: Candidate, *, owner: str, expires: float) -> Claim | None:
        """Takes a run by compare-and-set on its lease."""
        statement = (
            sa.update(RUNS)
            .where(
                RUNS.c.id == candidate.run_id,
                RUNS.c.status.in_(_UNENDED),
                RUNS.c.lease_owner == candidate.owner,
                RUNS.c.lease_expires == candidate.lease_expires,
            )
            .values(lease_owner=owner, lease_expires=expires, status=RunStatus.RUNNING.value)
        )

        def work(connection: sa.Connection) -> Claim | None:
            was = connection.execute(_STATUS, {"run": candidate.run_id}).scalar()
            if was == RunStatus.QUEUED.value and not _gets_turn(connection, candidate.run_id):
                return None
            if connection.execute(statement).rowcount != 1:
                return None
            return Claim(
                run=_get(connection, candidate.run_id),
                position=self._checkpoints.last(connection, candidate.run_id),
                made=self._checkpoints.made(connection, candidate.run_id),
                attempts=attempts_of(connection, candidate.run_id),
                asked=questions.by_visit(connection, candidate.run_id),
                effects=effects_of(connection, candidate.run_id),
                interrupted=was == RunStatus.RUNNING.value,
            )

        return await self._database.write(work)

    async def commit(self, run_id: str, batch: Batch, *, owner: str, expires: float) -> None:
        """Stores a batch in one transaction, if the run still is ours."""

        def work(statements: Statements) -> None:
            self._store(statements, run_id, batch, owner=owner, expires=expires)

        await self._database.write_fast(work)

    async def suspend(
        self,
        run_id: str,
        batch: Batch,
        *,
        owner: str,
        expires: float,
        open_visits: Collection[tuple[str, int]],
    ) -> Mapping[tuple[str, int], Asked]:
        """Stores a batch, and lets the run wait, unless some of its questions were answered by then."""

        def work(connection: sa.Connection) -> Mapping[tuple[str, int], Asked]:
            statements = ConnectionStatements(connection)
            self._store(statements, run_id, batch, owner=owner, expires=expires)
            found = questions.by_visit(connection, run_id)
            answered = {
                visit: asked
                for visit, asked in found.items()
                if visit in open_visits and asked.answer is not None
            }
            if not answered:
                statements.change(_WAIT, {"run": run_id, "since": time.time()})
            return answered

        return await self._database.write(work)

    async def answer(self, request: AnswerRun) -> Sequence[str]:
        """Stores the first answer to a question, and lets a waiting run go on."""

        def work(connection: sa.Connection) -> Sequence[str]:
            to = questions.addressed(connection, request)
            # Before all else, so that no executor lets the run wait while it is answered.
            sequence = connection.execute(_NUMBER_EVENT, {"run": to.run_id}).scalar()
            if sequence is None:
                _get(connection, to.run_id)
            question = questions.answer(connection, to, ended=sequence is None)
            if question is None or sequence is None:
                raise _NothingNew
            event = answered_event(question, to.answer)
            statements = ConnectionStatements(connection)
            _add_events(statements, to.run_id, [event], last=sequence)
            connection.execute(_WAKE, {"run": to.run_id, "now": seconds(to.answer.time)})
            told = _tell_above(statements, to.run_id, event)
            # The budget may be that of the run at the top, whose row is to be locked last.
            if question.raises is not None and to.answer.choice == RAISE:
                _raise_budget(connection, to.raises, question.raises)
            return [to.run_id, *told]

        try:
            return await self._database.write(work)
        except _NothingNew:
            return ()

    async def raise_budget(self, raised: RaisedBudget) -> None:
        """Gives a run another budget than its file does."""
        await self._database.write(lambda connection: _set_budget(connection, raised))

    async def overdue(self, *, now: float, limit: int) -> Sequence[AnswerRun]:
        """What to answer to the questions whose deadline is over."""
        return await self._database.read(
            lambda connection: questions.overdue(connection, now=now, limit=limit)
        )

    async def resume(self, run_id: str, event: Event) -> None:
        """Lets a failed run go on."""

        def work(connection: sa.Connection) -> None:
            now = seconds(event.time)
            ended = _get(connection, run_id)
            sequence = connection.execute(_RESUME, {"run": run_id, "now": now}).scalar()
            if sequence is None:
                raise NotFailed(run_id, ended.status)
            assert ended.ended_time is not None
            _add_events(ConnectionStatements(connection), run_id, [event], last=sequence)
            questions.forget_stops(connection, run_id)
            questions.put_off(connection, run_id, pause=now - seconds(ended.ended_time))

        await self._database.write(work)

    async def checkpoints(self, run_id: str) -> Sequence[Checkpoint]:
        """The checkpoints that are kept, oldest first."""

        def work(connection: sa.Connection) -> Sequence[Checkpoint]:
            _get(connection, run_id)
            return self._checkpoints.all(connection, run_id)

        return await self._database.read(work)

    async def checkpoint(self, run_id: str, checkpoint_id: str) -> Checkpoint:
        """One checkpoint; an empty id means the last."""
        return await self._database.read(
            lambda connection: self._checkpoints.find(connection, run_id, checkpoint_id)
        )

    async def finish(
        self, run_id: str, ending: Ending, batch: Batch | None, *, owner: str | None
    ) -> bool:
        """Ends a run, and drops what only going on with it would need."""
        events = [*(batch.events if batch is not None else ()), ending.event]

        def work(statements: Statements) -> bool:
            if owner is not None:
                if statements.scalar(_IS_OURS, {"run": run_id, "owner": owner}) is None:
                    return False
                _start(statements, run_id, owner, events)
                statements.change(_LET_GO, {"run": run_id})
            if batch is not None:
                used = usage_to_text(batch.usage)
                statements.change(_COUNT, {"run": run_id, "used": used})
            last = statements.scalar(_FINISH, ending_row(run_id, ending, len(events)))
            if last is None:
                return False
            _add_events(statements, run_id, events, last=last)
            if batch is not None:
                self._keep(statements, run_id, batch)
            if ending.status is RunStatus.SUCCEEDED:
                self._checkpoints.forget_writes(statements, run_id)
            return True

        return await self._database.write_fast(work)

    async def renew(self, run_ids: Sequence[str], *, owner: str, expires: float) -> frozenset[str]:
        """Renews the leases; those that still are ours, of runs that have not ended."""
        ours = sa.and_(
            RUNS.c.id.in_(run_ids), RUNS.c.lease_owner == owner, RUNS.c.status.in_(_UNENDED)
        )

        def work(connection: sa.Connection) -> frozenset[str]:
            connection.execute(sa.update(RUNS).where(ours).values(lease_expires=expires))
            return frozenset(connection.execute(sa.select(RUNS.c.id).where(ours)).scalars())

        return await self._database.write(work)

    async def release(self, run_ids: Sequence[str], *, owner: str) -> None:
        """Gives leases back."""
        statement = (
            sa.update(RUNS)
            .where(RUNS.c.id.in_(run_ids), RUNS.c.lease_owner == owner)
            .values(lease_owner="", lease_expires=0.0)
        )
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def open_children(self, run_id: str) -> Sequence[str]:
        """The runs that are steps of a run and have not ended."""
        statement = sa.select(RUNS.c.id).where(
            RUNS.c.parent_run_id == run_id, RUNS.c.ended_time.is_(None)
        )
        return await self._database.read(lambda c: list(c.execute(statement).scalars()))

    async def paused_below(self, run_id: str, *, now: float) -> float:
        """How long all runs below a run waited for people, in seconds."""
        return await self._database.read(lambda c: paused_below(c, run_id, now=now))

    async def is_held(self, run_id: str, *, now: float) -> bool:
        """Whether some executor's lease on the run has not expired."""
        statement = sa.select(RUNS.c.id).where(
            RUNS.c.id == run_id, RUNS.c.lease_owner != "", RUNS.c.lease_expires > now
        )
        found = await self._database.read(lambda c: c.execute(statement).scalar())
        return found is not None

    def _store(
        self,
        statements: Statements,
        run_id: str,
        batch: Batch,
        *,
        owner: str,
        expires: float,
    ) -> None:
        """Stores a batch. Raises LeaseLost."""
        values = {
            "run": run_id,
            "owner": owner,
            "more": len(batch.events),
            "used": usage_to_text(batch.usage),
            "busy": batch.busy_visits,
            "expires": expires,
        }
        last = statements.scalar(_COMMIT, values)
        if last is None:
            raise LeaseLost(f"run {run_id!r} ended, or is driven by another executor")
        _start(statements, run_id, owner, batch.events)
        _add_events(statements, run_id, batch.events, last=last)
        self._keep(statements, run_id, batch)

    def _keep(self, statements: Statements, run_id: str, batch: Batch) -> None:
        """Keeps what the run can go on from."""
        if batch.checkpoint is not None:
            self._checkpoints.keep(statements, run_id, batch.checkpoint, forgets=batch.forgets)
        if batch.writes:
            self._checkpoints.keep_writes(statements, run_id, batch.writes)
        if batch.effects:
            keep_effects(statements, run_id, batch.effects)
        if batch.questions:
            questions.ask(statements, run_id, batch.questions)
            for question in batch.questions:
                _tell_above(statements, run_id, waiting_event(question))


class _NothingNew(Exception):
    """The answer came before; the transaction that found out is taken back."""


def _has_turn(going: Mapping[str, int]) -> sa.ColumnElement[bool]:
    """Whether a run need not wait for others of its workflow to end."""
    full = [
        sa.and_(RUNS.c.workflow == name, RUNS.c.max_concurrent_runs <= count)
        for name, count in going.items()
    ]
    return sa.or_(RUNS.c.status != RunStatus.QUEUED.value, sa.not_(sa.or_(sa.false(), *full)))


def _takes_turn(row: sa.RowMapping, going: dict[str, int]) -> bool:
    """As `_has_turn`, of runs in order: each that has its turn leaves less for those after it."""
    most, workflow = row["max_concurrent_runs"], row["workflow"]
    if most is None or row["status"] != RunStatus.QUEUED.value:
        return True
    going[workflow] = going.get(workflow, 0) + 1
    return bool(going[workflow] <= most)


def _candidate(row: sa.RowMapping) -> Candidate:
    return Candidate(
        run_id=row["id"],
        owner=row["lease_owner"],
        lease_expires=row["lease_expires"],
        is_child=bool(row["parent_run_id"]),
    )


def _gets_turn(connection: sa.Connection, run_id: str) -> bool:
    """As `_has_turn`, of one run, with nobody else deciding so of its workflow meanwhile."""
    workflow, most = connection.execute(
        sa.select(RUNS.c.workflow, RUNS.c.max_concurrent_runs).where(RUNS.c.id == run_id)
    ).one()
    if most is None:
        return True
    if connection.dialect.name == "postgresql":
        # SQLite has one writer anyway.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(workflow))))
    going = connection.execute(_GOING.where(RUNS.c.workflow == workflow)).first()
    return going is None or bool(going[1] < most)


def _get(connection: sa.Connection, run_id: str) -> Run:
    row = connection.execute(_WHOLE_RUN.where(RUNS.c.id == run_id)).mappings().first()
    if row is None:
        raise RunNotFound(run_id)
    run = run_of({**row})
    if run.status is RunStatus.QUEUED and not row["lease_owner"]:
        run = replace(run, runs_before=_before(connection, run))
    if run.status in FINAL or run.started_time is None:
        return run
    return replace(run, questions=questions.open_ones(connection, below(connection, run_id)))


def _before(connection: sa.Connection, run: Run) -> int:
    """How many runs wait for the same place as a run, and were accepted before it."""
    bound = RUNS.c.max_concurrent_runs
    rivals: sa.ColumnElement[bool] = bound.is_(None)
    if run.max_concurrent_runs is not None:
        rivals = sa.and_(bound.is_not(None), RUNS.c.workflow == run.workflow)
    waits = sa.and_(
        RUNS.c.status == RunStatus.QUEUED.value,
        RUNS.c.id < run.id,
        RUNS.c.lease_owner == "",
        RUNS.c.parent_run_id == "",
    )
    counted = sa.select(sa.func.count()).select_from(RUNS).where(waits, rivals)
    return int(connection.execute(counted).scalar_one())


def _raise_budget(
    connection: sa.Connection, given: RaisedBudget | None, asked: RaisedBudget
) -> None:
    """Gives what a person said, or what the question did unless the budget is larger by now."""
    if given is None:
        run = _get(connection, asked.run_id)
        given = asked.at_least(run.raised)
    _set_budget(connection, given)


def _set_budget(connection: sa.Connection, raised: RaisedBudget) -> None:
    statement = sa.update(RUNS).where(RUNS.c.id == raised.run_id)
    connection.execute(statement.values(raised=raised_to_text(raised)))


def _keyed(statements: Statements, key: str, fingerprint: str) -> str:
    """The run that a key started; empty when it is new."""
    known = statements.scalar(_KEYED, {"known": key})
    if known is None:
        return ""
    if statements.scalar(_FINGERPRINT, {"known": key}) != fingerprint:
        raise IdempotencyConflict(key, known)
    return str(known)


def _keep_source(statements: Statements, text: str) -> str:
    digest = digest_of(text)
    if statements.scalar(_HAS_SOURCE, {"kept": digest}) is None:
        statements.add(_ADD_SOURCE, [{"digest": digest, "text": text}])
    return digest


def _start(statements: Statements, run_id: str, owner: str, events: Iterable[Event]) -> None:
    for event in events:
        if event.type is EventType.RUN_STARTED:
            started = {"run": run_id, "owner": owner, "started": seconds(event.time)}
            statements.change(_START, started)


def _tell_above(statements: Statements, run_id: str, event: Event) -> list[str]:
    """Says in the runs above that a run asks, or has its answer, each time of the step that leads there; those runs."""
    told, path = [], event.node
    for step in above(statements, run_id):
        path = f"{step.place}/{path}"
        sequence = statements.scalar(_NUMBER_EVENT, {"run": step.parent_run_id})
        if sequence is None:
            break
        said = replace(
            event,
            node=step.node,
            iteration=step.iteration,
            item=step.item,
            data={**(event.data or {}), "question": path, "run_id": run_id},
        )
        _add_events(statements, step.parent_run_id, [said], last=sequence)
        told.append(step.parent_run_id)
    return told


def _add_events(statements: Statements, run_id: str, events: Sequence[Event], *, last: int) -> None:
    first = last - len(events) + 1
    rows = [event_row(run_id, event, first + place) for place, event in enumerate(events)]
    if rows:
        statements.add(_ADD_EVENT, rows)
