"""Prefect's REST API.

Not its Python client: importing that takes seconds and a hundred megabytes, for a few requests.
"""

import asyncio
from typing import Any

import httpx

from cadre_kit.errors import CadreError, Internal, Unavailable

__all__ = ["POOL", "TAG", "PrefectApi", "PrefectUnavailable"]

POOL = "cadre"
TAG = "cadre"
# One on SQLite without our plug-in may stand still for a minute: see `prefect_database`.
_SECONDS = 30.0
# Without the plug-in it also answers 503 whenever two write at once; it is well again in a moment.
_BUSY = frozenset({429, 502, 503, 504})
_PAUSES_SECONDS = (0.25, 0.5, 1.0, 2.0)


class PrefectUnavailable(Unavailable):
    """Prefect does not answer: it is down, or still starting."""

    code = "PREFECT_UNAVAILABLE"


class PrefectApi:
    """Asks the Prefect server at a URL."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        # Prefect is on this machine or network: a proxy from the environment is not for it.
        self._http = httpx.AsyncClient(
            base_url=f"{self._url}/api", timeout=_SECONDS, trust_env=False
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def make_pool(self) -> None:
        """Makes the work pool that all our flow runs are in, unless it is there."""
        if await self.ask("GET", f"/work_pools/{POOL}", missing=True) is None:
            await self.ask("POST", "/work_pools/", {"name": POOL, "type": "process"}, exists=True)

    async def make_flow(self, name: str) -> str:
        """The id of a flow, which is made unless it is there."""
        flow = await self.ask("POST", "/flows/", {"name": name, "tags": [TAG]})
        return str(flow["id"])

    async def ask(
        self,
        verb: str,
        path: str,
        body: object = None,
        *,
        missing: bool = False,
        exists: bool = False,
    ) -> Any:
        """What Prefect answers; None for an empty answer, for 404 with `missing`, and for 409 with `exists`."""
        answer = await self._answer(verb, path, body)
        if (missing and answer.status_code == 404) or (exists and answer.status_code == 409):
            return None
        if answer.is_error:
            raise self._refused(verb, path, answer)
        return answer.json() if answer.content else None

    async def _answer(self, verb: str, path: str, body: object) -> httpx.Response:
        """Every request may be sent again: what is created is named, and what is there is changed to the same."""
        try:
            answer = await self._http.request(verb, path, json=body)
            for pause in _PAUSES_SECONDS:
                if answer.status_code not in _BUSY:
                    break
                await asyncio.sleep(pause)
                answer = await self._http.request(verb, path, json=body)
        except httpx.HTTPError as exc:
            raise self._unavailable(type(exc).__name__) from exc
        return answer

    def _refused(self, verb: str, path: str, answer: httpx.Response) -> CadreError:
        if answer.status_code in _BUSY:
            return self._unavailable(f"it answered {answer.status_code}")
        return Internal(
            f"Prefect answered {answer.status_code} to {verb} {path}",
            code="PREFECT_REFUSED",
            resolution="Check that CADRE_PREFECT_URL is a Prefect 3 server.",
            metadata={"status": str(answer.status_code)},
        )

    def _unavailable(self, reason: str) -> CadreError:
        return PrefectUnavailable(
            f"Prefect at {self._url} does not answer ({reason})",
            resolution="It may still be starting: see `cadre status`, then try again.",
            metadata={"url": self._url, "reason": reason},
        )
