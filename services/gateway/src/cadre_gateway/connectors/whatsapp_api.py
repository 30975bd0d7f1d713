"""Meta's Graph API, as far as WhatsApp needs it, and what its errors mean for whoever sends."""

import json
from collections.abc import Mapping
from typing import Any

import httpx2

from cadre_gateway.connectors.webhook import retry_after
from cadre_gateway.domain.connectors import (
    MOST_FILE_BYTES,
    AttachmentTooLarge,
    Variables,
    connection_variable,
    required,
)
from cadre_gateway.domain.deliveries import TryAgain, Undeliverable
from cadre_kit.outgoing import Ask, Fetched, TooLarge, fetch

__all__ = ["WhatsAppApi", "WhatsAppRefused", "resolution_of"]

# Two calls, where the first is refused, are within the 25 seconds that a reply may take.
_CALL_SECONDS = 12.0
_SHOW_SECONDS = 4.0
# Too much at once, or Meta's own trouble: https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
_PASSING = frozenset({1, 2, 4, 80007, 130429, 131000, 131016, 131048, 131056, 131057, 133004})
_RESOLUTIONS = {
    190: "Set the number's access token anew; make one of a system user, which does not expire.",
    131026: "The person cannot be reached on WhatsApp; discard the delivery.",
    131047: "WhatsApp takes only templates 24 hours after the person wrote last: set one (docs/triggers.md).",
    131051: "WhatsApp does not take this kind of message.",
}


class WhatsAppRefused(Undeliverable):
    """Meta does not do what it was asked for. `number` is its error code."""

    code = "WHATSAPP_REFUSED"

    def __init__(self, number: int, message: str) -> None:
        self.number = number
        super().__init__(
            f"WhatsApp refuses it: {message[:200]} ({number})",
            resolution=resolution_of(number),
            metadata={"number": str(number)},
        )


def resolution_of(number: int) -> str:
    """What to do about an error code of Meta's."""
    return _RESOLUTIONS.get(number, "Mend what it says, then replay the delivery.")


class WhatsAppApi:
    """`url` is where the Graph API is, with its version. The number `main` has its access token in
    CADRE_WHATSAPP_MAIN_TOKEN."""

    def __init__(self, *, variables: Variables, url: str, client: httpx2.AsyncClient) -> None:
        self._variables = variables
        self._url = url.rstrip("/")
        self._client = client

    async def send(self, name: str, number_id: str, message: Mapping[str, Any]) -> str:
        """Sends a message from a number; its id. Raises SecretNotSet, WhatsAppRefused, TryAgain, and what `fetch`
        does."""
        found = await self._post(name, number_id, message, seconds=_CALL_SECONDS)
        sent = found.get("messages")
        first = sent[0] if isinstance(sent, list) and sent else {}
        return str(first.get("id", "")) if isinstance(first, dict) else ""

    async def mark_read(self, name: str, number_id: str, message_id: str) -> None:
        """Marks a message as read, and shows for 25 seconds that an answer is being written. Raises as `send`."""
        read = {
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": message_id,
            "typing_indicator": {"type": "text"},
        }
        await self._post(name, number_id, read, seconds=_SHOW_SECONDS)

    async def download(self, name: str, media_id: str) -> bytes:
        """A file that somebody sent. Raises as `send`, and AttachmentTooLarge."""
        about = _document(await self._get(name, f"{self._url}/{media_id}"))
        try:
            answer = await self._get(name, str(about.get("url", "")))
        except TooLarge as exc:
            raise AttachmentTooLarge from exc
        if answer.status != 200:
            raise TryAgain(f"WhatsApp answered {answer.status} for a file")
        return answer.body

    async def _post(
        self, name: str, number_id: str, fields: Mapping[str, Any], *, seconds: float
    ) -> Mapping[str, Any]:
        ask = Ask(
            url=f"{self._url}/{number_id}/messages",
            method="POST",
            headers={"content-type": "application/json", **self._authorization(name)},
            body=json.dumps(fields).encode(),
            seconds=seconds,
            max_redirects=0,
        )
        return _document(await fetch(self._client, ask))

    async def _get(self, name: str, url: str) -> Fetched:
        ask = Ask(
            url=url,
            headers=self._authorization(name),
            seconds=_CALL_SECONDS,
            max_bytes=MOST_FILE_BYTES,
            max_redirects=0,
        )
        return await fetch(self._client, ask)

    def _authorization(self, name: str) -> dict[str, str]:
        token = required(self._variables, connection_variable("whatsapp", name, "TOKEN"))
        return {"authorization": f"Bearer {token}"}


def _document(answer: Fetched) -> Mapping[str, Any]:
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise TryAgain(f"WhatsApp answered {answer.status}, and no JSON")
    error = said.get("error")
    if not isinstance(error, dict):
        if answer.status >= 400:
            raise TryAgain(f"WhatsApp answered {answer.status}")
        return said
    code = error.get("code")
    number = code if isinstance(code, int) else 0
    if number in _PASSING or answer.status == 429 or answer.status >= 500:
        raise TryAgain(
            f"WhatsApp answered {answer.status} ({number})",
            after_seconds=retry_after(answer.headers),
        )
    raise WhatsAppRefused(number, str(error.get("message", "")))
