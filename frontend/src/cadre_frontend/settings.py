"""What the frontend is told by the environment."""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["OpenId", "Settings", "SignIn", "load_settings"]


class SignIn(Enum):
    """What the pages ask of a person: nothing, and then each may do what the key in CADRE_HOME may; a key; or to sign
    in at the OpenID provider."""

    OFF = "off"
    KEY = "key"
    OIDC = "oidc"


@dataclass(frozen=True, kw_only=True)
class OpenId:
    """The OpenID provider that people sign in at, with us as its client. `url` is where browsers find the pages."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: str
    url: str

    def as_streamlit_has_it(self) -> Mapping[str, Any]:
        """The section `auth` of Streamlit's secrets. Authlib then checks state, nonce and what the provider answers."""
        return {
            "redirect_uri": f"{self.url.rstrip('/')}/oauth2callback",
            # Follows from a secret, so that people stay signed in over a restart, and several frontends agree.
            "cookie_secret": hmac.new(
                self.client_secret.encode(), b"cookies of the pages", hashlib.sha256
            ).hexdigest(),
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "server_metadata_url": f"{self.issuer.rstrip('/')}/.well-known/openid-configuration",
            # PKCE also with providers that do not say that they know it; those that do not pass over it.
            "client_kwargs": {"scope": self.scopes, "code_challenge_method": "S256"},
            "expose_tokens": ["id"],
        }


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the pages are served, and what they ask of whoever opens them."""

    host: str
    port: int
    sign_in: SignIn
    openid: OpenId | None = None


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """CADRE_HOST (default 127.0.0.1), CADRE_FRONTEND_PORT (default 7401), CADRE_FRONTEND_SIGN_IN (default oidc where
    there is a CADRE_OIDC_ISSUER; else off where only this machine reaches the pages, else key), and what oidc needs.
    Raises ValueError naming what is wrong."""
    host = environment.get("CADRE_HOST") or "127.0.0.1"
    port = environment.get("CADRE_FRONTEND_PORT") or "7401"
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"CADRE_FRONTEND_PORT: {port!r} is not a port, 0 to 65535")
    sign_in = _sign_in(environment, host)
    own_url = f"http://{host}:{port}" if _is_own(host) else ""
    openid = _openid(environment, own_url) if sign_in is SignIn.OIDC else None
    return Settings(host=host, port=int(port), sign_in=sign_in, openid=openid)


def _sign_in(environment: Mapping[str, str], host: str) -> SignIn:
    chosen, issuer = environment.get("CADRE_FRONTEND_SIGN_IN"), environment.get("CADRE_OIDC_ISSUER")
    if not chosen:
        return SignIn.OIDC if issuer else SignIn.OFF if _is_own(host) else SignIn.KEY
    if chosen not in [each.value for each in SignIn]:
        raise ValueError(f"CADRE_FRONTEND_SIGN_IN: {chosen!r} is none of off, key and oidc")
    if chosen == "off" and issuer:
        raise ValueError("CADRE_FRONTEND_SIGN_IN: off does not go with CADRE_OIDC_ISSUER; say oidc")
    return SignIn(chosen)


def _openid(environment: Mapping[str, str], own_url: str) -> OpenId:
    return OpenId(
        issuer=_required(environment, "CADRE_OIDC_ISSUER"),
        client_id=_required(environment, "CADRE_OIDC_CLIENT_ID"),
        client_secret=_client_secret(environment),
        scopes=environment.get("CADRE_OIDC_SCOPES") or "openid email profile",
        url=environment.get("CADRE_FRONTEND_URL")
        or own_url
        or _required(environment, "CADRE_FRONTEND_URL"),
    )


def _client_secret(environment: Mapping[str, str]) -> str:
    path = environment.get("CADRE_OIDC_CLIENT_SECRET_FILE")
    if not path:
        return _required(environment, "CADRE_OIDC_CLIENT_SECRET")
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = type(exc).__name__
        raise ValueError(f"CADRE_OIDC_CLIENT_SECRET_FILE: {path}: {reason}") from exc
    return _required({"CADRE_OIDC_CLIENT_SECRET_FILE": secret}, "CADRE_OIDC_CLIENT_SECRET_FILE")


def _required(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise ValueError(f"{name}: signing in by OpenID needs it (see docs/operating.md)")
    return given[name]


def _is_own(host: str) -> bool:
    """Whether nobody else reaches an address of this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
