"""Batches in the database. Where their rows stand is read from the rows' runs, and nowhere else."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from cadre_executor.adapters.database import BATCH_ROWS, BATCHES, RUNS, SOURCES
from cadre_executor.adapters.documents import loaded, moment, seconds, usage_from_text
from cadre_executor.adapters.kin import STANDING, TOLD
from cadre_executor.adapters.run_rows import run_of
from cadre_executor.adapters.sources import keep_source
from cadre_executor.domain.batches import (
    Batch,
    BatchNotFound,
    BatchRow,
    BatchTakenOver,
    DueRow,
    Row,
    RowCounts,
)
from cadre_executor.domain.runs import Run, RunStatus, Usage
from cadre_kit.documents import json_text
from cadre_kit.transactions import Transactions

__all__ = ["SqlBatchStore"]

_MISSED = (RunStatus.FAILED.value, RunStatus.CANCELLED.value)
# What one page of rows may hold of outputs; the limit of a message is four times that.
_PAGE_CHARACTERS = 4 * 1024 * 1024
_WITH_SOURCE = sa.select(BATCHES, SOURCES.c.text.label("source")).join(
    SOURCES, SOURCES.c.digest == BATCHES.c.digest
)


class SqlBatchStore:
    """Batches and their rows, in SQLite or PostgreSQL."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def add(self, batch: Batch, rows: Sequence[Row]) -> None:
        """Stores a batch."""
        stored = [
            {
                "batch_id": batch.id,
                "row": number,
                "line": row.line,
                "inputs": json_text(row.inputs),
            }
            for number, row in enumerate(rows, start=1)
        ]

        def work(connection: sa.Connection) -> None:
            digest = keep_source(connection, batch.source)
            connection.execute(sa.insert(BATCHES), _batch_row(batch) | {"digest": digest})
            connection.execute(sa.insert(BATCH_ROWS), stored)

        await self._database.write(work)

    async def remove(self, batch_id: str) -> None:
        """Removes a batch."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(BATCH_ROWS).where(BATCH_ROWS.c.batch_id == batch_id))
            connection.execute(sa.delete(BATCHES).where(BATCHES.c.id == batch_id))

        await self._database.write(work)

    async def newest(self, fingerprint: str) -> Batch | None:
        """The newest batch of the same rows."""
        statement = (
            _WITH_SOURCE.where(BATCHES.c.fingerprint == fingerprint)
            .order_by(BATCHES.c.id.desc())
            .limit(1)
        )

        def work(connection: sa.Connection) -> Batch | None:
            row = connection.execute(statement).mappings().first()
            return None if row is None else _batch(connection, row)

        return await self._database.read(work)

    async def get(self, batch_id: str) -> Batch:
        """The batch as it stands."""
        return await self._database.read(lambda connection: _get(connection, batch_id))

    async def list(self, *, limit: int, before: str) -> Sequence[Batch]:
        """Batches, newest first: ids sort by time."""
        statement = _WITH_SOURCE.order_by(BATCHES.c.id.desc()).limit(limit)
        if before:
            statement = statement.where(BATCHES.c.id < before)

        def work(connection: sa.Connection) -> list[Batch]:
            rows = connection.execute(statement).mappings().all()
            return [_batch(connection, row) for row in rows]

        return await self._database.read(work)

    async def rows(self, batch_id: str, *, after: int, limit: int) -> Sequence[BatchRow]:
        """Rows after a number, in order; fewer when their outputs are large."""
        of_row = sa.and_(
            RUNS.c.batch_id == BATCH_ROWS.c.batch_id,
            RUNS.c.batch_id != "",
            RUNS.c.batch_row == BATCH_ROWS.c.row,
        )
        statement = (
            sa.select(BATCH_ROWS.c.row, BATCH_ROWS.c.line, *TOLD)
            .select_from(BATCH_ROWS.outerjoin(RUNS, of_row))
            .where(BATCH_ROWS.c.batch_id == batch_id, BATCH_ROWS.c.row > after)
            .order_by(BATCH_ROWS.c.row, RUNS.c.id)
            .limit(limit)
        )

        def work(connection: sa.Connection) -> list[BatchRow]:
            # By number: for a moment a run and the one that takes its place are both there.
            found: dict[int, BatchRow] = {}
            size = 0
            for row in connection.execute(statement).mappings():
                size += len(row["outputs"] or "")
                if found and size > _PAGE_CHARACTERS:
                    break
                found[row["row"]] = BatchRow(
                    number=row["row"], line=row["line"], run=_run_of_row(row)
                )
            return list(found.values())

        return await self._database.read(work)

    async def drive(self, batch_id: str, *, launch: int, now: datetime) -> Batch:
        """Notes that a flow run sees to the batch."""
        statement = (
            sa.update(BATCHES)
            .where(BATCHES.c.id == batch_id, BATCHES.c.launches == launch)
            .values(driven_time=seconds(now))
        )

        def work(connection: sa.Connection) -> Batch:
            taken = connection.execute(statement).rowcount == 1
            batch = _get(connection, batch_id)
            if not taken:
                raise BatchTakenOver(batch_id)
            return batch

        return await self._database.write(work)

    async def silent(self, *, after: datetime, before: datetime) -> Sequence[str]:
        """The batches, not cancelled, for which a flow run asked last between two times."""
        asked = BATCHES.c.driven_time.between(seconds(after), seconds(before))
        statement = sa.select(BATCHES.c.id).where(asked, sa.not_(BATCHES.c.cancelled))
        return await self._database.read(lambda c: list(c.execute(statement).scalars()))

    async def due(self, batch: Batch, *, limit: int) -> Sequence[DueRow]:
        """Rows to start: first those that never were, in order."""

        def work(connection: sa.Connection) -> list[DueRow]:
            found = _never_started(connection, batch.id, limit)
            return found + _to_repeat(connection, batch.id, limit - len(found))

        return await self._database.read(work)

    async def retire(self, run_id: str) -> None:
        """Another run took the place of a row's run."""
        statement = sa.update(RUNS).where(RUNS.c.id == run_id).values(batch_row=0)
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def launching(self, batch_id: str, *, launches: int) -> bool:
        """Notes that it is handed over; a worker has taken it only when it first asks for the batch."""
        statement = (
            sa.update(BATCHES)
            .where(BATCHES.c.id == batch_id, BATCHES.c.launches == launches - 1)
            .values(launches=launches, flow_run_id="", driven_time=None)
        )
        return await self._database.write(
            lambda connection: connection.execute(statement).rowcount == 1
        )

    async def launched(self, batch_id: str, *, launches: int, flow_run_id: str) -> None:
        """Notes a flow run, unless another was begun since."""
        statement = (
            sa.update(BATCHES)
            .where(BATCHES.c.id == batch_id, BATCHES.c.launches == launches)
            .values(flow_run_id=flow_run_id)
        )
        await self._database.write(lambda connection: connection.execute(statement).close())

    async def go_on(
        self, batch_id: str, *, max_concurrent: int, resumed_time: datetime | None
    ) -> None:
        """Changes how many rows go on at once, and resumes the batch at a time."""
        values: dict[str, object] = {"max_concurrent": max_concurrent}
        if resumed_time is not None:
            values |= {"cancelled": False, "resumed_time": seconds(resumed_time)}
        await self._change(batch_id, **values)

    async def cancel(self, batch_id: str) -> None:
        """Lets no further row start."""
        await self._change(batch_id, cancelled=True)

    async def open_runs(self, batch_id: str) -> Sequence[str]:
        """The runs of its rows that have not ended."""
        statement = sa.select(RUNS.c.id).where(_of(batch_id), RUNS.c.ended_time.is_(None))
        return await self._database.read(lambda c: list(c.execute(statement).scalars()))

    async def _change(self, batch_id: str, **values: object) -> None:
        statement = sa.update(BATCHES).where(BATCHES.c.id == batch_id).values(**values)
        await self._database.write(lambda connection: connection.execute(statement).close())


def _of(batch_id: str) -> sa.ColumnElement[bool]:
    """The runs that stand for rows of a batch. The index leaves out runs of none, so that has to be said too."""
    return sa.and_(RUNS.c.batch_id == batch_id, RUNS.c.batch_id != "", RUNS.c.batch_row > 0)


def _never_started(connection: sa.Connection, batch_id: str, limit: int) -> list[DueRow]:
    started = sa.select(RUNS.c.batch_row).where(_of(batch_id))
    statement = (
        sa.select(BATCH_ROWS.c.row, BATCH_ROWS.c.inputs)
        .where(BATCH_ROWS.c.batch_id == batch_id, BATCH_ROWS.c.row.not_in(started))
        .order_by(BATCH_ROWS.c.row)
        .limit(limit)
    )
    return [
        DueRow(number=number, inputs=loaded(inputs))
        for number, inputs in connection.execute(statement)
    ]


def _to_repeat(connection: sa.Connection, batch_id: str, limit: int) -> list[DueRow]:
    if limit <= 0:
        return []
    resumed = sa.select(BATCHES.c.resumed_time).where(BATCHES.c.id == batch_id).scalar_subquery()
    statement = (
        sa.select(RUNS.c.batch_row, RUNS.c.inputs, RUNS.c.id, RUNS.c.status)
        .where(_of(batch_id), RUNS.c.status.in_(_MISSED), RUNS.c.ended_time <= resumed)
        .order_by(RUNS.c.batch_row)
        .limit(limit)
    )
    return [
        DueRow(number=number, inputs=loaded(inputs), run_id=run_id, status=RunStatus(status))
        for number, inputs, run_id, status in connection.execute(statement)
    ]


def _get(connection: sa.Connection, batch_id: str) -> Batch:
    row = connection.execute(_WITH_SOURCE.where(BATCHES.c.id == batch_id)).mappings().first()
    if row is None:
        raise BatchNotFound(batch_id)
    return _batch(connection, row)


def _batch(connection: sa.Connection, row: sa.RowMapping) -> Batch:
    driven = row["driven_time"]
    rows, usage = _sums(connection, row)
    return Batch(
        id=row["id"],
        workflow=row["workflow"],
        version=row["version"],
        source=row["source"],
        fingerprint=row["fingerprint"],
        max_concurrent=row["max_concurrent"],
        api_key=row["api_key"],
        created_time=moment(row["created_time"]),
        flow_run_id=row["flow_run_id"],
        launches=row["launches"],
        driven_time=None if driven is None else moment(driven),
        cancelled=row["cancelled"],
        rows=rows,
        usage=usage,
    )


def _sums(connection: sa.Connection, batch: sa.RowMapping) -> tuple[RowCounts, Usage]:
    """Where the rows stand, and what the runs used. Rows that failed or were cancelled before the batch was resumed are
    to be gone on with."""
    replaced = RUNS.c.batch_row == 0
    repeated = sa.and_(RUNS.c.status.in_(_MISSED), RUNS.c.ended_time <= batch["resumed_time"])
    status = sa.case((replaced, ""), (repeated, "pending"), else_=STANDING).label("status")
    statement = (
        sa.select(status, RUNS.c.usage, sa.func.count())
        .where(RUNS.c.batch_id == batch["id"], RUNS.c.batch_id != "")
        .group_by(status, RUNS.c.usage)
    )
    by_status, used = Counter[str](), Usage()
    for stands, usage, number in connection.execute(statement):
        by_status[stands] += number
        used = used + usage_from_text(usage).times(number)
    del by_status[""]
    unstarted = batch["total"] - by_status.total()
    counts = RowCounts(
        total=batch["total"],
        pending=max(0, unstarted) + by_status["pending"],
        running=by_status["queued"] + by_status["running"],
        waiting=by_status["waiting"],
        succeeded=by_status["succeeded"],
        failed=by_status["failed"],
        cancelled=by_status["cancelled"],
    )
    return counts, used


def _run_of_row(row: sa.RowMapping) -> Run | None:
    return None if row["id"] is None else run_of({**row, "inputs": "{}"})


def _batch_row(batch: Batch) -> dict[str, object]:
    return {
        "id": batch.id,
        "workflow": batch.workflow,
        "version": batch.version,
        "fingerprint": batch.fingerprint,
        "max_concurrent": batch.max_concurrent,
        "api_key": batch.api_key,
        "total": batch.rows.total,
        "created_time": seconds(batch.created_time),
        "flow_run_id": batch.flow_run_id,
        "launches": batch.launches,
        "driven_time": None,
        "cancelled": batch.cancelled,
        "resumed_time": 0.0,
    }
