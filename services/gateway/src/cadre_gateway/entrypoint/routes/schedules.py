"""Schedules: applied workflows that are started by the clock."""

from typing import Annotated

from fastapi import APIRouter, Path, status

from cadre.executor.v1 import schedules_pb2
from cadre_gateway.entrypoint import conversions, documents
from cadre_gateway.entrypoint.access import READ, WRITE
from cadre_gateway.entrypoint.dependencies import TheExecutor
from cadre_gateway.entrypoint.once import ONCE, OnceRoute
from cadre_kit.documents import to_json

__all__ = ["router"]

router = APIRouter(tags=["schedules"], route_class=OnceRoute)

_Name = Annotated[str, Path(max_length=200, description="The schedule's name.")]


@router.get("/api/v1/schedules", dependencies=[READ])
async def list_schedules(executor: TheExecutor) -> documents.Schedules:
    """Lists schedules by name."""
    request = schedules_pb2.ListSchedulesRequest()
    answer = await executor.call(executor.schedules.ListSchedules, request)
    return documents.Schedules(schedules=[conversions.schedule(one) for one in answer.schedules])


@router.post("/api/v1/schedules", dependencies=[WRITE, ONCE])
async def create_schedule(
    asked: documents.NewSchedule, executor: TheExecutor
) -> documents.Schedule:
    """Creates a schedule, or changes the one of the same name."""
    request = schedules_pb2.CreateScheduleRequest(
        name=asked.name,
        workflow=asked.workflow,
        cron=asked.cron,
        interval_seconds=asked.interval_seconds,
        rrule=asked.rrule,
        timezone=asked.timezone,
        inputs=to_json(asked.inputs),
        max_concurrent=asked.max_concurrent,
        catch_up=conversions.catch_up_message(asked.catch_up),
        notify=asked.notify or "",
    )
    answer = await executor.call(executor.schedules.CreateSchedule, request)
    return conversions.schedule(answer.schedule)


@router.post("/api/v1/schedules/{name}/pause", dependencies=[WRITE])
async def pause_schedule(name: _Name, executor: TheExecutor) -> documents.Schedule:
    """Stops a schedule from starting runs."""
    request = schedules_pb2.PauseScheduleRequest(name=name)
    answer = await executor.call(executor.schedules.PauseSchedule, request)
    return conversions.schedule(answer.schedule)


@router.post("/api/v1/schedules/{name}/resume", dependencies=[WRITE])
async def resume_schedule(name: _Name, executor: TheExecutor) -> documents.Schedule:
    """Lets a paused schedule go on; times that passed are not made up for."""
    request = schedules_pb2.UnpauseScheduleRequest(name=name)
    answer = await executor.call(executor.schedules.UnpauseSchedule, request)
    return conversions.schedule(answer.schedule)


@router.delete(
    "/api/v1/schedules/{name}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[WRITE]
)
async def delete_schedule(name: _Name, executor: TheExecutor) -> None:
    """Removes a schedule; runs that it started stay."""
    request = schedules_pb2.DeleteScheduleRequest(name=name)
    await executor.call(executor.schedules.DeleteSchedule, request)
