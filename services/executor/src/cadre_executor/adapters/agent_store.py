"""Registered agents in the database."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cadre_executor.adapters.agents.cards import parse_card
from cadre_executor.adapters.database import AGENTS
from cadre_executor.adapters.documents import moment, seconds
from cadre_executor.domain.agents import Agent, AgentNameTaken, AgentNotFound, TooManyAgents
from cadre_kit.documents import json_text
from cadre_kit.transactions import Transactions

__all__ = ["SqlAgentStore"]

_COLUMNS = AGENTS.c


class SqlAgentStore:
    """Agents, in SQLite or PostgreSQL."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def put(self, agent: Agent, *, now: datetime, most: int) -> tuple[Agent, bool]:
        """Stores an agent, unless its name is another's."""

        def work(connection: sa.Connection) -> tuple[Agent, bool]:
            known = _find(connection, agent.name)
            if known is None:
                _check_room(connection, most)
                connection.execute(sa.insert(AGENTS), _row(agent))
                return agent, True
            _check_name(agent, known, now)
            stored = replace(agent, registered_time=known.registered_time)
            named = _COLUMNS.name == agent.name
            connection.execute(sa.update(AGENTS).where(named).values(**_row(stored)))
            return stored, False

        return await self._database.write(work)

    async def get(self, name: str) -> Agent:
        """The agent. Raises AgentNotFound, naming a near one."""

        def work(connection: sa.Connection) -> Agent:
            found = _find(connection, name)
            if found is None:
                names = connection.execute(sa.select(_COLUMNS.name)).scalars()
                raise AgentNotFound(name, known=list(names))
            return found

        return await self._database.read(work)

    async def list(self) -> Sequence[Agent]:
        """All, by name."""
        statement = sa.select(AGENTS).order_by(_COLUMNS.name)

        def work(connection: sa.Connection) -> list[Agent]:
            return [_agent(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)

    async def renew(self, name: str, *, now: datetime) -> Agent | None:
        """The agent, its time begun anew."""

        def work(connection: sa.Connection) -> Agent | None:
            known = _find(connection, name)
            if known is None or known.expires_time is None or known.expires_time <= now:
                return None
            expires = now + timedelta(seconds=known.ttl_seconds)
            renewed = replace(known, last_seen_time=now, expires_time=expires)
            times = {"last_seen_time": seconds(now), "expires_time": seconds(expires)}
            connection.execute(sa.update(AGENTS).where(_COLUMNS.name == name).values(**times))
            return renewed

        return await self._database.write(work)

    async def delete(self, name: str) -> None:
        """Removes an agent. Raises AgentNotFound."""
        statement = sa.delete(AGENTS).where(_COLUMNS.name == name)

        def work(connection: sa.Connection) -> None:
            if connection.execute(statement).rowcount == 0:
                raise AgentNotFound(name)

        await self._database.write(work)

    async def due(self, *, now: datetime, checked_before: datetime) -> Sequence[Agent]:
        """Living agents whose card was not read since; they count as read now."""
        is_due = sa.and_(
            _COLUMNS.card_url != "",
            _COLUMNS.checked_time < seconds(checked_before),
            sa.or_(_COLUMNS.expires_time.is_(None), _COLUMNS.expires_time > seconds(now)),
        )
        found = sa.select(AGENTS).where(is_due)

        def look(connection: sa.Connection) -> bool:
            return connection.execute(found.limit(1)).first() is not None

        def work(connection: sa.Connection) -> list[Agent]:
            # Locked where the database does not let one write at a time anyway.
            rows = connection.execute(found.with_for_update()).mappings().all()
            mark = sa.update(AGENTS).where(_COLUMNS.name.in_([row["name"] for row in rows]))
            connection.execute(mark.values(checked_time=seconds(now)))
            return [_agent(row) for row in rows]

        return await self._database.write(work) if await self._database.read(look) else []

    async def checked(self, agent: Agent) -> None:
        """Stores what reading an agent's card gave."""
        values = {
            "card": json_text(agent.card.document),
            "trouble": agent.trouble,
            "last_seen_time": seconds(agent.last_seen_time),
        }
        # An agent that was registered anew meanwhile keeps what it said then.
        statement = sa.update(AGENTS).where(
            _COLUMNS.name == agent.name,
            _COLUMNS.card_url == agent.card_url,
            _COLUMNS.last_seen_time <= seconds(agent.last_seen_time),
        )
        await self._database.write(lambda c: c.execute(statement.values(**values)).close())

    async def forget(self, *, expired_before: datetime) -> None:
        """Removes agents whose time was over by then."""
        gone = _COLUMNS.expires_time < seconds(expired_before)
        names = await self._database.read(
            lambda c: list(c.execute(sa.select(_COLUMNS.name).where(gone)).scalars())
        )
        if names:
            await self._database.write(lambda c: c.execute(sa.delete(AGENTS).where(gone)).close())


def _find(connection: sa.Connection, name: str) -> Agent | None:
    row = connection.execute(sa.select(AGENTS).where(_COLUMNS.name == name)).mappings().first()
    return None if row is None else _agent(row)


def _check_room(connection: sa.Connection, most: int) -> None:
    """Raises TooManyAgents."""
    if (connection.execute(sa.select(sa.func.count()).select_from(AGENTS)).scalar() or 0) >= most:
        raise TooManyAgents(
            f"{most} agents are registered, and no more may be",
            resolution="Remove some with `cadre agents remove`.",
            metadata={"limit": str(most)},
        )


def _check_name(agent: Agent, known: Agent, now: datetime) -> None:
    """Raises AgentNameTaken: what one agent has got, another cannot take, nor what an operator set, an agent."""
    is_over = known.expires_time is not None and known.expires_time <= now
    keeps_hold = bool(agent.ttl_seconds) and not known.ttl_seconds
    if not is_over and (keeps_hold or not agent.is_same_as(known)):
        raise AgentNameTaken(
            f"another agent is registered as {agent.name!r}",
            resolution="Choose another name, or remove that one with `cadre agents remove`.",
            metadata={"agent": agent.name},
        )


def _agent(row: sa.RowMapping) -> Agent:
    expires = row["expires_time"]
    return Agent(
        name=row["name"],
        card=parse_card(json.loads(row["card"])),
        card_url=row["card_url"],
        secret=row["secret"],
        ttl_seconds=row["ttl_seconds"],
        registered_time=moment(row["registered_time"]),
        last_seen_time=moment(row["last_seen_time"]),
        expires_time=None if expires is None else moment(expires),
        trouble=row["trouble"],
    )


def _row(agent: Agent) -> dict[str, Any]:
    expires = agent.expires_time
    return {
        "name": agent.name,
        "card": json_text(agent.card.document),
        "card_url": agent.card_url,
        "secret": agent.secret,
        "ttl_seconds": agent.ttl_seconds,
        "registered_time": seconds(agent.registered_time),
        "last_seen_time": seconds(agent.last_seen_time),
        "expires_time": None if expires is None else seconds(expires),
        "checked_time": seconds(agent.last_seen_time),
        "trouble": agent.trouble,
    }
