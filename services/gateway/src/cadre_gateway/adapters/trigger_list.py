"""Which triggers there are, as the executor says it, remembered for a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cadre.executor.v1 import workflows_pb2
from cadre_gateway.adapters.services import Executor
from cadre_gateway.domain.connectors import Trigger
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger

__all__ = ["TriggerList", "Triggers"]

log = logger()

_FRESH_SECONDS = 5.0
_LEAST_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Triggers:
    """The triggers of all workflows by the addresses that they are started at."""

    revision: str = ""
    by_address: Mapping[tuple[str, str], Sequence[Trigger]] = field(default_factory=dict)

    def at(self, kind: str, name: str) -> Sequence[Trigger]:
        """Those of one address: a workflow's webhooks, or all that messages to a connection may start."""
        return self.by_address.get((kind, name), ())

    def all(self) -> Sequence[Trigger]:
        """Those that files have, by address."""
        found = sorted(self.by_address.items())
        return [each for _, triggers in found for each in triggers if each.index is not None]


class TriggerList:
    """Asks the executor. What is known holds on while it cannot be reached, but proves nothing of what it lacks."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._known: Triggers | None = None
        self._asked = 0.0
        self._failure: CadreError | None = None
        self._changed = False
        self._asking: asyncio.Task[Triggers] | None = None

    async def now(self) -> Triggers:
        """The triggers as they were a few seconds ago at most; asked for anew meanwhile when it is longer. Raises what
        keeps the executor from answering when nothing is known."""
        if self._known is None or self._changed:
            return await asyncio.shield(self._ask())
        if time.monotonic() - self._asked > _FRESH_SECONDS:
            self._ask()
        return self._known

    async def anew(self) -> Triggers:
        """The triggers as they are now, asked for once a second at most. Raises why they cannot be."""
        known = self._known
        if known is None or self._changed or time.monotonic() - self._asked > _LEAST_SECONDS:
            known = await asyncio.shield(self._ask())
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return known

    def forget(self) -> None:
        """A workflow was changed through this gateway: the next who asks waits for the answer."""
        self._changed = True

    def _ask(self) -> asyncio.Task[Triggers]:
        # One that began before a change may not know of it.
        if self._asking is None or self._asking.done() or self._changed:
            self._changed = False
            self._asking = asyncio.create_task(self._asked_for(self._known))
        return self._asking

    async def _asked_for(self, known: Triggers | None) -> Triggers:
        request = workflows_pb2.ListTriggersRequest(known_revision=known.revision if known else "")
        try:
            answer = await self._executor.call(self._executor.workflows.ListTriggers, request)
        except CadreError as error:
            if known is None:
                raise
            log.warning("triggers_not_renewed", code=error.code, reason=error.message)
            self._failure, self._asked = error, time.monotonic()
            return known
        found = known if known is not None and answer.unchanged else _triggers(answer)
        self._known, self._asked, self._failure = found, time.monotonic(), None
        return found


def _triggers(answer: workflows_pb2.ListTriggersResponse) -> Triggers:
    by_address: dict[tuple[str, str], list[Trigger]] = {}
    for message in answer.triggers:
        trigger = _trigger(message)
        address = trigger.connection or trigger.workflow
        by_address.setdefault((trigger.kind, address), []).append(trigger)
    for workflow in answer.workflows:
        bare = Trigger(kind="webhook", workflow=workflow)
        by_address.setdefault(("webhook", workflow), [bare])
    return Triggers(revision=answer.revision, by_address=by_address)


def _trigger(message: workflows_pb2.Trigger) -> Trigger:
    return Trigger(
        kind=message.kind,
        workflow=message.workflow,
        version=message.version,
        index=message.index,
        connection=message.connection,
        secrets=tuple(message.secrets),
        reply=message.reply,
        notify=message.notify,
        command=message.command,
        enabled=message.enabled,
    )
