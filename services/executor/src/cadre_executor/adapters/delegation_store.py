"""What was handed to remote agents and has not ended, in the database."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from cadre_executor.adapters.database import DELEGATIONS, RUNS
from cadre_executor.adapters.documents import moment, seconds
from cadre_executor.domain.delegations import Delegation
from cadre_kit.transactions import Transactions

__all__ = ["SqlDelegationStore"]

_COLUMNS = DELEGATIONS.c


class SqlDelegationStore:
    """Delegations, in SQLite or PostgreSQL."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def begin(self, delegation: Delegation) -> Delegation | None:
        """Stores a delegation; the one that was stored by its key before, if there is one."""

        def work(connection: sa.Connection) -> Delegation | None:
            known = _COLUMNS.key == delegation.key
            row = connection.execute(sa.select(DELEGATIONS).where(known)).mappings().first()
            if row is not None:
                return _delegation(row)
            connection.execute(sa.insert(DELEGATIONS), _row(delegation))
            return None

        return await self._database.write(work)

    async def keep(self, delegation: Delegation) -> None:
        """Stores what is now known of it."""
        statement = sa.update(DELEGATIONS).where(_COLUMNS.key == delegation.key)
        values = _row(delegation)
        await self._database.write(lambda c: c.execute(statement.values(**values)).close())

    async def drop(self, key: str) -> None:
        """Removes it."""
        statement = sa.delete(DELEGATIONS).where(_COLUMNS.key == key)
        await self._database.write(lambda c: c.execute(statement).close())

    async def of_run(self, run_id: str, *, begun_with: Sequence[str]) -> Sequence[Delegation]:
        """Those of a run whose keys begin with one of these."""
        statement = sa.select(DELEGATIONS).where(_COLUMNS.run_id == run_id)

        def work(connection: sa.Connection) -> list[Delegation]:
            found = [_delegation(row) for row in connection.execute(statement).mappings()]
            return [one for one in found if one.key.startswith(tuple(begun_with))]

        return await self._database.read(work)

    async def orphans(self, *, limit: int) -> Sequence[tuple[Delegation, datetime]]:
        """Those of runs that have ended, with when they did."""
        statement = (
            sa.select(DELEGATIONS, RUNS.c.ended_time)
            .join(RUNS, RUNS.c.id == _COLUMNS.run_id)
            .where(RUNS.c.ended_time.is_not(None))
            .order_by(RUNS.c.ended_time)
            .limit(limit)
        )

        def work(connection: sa.Connection) -> list[tuple[Delegation, datetime]]:
            rows = connection.execute(statement).mappings()
            return [(_delegation(row), moment(row["ended_time"])) for row in rows]

        return await self._database.read(work)


def _delegation(row: sa.RowMapping) -> Delegation:
    return Delegation(
        key=row["key"],
        run_id=row["run_id"],
        agent=row["agent"],
        begun_time=moment(row["begun_time"]),
        task_id=row["task_id"],
        context_id=row["context_id"],
        answered=row["answered"],
    )


def _row(delegation: Delegation) -> dict[str, object]:
    return {
        "key": delegation.key,
        "run_id": delegation.run_id,
        "agent": delegation.agent,
        "begun_time": seconds(delegation.begun_time),
        "task_id": delegation.task_id,
        "context_id": delegation.context_id,
        "answered": delegation.answered,
    }
