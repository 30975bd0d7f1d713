"""What the frontend is told by the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Settings", "load_settings"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the pages are served."""

    host: str
    port: int


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """CADRE_HOST (default 127.0.0.1) and CADRE_FRONTEND_PORT (default 7401). Raises ValueError naming a bad port."""
    port = environment.get("CADRE_FRONTEND_PORT") or "7401"
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"CADRE_FRONTEND_PORT: {port!r} is not a port, 0 to 65535")
    return Settings(host=environment.get("CADRE_HOST") or "127.0.0.1", port=int(port))
