"""How webhooks are signed: by Standard Webhooks 1.0.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature`), and by
GitHub (`X-Hub-Signature-256`, with `X-GitHub-Delivery` as the id)."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

from cadre_gateway.domain.connectors import DeliveryRefused
from cadre_kit.errors import InvalidInput

__all__ = [
    "WebhookSecret",
    "is_recent",
    "new_webhook_secret",
    "standard_headers",
    "verified_delivery",
]

TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)
_LEAST_CHARACTERS = 16
_ID_CHARACTERS = 128


class BadWebhookSecret(InvalidInput):
    """A secret that is configured cannot sign anything."""

    code = "BAD_WEBHOOK_SECRET"


class WebhookSecret:
    """The secret in both its uses: decoded for Standard Webhooks, as it is written for GitHub's.

    Raises BadWebhookSecret for one of less than 16 characters, and for a `whsec_` one that is not 24 to 64 bytes in
    base64; `name` says which variable or file it is from.
    """

    def __init__(self, text: str, *, name: str = "CADRE_WEBHOOK_SECRET") -> None:
        self._as_written = text.encode()
        self._decoded = _decoded(text, name) if text.startswith(_PREFIX) else self._as_written
        if len(text) < _LEAST_CHARACTERS:
            raise BadWebhookSecret(
                f"the webhook secret {name} has less than {_LEAST_CHARACTERS} characters",
                resolution="Set a longer one, such as `openssl rand -hex 32` makes.",
                metadata={"name": name},
            )

    def sign(self, signed: bytes) -> str:
        """The `v1,` signature."""
        right = base64.b64encode(hmac.digest(self._decoded, signed, hashlib.sha256))
        return "v1," + right.decode()

    def signs(self, signed: bytes, signature: str) -> bool:
        """Whether `signature`, a `v1,` one, is that of `signed`."""
        return hmac.compare_digest(self.sign(signed).encode(), signature.encode())

    def signs_as_github(self, body: bytes, signature: str) -> bool:
        """Whether `signature`, a `sha256=` one, is that of `body`."""
        right = hmac.new(self._as_written, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(f"sha256={right}".encode(), signature.encode())


def new_webhook_secret() -> str:
    """A secret of 256 random bits in the form that Standard Webhooks' libraries take."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def standard_headers(
    keys: Sequence[WebhookSecret], body: bytes, *, message_id: str, now: float
) -> dict[str, str]:
    """The headers of a message, signed with every key: the receiver may have the new one or the old."""
    timestamp = str(int(now))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(key.sign(signed) for key in keys),
    }


def verified_delivery(
    keys: Sequence[WebhookSecret], headers: Mapping[str, str], body: bytes, *, now: float
) -> str:
    """The id of a delivery that one of the keys signed. Header names are lower case. Raises DeliveryRefused."""
    if "webhook-signature" in headers:
        return _standard_delivery(keys, headers, body, now=now)
    return _github_delivery(keys, headers, body)


def is_recent(timestamp: str, now: float) -> bool:
    """Whether a time in unix seconds is within five minutes of now, either way."""
    plain = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    return plain and abs(now - int(timestamp)) <= TOLERANCE_SECONDS


def _standard_delivery(
    keys: Sequence[WebhookSecret], headers: Mapping[str, str], body: bytes, *, now: float
) -> str:
    delivery, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if "." in delivery or not is_recent(timestamp, now):
        raise DeliveryRefused
    signed = f"{delivery}.{timestamp}.".encode() + body
    signatures = headers["webhook-signature"].split()
    if not any(key.signs(signed, one) for key in keys for one in signatures):
        raise DeliveryRefused
    return _checked_id(delivery)


def _github_delivery(keys: Sequence[WebhookSecret], headers: Mapping[str, str], body: bytes) -> str:
    signature = headers.get("x-hub-signature-256", "")
    if not any(key.signs_as_github(body, signature) for key in keys):
        raise DeliveryRefused
    return _checked_id(headers.get("x-github-delivery", ""))


def _checked_id(delivery: str) -> str:
    printable = delivery.isascii() and delivery.isprintable()
    if not printable or not 1 <= len(delivery) <= _ID_CHARACTERS:
        raise DeliveryRefused
    return delivery


def _decoded(text: str, name: str) -> bytes:
    encoded = text.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _bad_secret(name) from exc
    if len(key) not in _SECRET_BYTES:
        raise _bad_secret(name)
    return key


def _bad_secret(name: str) -> BadWebhookSecret:
    return BadWebhookSecret(
        f"the webhook secret {name} begins with whsec_ but does not hold 24 to 64 bytes in base64",
        resolution="Correct the variable, or the file webhook-secret in CADRE_HOME; without either a new platform "
        "secret is made.",
        metadata={"name": name},
    )
