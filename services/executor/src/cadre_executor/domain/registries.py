"""The registry of remote agents: who is registered, for how long, and how they are."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cadre_executor.domain.agents import (
    Agent,
    AgentNotFound,
    AgentRegistrationInvalid,
    AgentStore,
    Card,
    RemoteAgents,
)
from cadre_kit.errors import CadreError, FailedPrecondition
from cadre_kit.logs import logger

__all__ = ["AgentExpired", "Registration", "Registry"]

log = logger()

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")
_SECRET = re.compile(r"AGENT_[A-Z0-9_]{1,90}")
_TTL_SECONDS = (5.0, 86_400.0)
_MOST_AGENTS = 1000
_LOOK_SECONDS = 5.0
_REMEMBERED = timedelta(days=1)
_READ_AT_ONCE = 8


class AgentExpired(FailedPrecondition):
    """The agent registered for a time, and that is over."""

    code = "AGENT_EXPIRED"


@dataclass(frozen=True, kw_only=True)
class Registration:
    """An agent to register: by the address of its card, or by the card itself. Empty `name`: what it calls itself."""

    name: str = ""
    card_url: str = ""
    card: Mapping[str, Any] | None = None
    ttl_seconds: float = 0.0
    secret: str = ""


class Registry:
    """Registered agents. Cards that were registered by address are read again every `refresh`."""

    def __init__(self, *, store: AgentStore, remote: RemoteAgents, refresh: timedelta) -> None:
        self._store = store
        self._remote = remote
        self._refresh = refresh

    async def register(self, asked: Registration) -> tuple[Agent, bool]:
        """Registers an agent, or changes it; whether it is new. Raises AgentRegistrationInvalid, AgentNameTaken,
        TooManyAgents, and what is wrong with the card or its address."""
        _check(asked)
        card = await self._card(asked)
        now = datetime.now(UTC)
        agent = Agent(
            name=asked.name or _name_of(card),
            card=card,
            card_url=asked.card_url,
            secret=asked.secret,
            ttl_seconds=asked.ttl_seconds,
            registered_time=now,
            last_seen_time=now,
            expires_time=now + timedelta(seconds=asked.ttl_seconds) if asked.ttl_seconds else None,
        )
        return await self._store.put(agent, now=now, most=_MOST_AGENTS)

    async def renew(self, name: str) -> Agent:
        """A sign of life. Raises AgentNotFound when the agent has to register again."""
        agent = await self._store.renew(name, now=datetime.now(UTC))
        if agent is None:
            raise AgentNotFound(name)
        return agent

    async def list(self) -> Sequence[Agent]:
        """All agents by name, those too whose time was over within the last day."""
        return await self._store.list()

    async def get(self, name: str) -> Agent:
        """One agent. Raises AgentNotFound."""
        return await self._store.get(name)

    async def usable(self, name: str) -> Agent:
        """An agent to hand work to. Raises AgentNotFound, AgentExpired."""
        agent = await self._store.get(name)
        if agent.expires_time is not None and agent.expires_time <= datetime.now(UTC):
            raise AgentExpired(
                f"the agent {name!r} gave no sign of life since {agent.last_seen_time:%Y-%m-%d %H:%M:%S} UTC",
                resolution="Start it again, so that it registers; `cadre agents show` has its address.",
                metadata={"agent": name},
            )
        return agent

    async def delete(self, name: str) -> None:
        """Removes an agent. Raises AgentNotFound."""
        await self._store.delete(name)

    async def run(self) -> None:
        """Reads cards again and forgets who is long gone, until cancelled."""
        while True:
            try:
                await self.look()
            except CadreError as error:
                log.warning("agents_not_looked_at", code=error.code, reason=error.message)
            await asyncio.sleep(min(_LOOK_SECONDS, self._refresh.total_seconds()))

    async def look(self) -> None:
        """Reads the cards whose turn it is."""
        now = datetime.now(UTC)
        await self._store.forget(expired_before=now - _REMEMBERED)
        due = await self._store.due(now=now, checked_before=now - self._refresh)
        room = asyncio.Semaphore(_READ_AT_ONCE)

        async def read(agent: Agent) -> None:
            async with room:
                await self._store.checked(await self._read_again(agent))

        await asyncio.gather(*(read(agent) for agent in due))

    async def _read_again(self, agent: Agent) -> Agent:
        try:
            card = await self._remote.read_card(agent.card_url, secret=agent.secret)
        except CadreError as error:
            log.info("agent_unreachable", agent=agent.name, code=error.code, reason=error.message)
            return replace(agent, trouble=error.message)
        return replace(agent, card=card, trouble="", last_seen_time=datetime.now(UTC))

    async def _card(self, asked: Registration) -> Card:
        if asked.card is not None:
            return self._remote.parse(asked.card)
        return await self._remote.read_card(asked.card_url, secret=asked.secret)


def _check(asked: Registration) -> None:
    """Raises AgentRegistrationInvalid."""
    shortest, longest = _TTL_SECONDS
    wrong = ""
    if asked.name and not _NAME.fullmatch(asked.name):
        wrong = "an agent's name has 1 to 100 letters, digits, _ and -"
    elif bool(asked.card_url) == (asked.card is not None):
        wrong = "either the card's address or the card must be given, and not both"
    elif asked.ttl_seconds and not shortest <= asked.ttl_seconds <= longest:
        wrong = f"ttl_seconds must be 0, or {shortest:g} to {longest:g}"
    elif asked.card is not None and not asked.ttl_seconds:
        wrong = "an agent that registers by its card needs ttl_seconds: nothing else tells that it is there"
    elif asked.secret and not _SECRET.fullmatch(asked.secret):
        wrong = "secret must name an environment variable that begins with AGENT_, such as AGENT_TRANSLATOR_TOKEN"
    elif asked.secret and asked.ttl_seconds:
        wrong = "an agent that registers for a time cannot name a secret; only an operator can"
    if wrong:
        raise AgentRegistrationInvalid(wrong)


def _name_of(card: Card) -> str:
    name = _NOT_IN_NAMES.sub("-", card.title).strip("-")[:100]
    if not name:
        raise AgentRegistrationInvalid(
            "the agent's own name has no letter or digit", resolution="Give it a name."
        )
    return name
