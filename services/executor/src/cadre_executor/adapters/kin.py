"""The runs above and below a run: those that it is a step of, and those that are steps of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cadre_executor.adapters.database import RUNS
from cadre_executor.domain.runs import FINAL, RunStatus, Step
from cadre_kit.transactions import Statements

__all__ = ["STANDING", "TOLD", "Relative", "above", "below", "paused_below", "stands"]

_ABOVE = sa.select(RUNS.c.parent_run_id, RUNS.c.parent_visit).where(
    RUNS.c.id == sa.bindparam("run")
)


def _family(*columns: sa.Column[Any], ended: bool) -> sa.CTE:
    """A run, at level 0, and all below it; without `ended`, none that has ended."""
    counts = sa.true() if ended else RUNS.c.ended_time.is_(None)
    top = sa.select(RUNS.c.id, *columns, sa.literal(0).label("level"))
    family = top.where(RUNS.c.id == sa.bindparam("run")).cte("family", recursive=True)
    steps = sa.select(RUNS.c.id, *columns, family.c.level + 1)
    steps = steps.join(family, RUNS.c.parent_run_id == family.c.id)
    return family.union_all(steps.where(counts))


def _listed(*, ended: bool) -> sa.Select[Any]:
    """The family, each run after the one that it is a step of."""
    family = _family(RUNS.c.parent_run_id, RUNS.c.parent_visit, RUNS.c.status, ended=ended)
    columns = (family.c.id, family.c.parent_run_id, family.c.parent_visit, family.c.status)
    return sa.select(*columns).order_by(family.c.level, family.c.id)


def _paused() -> sa.Select[Any]:
    family = _family(RUNS.c.paused_seconds, RUNS.c.waiting_since, ended=True)
    waits = sa.bindparam("now", type_=sa.Float) - family.c.waiting_since
    paused = sa.func.sum(family.c.paused_seconds + sa.func.coalesce(waits, 0.0))
    return sa.select(paused).where(family.c.level > 0)


_GOING = _listed(ended=False)
_ALL = _listed(ended=True)
_PAUSED = _paused()


def _over(name: str, steps: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The runs above certain runs."""
    is_step = RUNS.c.parent_run_id != ""
    over = sa.select(RUNS.c.parent_run_id.label("id")).where(is_step, steps)
    found = over.cte(name, recursive=True)
    further = sa.select(RUNS.c.parent_run_id).join(found, RUNS.c.id == found.c.id).where(is_step)
    return sa.select(found.union(further).c.id)


def _at_rest() -> sa.ColumnElement[bool]:
    """Whether a run goes on, and nothing of it and of the runs below it does but wait for people."""
    step = RUNS.alias("step")
    has_step = sa.exists().where(step.c.parent_run_id == RUNS.c.id, step.c.ended_time.is_(None))
    going = RUNS.c.status.in_([RunStatus.QUEUED.value, RunStatus.RUNNING.value])
    busy = sa.and_(going, sa.or_(RUNS.c.busy_visits > 0, sa.not_(has_step)))
    return sa.and_(
        RUNS.c.status == RunStatus.RUNNING.value,
        RUNS.c.busy_visits == 0,
        RUNS.c.id.in_(_over("asking", RUNS.c.status == RunStatus.WAITING.value)),
        RUNS.c.id.not_in(_over("busy", busy)),
    )


_AT_REST = _at_rest()
# Where a run stands, as it is told: one that goes on is said to wait when all of it and below it does.
STANDING = sa.case((_AT_REST, RunStatus.WAITING.value), else_=RUNS.c.status).label("status")
TOLD = [*(column for column in RUNS.c if column.name != "status"), STANDING]


def stands(status: RunStatus) -> sa.ColumnElement[bool]:
    """Whether a run is told to stand so. It says the stored status too, which has an index."""
    stored = RUNS.c.status == status.value
    if status is RunStatus.WAITING:
        return sa.or_(stored, _AT_REST)
    return sa.and_(stored, sa.not_(_AT_REST)) if status is RunStatus.RUNNING else stored


@dataclass(frozen=True, kw_only=True)
class Relative:
    """A run below another. `path` is the steps that lead to it, each followed by a slash; empty for the run itself."""

    path: str
    status: RunStatus

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is asked there."""
        return self.status in FINAL


def below(connection: sa.Connection, run_id: str, *, ended: bool = False) -> Mapping[str, Relative]:
    """The run and all below it that have not ended, or with `ended` those that have, too; by id."""
    found: dict[str, Relative] = {}
    statement = _ALL if ended else _GOING
    for run, parent, visit, status in connection.execute(statement, {"run": run_id}):
        path = f"{found[parent].path}{_step(parent, visit).place}/" if found else ""
        found[run] = Relative(path=path, status=RunStatus(status))
    return found


def paused_below(connection: sa.Connection, run_id: str, *, now: float) -> float:
    """How long all runs below a run waited for people, in seconds."""
    return connection.execute(_PAUSED, {"run": run_id, "now": now}).scalar() or 0.0


def above(statements: Statements, run_id: str) -> list[Step]:
    """What the run is a step of, and what that is, up to the top."""
    found = []
    while rows := statements.rows(_ABOVE, {"run": run_id}):
        run_id = rows[0]["parent_run_id"]
        if not run_id:
            break
        found.append(_step(run_id, rows[0]["parent_visit"]))
    return found


def _step(parent_run_id: str, visit: str) -> Step:
    node, _, number = visit.rpartition("/")
    iteration, _, item = number.partition(".")
    return Step(
        parent_run_id=parent_run_id, node=node, iteration=int(iteration or 0), item=int(item or 0)
    )
