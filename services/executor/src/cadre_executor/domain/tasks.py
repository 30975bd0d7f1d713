"""One try of a node, or of one of its items: for whom it is done, with what, and where it is recorded."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from cadre_executor.domain.answers import Asked
from cadre_executor.domain.delegations import Delegations
from cadre_executor.domain.journals import Journal
from cadre_executor.domain.overruns import Budgets
from cadre_executor.domain.peers import Call, Children, Peers
from cadre_executor.domain.records import Records
from cadre_executor.domain.runs import Event, EventType, Failure, Usage
from cadre_executor.domain.stores import ResultCache
from cadre_executor.domain.workflows import Node, Scope, Workflow
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger

__all__ = ["Means", "Place", "Task", "try_over"]

log = logger()

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
# What a channel says when the process at its other end is not there: it was killed, or starts again.
_PEER_GONE = "SERVICE_UNAVAILABLE"
# What a service of the platform says when as much waits for it as may: it goes on, and has begun nothing.
_PEER_BUSY = frozenset({"SANDBOX_BUSY", "EMBEDDED_BUSY", "MODEL_BUSY", "STORE_BUSY"})

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Means:
    """What the visits of one run share. `gate` bounds how much of the run is done at once; `patience_seconds` is how
    long a service that went away is waited for; `pause` waits between tries; `open_children` are the runs that are
    waited for, with the keys of their steps; `failed_before` is what was recorded, by key, when a person let the run go
    on."""

    run_id: str
    root_run_id: str
    depth: int
    schedule: str
    version: int
    workflow: Workflow
    budgets: Budgets
    journal: Journal
    records: Records
    peers: Peers
    children: Children
    delegations: Delegations
    cache: ResultCache
    gate: asyncio.Semaphore
    patience_seconds: float = 30.0
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    open_children: dict[str, str] = field(default_factory=dict)
    failed_before: Mapping[str, Any] = field(default_factory=dict)
    api_key: str = ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A try: of which visit of which node, and of which item of its for_each, from 1; 0 without one. `asked` is what
    the visit asked a person last, with the answer."""

    node: Node
    iteration: int
    attempt: int = 1
    item: int = 0
    asked: Asked | None = None

    @property
    def visit(self) -> str:
        """What the records of the visit, or of its item, begin with."""
        item = f".{self.item}" if self.item else ""
        return f"{self.node.id}/{self.iteration}{item}"

    def event(
        self,
        kind: EventType,
        data: Mapping[str, Any] | None = None,
        *,
        usage: Usage | None = None,
        error: CadreError | None = None,
        duration_ms: int = 0,
    ) -> Event:
        """What happens here now."""
        return Event(
            type=kind,
            time=datetime.now(UTC),
            node=self.node.id,
            iteration=self.iteration,
            attempt=self.attempt,
            item=self.item,
            data=data or None,
            usage=usage,
            error=None if error is None else Failure.of(error, node=self.node.id),
            duration_ms=duration_ms,
        )


@dataclass(kw_only=True)
class Task:
    """A try under way. `usage` is what its model calls used so far, those that are only remembered included; `program`
    is what events say of the program that it ran, None without one; `awaited` says who has no place for a call of it
    now, if anybody."""

    place: Place
    scope: Scope
    means: Means
    usage: Usage = field(default_factory=Usage)
    program: Mapping[str, Any] | None = None
    awaited: str = ""

    @property
    def call(self) -> Call:
        """For whom services are called; each step has a key of its own."""
        means = self.means
        return Call(
            workflow=means.workflow.name,
            version=means.version,
            run_id=means.run_id,
            root_run_id=means.root_run_id,
            node=self.place.node.id,
            schedule=means.schedule,
            api_key=means.api_key,
            key=f"{means.run_id}/{self.place.visit}/{self.place.attempt}",
            budgets=means.budgets.known,
            timeout_seconds=self.place.node.timeout_seconds,
        )

    def key(self, step: str, *, tries_before: int = 0) -> str:
        """What a step of this try, or of one before it, is recorded under."""
        return f"{self.place.visit}/{self.place.attempt - tries_before}/{step}"

    def find(self, step: str) -> Mapping[str, Any] | None:
        """What is recorded of a step of this try."""
        return self.means.records.find(self.key(step))

    def record(self, step: str, document: Mapping[str, Any], *, usage: Usage | None = None) -> None:
        """Records a step of this try, with what it used."""
        self.means.records.record(self.key(step), document, usage=usage)

    def tell(
        self,
        kind: EventType,
        data: Mapping[str, Any],
        *,
        error: CadreError | None = None,
        duration_ms: int = 0,
    ) -> None:
        """Says what happens, to those who watch the run."""
        event = self.place.event(kind, data, error=error, duration_ms=duration_ms)
        self.means.journal.emit(event)

    async def patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeats a call whose service went away, with the same key, until it is back: no run is lost because another
        of the platform's processes was killed, and nothing is paid for twice. One that is busy is waited for as long as
        the node and the run may take."""
        deadline = time.monotonic() + self.means.patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = await ask()
                self.awaited = ""
                return answer
            except CadreError as error:
                if error.code not in _PEER_BUSY and (
                    error.code != _PEER_GONE or time.monotonic() + pause > deadline
                ):
                    raise
                if pause == _FIRST_PAUSE_SECONDS:
                    if error.code in _PEER_BUSY:
                        self.awaited = error.message
                        self.tell(EventType.SERVICE_AWAITED, {"message": error.message})
                    log.warning(
                        "service_awaited",
                        run_id=self.means.run_id,
                        node=self.place.node.id,
                        reason=error.message,
                    )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def try_over(visit: str, attempt: int) -> str:
    """What says that a try of an item is over."""
    return f"{visit}/tried/{attempt}"
