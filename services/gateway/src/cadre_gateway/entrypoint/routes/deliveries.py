"""What came from outside and what became of it; what failed is replayed or discarded here."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Query

from cadre_gateway.adapters.trigger_list import Triggers
from cadre_gateway.domain import deliveries as domain
from cadre_gateway.entrypoint import documents
from cadre_gateway.entrypoint.access import READ, WRITE
from cadre_gateway.entrypoint.delivery_conversions import delivery
from cadre_gateway.entrypoint.dependencies import IdPageToken, Parts, TheParts
from cadre_gateway.entrypoint.once import ONCE, OnceRoute

__all__ = ["router"]

router = APIRouter(tags=["triggers"], route_class=OnceRoute)

_Id = Annotated[str, Path(max_length=100, description="The delivery's id.")]


@router.get("/api/v1/deliveries", dependencies=[READ])
async def list_deliveries(
    parts: TheParts,
    status: Annotated[
        documents.DeliveryStatus | None, Query(description="Only those in this status.")
    ] = None,
    source: Annotated[
        str, Query(max_length=130, description="Only from this source, such as slack/helper.")
    ] = "",
    key: Annotated[str, Query(max_length=200, description="Only with this id of the sender.")] = "",
    page_size: Annotated[int, Query(ge=1, le=500, description="At most this many.")] = 50,
    page_token: IdPageToken = "",
) -> documents.DeliveryPage:
    """Lists deliveries, newest first, without their contents and replies."""
    wanted = None if status is None else domain.DeliveryStatus(status.value)
    page = await parts.inbox.list(
        status=wanted, source=source, key=key, limit=page_size, before=page_token
    )
    return documents.DeliveryPage(
        deliveries=[delivery(one, listed=True) for one in page.deliveries],
        next_page_token=page.deliveries[-1].id if page.more else "",
    )


@router.get("/api/v1/deliveries/{delivery_id}", dependencies=[READ])
async def get_delivery(delivery_id: _Id, parts: TheParts) -> documents.Delivery:
    """Returns a delivery, with what came and what is sent for it."""
    return await _shown(delivery_id, parts)


@router.post("/api/v1/deliveries/{delivery_id}/replay", dependencies=[WRITE, ONCE])
async def replay_delivery(delivery_id: _Id, parts: TheParts) -> documents.Delivery:
    """Lets a parked delivery go on from where it failed, with the workflow's newest version if no run was started."""
    found, _ = await parts.inbox.get(delivery_id)
    await parts.inbox.replay(_renewed(found, await parts.triggers.anew()))
    return await _shown(delivery_id, parts)


@router.post("/api/v1/deliveries/{delivery_id}/discard", dependencies=[WRITE])
async def discard_delivery(delivery_id: _Id, parts: TheParts) -> documents.Delivery:
    """Gives a parked delivery up."""
    await parts.inbox.discard(delivery_id)
    return await _shown(delivery_id, parts)


async def _shown(delivery_id: str, parts: Parts) -> documents.Delivery:
    found, posts = await parts.inbox.get(delivery_id)
    return delivery(found, posts)


def _renewed(found: domain.Delivery, triggers: Triggers) -> domain.Delivery:
    """The delivery under the trigger that its file has now in the place of the one that it came to."""
    same = [t for t in triggers.at(found.kind, found.name) if t.workflow == found.workflow]
    now = next((t for t in same if t.index == found.trigger), same[0] if same else None)
    if now is None:
        return found
    return replace(
        found,
        version=now.version,
        trigger=now.index,
        reply=now.reply,
        notify=now.notify,
        secrets=now.secrets,
    )
