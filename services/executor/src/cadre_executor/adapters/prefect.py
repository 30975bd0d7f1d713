"""Schedules as deployments of a Prefect server.

Over Prefect's REST API and not its Python client: importing that takes seconds and a hundred megabytes, for a few
requests.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from cadre_executor.domain.clocks import Clock, Cron, Interval, Recurrence, next_time
from cadre_executor.domain.timetables import CatchUp, Schedule, ScheduleNotFound
from cadre_kit.errors import CadreError, Internal, Unavailable

__all__ = ["ENTRYPOINT", "FLOW", "POOL", "PrefectScheduler", "clock_of"]

FLOW = "run-workflow"
ENTRYPOINT = "cadre_executor.flows.run_workflow"
POOL = "cadre"
_SECONDS = 15.0
# A Prefect on SQLite answers 503 while another of its own services writes; it is well again in a moment.
_BUSY = frozenset({429, 502, 503, 504})
# What Prefect puts before a rule that has no DTSTART.
_RULES_BEGIN = "DTSTART:20200101T000000\n"
_PAUSES_SECONDS = (0.25, 0.5, 1.0, 2.0)
_PAGE = 200
_TAG = "cadre"


class PrefectUnavailable(Unavailable):
    """Prefect does not answer: it is down, or still starting."""

    code = "PREFECT_UNAVAILABLE"


class PrefectScheduler:
    """Keeps each schedule as a deployment of one flow, in a work pool of processes. `executor` is where the flow runs
    find us."""

    def __init__(self, url: str, *, executor: str) -> None:
        self._url = url.rstrip("/")
        self._executor = executor
        # Prefect is on this machine or network: a proxy from the environment is not for it.
        self._http = httpx.AsyncClient(
            base_url=f"{self._url}/api", timeout=_SECONDS, trust_env=False
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def put(self, schedule: Schedule) -> Schedule:
        """Creates the deployment, or changes the one of the same name; a paused one stays paused."""
        await self._make_pool()
        flow = await self._ask("POST", "/flows/", {"name": FLOW, "tags": [_TAG]})
        stored = await self._ask(
            "POST", "/deployments/", _deployment(schedule, flow["id"], self._executor)
        )
        return _schedule(stored)

    async def list(self) -> Sequence[Schedule]:
        """All schedules, by name."""
        found: list[Mapping[str, Any]] = []
        while True:
            page = await self._ask(
                "POST",
                "/deployments/filter",
                {
                    "flows": {"name": {"any_": [FLOW]}},
                    "sort": "NAME_ASC",
                    "limit": _PAGE,
                    "offset": len(found),
                },
            )
            found.extend(page)
            if len(page) < _PAGE:
                return [_schedule(deployment) for deployment in found]

    async def pause(self, name: str, *, paused: bool) -> Schedule:
        """Pauses the deployment, or lets it go on. Raises ScheduleNotFound."""
        deployment = await self._find(name)
        verb = "pause" if paused else "resume"
        await self._ask("POST", f"/deployments/{deployment['id']}/{verb}_deployment")
        return _schedule(await self._find(name))

    async def delete(self, name: str) -> None:
        """Removes the deployment; runs that it started stay. Raises ScheduleNotFound."""
        deployment = await self._find(name)
        await self._ask("DELETE", f"/deployments/{deployment['id']}")

    async def _find(self, name: str) -> Any:
        found = await self._ask("GET", f"/deployments/name/{FLOW}/{name}", missing=True)
        if found is None:
            raise ScheduleNotFound(name)
        return found

    async def _make_pool(self) -> None:
        if await self._ask("GET", f"/work_pools/{POOL}", missing=True) is None:
            await self._ask("POST", "/work_pools/", {"name": POOL, "type": "process"}, exists=True)

    async def _ask(
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


def _deployment(schedule: Schedule, flow_id: str, executor: str) -> dict[str, Any]:
    clock = _clock_document(schedule)
    limited = schedule.max_concurrent or None
    return {
        "name": schedule.name,
        "flow_id": flow_id,
        "entrypoint": ENTRYPOINT,
        "work_pool_name": POOL,
        "tags": [_TAG],
        "parameters": {
            "workflow": schedule.workflow,
            "inputs": dict(schedule.inputs),
            "catch_up": schedule.catch_up.value,
            "clock": clock,
        },
        # A worker may run where nothing else of the platform does.
        "job_variables": {"env": {"CADRE_EXECUTOR_ADDRESS": executor}},
        "concurrency_limit": limited,
        "concurrency_options": {"collision_strategy": "ENQUEUE"} if limited else None,
        # Without a slug an edited schedule would be kept beside the new one.
        "schedules": [{"schedule": clock, "active": True, "slug": "clock"}],
    }


def _clock_document(schedule: Schedule) -> dict[str, Any]:
    match schedule.clock:
        case Cron() as clock:
            return {"cron": clock.expression, "timezone": schedule.timezone}
        case Interval() as clock:
            anchor = clock.anchor.isoformat()
            return {
                "interval": clock.seconds,
                "anchor_date": anchor,
                "timezone": schedule.timezone,
            }
        case Recurrence() as clock:
            return {"rrule": clock.rule, "timezone": schedule.timezone}
        case None:
            raise AssertionError("what is stored has a clock")


def clock_of(document: Mapping[str, Any]) -> Clock | None:
    """The clock that Prefect's JSON describes; None for one that we never store."""
    match document:
        case {"cron": str(expression)}:
            return Cron(expression=expression)
        case {"interval": int() | float() as seconds, "anchor_date": str(anchor)}:
            return Interval(seconds=float(seconds), anchor=datetime.fromisoformat(anchor))
        case {"rrule": str(rule)}:
            return Recurrence(rule=rule.removeprefix(_RULES_BEGIN))
    return None


def _schedule(deployment: Mapping[str, Any]) -> Schedule:
    parameters = deployment["parameters"]
    # None when somebody removed it in Prefect's own pages.
    stored = deployment["schedules"][0] if deployment["schedules"] else None
    clock = clock_of(stored["schedule"]) if stored else None
    timezone = (stored["schedule"].get("timezone") if stored else "") or "UTC"
    paused = bool(deployment["paused"]) or not (stored and stored["active"])
    limit = deployment.get("global_concurrency_limit") or {}
    return Schedule(
        name=deployment["name"],
        workflow=parameters.get("workflow", ""),
        clock=clock,
        timezone=timezone,
        inputs=parameters.get("inputs") or {},
        max_concurrent=limit.get("limit") or deployment.get("concurrency_limit") or 0,
        catch_up=CatchUp(parameters.get("catch_up", CatchUp.SKIP.value)),
        paused=paused,
        next_time=None if paused or clock is None else next_time(clock, timezone),
    )
