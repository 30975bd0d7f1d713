"""What starts runs from outside, and samples to try it with."""

import time
from typing import Annotated

from fastapi import APIRouter, Path

from cadre_gateway.connectors.telegram import Connected
from cadre_gateway.domain.connectors import Trigger
from cadre_gateway.entrypoint import documents
from cadre_gateway.entrypoint.access import ADMIN, READ, RUN
from cadre_gateway.entrypoint.delivery_conversions import sample, trigger
from cadre_gateway.entrypoint.dependencies import TheParts
from cadre_kit.errors import NotFound

__all__ = ["router"]

router = APIRouter(tags=["triggers"])


_Bot = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_-]{1,60}$", description="The bot's name in the gateway.")
]


class TriggerUnknown(NotFound):
    """No applied workflow has a trigger at this address."""

    code = "TRIGGER_UNKNOWN"


@router.get("/api/v1/triggers", dependencies=[READ])
async def list_triggers(parts: TheParts) -> documents.Triggers:
    """Lists the triggers of all applied workflows, by address; those of the clock are schedules."""
    known = await parts.triggers.anew()
    return documents.Triggers(triggers=[trigger(one) for one in known.all()])


@router.post("/api/v1/triggers/{kind}/{name}/sample", dependencies=[RUN])
async def make_sample(
    kind: Annotated[str, Path(max_length=20, description="webhook, telegram, ...")],
    name: Annotated[str, Path(max_length=100, description="The workflow, app, bot or number.")],
    asked: documents.NewSample,
    parts: TheParts,
) -> documents.Sample:
    """Signs a delivery as its provider would; posting it to `path` as it is tries the trigger without the provider."""
    connector = parts.connectors.get(kind)
    found: list[Trigger] = []
    if connector is not None:
        found = [t for t in (await parts.triggers.anew()).at(kind, name) if t.enabled]
    if connector is None or not found:
        raise TriggerUnknown(
            f"no applied workflow is started by {kind}/{name}",
            resolution="List what there is with `cadre trigger sources`; apply a workflow with such a trigger.",
            metadata={"kind": kind, "name": name},
        )
    return sample(
        connector.sample(name, asked.text, found, now=time.time()), source=f"{kind}/{name}"
    )


@router.post("/api/v1/triggers/telegram/{bot}/connect", dependencies=[ADMIN])
async def connect_telegram(
    bot: _Bot, asked: documents.NewTelegramConnection, parts: TheParts
) -> documents.TelegramConnection:
    """Has Telegram send the bot's messages to this gateway, with the secret by which it knows them."""
    return _connection(await parts.telegram.connect(bot, asked.url))


@router.post("/api/v1/triggers/telegram/{bot}/disconnect", dependencies=[ADMIN])
async def disconnect_telegram(bot: _Bot, parts: TheParts) -> documents.TelegramConnection:
    """Has Telegram send the bot's messages nowhere, so that they can be asked for."""
    return _connection(await parts.telegram.disconnect(bot))


def _connection(found: Connected) -> documents.TelegramConnection:
    return documents.TelegramConnection(
        username=found.username,
        address=found.address,
        pending=found.pending,
        last_error=found.last_error,
    )
