"""ID tokens of an OpenID provider, checked with the keys that it publishes (OpenID Connect Core 3.1.3.7)."""

import asyncio
import json
import math
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import jwt

from cadre_gateway.domain.people import IdTokenExpired, IdTokenRefused, is_secure
from cadre_kit.errors import CadreError, Unavailable
from cadre_kit.logs import logger
from cadre_kit.outgoing import Ask, fetch

__all__ = ["OpenIdProvider", "OpenIdProviderUnusable"]

log = logger()

# With public keys only: with a shared secret, whoever may check a token could make one.
_ALGORITHMS = [
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
]
_REQUIRED = ["iss", "sub", "aud", "exp", "iat"]
_LEEWAY_SECONDS = 30
# So long keys are good without asking again. A key that is not among them is asked for at once, but not more often than
# this: anybody can send a token that names one.
_FRESH_SECONDS = 3600.0
_PAUSE_SECONDS = 10.0
_FETCH_SECONDS = 10.0


class OpenIdProviderUnusable(Unavailable):
    """The provider does not answer, or not as OpenID Connect says."""

    code = "OPENID_PROVIDER_UNUSABLE"


class OpenIdProvider:
    """Checks ID tokens for one client of one provider, whose keys are read when the first token comes."""

    def __init__(self, *, issuer: str, client_id: str, client: httpx2.AsyncClient) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._client = client
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_time = -math.inf
        self._tried_time = -math.inf
        self._trouble = ""
        self._reading = asyncio.Lock()

    async def claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token whose signature, issuer, audience and times hold.

        Raises IdTokenRefused, IdTokenExpired, OpenIdProviderUnusable.
        """
        key = await self._key(_key_id(token))
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=_ALGORITHMS,
                audience=self._client_id,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError as exc:
            raise IdTokenExpired("the sign-in has expired", resolution="Sign in again.") from exc
        except (jwt.InvalidTokenError, TypeError, ValueError) as exc:
            raise _refused(type(exc).__name__) from exc
        # A token for several is ours if we asked for it; a logout token is for no sign-in.
        if claims.get("azp", self._client_id) != self._client_id or "events" in claims:
            raise _refused("it was made for something else")
        return claims

    async def _key(self, key_id: str) -> jwt.PyJWK:
        async with self._reading:
            now = time.monotonic()
            is_known = key_id in self._keys and now - self._read_time < _FRESH_SECONDS
            if not is_known and now - self._tried_time >= _PAUSE_SECONDS:
                self._tried_time = now
                await self._read_keys()
        if key_id in self._keys:
            return self._keys[key_id]
        if self._trouble:
            raise self._unusable(self._trouble)
        raise _refused("it is signed with a key that its provider does not publish")

    async def _read_keys(self) -> None:
        """Those that are known stay, where the provider cannot be asked."""
        try:
            self._keys = await self._published()
            self._read_time, self._trouble = self._tried_time, ""
        except CadreError as error:
            self._trouble = error.message
            log.warning("openid_provider_unusable", issuer=self._issuer, reason=error.message)

    async def _published(self) -> dict[str, jwt.PyJWK]:
        """The provider's keys by id. One without an id is found by tokens without one."""
        where = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        about = await self._document(where)
        if about.get("issuer") != self._issuer:
            raise OpenIdProviderUnusable("it says that it is another issuer")
        published = (await self._document(str(about.get("jwks_uri")))).get("keys")
        keys = [_usable(key) for key in published] if isinstance(published, list) else []
        return {key.key_id or "": key for key in keys if key is not None}

    async def _document(self, url: str) -> Mapping[str, Any]:
        if not is_secure(url):
            raise OpenIdProviderUnusable("its addresses must begin with https://")
        answer = await fetch(self._client, Ask(url=url, seconds=_FETCH_SECONDS))
        try:
            document = json.loads(answer.body)
        except ValueError:
            document = None
        if answer.status != httpx2.codes.OK or not isinstance(document, dict):
            raise OpenIdProviderUnusable(f"{url} answers {answer.status} and no JSON object")
        return document

    def _unusable(self, reason: str) -> OpenIdProviderUnusable:
        return OpenIdProviderUnusable(
            f"the OpenID provider {self._issuer} cannot be used: {reason}",
            resolution="Check CADRE_OIDC_ISSUER, and that the gateway reaches that address; try again.",
            metadata={"issuer": self._issuer},
        )


def _usable(key: object) -> jwt.PyJWK | None:
    """A key that signs and that we know; providers publish others too."""
    if not isinstance(key, dict) or key.get("use", "sig") != "sig" or key.get("kty") == "oct":
        return None
    try:
        return jwt.PyJWK.from_dict(key)
    except jwt.PyJWTError:
        return None


def _key_id(token: str) -> str:
    try:
        return str(jwt.get_unverified_header(token).get("kid", ""))
    except (jwt.InvalidTokenError, ValueError) as exc:
        raise _refused(type(exc).__name__) from exc


def _refused(reason: str) -> IdTokenRefused:
    return IdTokenRefused(
        f"the ID token is not one for this gateway: {reason}",
        resolution="Sign in again. If it stays so, compare CADRE_OIDC_ISSUER and CADRE_OIDC_CLIENT_ID of the "
        "gateway and the web UI.",
    )
