"""What the ledger answers, as protos."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from cadre.llm_proxy.v1 import llm_pb2, usage_pb2
from cadre_llm_proxy.domain.calls import Attribution
from cadre_llm_proxy.domain.entries import Entry, EntryStatus
from cadre_llm_proxy.domain.estimates import Estimate
from cadre_llm_proxy.domain.usage import Details, Group
from cadre_llm_proxy.entrypoint.messages import usage_message

__all__ = [
    "STATUSES",
    "call_message",
    "details_message",
    "estimate_message",
    "group_message",
    "money",
    "timestamp",
]

STATUSES: Mapping[EntryStatus, usage_pb2.CallStatus.ValueType] = {
    EntryStatus.SENT: usage_pb2.CALL_STATUS_SENT,
    EntryStatus.SUCCEEDED: usage_pb2.CALL_STATUS_SUCCEEDED,
    EntryStatus.FAILED: usage_pb2.CALL_STATUS_FAILED,
    EntryStatus.CANCELLED: usage_pb2.CALL_STATUS_CANCELLED,
    EntryStatus.UNCERTAIN: usage_pb2.CALL_STATUS_UNCERTAIN,
    EntryStatus.REPLAYED: usage_pb2.CALL_STATUS_REPLAYED,
    EntryStatus.CACHED: usage_pb2.CALL_STATUS_CACHED,
}


def group_message(group: Group) -> usage_pb2.UsageGroup:
    """The calls that share what they are grouped by."""
    return usage_pb2.UsageGroup(
        keys=group.keys,
        usage=usage_message(group.usage),
        failed_calls=group.failed_calls,
        details=details_message(group.details),
    )


def details_message(details: Details) -> usage_pb2.UsageDetails:
    """Sums beyond the usage."""
    return usage_pb2.UsageDetails(
        known_usd=f"{details.known_usd:f}",
        cached_input_tokens=details.cached_input_tokens,
        reasoning_tokens=details.reasoning_tokens,
        open_calls=details.open_calls,
        open_usd=f"{details.open_usd:f}",
        uncertain_calls=details.uncertain_calls,
        uncertain_usd=f"{details.uncertain_usd:f}",
        reused_replies=details.reused_replies,
        saved_usd=f"{details.saved_usd:f}",
        saved_tokens=details.saved_tokens,
        unbounded_calls=details.unbounded_calls,
    )


def call_message(entry: Entry) -> usage_pb2.Call:
    """An entry."""
    tokens, price = entry.tokens, entry.price
    return usage_pb2.Call(
        id=entry.id,
        time=timestamp(entry.time),
        attribution=_attribution_message(entry.attribution),
        provider=entry.provider,
        model=entry.model,
        status=STATUSES[entry.status],
        error_code=entry.error_code,
        input_tokens=None if tokens is None else tokens.input,
        output_tokens=None if tokens is None else tokens.output,
        cached_input_tokens=0 if tokens is None else tokens.cache_read,
        reasoning_tokens=0 if tokens is None else tokens.reasoning,
        estimated=entry.estimated,
        input_usd_per_million=None if price is None else money(price.input),
        output_usd_per_million=None if price is None else money(price.output),
        cost_usd=money(entry.cost_usd),
        reserved_usd=money(entry.reserved_usd),
        reserved_tokens=entry.reserved_tokens,
        latency_ms=entry.latency_ms,
        first_token_ms=entry.first_token_ms,
        idempotency_key=entry.idempotency_key,
        saved_usd=money(entry.saved_usd),
        saved_tokens=entry.saved_tokens,
    )


def estimate_message(estimate: Estimate) -> usage_pb2.EstimateResponse:
    """A range of costs."""
    return usage_pb2.EstimateResponse(
        provider=estimate.provider,
        model=estimate.model,
        input_tokens=estimate.bound.input_tokens,
        max_output_tokens=estimate.bound.output_tokens,
        min_usd=money(estimate.min_usd),
        max_usd=money(estimate.max_usd),
        context_tokens=estimate.context_tokens,
        max_requests=estimate.max_requests,
        unavailable_reason=estimate.unavailable,
        host=estimate.host,
        output_tokens_per_second=estimate.tokens_per_second,
    )


def money(amount: Decimal | None) -> str | None:
    """An exact decimal; None where it is unknown."""
    return None if amount is None else f"{amount:f}"


def timestamp(time: datetime) -> Timestamp:
    """A moment."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def _attribution_message(who: Attribution) -> llm_pb2.Attribution:
    return llm_pb2.Attribution(
        workflow=who.workflow,
        version=who.version,
        run_id=who.run_id,
        node=who.node,
        root_run_id=who.root_run_id,
        schedule=who.schedule,
        api_key=who.api_key,
    )
