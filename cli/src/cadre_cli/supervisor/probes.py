"""Questions whose answer says that a program is ready."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

__all__ = ["HttpProbe", "Probe", "TcpProbe", "WorkerProbe"]

_ANSWER_SECONDS = 2.0


class Probe(Protocol):
    """Something that holds, or does not hold yet."""

    async def holds(self) -> bool:
        """Whether it holds now; no answer in time means no."""


@dataclass(frozen=True, kw_only=True)
class TcpProbe:
    """A port accepts connections. Our gRPC services open theirs only when they can serve."""

    host: str
    port: int

    async def holds(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                _, writer = await asyncio.open_connection(self.host, self.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True


@dataclass(frozen=True, kw_only=True)
class HttpProbe:
    """A GET of a URL is answered with a 2xx status. `shown` is a certificate and its key, for those who want one."""

    url: str
    shown: tuple[Path, Path] | None = None

    async def holds(self) -> bool:
        return (await _ask("GET", self.url, self.shown)) is not None


@dataclass(frozen=True, kw_only=True)
class WorkerProbe:
    """Prefect knows a worker of a pool that is online."""

    api_url: str
    pool: str

    async def holds(self) -> bool:
        answer = await _ask("POST", f"{self.api_url}/work_pools/{self.pool}/workers/filter")
        return answer is not None and b'"ONLINE"' in answer.content


async def _ask(
    method: str, url: str, shown: tuple[Path, Path] | None = None
) -> httpx.Response | None:
    try:
        # A proxy that the environment names cannot reach this machine's loopback. Nothing is told to whoever answers,
        # so it is not asked who it is, for which every client would load the authorities' certificates.
        async with httpx.AsyncClient(
            trust_env=False, verify=_unverified(shown), timeout=_ANSWER_SECONDS
        ) as client:
            answer = await client.request(method, url, json={} if method == "POST" else None)
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return None
    return answer if answer.is_success else None


def _unverified(shown: tuple[Path, Path] | None) -> ssl.SSLContext | bool:
    if shown is None:
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(*shown, password="")
    return context
