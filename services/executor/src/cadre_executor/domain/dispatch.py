"""Where batches are accepted, advanced and stopped."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cadre_executor.domain.batches import (
    Batch,
    BatchNotFound,
    BatchRow,
    BatchStore,
    DueRow,
    Launcher,
    Row,
    RowCounts,
)
from cadre_executor.domain.concurrency import side_by_side
from cadre_executor.domain.definitions import Document, Library
from cadre_executor.domain.desks import Desk, StartRun
from cadre_executor.domain.runs import NotFailed, RunStatus
from cadre_kit.documents import json_text
from cadre_kit.errors import CadreError, InvalidInput, Problem, Unavailable
from cadre_kit.ids import new_id
from cadre_kit.logs import logger

__all__ = ["CreateBatch", "Dispatch", "Refused"]

log = logger()

_MOST_ROWS = 10_000
_MOST_BYTES = 7 * 1024 * 1024
_MOST_CONCURRENT = 200
_CONCURRENT = 8
_MOST_PROBLEMS = 1000
_AT_ONCE = 16
# How long one call sees to a batch: well within the time that the gateway gives a service.
_ADVANCE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5
# A flow run that did not ask for its batch for so long is gone with its worker, whatever Prefect knows.
_GONE = timedelta(seconds=60)
_LOOK_SECONDS = 15.0
# A worker needs seconds to begin a flow run that it took; on a machine that is busy, a minute.
_BEGINS = timedelta(minutes=2)
# What stood still for longer goes on when its rows are sent again.
_LOOKED_BACK = timedelta(days=1)


class BatchInvalid(InvalidInput):
    """The batch cannot be, whatever its rows say."""

    code = "BATCH_INVALID"


@dataclass(frozen=True, kw_only=True)
class CreateBatch:
    """Rows to run an applied workflow over (version 0 is the newest), or a file's text. `resume` goes on with the
    newest batch of these rows, also when it has ended."""

    rows: Sequence[Row]
    workflow: str = ""
    version: int = 0
    source: str = ""
    max_concurrent: int = 0
    resume: bool = False
    api_key: str = ""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """What is wrong with rows, in their order; the first 1000."""

    problems: tuple[Problem, ...]


class Dispatch:
    """Batches: their rows are ordinary runs, started one for each row by an idempotency key."""

    def __init__(
        self, *, store: BatchStore, desk: Desk, library: Library, launcher: Launcher
    ) -> None:
        self._store = store
        self._desk = desk
        self._library = library
        self._launcher = launcher

    async def create(self, request: CreateBatch) -> tuple[Batch, bool] | Refused:
        """Stores a batch, or finds the one of the same rows that goes on, and hands it to Prefect; whether it is new.
        Raises BatchInvalid, PrefectUnavailable, and with `resume` BatchNotFound; then nothing is stored."""
        _check_size(request)
        document, source, version = await self._desk.target(
            workflow=request.workflow, version=request.version, source=request.source
        )
        problems = await asyncio.to_thread(self._problems, document, request.rows)
        if problems:
            return Refused(problems=problems)
        digest = _fingerprint(document.workflow.name, version, source, request.rows)
        if request.resume and await self._store.newest(digest) is None:
            raise BatchNotFound("of these rows")
        await self._launcher.prepare()
        known = await self._store.newest(digest)
        if known is not None and (request.resume or not known.has_ended):
            return await self._again(known, request), False
        batch = Batch(
            id=new_id(),
            workflow=document.workflow.name,
            version=version,
            source=source,
            fingerprint=digest,
            max_concurrent=request.max_concurrent or _CONCURRENT,
            created_time=datetime.now(UTC),
            api_key=request.api_key,
            rows=RowCounts(total=len(request.rows), pending=len(request.rows)),
        )
        return await self._added(batch, request.rows), True

    async def get(self, batch_id: str) -> Batch:
        """The batch as it stands. Raises BatchNotFound."""
        return await self._store.get(batch_id)

    async def list(self, *, limit: int, before: str) -> Sequence[Batch]:
        """Batches, newest first, before an id."""
        return await self._store.list(limit=limit, before=before)

    async def rows(self, batch_id: str, *, after: int, limit: int) -> Sequence[BatchRow]:
        """Rows after a number, in order. Raises BatchNotFound."""
        await self._store.get(batch_id)
        return await self._store.rows(batch_id, after=after, limit=limit)

    async def advance(self, batch_id: str, *, launch: int) -> Batch:
        """Starts rows as far as they may go on, for some seconds or until the batch has ended. Raises BatchNotFound and
        BatchTakenOver."""
        give_up, pause = time.monotonic() + _ADVANCE_SECONDS, _FIRST_PAUSE_SECONDS
        batch = await self._store.drive(batch_id, launch=launch, now=datetime.now(UTC))
        while not batch.has_ended and time.monotonic() < give_up:
            if await self._started(batch):
                pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            batch = await self._store.get(batch_id)
        return batch

    async def run(self) -> None:
        """Hands batches over again whose flow runs are gone, until cancelled."""
        # After a restart flow runs that are not gone ask again first.
        await asyncio.sleep(_GONE.total_seconds())
        failing = False
        while True:
            try:
                await self.take_over(datetime.now(UTC))
                failing = False
            except CadreError as error:
                if not failing:
                    log.warning("batches_not_looked_at", code=error.code, reason=error.message)
                failing = True
            await asyncio.sleep(_LOOK_SECONDS)

    async def take_over(self, now: datetime) -> None:
        """Hands batches to Prefect again that have not ended, and for which no flow run has asked for a minute; and to
        its workers the flow runs that one of them was killed before it began. Tells it how runs of schedules ended
        whose flow runs were killed. Raises PrefectUnavailable."""
        await self._launcher.put_back(before=now - _BEGINS)
        await self._tell_ends(now)
        for batch_id in await self._store.silent(after=now - _LOOKED_BACK, before=now - _GONE):
            batch = await self._store.get(batch_id)
            # Another executor may have seen it too.
            if not batch.has_ended and _is_gone(batch):
                await self._launcher.prepare()
                await self._launcher.give_up(batch.flow_run_id)
                await self._handed_over(batch)

    async def cancel(self, batch_id: str) -> Batch:
        """Stops a batch that has not ended. Raises BatchNotFound."""
        batch = await self._store.get(batch_id)
        if batch.has_ended:
            return batch
        await self._store.cancel(batch_id)
        await self._cancel_runs(batch_id)
        if batch.flow_run_id and batch.driven_time is None:
            try:
                await self._launcher.give_up(batch.flow_run_id)
            except Unavailable as error:
                # A worker that takes it finds that there is nothing to do.
                log.warning("flow_run_not_cancelled", batch_id=batch_id, reason=error.message)
        return await self._store.get(batch_id)

    async def _tell_ends(self, now: datetime) -> None:
        """A flow run tells the end of its run at once; one that has not a minute later holds its schedule's place."""
        for flow_run_id in await self._launcher.under_way():
            run = await self._desk.of_key(f"schedule/{flow_run_id}")
            if run is not None and run.ended_time is not None and run.ended_time < now - _GONE:
                await self._launcher.tell_end(flow_run_id, run.status)

    def _problems(self, document: Document, rows: Sequence[Row]) -> tuple[Problem, ...]:
        found: list[Problem] = []
        for place, row in enumerate(rows):
            try:
                self._library.language.check_inputs(document.workflow, row.inputs)
            except InvalidInput as error:
                found.extend(
                    replace(problem, line=row.line, path=f"rows[{place}].{problem.path}")
                    for problem in error.problems
                )
            if len(found) >= _MOST_PROBLEMS:
                break
        return tuple(found[:_MOST_PROBLEMS])

    async def _added(self, batch: Batch, rows: Sequence[Row]) -> Batch:
        await self._store.add(batch, rows)
        try:
            return await self._launched(batch)
        except CadreError:
            await self._store.remove(batch.id)
            raise

    async def _again(self, known: Batch, request: CreateBatch) -> Batch:
        """The batch that is known, going on."""
        await self._store.go_on(
            known.id,
            max_concurrent=request.max_concurrent or known.max_concurrent,
            resumed_time=datetime.now(UTC) if request.resume else None,
        )
        batch = await self._store.get(known.id)
        return batch if batch.has_ended else await self._launched(batch)

    async def _launched(self, batch: Batch) -> Batch:
        """The batch, with a flow run that sees to it."""
        if batch.flow_run_id and await self._launcher.is_alive(batch.flow_run_id):
            if not _is_gone(batch):
                return batch
            await self._launcher.give_up(batch.flow_run_id)
        return await self._handed_over(batch)

    async def _handed_over(self, batch: Batch) -> Batch:
        """The batch, with a new flow run, the only one that may start rows from now on."""
        launch = batch.launches + 1
        # Before the flow run is there: it may ask for the batch at once, and one before it no more.
        if not await self._store.launching(batch.id, launches=launch):
            return await self._store.get(batch.id)
        flow_run_id = await self._launcher.launch(batch.id, launch)
        await self._store.launched(batch.id, launches=launch, flow_run_id=flow_run_id)
        log.info("batch_launched", batch_id=batch.id, launch=launch)
        return await self._store.get(batch.id)

    async def _started(self, batch: Batch) -> bool:
        """Whether rows were started."""
        room = min(batch.max_concurrent - batch.rows.running, batch.rows.pending)
        if room <= 0:
            return False
        due = await self._store.due(batch, limit=room)
        await side_by_side([partial(self._start, batch, row) for row in due], limit=_AT_ONCE)
        if (await self._store.get(batch.id)).cancelled:
            # Whoever cancelled it did not see what was just started.
            await self._cancel_runs(batch.id)
        return bool(due)

    async def _start(self, batch: Batch, row: DueRow) -> None:
        if row.status is RunStatus.FAILED:
            with suppress(NotFailed):
                await self._desk.resume(row.run_id)
            return
        after = f"/{row.run_id}" if row.run_id else ""
        await self._desk.start(
            StartRun(
                workflow=batch.workflow,
                version=batch.version,
                source=batch.source,
                inputs=row.inputs,
                trigger="batch",
                api_key=batch.api_key,
                batch_id=batch.id,
                batch_row=row.number,
                key=f"batch/{batch.id}/{row.number}{after}",
            )
        )
        if row.run_id:
            await self._store.retire(row.run_id)

    async def _cancel_runs(self, batch_id: str) -> None:
        runs = await self._store.open_runs(batch_id)
        await side_by_side([partial(self._desk.cancel, run) for run in runs], limit=_AT_ONCE)


def _is_gone(batch: Batch) -> bool:
    """Whether the flow run that had taken the batch does not ask for it any more."""
    return batch.driven_time is not None and datetime.now(UTC) - batch.driven_time > _GONE


def _check_size(request: CreateBatch) -> None:
    if not 1 <= len(request.rows) <= _MOST_ROWS:
        raise BatchInvalid(
            f"a batch of {len(request.rows):,} rows cannot be",
            resolution=f"Give 1 to {_MOST_ROWS:,} rows; split a larger dataset.",
        )
    size = sum(len(json_text(row.inputs)) for row in request.rows)
    if size > _MOST_BYTES:
        raise BatchInvalid(
            f"the rows have {size:,} characters as JSON; the limit is {_MOST_BYTES:,}",
            resolution="Split the dataset.",
        )
    if not 0 <= request.max_concurrent <= _MOST_CONCURRENT:
        raise BatchInvalid(
            f"{request.max_concurrent} rows at once is out of range",
            resolution=f"Give 1 to {_MOST_CONCURRENT}.",
        )


def _fingerprint(workflow: str, version: int, source: str, rows: Sequence[Row]) -> str:
    said: list[Any] = [workflow, version, source, [_plain(row.inputs) for row in rows]]
    return hashlib.sha256(json_text(said).encode("utf-8", "surrogatepass")).hexdigest()


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inputs[name] for name in sorted(inputs)}
