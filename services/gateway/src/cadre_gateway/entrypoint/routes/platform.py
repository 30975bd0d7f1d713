"""The platform itself: how its services are, its metrics, its description."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from cadre_gateway.adapters.probes import Condition, Probe
from cadre_gateway.entrypoint import documents
from cadre_gateway.entrypoint.access import READ
from cadre_gateway.entrypoint.dependencies import TheParts
from cadre_gateway.entrypoint.reference import reference_page
from cadre_kit.errors import Unavailable

__all__ = ["router"]

router = APIRouter(tags=["platform"])


class NotReady(Unavailable):
    """The gateway lives, but what it needs for anything is not there."""

    code = "NOT_READY"


@router.get("/healthz")
async def healthz() -> documents.Ready:
    """Says that the gateway lives."""
    return documents.Ready(status="alive")


@router.get("/readyz")
async def readyz(parts: TheParts) -> documents.Ready:
    """Says that the executor answers too."""
    executor = next(probe for probe in parts.probes if probe.name == "executor")
    reading = await executor.ask()
    if reading.condition is not Condition.READY:
        raise NotReady(
            f"the executor is {reading.condition.value}: {reading.detail}",
            resolution="Wait for it; `cadre status` shows all services.",
            metadata={"service": "executor"},
        )
    return documents.Ready(status="ready")


@router.get("/api/v1/status", dependencies=[READ])
async def get_status(request: Request, parts: TheParts) -> documents.Statuses:
    """Says how every service is; asked now, all at once, within a second."""
    gateway = documents.ServiceStatus(
        name="gateway",
        address=_own_address(request),
        status=Condition.READY.value,
        version=parts.version,
        detail=None,
    )
    others = await asyncio.gather(*(_status(probe) for probe in parts.probes))
    return documents.Statuses(services=[gateway, *others])


@router.get("/metrics", response_class=PlainTextResponse, dependencies=[READ])
async def get_metrics(parts: TheParts) -> Response:
    """Counts and durations of requests, for Prometheus."""
    return Response(parts.metrics.text(), media_type=parts.metrics.content_type)


@router.get("/docs", include_in_schema=False)
async def get_reference(request: Request) -> HTMLResponse:
    """This API for people. Made here: the usual pages load their program from the network."""
    return HTMLResponse(reference_page(request.app.openapi()))


async def _status(probe: Probe) -> documents.ServiceStatus:
    reading = await probe.ask()
    return documents.ServiceStatus(
        name=probe.name,
        address=probe.address,
        status=reading.condition.value,
        version=reading.version,
        detail=reading.detail,
    )


def _own_address(request: Request) -> str:
    host, port = request.scope["server"]
    return f"{host}:{port}"
