"""The audit log in the database. Entries are added and, when they are old, forgotten; never changed."""

import json
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from cadre_gateway.adapters.database import AUDIT_LOG
from cadre_gateway.domain.audit import AuditEntry, AuditPage, AuditQuery
from cadre_kit.documents import json_text
from cadre_kit.transactions import Transactions

__all__ = ["AuditLog"]

_L = AUDIT_LOG.c
_ADD = sa.insert(AUDIT_LOG)
_PLAIN = (
    "id",
    "time",
    "key",
    "prefix",
    "address",
    "method",
    "route",
    "status",
    "code",
    "request_id",
)


class AuditLog:
    """All entries. Several gateways may share one database."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def add(self, entry: AuditEntry) -> None:
        """Stores an entry."""
        row = {name: getattr(entry, name) for name in _PLAIN} | {"ids": json_text(entry.ids)}
        await self._database.write_fast(lambda statements: statements.add(_ADD, [row]))

    async def list(self, query: AuditQuery) -> AuditPage:
        """A page, newest first."""
        statement = sa.select(AUDIT_LOG).where(*_conditions(query))
        statement = statement.order_by(_L.id.desc()).limit(query.limit + 1)

        def work(connection: sa.Connection) -> list[AuditEntry]:
            return [_entry(row) for row in connection.execute(statement).mappings()]

        found = await self._database.read(work)
        return AuditPage(entries=found[: query.limit], more=len(found) > query.limit)

    async def sweep(self, *, keep_days: float, most: int) -> int:
        """Forgets what is older, and the oldest beyond so many; how many."""
        aged = sa.delete(AUDIT_LOG).where(_L.time < time.time() - keep_days * 86_400)
        last_kept = sa.select(_L.id).order_by(_L.id.desc()).offset(most - 1).limit(1)

        def work(connection: sa.Connection) -> int:
            forgotten = connection.execute(aged).rowcount
            oldest = connection.execute(last_kept).scalar()
            if oldest is None:
                return forgotten
            return (
                forgotten + connection.execute(sa.delete(AUDIT_LOG).where(_L.id < oldest)).rowcount
            )

        return await self._database.write(work)


def _conditions(query: AuditQuery) -> list[sa.ColumnElement[bool]]:
    wanted: list[tuple[object, sa.ColumnElement[bool]]] = [
        (query.before, _L.id < query.before),
        (query.key, _L.key == query.key),
        (query.method, _L.method == query.method.upper()),
        (query.route, _L.route == query.route),
        (query.refused is True, _L.status >= 400),
        (query.refused is False, _L.status < 400),
        (query.since is not None, _L.time >= (query.since or 0.0)),
        (query.until is not None, _L.time < (query.until or 0.0)),
    ]
    return [condition for is_asked, condition in wanted if is_asked]


def _entry(row: Mapping[Any, Any]) -> AuditEntry:
    return AuditEntry(**{name: row[name] for name in _PLAIN}, ids=json.loads(row["ids"]))
