"""Schedules as deployments of a Prefect server."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cadre_executor.adapters.prefect_api import POOL, TAG, PrefectApi
from cadre_executor.domain.clocks import Clock, Cron, Interval, Recurrence, next_time
from cadre_executor.domain.timetables import CatchUp, Schedule, ScheduleNotFound
from cadre_kit.errors import InvalidInput

__all__ = ["PrefectScheduler", "clock_of"]

_FLOW = "run-workflow"
_ENTRYPOINT = "cadre_executor.flows.run_workflow"
# What Prefect puts before a rule that has no DTSTART.
_RULES_BEGIN = "DTSTART:20200101T000000\n"
_PAGE = 200


class PrefectScheduler:
    """Keeps each schedule as a deployment of one flow, in a work pool of processes."""

    def __init__(self, api: PrefectApi) -> None:
        self._api = api

    async def put(self, schedule: Schedule) -> Schedule:
        """Creates the deployment, or changes the one of the same name; a paused one stays paused."""
        await self._api.make_pool()
        flow_id = await self._api.make_flow(_FLOW)
        stored = await self._api.ask("POST", "/deployments/", _deployment(schedule, flow_id))
        return _schedule(stored)

    async def list(self) -> Sequence[Schedule]:
        """All schedules, by name."""
        found: list[Mapping[str, Any]] = []
        while True:
            page = await self._api.ask(
                "POST",
                "/deployments/filter",
                {
                    "flows": {"name": {"any_": [_FLOW]}},
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
        path = f"/deployments/{deployment['id']}"
        await self._api.ask("POST", f"{path}/{'pause' if paused else 'resume'}_deployment")
        for stored in () if paused else deployment["schedules"]:
            # Also one that was switched off in Prefect's pages. That it was changed now tells `catching_up` that what
            # passed before is not to be made up for.
            await self._api.ask("PATCH", f"{path}/schedules/{stored['id']}", {"active": True})
        return _schedule(await self._find(name))

    async def delete(self, name: str) -> None:
        """Removes the deployment; runs that it started stay. Raises ScheduleNotFound."""
        deployment = await self._find(name)
        # A request that was sent again finds that the first one did it.
        await self._api.ask("DELETE", f"/deployments/{deployment['id']}", missing=True)

    async def _find(self, name: str) -> Any:
        found = await self._api.ask("GET", f"/deployments/name/{_FLOW}/{name}", missing=True)
        if found is None:
            raise ScheduleNotFound(name)
        return found


def _deployment(schedule: Schedule, flow_id: str) -> dict[str, Any]:
    limited = schedule.max_concurrent or None
    return {
        "name": schedule.name,
        "flow_id": flow_id,
        "entrypoint": _ENTRYPOINT,
        "work_pool_name": POOL,
        "tags": [TAG],
        "parameters": {
            "workflow": schedule.workflow,
            "inputs": dict(schedule.inputs),
            "catch_up": schedule.catch_up.value,
            "schedule": schedule.name,
            # Left out without one: a worker of an earlier version refuses what it does not know.
            **({"notify": schedule.notify} if schedule.notify else {}),
        },
        "concurrency_limit": limited,
        "concurrency_options": {"collision_strategy": "ENQUEUE"} if limited else None,
        # Without a slug an edited schedule would be kept beside the new one.
        "schedules": [{"schedule": _clock_document(schedule), "active": True, "slug": "clock"}],
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
        catch_up=_catch_up(parameters.get("catch_up")),
        notify=parameters.get("notify") or "",
        paused=paused,
        next_time=None if paused or clock is None else _next_time(clock, timezone),
    )


def _catch_up(said: object) -> CatchUp:
    """As it was deployed; what nobody could mean is SKIP, and its flow runs fail."""
    return next((each for each in CatchUp if each.value == said), CatchUp.SKIP)


def _next_time(clock: Clock, timezone: str) -> datetime | None:
    """When it is next due; None for a clock that Prefect takes and we do not, as `prefect deploy` may store."""
    try:
        return next_time(clock, timezone)
    except InvalidInput:
        return None
