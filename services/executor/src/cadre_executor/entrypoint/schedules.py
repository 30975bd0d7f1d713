"""ScheduleService: gRPC to domain and back."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc

from cadre.executor.v1 import schedules_pb2, schedules_pb2_grpc
from cadre_executor.domain.timetables import Schedule, Timetable
from cadre_executor.entrypoint.messages import (
    catch_up_from_message,
    clock_from_request,
    schedule_message,
)
from cadre_kit.documents import object_from_json

__all__ = ["ScheduleServicer"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ScheduleServicer(schedules_pb2_grpc.ScheduleServiceServicer):
    """Answers ScheduleService."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable

    async def CreateSchedule(
        self, request: schedules_pb2.CreateScheduleRequest, context: Context
    ) -> schedules_pb2.CreateScheduleResponse:
        """Creates or changes a schedule."""
        schedule = Schedule(
            name=request.name or request.workflow,
            workflow=request.workflow,
            clock=clock_from_request(request),
            timezone=request.timezone or "UTC",
            inputs=object_from_json(request.inputs, field="inputs"),
            max_concurrent=request.max_concurrent,
            catch_up=catch_up_from_message(request.catch_up),
            notify=request.notify,
        )
        stored = await self._timetable.create(schedule)
        return schedules_pb2.CreateScheduleResponse(schedule=schedule_message(stored))

    async def ListSchedules(
        self, request: schedules_pb2.ListSchedulesRequest, context: Context
    ) -> schedules_pb2.ListSchedulesResponse:
        """Lists schedules by name."""
        schedules = await self._timetable.list()
        return schedules_pb2.ListSchedulesResponse(
            schedules=[schedule_message(schedule) for schedule in schedules]
        )

    async def PauseSchedule(
        self, request: schedules_pb2.PauseScheduleRequest, context: Context
    ) -> schedules_pb2.PauseScheduleResponse:
        """Pauses a schedule."""
        schedule = await self._timetable.pause(request.name, paused=True)
        return schedules_pb2.PauseScheduleResponse(schedule=schedule_message(schedule))

    async def UnpauseSchedule(
        self, request: schedules_pb2.UnpauseScheduleRequest, context: Context
    ) -> schedules_pb2.UnpauseScheduleResponse:
        """Lets a paused schedule go on."""
        schedule = await self._timetable.pause(request.name, paused=False)
        return schedules_pb2.UnpauseScheduleResponse(schedule=schedule_message(schedule))

    async def DeleteSchedule(
        self, request: schedules_pb2.DeleteScheduleRequest, context: Context
    ) -> schedules_pb2.DeleteScheduleResponse:
        """Removes a schedule."""
        await self._timetable.delete(request.name)
        return schedules_pb2.DeleteScheduleResponse()
