"""Which deliveries are genuine: signed with our secret, and recently so.

Two ways of signing are known: Standard Webhooks 1.0.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature`) and
GitHub's (`X-Hub-Signature-256`, with `X-GitHub-Delivery` as the id).
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping

from cadre_kit.errors import InvalidInput, Unauthenticated

__all__ = ["DeliveryRefused", "WebhookSecret", "new_webhook_secret", "verified_delivery"]

TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)
_ID_CHARACTERS = 128


class BadWebhookSecret(InvalidInput):
    """The configured secret cannot sign anything."""

    code = "BAD_WEBHOOK_SECRET"


class DeliveryRefused(Unauthenticated):
    """A delivery that is not proved to come from who has the secret. Says no more, so that nobody can probe."""

    code = "DELIVERY_REFUSED"

    def __init__(self) -> None:
        super().__init__(
            "the delivery is not signed as it must be",
            resolution="Sign the raw body with the webhook secret (Standard Webhooks, or X-Hub-Signature-256 with "
            "X-GitHub-Delivery), and send it within five minutes of its timestamp.",
        )


class WebhookSecret:
    """The secret in both its uses: decoded for Standard Webhooks, as it is written for GitHub's.

    Raises BadWebhookSecret for an empty one, and for a `whsec_` one that is not 24 to 64 bytes in base64.
    """

    def __init__(self, text: str) -> None:
        self._as_written = text.encode()
        self._decoded = _decoded(text) if text.startswith(_PREFIX) else self._as_written
        if not text:
            raise BadWebhookSecret("the webhook secret is empty")

    def signs(self, signed: bytes, signature: str) -> bool:
        """Whether `signature`, a `v1,` one, is that of `signed`."""
        right = base64.b64encode(hmac.digest(self._decoded, signed, hashlib.sha256))
        return hmac.compare_digest(b"v1," + right, signature.encode())

    def signs_as_github(self, body: bytes, signature: str) -> bool:
        """Whether `signature`, a `sha256=` one, is that of `body`."""
        right = hmac.new(self._as_written, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(f"sha256={right}".encode(), signature.encode())


def new_webhook_secret() -> str:
    """A secret of 256 random bits in the form that Standard Webhooks' libraries take."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def verified_delivery(
    secret: WebhookSecret, headers: Mapping[str, str], body: bytes, *, now: float
) -> str:
    """The id of a genuine delivery. Header names are lower case. Raises DeliveryRefused."""
    if "webhook-signature" in headers:
        return _standard_delivery(secret, headers, body, now=now)
    return _github_delivery(secret, headers, body)


def _standard_delivery(
    secret: WebhookSecret, headers: Mapping[str, str], body: bytes, *, now: float
) -> str:
    delivery, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if "." in delivery or not _is_recent(timestamp, now):
        raise DeliveryRefused
    signed = f"{delivery}.{timestamp}.".encode() + body
    signatures = headers["webhook-signature"].split()
    if not any(secret.signs(signed, one) for one in signatures):
        raise DeliveryRefused
    return _checked_id(delivery)


def _github_delivery(secret: WebhookSecret, headers: Mapping[str, str], body: bytes) -> str:
    if not secret.signs_as_github(body, headers.get("x-hub-signature-256", "")):
        raise DeliveryRefused
    return _checked_id(headers.get("x-github-delivery", ""))


def _checked_id(delivery: str) -> str:
    printable = delivery.isascii() and delivery.isprintable()
    if not printable or not 1 <= len(delivery) <= _ID_CHARACTERS:
        raise DeliveryRefused
    return delivery


def _is_recent(timestamp: str, now: float) -> bool:
    plain = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    return plain and abs(now - int(timestamp)) <= TOLERANCE_SECONDS


def _decoded(text: str) -> bytes:
    encoded = text.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _bad_secret() from exc
    if len(key) not in _SECRET_BYTES:
        raise _bad_secret()
    return key


def _bad_secret() -> BadWebhookSecret:
    return BadWebhookSecret(
        "the webhook secret begins with whsec_ but does not hold 24 to 64 bytes in base64",
        resolution="Correct CADRE_WEBHOOK_SECRET or the file webhook-secret in CADRE_HOME; without either a new "
        "secret is made.",
    )
