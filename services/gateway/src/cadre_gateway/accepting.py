"""What every delivery goes through, whichever way it comes: its proof, the inbox, the dispatcher."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cadre_gateway.adapters.inbox import Accepted, Inbox
from cadre_gateway.adapters.outbox import Outbox
from cadre_gateway.adapters.trigger_list import TriggerList
from cadre_gateway.dispatching import Dispatcher
from cadre_gateway.domain.actions import StartRun, TellBatchEnd, TellEnd
from cadre_gateway.domain.connectors import (
    Connector,
    DeliveryForbidden,
    DeliveryRefused,
    Incoming,
    Message,
    Parsed,
    Trigger,
)
from cadre_gateway.domain.deliveries import BY_REQUEST, Delivery, DeliveryStatus
from cadre_gateway.entrypoint import documents
from cadre_gateway.entrypoint.batch_documents import Batch
from cadre_gateway.entrypoint.metrics import Metrics
from cadre_kit.errors import Conflict
from cadre_kit.ids import new_id

__all__ = ["Reception"]

_LONGEST_CONVERSATION = 200


@dataclass(frozen=True, kw_only=True)
class Reception:
    """Takes in what comes to connections."""

    connectors: Mapping[str, Connector]
    triggers: TriggerList
    inbox: Inbox
    outbox: Outbox
    dispatcher: Dispatcher
    metrics: Metrics

    async def take(self, kind: str, request: Incoming) -> tuple[Parsed, Sequence[Accepted]]:
        """Takes what somebody sent; when this returns, it is not lost any more. Raises DeliveryRefused,
        DeliveryForbidden, and InvalidInput for what cannot be read."""
        connector = self.connectors[kind]
        return await self._stored(connector, request, await self._verified(connector, request))

    async def take_fetched(self, kind: str, request: Incoming) -> None:
        """Takes what we asked the provider for ourselves, so that nothing is to be proved."""
        known = await self.triggers.now()
        triggers = [each for each in known.at(kind, request.name) if each.enabled]
        await self._stored(self.connectors[kind], request, triggers)

    async def tell_end(self, run: documents.Run, notify: str) -> None:
        """Has `notify` told how a run ends that a request started. When this returns, that is not lost any more.
        Raises Conflict for another address than the first for the run."""
        delivery = _telling(run, TellEnd(), notify, key=run.id, run_id=run.id)
        accepted = await self._taken(delivery)
        if not accepted.is_new and (await self.inbox.get(accepted.id))[0].notify != notify:
            raise Conflict(
                "the idempotency key came with another `notify` before",
                resolution="Send the same request again, or another key.",
                code="IDEMPOTENCY_KEY_REUSED",
            )

    async def tell_batch_end(self, batch: Batch, notify: str) -> None:
        """Has `notify` told how a batch ends, once, however often the same rows are asked for while it goes on; again
        when it was resumed since it was told."""
        about = f"{batch.id}/{hashlib.sha256(notify.encode()).hexdigest()[:16]}/"
        before = await self.inbox.statuses(BY_REQUEST, batch.workflow, about)
        if any(each in (DeliveryStatus.RECEIVED, DeliveryStatus.STARTED) for each in before):
            return
        # Twins of the request count the same ones before them, and so have the same key.
        key = f"{about}{len(before)}"
        await self._taken(_telling(batch, TellBatchEnd(batch_id=batch.id), notify, key=key))

    async def _taken(self, delivery: Delivery) -> Accepted:
        (accepted,) = await self.inbox.accept([delivery])
        if accepted.is_new:
            self.dispatcher.take([delivery])
        return accepted

    async def _verified(self, connector: Connector, request: Incoming) -> Sequence[Trigger]:
        """The triggers that a genuine request may start. Whoever is refused may know of a change that we do not."""
        known = await self.triggers.now()
        try:
            found = connector.verify(request, known.at(connector.kind, request.name))
            if found:
                return found
        except (DeliveryRefused, DeliveryForbidden):
            pass
        anew = await self.triggers.anew()
        try:
            return connector.verify(request, anew.at(connector.kind, request.name))
        except (DeliveryRefused, DeliveryForbidden):
            self.metrics.delivery(connector.kind, "refused")
            raise

    async def _stored(
        self, connector: Connector, request: Incoming, triggers: Sequence[Trigger]
    ) -> tuple[Parsed, Sequence[Accepted]]:
        parsed = connector.parse(request, triggers)
        deliveries = [_delivery(connector.kind, request, message) for message in parsed.messages]
        accepted = await self._accepted(deliveries, [message.album for message in parsed.messages])
        for each in accepted:
            self.metrics.delivery(connector.kind, "accepted" if each.is_new else "repeated")
        if parsed.receipts:
            await self.outbox.note(connector.kind, parsed.receipts)
        return parsed, accepted

    async def _accepted(
        self, deliveries: Sequence[Delivery], albums: Sequence[str]
    ) -> Sequence[Accepted]:
        gathered = {
            one.id: known
            for one, album in zip(deliveries, albums, strict=True)
            if album and (known := await self.inbox.gather(one, album)) is not None
        }
        single = [one for one in deliveries if one.id not in gathered]
        accepted = await self.inbox.accept(single) if single else []
        begun = {one.id: known for one, known in zip(single, accepted, strict=True)}
        self.dispatcher.take([one for one in single if begun[one.id].is_new])
        return [(gathered | begun)[one.id] for one in deliveries]


def _telling(
    followed: documents.Run | Batch,
    action: TellEnd | TellBatchEnd,
    notify: str,
    *,
    key: str,
    run_id: str = "",
) -> Delivery:
    now = time.time()
    return Delivery(
        id=new_id(),
        kind=BY_REQUEST,
        name=followed.workflow,
        key=key,
        workflow=followed.workflow,
        version=followed.version,
        trigger=None,
        content={},
        action=action,
        notify=notify,
        run_id=run_id or new_id(),
        received_time=now,
        updated_time=now,
    )


def _delivery(kind: str, request: Incoming, message: Message) -> Delivery:
    trigger = message.trigger
    starts = isinstance(message.action, StartRun)
    return Delivery(
        id=new_id(),
        kind=kind,
        name=request.name,
        key=message.key,
        workflow=trigger.workflow if starts else "",
        version=trigger.version if starts else 0,
        trigger=trigger.index,
        content=message.content,
        back=message.back,
        conversation=str(message.content.get("conversation", ""))[:_LONGEST_CONVERSATION],
        action=message.action,
        reply=trigger.reply,
        notify=trigger.notify,
        secrets=trigger.secrets,
        run_id=new_id(),
        received_time=request.now,
        updated_time=request.now,
    )
