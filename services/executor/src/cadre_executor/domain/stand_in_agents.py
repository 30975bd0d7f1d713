"""What a test has in place of remote agents: whichever it names is there, and does at once what is written."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cadre_executor.domain.agents import (
    Agent,
    Binding,
    Card,
    Interface,
    Outgoing,
    RemoteTask,
    TaskState,
)
from cadre_executor.domain.cases import Fails
from cadre_executor.domain.delegations import Delegation, Delegations
from cadre_executor.domain.registries import Registry
from cadre_executor.domain.scripts import Script, failure_of

__all__ = ["scripted_delegations"]


def scripted_delegations(script: Script) -> Delegations:
    """Hands work to nobody: what agents give is written in the test."""
    return Delegations(store=KeptNowhere(), registry=AnyAgent(), remote=ScriptedAgents(script))


class AnyAgent(Registry):
    """Knows an agent by every name."""

    def __init__(self) -> None:
        """Without a store: nothing is looked up."""

    async def usable(self, name: str) -> Agent:
        """The agent."""
        now = datetime.now(UTC)
        return Agent(name=name, card=_CARD, registered_time=now, last_seen_time=now)


class KeptNowhere:
    """Forgets what was handed over: it has ended by then."""

    async def begin(self, delegation: Delegation) -> Delegation | None:
        """None: nothing was begun before."""
        return None

    async def keep(self, delegation: Delegation) -> None:
        """Keeps nothing."""

    async def drop(self, key: str) -> None:
        """Nothing is kept."""

    async def of_run(self, run_id: str, *, begun_with: Sequence[str]) -> Sequence[Delegation]:
        """None."""
        return ()

    async def orphans(self, *, limit: int) -> Sequence[tuple[Delegation, datetime]]:
        """None."""
        return ()


class ScriptedAgents:
    """Agents that have done everything as soon as they are asked, and ask nothing."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._done: dict[str, RemoteTask] = {}

    def parse(self, document: object) -> Card:
        """The same card, whatever is given."""
        return _CARD

    async def read_card(self, url: str, *, secret: str) -> Card:
        """The same card, whatever the address is."""
        return _CARD

    async def send(self, agent: Agent, message: Outgoing) -> RemoteTask:
        """What is written: text, or data. Raises ReplyMissing, and a failure that is written."""
        written = self._script.answer(message.id, asks=f"asks the agent {agent.name!r}")
        if isinstance(written, Fails):
            raise failure_of(written)
        given = written.value
        task = RemoteTask(
            state=TaskState.COMPLETED,
            id=message.id,
            texts=(given,) if isinstance(given, str) else (),
            data=() if isinstance(given, str) else (given,),
        )
        self._done[task.id] = task
        return task

    async def task(self, agent: Agent, task_id: str) -> RemoteTask:
        """A task, which is done."""
        return self._done[task_id]

    async def find(self, agent: Agent, message_id: str, *, since: datetime) -> RemoteTask | None:
        """The task that a message began."""
        return self._done.get(message_id)

    async def cancel(self, agent: Agent, task_id: str) -> None:
        """Nothing: it is done."""


_CARD = Card(
    title="written in a test",
    description="",
    version="",
    interface=Interface(url="", binding=Binding.JSONRPC),
    document={},
)
