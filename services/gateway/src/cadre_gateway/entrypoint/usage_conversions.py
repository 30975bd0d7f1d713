"""The ledger's protos to the API's documents, and the API's words to the protos' numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from cadre.llm_proxy.v1 import usage_pb2
from cadre_gateway.entrypoint import usage_documents as d
from cadre_gateway.entrypoint.conversions import moment, optional, usage

__all__ = [
    "USAGE_DIMENSION_NUMBERS",
    "budget_message",
    "budget_status",
    "call",
    "call_status_number",
    "usage_report",
]

USAGE_DIMENSION_NUMBERS: Mapping[d.UsageDimension, usage_pb2.UsageDimension.ValueType] = {
    d.UsageDimension.WORKFLOW: usage_pb2.USAGE_DIMENSION_WORKFLOW,
    d.UsageDimension.RUN: usage_pb2.USAGE_DIMENSION_RUN,
    d.UsageDimension.NODE: usage_pb2.USAGE_DIMENSION_NODE,
    d.UsageDimension.MODEL: usage_pb2.USAGE_DIMENSION_MODEL,
    d.UsageDimension.PROVIDER: usage_pb2.USAGE_DIMENSION_PROVIDER,
    d.UsageDimension.DAY: usage_pb2.USAGE_DIMENSION_DAY,
    d.UsageDimension.HOUR: usage_pb2.USAGE_DIMENSION_HOUR,
    d.UsageDimension.KEY: usage_pb2.USAGE_DIMENSION_KEY,
    d.UsageDimension.SCHEDULE: usage_pb2.USAGE_DIMENSION_SCHEDULE,
}
_CALL_STATUS_NUMBERS: Mapping[d.CallStatus, usage_pb2.CallStatus.ValueType] = {
    d.CallStatus.SENT: usage_pb2.CALL_STATUS_SENT,
    d.CallStatus.SUCCEEDED: usage_pb2.CALL_STATUS_SUCCEEDED,
    d.CallStatus.FAILED: usage_pb2.CALL_STATUS_FAILED,
    d.CallStatus.CANCELLED: usage_pb2.CALL_STATUS_CANCELLED,
    d.CallStatus.UNCERTAIN: usage_pb2.CALL_STATUS_UNCERTAIN,
    d.CallStatus.REPLAYED: usage_pb2.CALL_STATUS_REPLAYED,
    d.CallStatus.CACHED: usage_pb2.CALL_STATUS_CACHED,
}
_CALL_STATUSES = {number: word for word, number in _CALL_STATUS_NUMBERS.items()}
_SCOPES: Mapping[d.BudgetScope, usage_pb2.BudgetScope.ValueType] = {
    d.BudgetScope.PLATFORM: usage_pb2.BUDGET_SCOPE_PLATFORM,
    d.BudgetScope.WORKFLOW: usage_pb2.BUDGET_SCOPE_WORKFLOW,
    d.BudgetScope.KEY: usage_pb2.BUDGET_SCOPE_KEY,
    d.BudgetScope.RUN: usage_pb2.BUDGET_SCOPE_RUN,
}
_PERIODS: Mapping[d.BudgetPeriod, usage_pb2.BudgetPeriod.ValueType] = {
    d.BudgetPeriod.RUN: usage_pb2.BUDGET_PERIOD_RUN,
    d.BudgetPeriod.DAY: usage_pb2.BUDGET_PERIOD_DAY,
    d.BudgetPeriod.WEEK: usage_pb2.BUDGET_PERIOD_WEEK,
    d.BudgetPeriod.MONTH: usage_pb2.BUDGET_PERIOD_MONTH,
}
_EXCEEDS: Mapping[d.BudgetExceed, usage_pb2.BudgetExceed.ValueType] = {
    d.BudgetExceed.FAIL: usage_pb2.BUDGET_EXCEED_FAIL,
    d.BudgetExceed.PAUSE: usage_pb2.BUDGET_EXCEED_PAUSE,
    d.BudgetExceed.DOWNGRADE: usage_pb2.BUDGET_EXCEED_DOWNGRADE,
}
_SCOPE_WORDS = {number: word for word, number in _SCOPES.items()}
_PERIOD_WORDS = {number: word for word, number in _PERIODS.items()}
_EXCEED_WORDS = {number: word for word, number in _EXCEEDS.items()}


def usage_report(
    message: usage_pb2.QueryUsageResponse, dimensions: Sequence[d.UsageDimension]
) -> d.UsageReport:
    """Sums of calls, the groups' values named by what was grouped by."""
    names = [one.value for one in dimensions]
    groups = [
        d.UsageGroup(
            keys=dict(zip(names, group.keys, strict=True)),
            usage=usage(group.usage),
            failed_calls=group.failed_calls,
            details=_details(group.details),
        )
        for group in message.groups
    ]
    return d.UsageReport(
        groups=groups,
        total=usage(message.total),
        total_details=_details(message.total_details),
    )


def call_status_number(status: d.CallStatus | None) -> usage_pb2.CallStatus.ValueType:
    """The number of a filter's status; that of none means any."""
    if status is None:
        return usage_pb2.CALL_STATUS_UNSPECIFIED
    return _CALL_STATUS_NUMBERS[status]


def call(message: usage_pb2.Call) -> d.Call:
    """An entry of the ledger."""
    who = message.attribution
    return d.Call(
        id=message.id,
        time=message.time.ToDatetime(tzinfo=UTC),
        workflow=who.workflow,
        version=who.version,
        run_id=who.run_id,
        root_run_id=who.root_run_id,
        node=who.node,
        schedule=who.schedule,
        api_key=who.api_key,
        provider=message.provider,
        model=message.model,
        status=_CALL_STATUSES[message.status],
        error_code=message.error_code,
        input_tokens=message.input_tokens if message.HasField("input_tokens") else None,
        output_tokens=message.output_tokens if message.HasField("output_tokens") else None,
        cached_input_tokens=message.cached_input_tokens,
        reasoning_tokens=message.reasoning_tokens,
        estimated=message.estimated,
        input_usd_per_million=optional(message, "input_usd_per_million"),
        output_usd_per_million=optional(message, "output_usd_per_million"),
        cost_usd=optional(message, "cost_usd"),
        reserved_usd=optional(message, "reserved_usd"),
        reserved_tokens=message.reserved_tokens,
        latency_ms=message.latency_ms,
        first_token_ms=message.first_token_ms if message.HasField("first_token_ms") else None,
        saved_usd=optional(message, "saved_usd"),
        saved_tokens=message.saved_tokens,
    )


def budget_message(budget: d.Budget) -> usage_pb2.Budget:
    """A budget that is to be set."""
    return usage_pb2.Budget(
        name=budget.name,
        scope=_SCOPES[budget.scope],
        subject=budget.subject,
        period=_PERIODS[budget.period],
        usd=budget.usd,
        tokens=budget.tokens,
        warn_percent=budget.warn_percent,
        on_exceed=_EXCEEDS[budget.on_exceed],
        downgrade_to=budget.downgrade_to,
    )


def budget_status(message: usage_pb2.BudgetStatus) -> d.BudgetStatus:
    """A budget and how it stands."""
    budget = message.budget
    return d.BudgetStatus(
        budget=d.Budget(
            name=budget.name,
            scope=_SCOPE_WORDS[budget.scope],
            subject=budget.subject,
            period=_PERIOD_WORDS[budget.period],
            usd=optional(budget, "usd"),
            tokens=budget.tokens if budget.HasField("tokens") else None,
            warn_percent=budget.warn_percent,
            on_exceed=_EXCEED_WORDS[budget.on_exceed],
            downgrade_to=budget.downgrade_to,
        ),
        uses=[_budget_use(use) for use in message.uses],
    )


def _budget_use(message: usage_pb2.BudgetUse) -> d.BudgetUse:
    return d.BudgetUse(
        period=message.period,
        used_usd=message.used_usd,
        used_tokens=message.used_tokens,
        left_usd=optional(message, "left_usd"),
        left_tokens=message.left_tokens if message.HasField("left_tokens") else None,
        reset_time=moment(message, "reset_time"),
        warned=message.warned,
    )


def _details(message: usage_pb2.UsageDetails) -> d.UsageDetails:
    return d.UsageDetails(
        known_usd=message.known_usd,
        cached_input_tokens=message.cached_input_tokens,
        reasoning_tokens=message.reasoning_tokens,
        open_calls=message.open_calls,
        open_usd=message.open_usd,
        uncertain_calls=message.uncertain_calls,
        uncertain_usd=message.uncertain_usd,
        reused_replies=message.reused_replies,
        saved_usd=message.saved_usd,
        saved_tokens=message.saved_tokens,
        unbounded_calls=message.unbounded_calls,
    )
