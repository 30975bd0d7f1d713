"""Runs and events as rows."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from cadre_executor.adapters.database import EVENTS, RUNS
from cadre_executor.adapters.documents import (
    failure_from_text,
    failure_to_text,
    loaded,
    moment,
    raised_from_text,
    raised_to_text,
    seconds,
    usage_from_text,
    usage_to_text,
)
from cadre_executor.domain.runs import Ending, Event, EventType, Run, RunStatus
from cadre_kit.documents import json_text

__all__ = ["attempts_of", "ending_row", "event_of", "event_row", "run_of", "run_row"]


def attempts_of(connection: sa.Connection, run_id: str) -> dict[tuple[str, int], int]:
    """The try to go on with, by node and visit: after those that failed, the last one only once a person said to go on,
    for until then its key may have to be repeated."""
    resumed = sa.select(RUNS.c.resumed_sequence).where(RUNS.c.id == run_id).scalar_subquery()
    failed = sa.or_(
        EVENTS.c.type == EventType.NODE_RETRIED.value,
        sa.and_(EVENTS.c.type == EventType.NODE_FAILED.value, EVENTS.c.sequence < resumed),
    )
    statement = (
        sa.select(EVENTS.c.node, EVENTS.c.iteration, sa.func.max(EVENTS.c.attempt))
        .where(EVENTS.c.run_id == run_id, EVENTS.c.item == 0, failed)
        .group_by(EVENTS.c.node, EVENTS.c.iteration)
    )
    return {(node, visit): tried + 1 for node, visit, tried in connection.execute(statement)}


def run_row(run: Run) -> dict[str, Any]:
    """A run that was just accepted."""
    return {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "status": run.status.value,
        "inputs": json_text(run.inputs),
        "usage": usage_to_text(run.usage),
        "created_time": seconds(run.created_time),
        "outputs": None,
        "error": None,
        "started_time": None,
        "ended_time": None,
        "trigger": run.trigger,
        "trace_parent": run.trace_parent,
        "last_sequence": 1,
        "forked_from": run.forked_from,
        "paused_seconds": 0.0,
        "waiting_since": None,
        "resumed_sequence": 0,
        "max_concurrent_runs": run.max_concurrent_runs,
        "parent_run_id": run.parent_run_id,
        "parent_visit": run.parent_visit,
        "root_run_id": run.root_run_id,
        "depth": run.depth,
        "schedule": run.schedule,
        "api_key": run.api_key,
        "batch_id": run.batch_id,
        "batch_row": run.batch_row,
        "busy_visits": 0,
        "raised": raised_to_text(run.raised),
    }


def ending_row(run_id: str, ending: Ending, events: int) -> dict[str, Any]:
    """How a run ended."""
    return {
        "run": run_id,
        "final": ending.status.value,
        "result": None if ending.outputs is None else json_text(ending.outputs),
        "failure": failure_to_text(ending.error),
        "ended": seconds(ending.event.time),
        "more": events,
    }


def run_of(row: Mapping[str, Any]) -> Run:
    """The run of a row; without its questions."""
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
        forked_from=row["forked_from"],
        paused_seconds=row["paused_seconds"],
        last_sequence=row["last_sequence"],
        max_concurrent_runs=row["max_concurrent_runs"],
        parent_run_id=row["parent_run_id"],
        parent_visit=row["parent_visit"],
        root_run_id=row["root_run_id"],
        depth=row["depth"],
        schedule=row["schedule"],
        api_key=row["api_key"],
        batch_id=row["batch_id"],
        batch_row=row["batch_row"],
        raised=raised_from_text(row["raised"]),
    )


def event_row(run_id: str, event: Event, sequence: int) -> dict[str, Any]:
    """An event in its place."""
    return {
        "run_id": run_id,
        "sequence": sequence,
        "time": seconds(event.time),
        "type": event.type.value,
        "node": event.node,
        "iteration": event.iteration,
        "attempt": event.attempt,
        "duration_ms": event.duration_ms,
        "data": None if event.data is None else json_text(event.data),
        "usage": None if event.usage is None else usage_to_text(event.usage),
        "error": failure_to_text(event.error),
        "item": event.item,
    }


def event_of(row: Mapping[str, Any]) -> Event:
    """The event of a row."""
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
        item=row["item"],
    )
