"""What a flow run of a schedule makes of the times that passed while Prefect, or its workers, were down."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.logging import get_run_logger
from prefect.runtime import deployment as this_deployment
from prefect.runtime import flow_run as this_run
from prefect.states import Scheduled

from cadre_executor.adapters.prefect import clock_of
from cadre_executor.domain.clocks import Clock, times_passed_over
from cadre_executor.domain.timetables import CatchUp, is_missed

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

__all__ = ["is_left_out", "prefect_answering"]

_PAUSE_SECONDS = 2.0
_MOST = 100
_MOMENT = timedelta(microseconds=1)
# Prefect's own mark of what its scheduler planned, and ours of what is made up for beside it.
_PLANNED = "auto-scheduled"
_MADE_UP = "made-up"


@dataclass(frozen=True, kw_only=True)
class _Timed:
    """The deployment of this flow run and its clock, which holds as it is since a time."""

    deployment_id: UUID
    clock: Clock
    timezone: str
    since: datetime


@contextmanager
def prefect_answering(patience_seconds: float) -> "Iterator[SyncPrefectClient]":
    """Prefect's client, once Prefect answers, or the patience is over."""
    give_up = time.monotonic() + patience_seconds
    with get_client(sync_client=True) as prefect:
        while prefect.api_healthcheck() is not None and time.monotonic() < give_up:
            time.sleep(_PAUSE_SECONDS)
        yield prefect


def is_left_out(prefect: "SyncPrefectClient", catch_up: CatchUp, due: datetime) -> bool:
    """Whether this flow run is too late to start anything. One that is made up for, and the first after times that
    Prefect had not planned, has flow runs for these made, too."""
    timed = _timed(prefect)
    if timed is None:
        return False
    now = datetime.now(UTC)
    if catch_up is CatchUp.ALL:
        _make_up(prefect, timed, due)
    missed = is_missed(timed.clock, timed.timezone, catch_up=catch_up, due=due, now=now)
    if missed and catch_up is CatchUp.LATEST:
        # Prefect plans some hours at most: the last time that it had planned stands for those that passed after it.
        return _is_another_planned(prefect, timed, due, now)
    return missed


def _timed(prefect: "SyncPrefectClient") -> _Timed | None:
    """None for a flow run that no clock can have started."""
    if this_deployment.id is None:
        return None
    deployment = prefect.read_deployment(this_deployment.id)
    for stored in deployment.schedules:
        document = stored.schedule.model_dump(mode="json")
        clock = clock_of(document)
        since = stored.updated or stored.created
        if clock is not None and since is not None:
            return _Timed(
                deployment_id=deployment.id,
                clock=clock,
                timezone=document.get("timezone") or "UTC",
                since=_plain(since),
            )
    return None


def _is_another_planned(
    prefect: "SyncPrefectClient", timed: _Timed, due: datetime, now: datetime
) -> bool:
    """Whether Prefect has a flow run of this schedule for a later time that has come, too."""
    later = FlowRunFilterExpectedStartTime(after_=due + _MOMENT, before_=now)
    found = prefect.read_flow_runs(
        flow_run_filter=FlowRunFilter(expected_start_time=later),
        deployment_filter=_only(timed),
        limit=_MOST,
    )
    return any(not _never_began(flow_run) for flow_run in found)


def _make_up(prefect: "SyncPrefectClient", timed: _Timed, due: datetime) -> None:
    """Has flow runs made for the times between the one that was planned before and this one, and for those that never
    began; each once, however often this is repeated."""
    before = _planned_before(prefect, timed, due)
    if before is None or _MADE_UP in this_run.tags:
        return
    after = max(before, timed.since)
    times = times_passed_over(timed.clock, timed.timezone, after=after, before=due, most=_MOST)
    lost = _times_that_never_began(prefect, timed, due)
    for passed in sorted({*lost, *times}):
        prefect.create_flow_run_from_deployment(
            timed.deployment_id,
            state=Scheduled(scheduled_time=passed),
            idempotency_key=f"{_MADE_UP} {timed.deployment_id} {passed.isoformat()}",
            tags=[_MADE_UP],
        )
    if times or lost:
        what = "made up for %s times since %s, and %s whose flow run never began"
        get_run_logger().info(what, len(times), after.isoformat(), len(lost))


def _planned_before(prefect: "SyncPrefectClient", timed: _Timed, due: datetime) -> datetime | None:
    """The time before this one that Prefect's scheduler had planned; None when it knows of none."""
    found = prefect.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            expected_start_time=FlowRunFilterExpectedStartTime(before_=due - _MOMENT),
            tags=FlowRunFilterTags(all_=[_PLANNED]),
        ),
        deployment_filter=_only(timed),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    expected = found[0].expected_start_time if found else None
    return None if expected is None else _plain(expected)


def _times_that_never_began(
    prefect: "SyncPrefectClient", timed: _Timed, due: datetime
) -> Sequence[datetime]:
    """The times before this one, since the clock is as it is, whose flow runs crashed before they began."""
    found = prefect.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            expected_start_time=FlowRunFilterExpectedStartTime(
                after_=timed.since, before_=due - _MOMENT
            ),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
            tags=FlowRunFilterTags(all_=[_PLANNED]),
        ),
        deployment_filter=_only(timed),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=_MOST,
    )
    lost = [each.expected_start_time for each in found if _never_began(each)]
    return [_plain(moment) for moment in lost if moment is not None]


def _never_began(flow_run: "FlowRun") -> bool:
    """Whether a worker gave it up before it ran, as where a Prefect that is busy answers 503 too often."""
    return flow_run.state_type is StateType.CRASHED and flow_run.run_count == 0


def _only(timed: _Timed) -> DeploymentFilter:
    return DeploymentFilter(id=DeploymentFilterId(any_=[timed.deployment_id]))


def _plain(moment: datetime) -> datetime:
    """Prefect's own kind of time does not compare with every span of the standard library's."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)
