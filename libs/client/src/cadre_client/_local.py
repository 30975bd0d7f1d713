"""Where the platform of this folder is, and its key: from the environment, then `.env`, then the defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cadre_client._tls import ClientTls

__all__ = ["LocalPlatform", "local_platform"]

_DEFAULT_PORT = "7400"


@dataclass(frozen=True, kw_only=True)
class LocalPlatform:
    """The gateway's address, and its key or the file that holds it."""

    url: str
    api_key_file: Path
    configured_key: str = ""
    tls: ClientTls = field(default_factory=ClientTls)

    def __repr__(self) -> str:
        return f"LocalPlatform(url={self.url!r}, api_key_file={str(self.api_key_file)!r})"

    def api_key(self) -> str:
        """The key as it is now; "" while there is none, or it may not be read."""
        if self.configured_key:
            return self.configured_key
        try:
            return self.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""


def local_platform(folder: Path | None = None) -> LocalPlatform:
    """The platform that CADRE_GATEWAY_URL or CADRE_GATEWAY_PORT, and CADRE_API_KEY, CADRE_API_KEY_FILE or CADRE_HOME
    name in the environment or in the `.env` of `folder` (default: the current one), with what is needed for TLS."""
    folder = folder or Path()
    settings = {**_read_env_file(folder / ".env"), **os.environ}
    home = Path(settings.get("CADRE_HOME") or ".cadre")
    key_file = settings.get("CADRE_API_KEY_FILE")
    port = settings.get("CADRE_GATEWAY_PORT") or _DEFAULT_PORT
    scheme = "https" if settings.get("CADRE_GATEWAY_TLS_CERT_FILE") else "http"
    return LocalPlatform(
        url=settings.get("CADRE_GATEWAY_URL") or f"{scheme}://127.0.0.1:{port}",
        api_key_file=folder / (key_file or home / "api-key"),
        configured_key=settings.get("CADRE_API_KEY", ""),
        tls=_tls(settings, folder),
    )


def _tls(settings: Mapping[str, str], folder: Path) -> ClientTls:
    def file(name: str) -> Path | None:
        path = settings.get(f"CADRE_GATEWAY_{name}")
        return folder / path if path else None

    return ClientTls(
        ca_file=file("CA_FILE"),
        cert_file=file("CLIENT_CERT_FILE"),
        key_file=file("CLIENT_KEY_FILE"),
    )


def _read_env_file(path: Path) -> Mapping[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (_pair(line) for line in lines if not line.lstrip().startswith("#") and "=" in line)
    return dict(pairs)


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    name, value = name.strip().removeprefix("export "), value.strip()
    if value[:1] in ("'", '"'):
        return name, value[1:].partition(value[0])[0]
    return name, value.partition(" #")[0].strip()
