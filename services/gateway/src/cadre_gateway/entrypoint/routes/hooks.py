"""Ways in for triggers: what is genuine is stored and answered; runs are started afterwards."""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response, status

from cadre.executor.v1 import runs_pb2
from cadre_gateway.adapters.inbox import Accepted
from cadre_gateway.adapters.services import Executor
from cadre_gateway.connectors.webhook import WebhookConnector
from cadre_gateway.domain.connectors import Incoming, Parsed
from cadre_gateway.entrypoint import conversions, documents
from cadre_gateway.entrypoint.dependencies import Parts, TheParts
from cadre_gateway.entrypoint.errors import PROBLEM_CONTENT, TooManyRequests
from cadre_gateway.entrypoint.routes.runs import run_path
from cadre_kit.errors import CadreError, NotFound

__all__ = ["answered", "plainly_delivered", "router"]

router = APIRouter(tags=["webhooks"])

_LONGEST_WAIT_SECONDS = 60
_FIRST_LOOK_SECONDS = 0.05
_LONGEST_LOOK_SECONDS = 0.5
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "JSON; without a webhook among the workflow's triggers the run's inputs, an object by state "
        "field. The signature is over these bytes as they are.",
        "content": {"application/json": {"schema": {}}},
    }
}
_ANY_BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "description": "Whatever the provider sends.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_ANSWERED: dict[int | str, dict[str, Any]] = {
    403: {"description": "It is not proved to come from the provider.", **PROBLEM_CONTENT},
    200: {
        "description": "Accepted, repeated, or nothing to do: what the provider wants to read.",
        "content": {
            "application/json": {"schema": {}},
            "text/plain": {"schema": {"type": "string"}},
        },
    },
}
_WAITED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The run ended in time.", "model": documents.DeliveredAndEnded}
}
_Name = Annotated[str, Path(max_length=100, description="The app's, bot's or number's name.")]


class ConnectorUnknown(NotFound):
    """There is no such way in."""

    code = "CONNECTOR_UNKNOWN"


@router.post(
    "/hooks/{workflow}",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_BODY,
    response_model=documents.Delivered,
    responses=_WAITED,
)
async def deliver(
    workflow: Annotated[str, Path(max_length=100, description="The applied workflow to start.")],
    request: Request,
    parts: TheParts,
    response: Response,
    wait: Annotated[
        int, Query(ge=0, le=_LONGEST_WAIT_SECONDS, description="Seconds to wait for the run's end.")
    ] = 0,
) -> documents.Delivered | Response:
    """Accepts a delivery, which starts a run. A repeated delivery gets the first one's answer.

    Needs no key, but a signature: that of Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`),
    or `X-Hub-Signature-256` with `X-GitHub-Delivery`.
    """
    delivered = await _delivered(workflow, request, parts)
    response.headers["Location"] = delivered.run_url
    ended = await _ended(parts.services.executor, delivered.run_id, seconds=wait)
    if ended is None:
        return delivered
    told = documents.DeliveredAndEnded(
        **delivered.model_dump(), status=ended.status, outputs=ended.outputs, error=ended.error
    )
    return Response(told.model_dump_json(), media_type="application/json")


@router.post(
    "/hooks/{kind}/{name}",
    openapi_extra=_ANY_BODY,
    response_class=Response,
    responses=_ANSWERED,
)
async def receive(
    kind: Annotated[str, Path(max_length=20, description="telegram, slack, ...")],
    name: _Name,
    request: Request,
    parts: TheParts,
) -> Response:
    """Accepts what a provider sends to a connection. Needs no key, but the provider's signature."""
    return await answered(kind, name, request, parts)


@router.get("/hooks/{kind}/{name}", response_class=Response, responses=_ANSWERED)
async def verify_address(
    kind: Annotated[str, Path(max_length=20, description="telegram, slack, ...")],
    name: _Name,
    request: Request,
    parts: TheParts,
) -> Response:
    """Proves to a provider that asks for it that this address is meant to be the connection's."""
    return await answered(kind, name, request, parts)


async def plainly_delivered(workflow: str, request: Request, parts: Parts) -> Response:
    """What `deliver` answers to a delivery that does not wait."""
    delivered = await _delivered(workflow, request, parts)
    return Response(
        delivered.model_dump_json(),
        status_code=status.HTTP_202_ACCEPTED,
        headers={"Location": delivered.run_url},
        media_type="application/json",
    )


async def _delivered(workflow: str, request: Request, parts: Parts) -> documents.Delivered:
    _, (accepted,) = await _received(WebhookConnector.kind, workflow, request, parts)
    return documents.Delivered(
        delivery_id=accepted.id, run_id=accepted.run_id, run_url=run_path(accepted.run_id)
    )


async def answered(kind: str, name: str, request: Request, parts: Parts) -> Response:
    """What `receive` and `verify_address` answer."""
    if kind == WebhookConnector.kind:
        raise _unknown(kind)
    parsed, _ = await _received(kind, name, request, parts)
    answer = parsed.answer
    if answer is None:
        return Response(status_code=status.HTTP_200_OK)
    return Response(answer.body, status_code=answer.status, media_type=answer.media_type)


async def _received(
    kind: str, name: str, request: Request, parts: Parts
) -> tuple[Parsed, Sequence[Accepted]]:
    """What came, accepted, unless its sender sends too much."""
    if kind not in parts.connectors:
        raise _unknown(kind)
    _check_rate(f"{kind}/{name}", request, parts)
    incoming = Incoming(
        method=request.method,
        name=name,
        headers=request.headers,
        query=request.query_params,
        body=await request.body(),
        now=time.time(),
    )
    return await parts.reception.take(kind, incoming)


def _check_rate(source: str, request: Request, parts: Parts) -> None:
    sender = request.client.host if request.client else ""
    if not parts.hook_rates.allows(f"{sender} {source}", now=time.monotonic()):
        raise TooManyRequests(
            f"more deliveries come to {source} than one sender may make",
            resolution="Send them again a little later, or raise CADRE_GATEWAY_HOOK_RATE.",
            metadata={"source": source},
        )


def _unknown(kind: str) -> ConnectorUnknown:
    return ConnectorUnknown(
        f"there is no way in of the kind {kind[:20]!r}",
        resolution="docs/triggers.md lists the kinds.",
        metadata={"kind": kind[:20]},
    )


async def _ended(executor: Executor, run_id: str, *, seconds: int) -> documents.Run | None:
    """The run once it has ended; None when it has not in time, also because the executor cannot be reached."""
    deadline, pause = time.monotonic() + seconds, _FIRST_LOOK_SECONDS
    while time.monotonic() + pause < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
        run = await _found(executor, run_id)
        if run is not None and run.status.is_final:
            return run
    return None


async def _found(executor: Executor, run_id: str) -> documents.Run | None:
    request = runs_pb2.GetRunRequest(run_id=run_id)
    try:
        answer = await executor.call(executor.runs.GetRun, request)
    except CadreError:
        return None
    return conversions.run(answer.run)
