"""UsageService: convert, call, convert."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from cadre.llm_proxy.v1 import usage_pb2, usage_pb2_grpc
from cadre_llm_proxy.domain.accounts import Accounts
from cadre_llm_proxy.domain.facts import RequestInvalid
from cadre_llm_proxy.domain.usage import CallQuery, Dimension, Selection, UsageQuery
from cadre_llm_proxy.entrypoint.budget_messages import budget_of_message, status_message
from cadre_llm_proxy.entrypoint.messages import completion_request, reply_message, usage_message
from cadre_llm_proxy.entrypoint.usage_messages import (
    STATUSES,
    call_message,
    details_message,
    estimate_message,
    group_message,
)

__all__ = ["UsageServicer"]

Context = grpc.aio.ServicerContext[Any, Any]
_CALLS = 100
_MOST_CALLS = 1000
_DIMENSIONS = {
    usage_pb2.USAGE_DIMENSION_WORKFLOW: Dimension.WORKFLOW,
    usage_pb2.USAGE_DIMENSION_RUN: Dimension.RUN,
    usage_pb2.USAGE_DIMENSION_NODE: Dimension.NODE,
    usage_pb2.USAGE_DIMENSION_MODEL: Dimension.MODEL,
    usage_pb2.USAGE_DIMENSION_PROVIDER: Dimension.PROVIDER,
    usage_pb2.USAGE_DIMENSION_DAY: Dimension.DAY,
    usage_pb2.USAGE_DIMENSION_HOUR: Dimension.HOUR,
    usage_pb2.USAGE_DIMENSION_KEY: Dimension.KEY,
    usage_pb2.USAGE_DIMENSION_SCHEDULE: Dimension.SCHEDULE,
}
_STATUSES_BACK = {number: status for status, number in STATUSES.items()}


class UsageServicer(usage_pb2_grpc.UsageServiceServicer):
    """Serves UsageService."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def QueryUsage(
        self, request: usage_pb2.QueryUsageRequest, context: Context
    ) -> usage_pb2.QueryUsageResponse:
        """Sums of a time span."""
        sums = await self._accounts.usage(
            UsageQuery(selection=_selection(request), group_by=_group_by(request))
        )
        return usage_pb2.QueryUsageResponse(
            groups=[group_message(group) for group in sums.groups],
            total=usage_message(sums.total),
            total_details=details_message(sums.details),
        )

    async def ListCalls(
        self, request: usage_pb2.ListCallsRequest, context: Context
    ) -> usage_pb2.ListCallsResponse:
        """A page of entries."""
        page = await self._accounts.calls(_call_query(request))
        return usage_pb2.ListCallsResponse(
            calls=[call_message(entry) for entry in page.entries],
            next_page_token=_token(page.entries[-1].id) if page.more else "",
        )

    async def ListReplies(
        self, request: usage_pb2.ListRepliesRequest, context: Context
    ) -> usage_pb2.ListRepliesResponse:
        """A page of kept replies."""
        if not request.run_id:
            raise RequestInvalid("run_id must name a run", metadata={"field": "run_id"})
        limit = _page_size(request.page_size)
        found = await self._accounts.replies(
            request.run_id, limit=limit + 1, after=_id_of(request.page_token)
        )
        page = found[:limit]
        return usage_pb2.ListRepliesResponse(
            replies=[
                usage_pb2.KeptReply(idempotency_key=kept.key, reply=reply_message(kept.reply))
                for kept in page
            ],
            next_page_token=_token(page[-1].call_id) if len(found) > limit else "",
        )

    async def Estimate(
        self, request: usage_pb2.EstimateRequest, context: Context
    ) -> usage_pb2.EstimateResponse:
        """What a request would cost."""
        if request.more_input_tokens < 0:
            raise RequestInvalid(
                "more_input_tokens must be 0 or more", metadata={"field": "more_input_tokens"}
            )
        estimate = await self._accounts.estimate(
            completion_request(request.request), more_tokens=request.more_input_tokens
        )
        return estimate_message(estimate)

    async def SetBudget(
        self, request: usage_pb2.SetBudgetRequest, context: Context
    ) -> usage_pb2.SetBudgetResponse:
        """Stores a budget."""
        status = await self._accounts.set_budget(budget_of_message(request.budget))
        return usage_pb2.SetBudgetResponse(status=status_message(status))

    async def ListBudgets(
        self, request: usage_pb2.ListBudgetsRequest, context: Context
    ) -> usage_pb2.ListBudgetsResponse:
        """All budgets."""
        statuses = await self._accounts.budgets()
        return usage_pb2.ListBudgetsResponse(budgets=[status_message(one) for one in statuses])

    async def DeleteBudget(
        self, request: usage_pb2.DeleteBudgetRequest, context: Context
    ) -> usage_pb2.DeleteBudgetResponse:
        """Removes a budget."""
        await self._accounts.delete_budget(request.name)
        return usage_pb2.DeleteBudgetResponse()


def _group_by(request: usage_pb2.QueryUsageRequest) -> tuple[Dimension, ...]:
    unknown = [number for number in request.group_by if number not in _DIMENSIONS]
    if unknown or len(set(request.group_by)) < len(request.group_by):
        raise RequestInvalid(
            "group_by must name known dimensions, each once", metadata={"field": "group_by"}
        )
    return tuple(_DIMENSIONS[number] for number in request.group_by)


def _call_query(request: usage_pb2.ListCallsRequest) -> CallQuery:
    limit = _page_size(request.page_size)
    if request.status and request.status not in _STATUSES_BACK:
        raise RequestInvalid("status must be a known one", metadata={"field": "status"})
    return CallQuery(
        selection=_selection(request),
        limit=limit,
        status=_STATUSES_BACK[request.status] if request.status else None,
        before=_id_of(request.page_token),
    )


def _page_size(asked: int) -> int:
    if not 0 <= asked <= _MOST_CALLS:
        raise RequestInvalid(
            f"page_size must be 0 to {_MOST_CALLS}", metadata={"field": "page_size"}
        )
    return asked or _CALLS


def _selection(request: usage_pb2.QueryUsageRequest | usage_pb2.ListCallsRequest) -> Selection:
    return Selection(
        start=_time(request.start_time) if request.HasField("start_time") else None,
        end=_time(request.end_time) if request.HasField("end_time") else None,
        workflow=request.workflow,
        run_id=request.run_id,
    )


def _time(timestamp: Timestamp) -> datetime:
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise RequestInvalid("start_time and end_time must be in the years 1 to 9999") from exc


def _token(call_id: str) -> str:
    return base64.urlsafe_b64encode(call_id.encode()).decode()


def _id_of(token: str) -> str:
    try:
        return base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as exc:
        raise RequestInvalid(
            "page_token must be one that a list answered", metadata={"field": "page_token"}
        ) from exc
