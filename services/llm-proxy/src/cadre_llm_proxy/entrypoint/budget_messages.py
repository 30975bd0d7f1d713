"""Budgets, from protos and back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from cadre.llm_proxy.v1 import usage_pb2
from cadre_llm_proxy.domain.budgets import Budget, BudgetStatus, OnExceed, Period, Scope, Use
from cadre_llm_proxy.domain.facts import BudgetInvalid
from cadre_llm_proxy.domain.prices import difference
from cadre_llm_proxy.entrypoint.messages import decimal_of
from cadre_llm_proxy.entrypoint.usage_messages import money, timestamp

__all__ = ["budget_of_message", "status_message"]

_WARN_PERCENT = 80
_SCOPES: Mapping[Scope, usage_pb2.BudgetScope.ValueType] = {
    Scope.PLATFORM: usage_pb2.BUDGET_SCOPE_PLATFORM,
    Scope.WORKFLOW: usage_pb2.BUDGET_SCOPE_WORKFLOW,
    Scope.KEY: usage_pb2.BUDGET_SCOPE_KEY,
    Scope.RUN: usage_pb2.BUDGET_SCOPE_RUN,
}
_PERIODS: Mapping[Period, usage_pb2.BudgetPeriod.ValueType] = {
    Period.RUN: usage_pb2.BUDGET_PERIOD_RUN,
    Period.DAY: usage_pb2.BUDGET_PERIOD_DAY,
    Period.WEEK: usage_pb2.BUDGET_PERIOD_WEEK,
    Period.MONTH: usage_pb2.BUDGET_PERIOD_MONTH,
}
_EXCEEDS: Mapping[OnExceed, usage_pb2.BudgetExceed.ValueType] = {
    OnExceed.FAIL: usage_pb2.BUDGET_EXCEED_FAIL,
    OnExceed.PAUSE: usage_pb2.BUDGET_EXCEED_PAUSE,
    OnExceed.DOWNGRADE: usage_pb2.BUDGET_EXCEED_DOWNGRADE,
}
_SCOPES_BACK = {number: scope for scope, number in _SCOPES.items()}
_PERIODS_BACK = {number: period for period, number in _PERIODS.items()}
_EXCEEDS_BACK = {
    **{number: exceed for exceed, number in _EXCEEDS.items()},
    usage_pb2.BUDGET_EXCEED_UNSPECIFIED: OnExceed.FAIL,
}


def budget_of_message(message: usage_pb2.Budget) -> Budget:
    """A budget that is to be set. Raises BudgetInvalid and RequestInvalid naming the field that is wrong."""
    for field, known in (
        ("scope", _SCOPES_BACK),
        ("period", _PERIODS_BACK),
        ("on_exceed", _EXCEEDS_BACK),
    ):
        if getattr(message, field) not in known:
            raise BudgetInvalid(f"{field} must be a known one", metadata={"field": field})
    return Budget(
        name=message.name,
        scope=_SCOPES_BACK[message.scope],
        subject=message.subject,
        period=_PERIODS_BACK[message.period],
        usd=decimal_of(message.usd, "usd") if message.HasField("usd") else None,
        tokens=message.tokens if message.HasField("tokens") else None,
        warn_percent=message.warn_percent or _WARN_PERCENT,
        on_exceed=_EXCEEDS_BACK[message.on_exceed],
        downgrade_to=message.downgrade_to,
    )


def status_message(status: BudgetStatus) -> usage_pb2.BudgetStatus:
    """A budget and how it stands."""
    budget = status.budget
    return usage_pb2.BudgetStatus(
        budget=usage_pb2.Budget(
            name=budget.name,
            scope=_SCOPES[budget.scope],
            subject=budget.subject,
            period=_PERIODS[budget.period],
            usd=money(budget.usd),
            tokens=budget.tokens,
            warn_percent=budget.warn_percent,
            on_exceed=_EXCEEDS[budget.on_exceed],
            downgrade_to=budget.downgrade_to,
        ),
        uses=[_use_message(budget, use) for use in status.uses],
    )


def _use_message(budget: Budget, use: Use) -> usage_pb2.BudgetUse:
    left_usd = None if budget.usd is None else difference(budget.usd, use.used.usd)
    left_tokens = None if budget.tokens is None else budget.tokens - use.used.tokens
    reset = budget.reset_time(use.period)
    return usage_pb2.BudgetUse(
        period=use.period,
        used_usd=f"{use.used.usd:f}",
        used_tokens=use.used.tokens,
        left_usd=None if left_usd is None else money(max(Decimal(0), left_usd)),
        left_tokens=None if left_tokens is None else max(0, left_tokens),
        reset_time=None if reset is None else timestamp(reset),
        warned=use.warned,
    )
