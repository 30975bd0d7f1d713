"""Schedules: which applied workflow is started when."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol

from cadre_executor.domain.clocks import Clock, next_time
from cadre_executor.domain.definitions import Library
from cadre_executor.domain.stores import DefinitionStore
from cadre_kit.errors import InvalidInput, NotFound

__all__ = ["CatchUp", "Schedule", "ScheduleNotFound", "Scheduler", "Timetable", "is_missed"]

_NAME_CHARACTERS = 100
_MOST_CONCURRENT = 1000
_LATE = timedelta(minutes=5)
_NOTIFY_CHARACTERS = 2000
_ADDRESS = re.compile(r"https?://[^\s]+")


class ScheduleNotFound(NotFound):
    """No schedule has the name."""

    code = "SCHEDULE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no schedule {name!r}",
            resolution="List the schedules with `cadre schedules list`.",
            metadata={"schedule": name},
        )


class ScheduleNameInvalid(InvalidInput):
    """A schedule cannot have the name."""

    code = "SCHEDULE_NAME_INVALID"


class NeverDue(InvalidInput):
    """The schedule's clock names no time to come."""

    code = "SCHEDULE_NEVER_DUE"


class ConcurrencyInvalid(InvalidInput):
    """The number of runs at once is out of range."""

    code = "MAX_CONCURRENT_INVALID"


class NotifyInvalid(InvalidInput):
    """Nobody can be told at the address."""

    code = "NOTIFY_INVALID"


class CatchUp(Enum):
    """What becomes of times that passed while Prefect or its workers were down.

    SKIP leaves out what could not start within 5 minutes, LATEST makes up for the last time that passed, ALL for every
    time, of those that Prefect had not planned for the last 100.
    """

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When an applied workflow is started by itself, at most `max_concurrent` runs at once (0: any number).

    `clock` is None when somebody took it out in Prefect's own pages, `next_time` while it is not due. The address
    `notify` is told how each run ends; empty for none.
    """

    name: str
    workflow: str
    clock: Clock | None
    timezone: str
    inputs: Mapping[str, Any]
    max_concurrent: int = 0
    catch_up: CatchUp = CatchUp.SKIP
    notify: str = ""
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
        _check_concurrency(schedule.max_concurrent)
        _check_notify(schedule.notify)
        await asyncio.to_thread(_check_clock, schedule)
        definition = await self._definitions.get(schedule.workflow, 0)
        document = await self._library.document(definition.source)
        self._library.language.check_inputs(document.workflow, schedule.inputs)
        return await self._scheduler.put(schedule)

    async def list(self) -> Sequence[Schedule]:
        """All schedules, by name."""
        return await self._scheduler.list()

    async def pause(self, name: str, *, paused: bool) -> Schedule:
        """Stops a schedule from starting runs, or lets it again. Raises ScheduleNotFound."""
        _check_findable(name)
        return await self._scheduler.pause(name, paused=paused)

    async def delete(self, name: str) -> None:
        """Removes a schedule. Raises ScheduleNotFound."""
        _check_findable(name)
        await self._scheduler.delete(name)


def is_missed(
    clock: Clock, timezone: str, *, catch_up: CatchUp, due: datetime, now: datetime
) -> bool:
    """Whether the run that was due at a time is left out, now that it could start."""
    match catch_up:
        case CatchUp.SKIP:
            return now - due > _LATE
        case CatchUp.LATEST:
            following = next_time(clock, timezone, after=due)
            return following is not None and following <= now
        case CatchUp.ALL:
            return False


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _NAME_CHARACTERS and all(c.isalnum() or c in "_-" for c in name)


def _check_findable(name: str) -> None:
    # It becomes a part of an address of Prefect's, where any other text could name something else.
    if not _is_name(name):
        raise ScheduleNotFound(name)


def _check_name(name: str) -> None:
    if not _is_name(name):
        raise ScheduleNameInvalid(
            f"a schedule cannot be called {name[:200]!r}",
            resolution="Use letters, digits, '_' and '-', at most 100 of them.",
        )


def _check_concurrency(number: int) -> None:
    if not 0 <= number <= _MOST_CONCURRENT:
        raise ConcurrencyInvalid(
            f"{number} runs at once is out of range",
            resolution=f"Give 1 to {_MOST_CONCURRENT}, or nothing for any number.",
        )


def _check_notify(address: str) -> None:
    if address and (len(address) > _NOTIFY_CHARACTERS or not _ADDRESS.fullmatch(address)):
        raise NotifyInvalid(
            "nobody can be told at this address how runs end",
            resolution=f"Give one that begins with http:// or https://, of at most {_NOTIFY_CHARACTERS} characters.",
        )


def _check_clock(schedule: Schedule) -> None:
    assert schedule.clock is not None, "what is created has a clock"
    if next_time(schedule.clock, schedule.timezone) is None:
        raise NeverDue(
            "the schedule would never start a run",
            resolution="Look at the rule's COUNT, UNTIL and days: no time to come fits them.",
        )
