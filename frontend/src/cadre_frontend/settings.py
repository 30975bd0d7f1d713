"""What the frontend is told by the environment."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["Settings", "SignIn", "load_settings"]


class SignIn(Enum):
    """What the pages ask of a person: nothing, and then each may do what the key in CADRE_HOME may; or a key."""

    OFF = "off"
    KEY = "key"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the pages are served, and what they ask of whoever opens them."""

    host: str
    port: int
    sign_in: SignIn


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """CADRE_HOST (default 127.0.0.1), CADRE_FRONTEND_PORT (default 7401) and CADRE_FRONTEND_SIGN_IN (default off where
    only this machine reaches the pages, else key). Raises ValueError naming what is wrong."""
    host = environment.get("CADRE_HOST") or "127.0.0.1"
    port = environment.get("CADRE_FRONTEND_PORT") or "7401"
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"CADRE_FRONTEND_PORT: {port!r} is not a port, 0 to 65535")
    chosen = environment.get("CADRE_FRONTEND_SIGN_IN") or ("off" if _is_own(host) else "key")
    if chosen not in [each.value for each in SignIn]:
        raise ValueError(f"CADRE_FRONTEND_SIGN_IN: {chosen!r} is neither off nor key")
    return Settings(host=host, port=int(port), sign_in=SignIn(chosen))


def _is_own(host: str) -> bool:
    """Whether nobody else reaches an address of this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
