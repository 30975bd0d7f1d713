"""Schedules: which applied workflow is started when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter  # type: ignore[import-untyped]  # it ships no annotations

from cadre_executor.domain.definitions import Library
from cadre_executor.domain.stores import DefinitionStore
from cadre_kit.errors import InvalidInput, NotFound

__all__ = ["Schedule", "ScheduleNotFound", "Scheduler", "Timetable", "next_time"]

_NAME_CHARACTERS = 100
_CRON_FIELDS = 5


class ScheduleNotFound(NotFound):
    """No schedule has the name."""

    code = "SCHEDULE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no schedule {name!r}",
            resolution="List the schedules with `cadre schedules list`.",
            metadata={"schedule": name},
        )


class CronInvalid(InvalidInput):
    """The cron expression cannot be read."""

    code = "CRON_INVALID"


class TimezoneUnknown(InvalidInput):
    """No IANA time zone has the name."""

    code = "TIMEZONE_UNKNOWN"


class ScheduleNameInvalid(InvalidInput):
    """A schedule cannot have the name."""

    code = "SCHEDULE_NAME_INVALID"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When an applied workflow is started by itself. `next_time` is None while it is paused."""

    name: str
    workflow: str
    cron: str
    timezone: str
    inputs: Mapping[str, Any]
    paused: bool = False
    next_time: datetime | None = None


class Scheduler(Protocol):
    """Keeps schedules, and starts runs by them."""

    async def put(self, schedule: Schedule) -> Schedule:
        """Creates the schedule, or changes the one of the same name."""

    async def list(self) -> Sequence[Schedule]:
        """All schedules, by name."""

    async def pause(self, name: str, *, paused: bool) -> Schedule:
        """Stops it from starting runs, or lets it again. Raises ScheduleNotFound."""

    async def delete(self, name: str) -> None:
        """Removes it. Raises ScheduleNotFound."""


class Timetable:
    """Schedules of applied workflows."""

    def __init__(
        self, *, scheduler: Scheduler, definitions: DefinitionStore, library: Library
    ) -> None:
        self._scheduler = scheduler
        self._definitions = definitions
        self._library = library

    async def create(self, schedule: Schedule) -> Schedule:
        """Checks a schedule and stores it, or changes the one of the same name. Raises what is wrong with it."""
        _check_name(schedule.name)
        next_time(schedule.cron, schedule.timezone, after=None)
        definition = await self._definitions.get(schedule.workflow, 0)
        document = await self._library.document(definition.source)
        self._library.language.check_inputs(document.workflow, schedule.inputs)
        return await self._scheduler.put(schedule)

    async def list(self) -> Sequence[Schedule]:
        """All schedules, by name."""
        return await self._scheduler.list()

    async def pause(self, name: str, *, paused: bool) -> Schedule:
        """Stops a schedule from starting runs, or lets it again. Raises ScheduleNotFound."""
        return await self._scheduler.pause(name, paused=paused)

    async def delete(self, name: str) -> None:
        """Removes a schedule. Raises ScheduleNotFound."""
        await self._scheduler.delete(name)


def next_time(cron: str, timezone: str, *, after: datetime | None) -> datetime:
    """When a schedule starts its next run after a time, or now. Raises CronInvalid or TimezoneUnknown."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise TimezoneUnknown(
            f"no time zone {timezone!r}",
            resolution="Name an IANA time zone, such as Europe/Berlin or UTC.",
            metadata={"timezone": timezone},
        ) from exc
    if len(cron.split()) != _CRON_FIELDS or not croniter.is_valid(cron):
        raise CronInvalid(
            f"the cron expression {cron!r} cannot be read",
            resolution="Give five fields: minute hour day month weekday, such as `*/5 * * * *`.",
            metadata={"cron": cron},
        )
    start = datetime.now(zone) if after is None else after.astimezone(zone)
    found: datetime = croniter(cron, start).get_next(datetime)
    return found


def _check_name(name: str) -> None:
    if not 0 < len(name) <= _NAME_CHARACTERS or not all(c.isalnum() or c in "_-" for c in name):
        raise ScheduleNameInvalid(
            f"a schedule cannot be called {name[:200]!r}",
            resolution="Use letters, digits, '_' and '-', at most 100 of them.",
        )
