"""Remote agents: what is known of them, what they are asked and answer, and the ports behind which they are."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from cadre_kit.errors import (
    AlreadyExists,
    CadreError,
    FailedPrecondition,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unavailable,
)

__all__ = [
    "FINAL_STATES",
    "Agent",
    "AgentAnswerInvalid",
    "AgentCardInvalid",
    "AgentNameTaken",
    "AgentNotFound",
    "AgentRefused",
    "AgentRegistrationInvalid",
    "AgentSecretMissing",
    "AgentStore",
    "AgentUnreachable",
    "AgentVersionUnsupported",
    "Binding",
    "Card",
    "Credential",
    "Health",
    "Interface",
    "NamedAgent",
    "Outgoing",
    "RemoteAgents",
    "RemoteTask",
    "Skill",
    "TaskState",
    "TooManyAgents",
]


class AgentNotFound(NotFound):
    """No remote agent has the name."""

    code = "AGENT_NOT_FOUND"

    def __init__(self, name: str, *, known: Iterable[str] = ()) -> None:
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        super().__init__(
            f"no agent {name!r} is registered",
            resolution=f"{hint}List the agents with `cadre agents list`; register one with `cadre agents add URL`.",
            metadata={"agent": name},
        )


class AgentNameTaken(AlreadyExists):
    """Another agent is registered by the name."""

    code = "AGENT_NAME_TAKEN"


class AgentRegistrationInvalid(InvalidInput):
    """An agent cannot be registered so."""

    code = "AGENT_REGISTRATION_INVALID"


class TooManyAgents(LimitExceeded):
    """As many agents are registered as may be."""

    code = "TOO_MANY_AGENTS"


class AgentCardInvalid(FailedPrecondition):
    """What an agent says of itself is not an agent card of A2A, or cannot be used."""

    code = "AGENT_CARD_INVALID"


class AgentVersionUnsupported(FailedPrecondition):
    """An agent does not speak A2A 1.0 by a binding that we know."""

    code = "AGENT_VERSION_UNSUPPORTED"


class AgentUnreachable(Unavailable):
    """An agent does not answer, or says that it cannot now. `sent` is false when it certainly got nothing."""

    code = "AGENT_UNREACHABLE"

    def __init__(
        self, message: str, *, metadata: Mapping[str, str] | None = None, sent: bool = True
    ) -> None:
        super().__init__(
            message,
            resolution="Check that it runs, and its address with `cadre agents show`.",
            metadata=metadata,
        )
        self.sent = sent


class AgentRefused(CadreError):
    """An agent answered with an error. `reason` is the protocol's code, such as -32004; HTTP's where it has none.
    `said` is what the agent says of it."""

    code = "AGENT_REFUSED"

    def __init__(self, agent: str, reason: int, said: str) -> None:
        super().__init__(
            f"the agent {agent!r} refused the request: {said} ({reason})",
            resolution="See what the agent takes with `cadre agents show`, and its own log.",
            metadata={"agent": agent, "reason": str(reason)},
        )
        self.reason = reason
        self.said = said


class AgentSecretMissing(FailedPrecondition):
    """An agent wants a credential, and there is none for it."""

    code = "AGENT_SECRET_MISSING"


class AgentAnswerInvalid(CadreError):
    """What an agent answered is not what A2A says."""

    code = "AGENT_ANSWER_INVALID"


class Binding(Enum):
    """How an agent takes requests."""

    JSONRPC = "JSONRPC"
    HTTP_JSON = "HTTP+JSON"


@dataclass(frozen=True, kw_only=True)
class Interface:
    """Where an agent takes requests, and how. `tenant` is named in each of them, if the card names one."""

    url: str
    binding: Binding
    tenant: str = ""


@dataclass(frozen=True, kw_only=True)
class Credential:
    """How an agent wants its secret: in which header, after which prefix."""

    header: str = "Authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, kw_only=True)
class Skill:
    """One thing that an agent can do."""

    id: str
    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Card:
    """What an agent says of itself. `document` is the whole as it came; `credential` is None when it wants none."""

    title: str
    description: str
    version: str
    interface: Interface
    document: Mapping[str, Any]
    skills: tuple[Skill, ...] = ()
    credential: Credential | None = None


class Health(Enum):
    """How an agent was when last heard of."""

    HEALTHY = "healthy"
    UNREACHABLE = "unreachable"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A registered agent. `secret` names the variable with its token or key; `ttl_seconds` is 0 when it stays until it
    is removed; `trouble` is why its card could not be read last."""

    name: str
    card: Card
    registered_time: datetime
    last_seen_time: datetime
    card_url: str = ""
    secret: str = ""
    ttl_seconds: float = 0.0
    expires_time: datetime | None = None
    trouble: str = ""

    def health(self, now: datetime) -> Health:
        """How it is."""
        if self.expires_time is not None and self.expires_time <= now:
            return Health.EXPIRED
        return Health.UNREACHABLE if self.trouble else Health.HEALTHY

    def is_same_as(self, other: "Agent") -> bool:
        """Whether it is registered again: by the same card, or at the same address."""
        if self.card_url or other.card_url:
            return self.card_url == other.card_url
        return self.card.interface.url == other.card.interface.url


@dataclass(frozen=True, kw_only=True)
class NamedAgent:
    """An agent that a node hands work to, and where the file names it."""

    name: str
    path: str
    line: int
    column: int


class TaskState(Enum):
    """Where a remote task stands; the protocol's words."""

    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    REJECTED = "TASK_STATE_REJECTED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"

    @property
    def word(self) -> str:
        """As people read it."""
        return self.value.removeprefix("TASK_STATE_").lower()


FINAL_STATES = frozenset(
    {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED}
)


@dataclass(frozen=True, kw_only=True)
class RemoteTask:
    """A task as its agent tells of it. An answer without a task has no `id`, and is complete. `said` is what the agent
    says of its state, `stamp` tells one such saying from the next; `message_ids` are those of messages that it got."""

    state: TaskState
    id: str = ""
    context_id: str = ""
    said: str = ""
    stamp: str = ""
    texts: tuple[str, ...] = ()
    data: tuple[Any, ...] = ()
    message_ids: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A message to an agent: text, or data. `id` is the same when it is sent again; with `task_id` it goes on with a
    task."""

    id: str
    text: str = ""
    data: Any = None
    task_id: str = ""
    context_id: str = ""


class RemoteAgents(Protocol):
    """The agents themselves. Every method raises AgentUnreachable, AgentRefused, AgentAnswerInvalid,
    AgentSecretMissing, and what is wrong with an address."""

    def parse(self, document: object) -> Card:
        """The card of a document. Raises AgentCardInvalid and AgentVersionUnsupported."""

    async def read_card(self, url: str, *, secret: str) -> Card:
        """The card at an address. Raises also AgentCardInvalid and AgentVersionUnsupported."""

    async def send(self, agent: Agent, message: Outgoing) -> RemoteTask:
        """Sends a message; the task that it began or went on with, as soon as there is one."""

    async def task(self, agent: Agent, task_id: str) -> RemoteTask:
        """A task as it stands."""

    async def find(self, agent: Agent, message_id: str, *, since: datetime) -> RemoteTask | None:
        """The task that a message began, among those that changed since. Raises AgentRefused from an agent that lists
        no tasks."""

    async def cancel(self, agent: Agent, task_id: str) -> None:
        """Asks for a task to be stopped; nothing for one that has ended, or that the agent does not know."""


class AgentStore(Protocol):
    """Registered agents. Every method raises what is wrong with the database."""

    async def put(self, agent: Agent, *, now: datetime, most: int) -> tuple[Agent, bool]:
        """Stores an agent, unless its name is another's; whether it is new. One that is registered again keeps when it
        was first. Raises AgentNameTaken, and TooManyAgents over `most`."""

    async def get(self, name: str) -> Agent:
        """The agent. Raises AgentNotFound."""

    async def list(self) -> Sequence[Agent]:
        """All, by name."""

    async def renew(self, name: str, *, now: datetime) -> Agent | None:
        """The agent, its time begun anew; None when it is over, or there is no such agent, or it has no time."""

    async def delete(self, name: str) -> None:
        """Removes an agent. Raises AgentNotFound."""

    async def due(self, *, now: datetime, checked_before: datetime) -> Sequence[Agent]:
        """Living agents whose card was not read since; they count as read now, so that only one executor does."""

    async def checked(self, agent: Agent) -> None:
        """Stores what reading an agent's card gave, if it is registered still."""

    async def forget(self, *, expired_before: datetime) -> None:
        """Removes agents whose time was over by then."""
