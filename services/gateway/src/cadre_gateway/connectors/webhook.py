"""Webhooks: any sender who signs as Standard Webhooks or GitHub do; the end of a run is told in the same way."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2

from cadre_gateway.connectors.bodies import json_body
from cadre_gateway.domain.connectors import (
    Connector,
    DeliveryRefused,
    Incoming,
    Message,
    Parsed,
    Sample,
    SecretNotSet,
    Trigger,
    Variables,
    required,
)
from cadre_gateway.domain.deliveries import Delivery, EndpointGone, RunNews, TryAgain
from cadre_gateway.domain.webhooks import WebhookSecret, standard_headers, verified_delivery
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_kit.documents import json_text
from cadre_kit.errors import InvalidInput, NotFound
from cadre_kit.ids import new_id
from cadre_kit.logs import logger
from cadre_kit.outgoing import Ask, fetch

__all__ = ["WebhookConnector", "retry_after"]

log = logger()

_PAYLOAD_BYTES = 20_000
_SEND_SECONDS = 20.0
_ENDED = {"succeeded": "completed", "failed": "failed", "cancelled": "cancelled"}


class WorkflowUnknown(NotFound):
    """The sender has the platform's secret, and names no applied workflow."""

    code = "WORKFLOW_NOT_FOUND"


class WebhookConnector(Connector):
    """`platform` is the secret of workflows whose triggers name none; `notices` signs what is told where no trigger has
    one, as whoever checks that must not be able to start runs. `client` reaches only allowed addresses."""

    kind = "webhook"

    def __init__(
        self,
        *,
        variables: Variables,
        platform: WebhookSecret,
        notices: WebhookSecret,
        client: httpx2.AsyncClient,
    ) -> None:
        self._variables = variables
        self._platform = platform
        self._notices = notices
        self._client = client

    def verify(self, request: Incoming, triggers: Sequence[Trigger]) -> Sequence[Trigger]:
        """The first whose secret signed it."""
        if request.method != "POST":
            raise DeliveryRefused
        for trigger in triggers:
            if trigger.enabled and self._signed(request, self._keys(trigger.secrets)):
                return [trigger]
        if triggers or not self._signed(request, [self._platform]):
            raise DeliveryRefused
        return []

    def parse(self, request: Incoming, triggers: Sequence[Trigger]) -> Parsed:
        """One message: its body, whatever JSON it is; an object where its members are the inputs."""
        if not triggers:
            raise WorkflowUnknown(
                f"no workflow {request.name!r}",
                resolution="List the workflows with `cadre workflows list`; store one with `cadre apply`.",
                metadata={"workflow": request.name},
            )
        (trigger,) = triggers
        body = json_body(request.body)
        if trigger.index is None and not isinstance(body, dict):
            raise InvalidRequest(
                "the delivery's body is not a JSON object",
                resolution="Send the run's inputs as a JSON object, by state field.",
                code="BODY_NOT_AN_OBJECT",
            )
        named_by = "webhook-id" if "webhook-signature" in request.headers else "x-github-delivery"
        key = request.headers[named_by]
        content = {"body": body, "event": _event(request, body)}
        return Parsed(messages=[Message(trigger=trigger, key=key, content=content)])

    def reply(self, delivery: Delivery, run: RunNews) -> Sequence[Mapping[str, Any]]:
        """What is told when the run has ended."""
        if not delivery.notify or run.status not in _ENDED:
            return []
        is_run = run.rows is None
        told = {
            "type": f"{'run' if is_run else 'batch'}.{_ENDED[run.status]}",
            "timestamp": datetime.now(UTC).isoformat(),
            "data": _about_run(delivery, run) if is_run else _about_batch(run),
        }
        # What names an address each time anew is not kept from it by a refusal before.
        known = f"{delivery.workflow}@{delivery.version} {delivery.notify}"
        endpoint = known if delivery.starts_a_run else ""
        return [
            {
                "url": delivery.notify,
                "secrets": list(delivery.secrets),
                "body": json.dumps(told, ensure_ascii=False),
                "endpoint": endpoint,
            }
        ]

    async def send(self, document: Mapping[str, Any], *, post_id: str, now: float) -> str:
        """One POST; only 2xx is success."""
        body = str(document["body"]).encode()
        names = document["secrets"]
        keys = self._keys(names, strictly=True) if names else [self._notices]
        ask = Ask(
            url=document["url"],
            method="POST",
            headers={
                "content-type": "application/json",
                "user-agent": "cadre",
                **standard_headers(keys, body, message_id=post_id, now=now),
            },
            body=body,
            seconds=_SEND_SECONDS,
            max_bytes=64 * 1024,
            max_redirects=0,
        )
        answer = await fetch(self._client, ask)
        _judge(answer.status, answer.headers)
        return ""

    def sample(self, name: str, text: str, triggers: Sequence[Trigger], *, now: float) -> Sample:
        """The text as the body if it is JSON, else `{"message": text}`."""
        secrets = next((trigger.secrets for trigger in triggers if trigger.enabled), ())
        key = f"sample_{new_id()}"
        body = _sample_body(text)
        keys = self._keys(secrets, strictly=True)
        headers = standard_headers(keys[:1], body, message_id=key, now=now)
        return Sample(
            path=f"/hooks/{name}",
            headers={"content-type": "application/json", **headers},
            body=body,
            key=key,
        )

    def _signed(self, request: Incoming, keys: Sequence[WebhookSecret]) -> bool:
        try:
            verified_delivery(keys, request.headers, request.body, now=request.now)
        except DeliveryRefused:
            return False
        return True

    def _keys(self, names: Sequence[str], *, strictly: bool = False) -> list[WebhookSecret]:
        """The secrets of these variables, those that can sign; `strictly` raises for the others."""
        if not names:
            return [self._platform]
        found = []
        for name in names:
            try:
                found.append(WebhookSecret(required(self._variables, name), name=name))
            except (InvalidInput, SecretNotSet) as error:
                if strictly:
                    raise
                log.warning("webhook_secret_unusable", variable=name, reason=error.message)
        return found


def _about_run(delivery: Delivery, run: RunNews) -> Mapping[str, Any]:
    why = None if run.error is None else {"code": run.error.code, "message": run.error.message}
    data = {
        "run_id": run.id,
        "run_url": f"/api/v1/runs/{run.id}",
        "workflow": run.workflow,
        "delivery": delivery.key if delivery.starts_a_run else None,
        "status": run.status,
        "error": why,
        "outputs": run.outputs,
    }
    if len(json_text(data).encode()) > _PAYLOAD_BYTES - 500:
        # The receiver finds them at the run.
        data["outputs"] = None
    return data


def _about_batch(batch: RunNews) -> Mapping[str, Any]:
    return {
        "batch_id": batch.id,
        "batch_url": f"/api/v1/batches/{batch.id}",
        "workflow": batch.workflow,
        "status": batch.status,
        "rows": batch.rows,
    }


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a Retry-After header says; None without one, or for a date."""
    said = headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) <= 6 else None


def _judge(status: int, headers: Mapping[str, str]) -> None:
    if 200 <= status < 300:
        return
    if status == 410:
        raise EndpointGone(
            "the receiver answered 410: it wants nothing more",
            resolution="Take `notify` out of the trigger, or replay this once the receiver is back.",
        )
    raise TryAgain(f"the receiver answered {status}", after_seconds=retry_after(headers))


def _event(request: Incoming, body: Any) -> str:
    """What the sender calls it: GitHub in a header, Standard Webhooks in the body."""
    named = body.get("type") if isinstance(body, dict) else None
    return request.headers.get("x-github-event") or (named if isinstance(named, str) else "")


def _sample_body(text: str) -> bytes:
    try:
        json.loads(text)
    except ValueError:
        return json.dumps({"message": text}).encode()
    return text.encode()
