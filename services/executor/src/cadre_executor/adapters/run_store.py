"""Runs in the database."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cadre_executor.adapters.database import (
    CHECKPOINTS,
    EVENTS,
    IDEMPOTENCY_KEYS,
    RUNS,
    SOURCES,
    STEP_WRITES,
    Database,
    Fast,
)
from cadre_executor.adapters.documents import (
    dumped,
    failure_from_text,
    failure_to_text,
    loaded,
    moment,
    seconds,
    usage_from_text,
    usage_to_text,
)
from cadre_executor.adapters.sources import digest_of
from cadre_executor.domain.journals import Batch, LeaseLost
from cadre_executor.domain.runs import (
    Ending,
    Event,
    EventType,
    IdempotencyConflict,
    Run,
    RunNotFound,
    RunPage,
    RunQuery,
    RunStatus,
)
from cadre_executor.domain.stores import Candidate, Claim, Saved

__all__ = ["SqlRunStore"]

_UNENDED = (RunStatus.QUEUED.value, RunStatus.RUNNING.value)
_Row = Mapping[str, Any]

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
    )
    .returning(RUNS.c.last_sequence)
)
_START = (
    sa.update(RUNS)
    .where(_OURS, RUNS.c.started_time.is_(None))
    .values(status=RunStatus.RUNNING.value, started_time=sa.bindparam("started"))
)
_IS_OURS = sa.select(RUNS.c.id).where(_OURS)
_ADD_RUN = sa.insert(RUNS)
_ADD_EVENT = sa.insert(EVENTS)
_MOVE_CHECKPOINT = (
    sa.update(CHECKPOINTS)
    .where(CHECKPOINTS.c.run_id == sa.bindparam("run"))
    .values(document=sa.bindparam("text"))
)
_ADD_CHECKPOINT = sa.insert(CHECKPOINTS)
_DROP_CHECKPOINT = sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.run_id == sa.bindparam("run"))
_DROP_WRITES = sa.delete(STEP_WRITES).where(STEP_WRITES.c.run_id == sa.bindparam("run"))
_ADD_WRITES = sa.insert(STEP_WRITES)
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
_WHOLE_RUN = sa.select(RUNS, SOURCES.c.text.label("source")).join(
    SOURCES, SOURCES.c.digest == RUNS.c.digest
)
_LISTED = [c for c in RUNS.c if c.name not in ("inputs", "outputs")]


class SqlRunStore:
    """Runs, events, checkpoints and leases, in SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, run: Run, event: Event, *, key: str, fingerprint: str, owner: str, expires: float
    ) -> tuple[Run, bool]:
        """Stores a run with its first event, or finds the one of the same key."""

        def work(fast: Fast) -> str:
            if key and (known := _keyed(fast, key, fingerprint)):
                return known
            row = _run_row(run) | {"lease_owner": owner, "lease_expires": expires}
            row["digest"] = _keep_source(fast, run.source)
            fast.add(_ADD_RUN, [row])
            _add_events(fast, run.id, [event], last=1)
            if key:
                fast.add(_ADD_KEY, [{"key": key, "fingerprint": fingerprint, "run_id": run.id}])
            return run.id

        stored = await self._database.write_fast(work)
        return (run, True) if stored == run.id else (await self.get(stored), False)

    async def get(self, run_id: str) -> Run:
        """The run. Raises RunNotFound."""
        return await self._database.read(lambda connection: _get(connection, run_id))

    async def list(self, query: RunQuery) -> RunPage:
        """A page of runs, newest first: ids sort by time."""
        statement = sa.select(*_LISTED).order_by(RUNS.c.id.desc()).limit(query.limit + 1)
        if query.before:
            statement = statement.where(RUNS.c.id < query.before)
        if query.workflow:
            statement = statement.where(RUNS.c.workflow == query.workflow)
        if query.status is not None:
            statement = statement.where(RUNS.c.status == query.status.value)

        def work(connection: sa.Connection) -> RunPage:
            rows = connection.execute(statement).mappings().all()
            runs = tuple(_run({**row, "inputs": "{}", "outputs": None}) for row in rows)
            return RunPage(runs=runs[: query.limit], more=len(runs) > query.limit)

        return await self._database.read(work)

    async def events(self, run_id: str, *, after: int, limit: int) -> Sequence[Event]:
        """Events after a sequence number, in order."""
        statement = (
            sa.select(EVENTS)
            .where(EVENTS.c.run_id == run_id, EVENTS.c.sequence > after)
            .order_by(EVENTS.c.sequence)
            .limit(limit)
        )

        def work(connection: sa.Connection) -> list[Event]:
            return [_event(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)

    async def owners(self) -> Sequence[str]:
        """Who holds runs that have not ended."""
        statement = sa.select(RUNS.c.lease_owner).where(RUNS.c.status.in_(_UNENDED)).distinct()
        return await self._database.read(lambda c: list(c.execute(statement).scalars()))

    async def candidates(
        self, *, owners: Sequence[str], now: float, limit: int
    ) -> Sequence[Candidate]:
        """Runs that have not ended and that may be taken up, oldest first."""
        statement = (
            sa.select(RUNS.c.id, RUNS.c.lease_owner, RUNS.c.lease_expires)
            .where(
                RUNS.c.status.in_(_UNENDED),
                sa.or_(RUNS.c.lease_owner.in_(["", *owners]), RUNS.c.lease_expires < now),
            )
            .order_by(RUNS.c.id)
            .limit(limit)
        )

        def work(connection: sa.Connection) -> list[Candidate]:
            return [
                Candidate(run_id=run_id, owner=owner, lease_expires=expires)
                for run_id, owner, expires in connection.execute(statement)
            ]

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
            .values(lease_owner=owner, lease_expires=expires)
        )

        def work(connection: sa.Connection) -> Claim | None:
            if connection.execute(statement).rowcount != 1:
                return None
            return Claim(
                run=_get(connection, candidate.run_id),
                saved=_saved(connection, candidate.run_id),
                attempts=_attempts(connection, candidate.run_id),
            )

        return await self._database.write(work)

    async def commit(self, run_id: str, batch: Batch, *, owner: str, expires: float) -> None:
        """Stores a batch in one transaction, if the run still is ours."""

        def work(fast: Fast) -> None:
            values = {
                "run": run_id,
                "owner": owner,
                "expires": expires,
                "more": len(batch.events),
                "used": usage_to_text(batch.usage),
            }
            last = fast.scalar(_COMMIT, values)
            if last is None:
                raise LeaseLost(f"run {run_id!r} ended, or is driven by another executor")
            _start(fast, run_id, owner, batch.events)
            _add_events(fast, run_id, batch.events, last=last)
            if batch.checkpoint is not None:
                _replace_checkpoint(fast, run_id, batch.checkpoint)
            if batch.writes:
                rows = [
                    {"run_id": run_id, "task_id": w.task_id, "document": w.document}
                    for w in batch.writes
                ]
                fast.add(_ADD_WRITES, rows)

        await self._database.write_fast(work)

    async def finish(
        self, run_id: str, ending: Ending, batch: Batch | None, *, owner: str | None
    ) -> bool:
        """Ends a run, and drops what only going on with it would need."""
        events = [*(batch.events if batch is not None else ()), ending.event]

        def work(fast: Fast) -> bool:
            if owner is not None:
                if fast.scalar(_IS_OURS, {"run": run_id, "owner": owner}) is None:
                    return False
                _start(fast, run_id, owner, events)
                fast.change(_LET_GO, {"run": run_id})
            if batch is not None:
                fast.change(_COUNT, {"run": run_id, "used": usage_to_text(batch.usage)})
            last = fast.scalar(_FINISH, _ending_row(run_id, ending, len(events)))
            if last is None:
                return False
            _add_events(fast, run_id, events, last=last)
            fast.change(_DROP_CHECKPOINT, {"run": run_id})
            fast.change(_DROP_WRITES, {"run": run_id})
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

    async def is_held(self, run_id: str, *, now: float) -> bool:
        """Whether some executor's lease on the run has not expired."""
        statement = sa.select(RUNS.c.id).where(
            RUNS.c.id == run_id, RUNS.c.lease_owner != "", RUNS.c.lease_expires > now
        )
        found = await self._database.read(lambda c: c.execute(statement).scalar())
        return found is not None


def _get(connection: sa.Connection, run_id: str) -> Run:
    row = connection.execute(_WHOLE_RUN.where(RUNS.c.id == run_id)).mappings().first()
    if row is None:
        raise RunNotFound(run_id)
    return _run({**row})


def _keyed(fast: Fast, key: str, fingerprint: str) -> str:
    """The run that a key started; empty when it is new."""
    known = fast.scalar(_KEYED, {"known": key})
    if known is None:
        return ""
    if fast.scalar(_FINGERPRINT, {"known": key}) != fingerprint:
        raise IdempotencyConflict(key, known)
    return str(known)


def _keep_source(fast: Fast, text: str) -> str:
    digest = digest_of(text)
    if fast.scalar(_HAS_SOURCE, {"kept": digest}) is None:
        fast.add(_ADD_SOURCE, [{"digest": digest, "text": text}])
    return digest


def _start(fast: Fast, run_id: str, owner: str, events: Iterable[Event]) -> None:
    for event in events:
        if event.type is EventType.RUN_STARTED:
            started = {"run": run_id, "owner": owner, "started": seconds(event.time)}
            fast.change(_START, started)


def _add_events(fast: Fast, run_id: str, events: Sequence[Event], *, last: int) -> None:
    first = last - len(events) + 1
    rows = [_event_row(run_id, event, first + place) for place, event in enumerate(events)]
    if rows:
        fast.add(_ADD_EVENT, rows)


def _replace_checkpoint(fast: Fast, run_id: str, document: str) -> None:
    if fast.change(_MOVE_CHECKPOINT, {"run": run_id, "text": document}) == 0:
        fast.add(_ADD_CHECKPOINT, [{"run_id": run_id, "document": document}])
    fast.change(_DROP_WRITES, {"run": run_id})


def _saved(connection: sa.Connection, run_id: str) -> Saved | None:
    checkpoint = connection.execute(
        sa.select(CHECKPOINTS.c.document).where(CHECKPOINTS.c.run_id == run_id)
    ).scalar()
    if checkpoint is None:
        return None
    writes = connection.execute(
        sa.select(STEP_WRITES.c.task_id, STEP_WRITES.c.document).where(
            STEP_WRITES.c.run_id == run_id
        )
    )
    return Saved(checkpoint=checkpoint, writes=[(task, text) for task, text in writes])


def _attempts(connection: sa.Connection, run_id: str) -> dict[tuple[str, int], int]:
    statement = (
        sa.select(EVENTS.c.node, EVENTS.c.iteration, sa.func.max(EVENTS.c.attempt))
        .where(EVENTS.c.run_id == run_id, EVENTS.c.type == EventType.NODE_RETRIED.value)
        .group_by(EVENTS.c.node, EVENTS.c.iteration)
    )
    return {(node, visit): tried + 1 for node, visit, tried in connection.execute(statement)}


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "status": run.status.value,
        "inputs": dumped(run.inputs),
        "usage": usage_to_text(run.usage),
        "created_time": seconds(run.created_time),
        "outputs": None,
        "error": None,
        "started_time": None,
        "ended_time": None,
        "trigger": run.trigger,
        "trace_parent": run.trace_parent,
        "last_sequence": 1,
    }


def _ending_row(run_id: str, ending: Ending, events: int) -> dict[str, Any]:
    return {
        "run": run_id,
        "final": ending.status.value,
        "result": None if ending.outputs is None else dumped(ending.outputs),
        "failure": failure_to_text(ending.error),
        "ended": seconds(ending.event.time),
        "more": events,
    }


def _run(row: _Row) -> Run:
    started, ended = row["started_time"], row["ended_time"]
    return Run(
        id=row["id"],
        workflow=row["workflow"],
        version=row["version"],
        status=RunStatus(row["status"]),
        source=row.get("source", ""),
        inputs=loaded(row["inputs"]),
        outputs=loaded(row["outputs"]),
        usage=usage_from_text(row["usage"]),
        error=failure_from_text(row["error"]),
        created_time=moment(row["created_time"]),
        started_time=None if started is None else moment(started),
        ended_time=None if ended is None else moment(ended),
        trigger=row["trigger"],
        trace_parent=row["trace_parent"],
    )


def _event_row(run_id: str, event: Event, sequence: int) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "sequence": sequence,
        "time": seconds(event.time),
        "type": event.type.value,
        "node": event.node,
        "iteration": event.iteration,
        "attempt": event.attempt,
        "duration_ms": event.duration_ms,
        "data": None if event.data is None else dumped(event.data),
        "usage": None if event.usage is None else usage_to_text(event.usage),
        "error": failure_to_text(event.error),
    }


def _event(row: sa.RowMapping) -> Event:
    return Event(
        sequence=row["sequence"],
        time=moment(row["time"]),
        type=EventType(row["type"]),
        node=row["node"],
        iteration=row["iteration"],
        attempt=row["attempt"],
        duration_ms=row["duration_ms"],
        data=loaded(row["data"]),
        usage=None if row["usage"] is None else usage_from_text(row["usage"]),
        error=failure_from_text(row["error"]),
    )
