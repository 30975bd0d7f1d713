"""UsageService: convert, call, convert."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from cadre.llm_proxy.v1 import usage_pb2, usage_pb2_grpc
from cadre_llm_proxy.domain.facts import RequestInvalid
from cadre_llm_proxy.domain.usage import Dimension, Group, UsageLedger, UsageQuery, query_usage
from cadre_llm_proxy.entrypoint.messages import usage_message

__all__ = ["UsageServicer"]

_DIMENSIONS = {
    usage_pb2.USAGE_DIMENSION_WORKFLOW: Dimension.WORKFLOW,
    usage_pb2.USAGE_DIMENSION_RUN: Dimension.RUN,
    usage_pb2.USAGE_DIMENSION_NODE: Dimension.NODE,
    usage_pb2.USAGE_DIMENSION_MODEL: Dimension.MODEL,
    usage_pb2.USAGE_DIMENSION_PROVIDER: Dimension.PROVIDER,
    usage_pb2.USAGE_DIMENSION_DAY: Dimension.DAY,
    usage_pb2.USAGE_DIMENSION_HOUR: Dimension.HOUR,
}


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    """Serves UsageService."""

    def __init__(self, ledger: UsageLedger) -> None:
        self._ledger = ledger

    async def QueryUsage(
        self,
        request: usage_pb2.QueryUsageRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> usage_pb2.QueryUsageResponse:
        """Sums of a time span."""
        sums = await query_usage(self._ledger, _query(request))
        return usage_pb2.QueryUsageResponse(
            groups=[_group_message(group) for group in sums.groups],
            total=usage_message(sums.total),
        )


def _query(request: usage_pb2.QueryUsageRequest) -> UsageQuery:
    unknown = [number for number in request.group_by if number not in _DIMENSIONS]
    if unknown or len(set(request.group_by)) < len(request.group_by):
        raise RequestInvalid(
            "group_by must name known dimensions, each once", metadata={"field": "group_by"}
        )
    return UsageQuery(
        start=_time(request.start_time) if request.HasField("start_time") else None,
        end=_time(request.end_time) if request.HasField("end_time") else None,
        group_by=tuple(_DIMENSIONS[number] for number in request.group_by),
        workflow=request.workflow,
        run_id=request.run_id,
    )


def _time(timestamp: Timestamp) -> datetime:
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise RequestInvalid("start_time and end_time must be in the years 1 to 9999") from exc


def _group_message(group: Group) -> usage_pb2.UsageGroup:
    return usage_pb2.UsageGroup(
        keys=group.keys, usage=usage_message(group.usage), failed_calls=group.failed_calls
    )
