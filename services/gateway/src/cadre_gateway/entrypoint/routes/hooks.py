"""Webhooks: a genuine delivery starts a run, once."""

import json
import time
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, status
from pydantic import JsonValue, TypeAdapter, ValidationError

from cadre.executor.v1 import runs_pb2
from cadre_gateway.domain.webhooks import verified_delivery
from cadre_gateway.entrypoint import documents
from cadre_gateway.entrypoint.dependencies import TheParts
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_gateway.entrypoint.routes.runs import run_path
from cadre_kit.documents import to_json

__all__ = ["router"]

router = APIRouter(tags=["webhooks"])

_INPUTS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(documents.JsonObject)
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The run's inputs, an object by state field. The signature is over these bytes as they are.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@router.post("/hooks/{workflow}", status_code=status.HTTP_202_ACCEPTED, openapi_extra=_BODY)
async def deliver(
    workflow: Annotated[str, Path(max_length=100, description="The applied workflow to start.")],
    request: Request,
    parts: TheParts,
) -> documents.Delivered:
    """Starts a run with the body as inputs. A repeated delivery gets the first one's answer.

    Needs no key, but a signature with the webhook secret: that of Standard Webhooks (`webhook-id`,
    `webhook-timestamp`, `webhook-signature`), or `X-Hub-Signature-256` with `X-GitHub-Delivery`.
    """
    body = await request.body()
    delivery = verified_delivery(parts.webhook_secret, request.headers, body, now=time.time())
    start = runs_pb2.StartRunRequest(
        workflow=workflow, inputs=to_json(_inputs(body)), trigger="webhook"
    )
    executor = parts.services.executor
    answer = await executor.call(
        executor.runs.StartRun, start, idempotency_key=f"webhook/{quote(workflow)}/{delivery}"
    )
    return documents.Delivered(run_id=answer.run.id, run_url=run_path(answer.run.id))


def _inputs(body: bytes) -> dict[str, JsonValue]:
    try:
        return _INPUTS.validate_python(json.loads(body))
    except (ValidationError, ValueError, RecursionError) as exc:
        raise InvalidRequest(
            "the delivery's body is not a JSON object",
            resolution="Send the run's inputs as a JSON object, by state field.",
            code="BODY_NOT_AN_OBJECT",
        ) from exc
