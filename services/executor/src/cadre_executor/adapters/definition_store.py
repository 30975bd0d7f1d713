"""Applied workflow files in the database."""

from collections.abc import Sequence

import sqlalchemy as sa

from cadre_executor.adapters.database import SOURCES, WORKFLOW_VERSIONS
from cadre_executor.adapters.documents import loaded, moment, seconds
from cadre_executor.adapters.sources import keep_source
from cadre_executor.domain.definitions import Definition, WorkflowNotFound
from cadre_kit.documents import json_text
from cadre_kit.transactions import Transactions

__all__ = ["SqlDefinitionStore"]

_VERSIONS = WORKFLOW_VERSIONS.c
_SHOWN = _VERSIONS.hidden == sa.false()
_WHOLE = sa.select(WORKFLOW_VERSIONS, SOURCES.c.text.label("source")).join(
    SOURCES, SOURCES.c.digest == _VERSIONS.digest
)
_NEWEST = (
    sa.select(_VERSIONS.name, sa.func.max(_VERSIONS.version).label("version"))
    .where(_SHOWN)
    .group_by(_VERSIONS.name)
    .subquery()
)

# A file without the words has no triggers; the others need reading.
_MAY_HAVE_TRIGGERS = sa.or_(SOURCES.c.text.contains("triggers"), SOURCES.c.text.contains("webhook"))
_NEWEST_WITH_TRIGGERS = (
    sa.select(
        WORKFLOW_VERSIONS, sa.case((_MAY_HAVE_TRIGGERS, SOURCES.c.text), else_="").label("source")
    )
    .join(SOURCES, SOURCES.c.digest == _VERSIONS.digest)
    .join(
        _NEWEST, sa.and_(_NEWEST.c.name == _VERSIONS.name, _NEWEST.c.version == _VERSIONS.version)
    )
    .order_by(_VERSIONS.name)
)


class SqlDefinitionStore:
    """Workflows and their versions, in SQLite or PostgreSQL. A row never changes, except to be hidden."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def apply(self, definition: Definition) -> tuple[Definition, bool]:
        """Stores the next version, unless the newest has the same text."""

        def work(connection: sa.Connection) -> tuple[Definition, bool]:
            newest = _find(connection, definition.name, 0)
            if newest is not None and newest.source == definition.source:
                return newest, False
            stored = definition.as_version(_last_version(connection, definition.name) + 1)
            assert stored.applied_time is not None
            row = {
                "name": stored.name,
                "version": stored.version,
                "digest": keep_source(connection, stored.source),
                "description": stored.description,
                "tags": json_text(stored.tags),
                "applied_time": seconds(stored.applied_time),
                "hidden": False,
            }
            connection.execute(sa.insert(WORKFLOW_VERSIONS), row)
            return stored, True

        return await self._database.write(work)

    async def get(self, name: str, version: int) -> Definition:
        """One version; 0 is the newest. Raises WorkflowNotFound, naming a near one."""

        def work(connection: sa.Connection) -> Definition:
            found = _find(connection, name, version)
            if found is None:
                raise WorkflowNotFound(name, version, known=_names(connection))
            return found

        return await self._database.read(work)

    async def list(self, *, limit: int, after: str) -> Sequence[Definition]:
        """The newest versions, by name, after a name."""
        statement = (
            sa.select(WORKFLOW_VERSIONS)
            .join(
                _NEWEST,
                sa.and_(_NEWEST.c.name == _VERSIONS.name, _NEWEST.c.version == _VERSIONS.version),
            )
            .where(_VERSIONS.name > after)
            .order_by(_VERSIONS.name)
            .limit(limit)
        )

        def work(connection: sa.Connection) -> list[Definition]:
            return [_definition(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)

    async def newest(self) -> Sequence[Definition]:
        """The newest version of every workflow, by name; with its source only where that may have triggers."""

        def work(connection: sa.Connection) -> list[Definition]:
            found = connection.execute(_NEWEST_WITH_TRIGGERS).mappings()
            return [_definition(row) for row in found]

        return await self._database.read(work)

    async def versions(self, name: str) -> Sequence[Definition]:
        """All versions, newest first. Raises WorkflowNotFound."""
        statement = (
            sa.select(WORKFLOW_VERSIONS)
            .where(_VERSIONS.name == name, _SHOWN)
            .order_by(_VERSIONS.version.desc())
        )

        def work(connection: sa.Connection) -> list[Definition]:
            found = [_definition(row) for row in connection.execute(statement).mappings()]
            if not found:
                raise WorkflowNotFound(name, known=_names(connection))
            return found

        return await self._database.read(work)

    async def delete(self, name: str) -> None:
        """Hides a workflow and its versions. Raises WorkflowNotFound."""
        statement = sa.update(WORKFLOW_VERSIONS).where(_VERSIONS.name == name, _SHOWN)

        def work(connection: sa.Connection) -> None:
            if connection.execute(statement.values(hidden=True)).rowcount == 0:
                raise WorkflowNotFound(name, known=_names(connection))

        await self._database.write(work)


def _find(connection: sa.Connection, name: str, version: int) -> Definition | None:
    statement = _WHOLE.where(_VERSIONS.name == name, _SHOWN)
    if version:
        statement = statement.where(_VERSIONS.version == version)
    newest_first = statement.order_by(_VERSIONS.version.desc()).limit(1)
    row = connection.execute(newest_first).mappings().first()
    return None if row is None else _definition(row)


def _last_version(connection: sa.Connection, name: str) -> int:
    """The highest version ever given, hidden ones included: runs name them."""
    statement = sa.select(sa.func.max(_VERSIONS.version)).where(_VERSIONS.name == name)
    return connection.execute(statement).scalar() or 0


def _names(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(_VERSIONS.name).where(_SHOWN).distinct()).scalars())


def _definition(row: sa.RowMapping) -> Definition:
    return Definition(
        name=row["name"],
        version=row["version"],
        source=row.get("source", ""),
        description=row["description"],
        tags=tuple(loaded(row["tags"])),
        applied_time=moment(row["applied_time"]),
    )
