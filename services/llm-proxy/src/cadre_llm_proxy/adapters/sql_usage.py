"""Sums and lists of the ledger's entries, in SQL."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from cadre_llm_proxy.adapters import ledger_tables as t
from cadre_llm_proxy.domain.calls import Usage
from cadre_llm_proxy.domain.entries import Entry, EntryStatus
from cadre_llm_proxy.domain.prices import times
from cadre_llm_proxy.domain.usage import (
    CallQuery,
    Details,
    Dimension,
    Group,
    Selection,
    UsageQuery,
)

__all__ = ["grouped", "listed", "tokens_per_second"]

_MEASURED_CALLS = 100
# So that a model that is seldom asked is not looked for in all there is.
_SEARCHED_CALLS = 10_000

_KEYS: dict[Dimension, sa.ColumnElement[str]] = {
    Dimension.WORKFLOW: t.calls.c.workflow,
    Dimension.RUN: t.calls.c.run_id,
    Dimension.NODE: t.calls.c.node,
    Dimension.MODEL: t.calls.c.model,
    Dimension.PROVIDER: t.calls.c.provider,
    Dimension.KEY: t.calls.c.api_key,
    Dimension.SCHEDULE: t.calls.c.schedule,
    Dimension.DAY: sa.func.substr(t.calls.c.time, 1, 10),
    Dimension.HOUR: sa.func.substr(t.calls.c.time, 1, 13),
}
_SUMMED = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "reasoning_tokens",
    "saved_tokens",
)
_REUSED = (EntryStatus.REPLAYED.value, EntryStatus.CACHED.value)
_ENDED_BADLY = (
    EntryStatus.FAILED.value,
    EntryStatus.CANCELLED.value,
    EntryStatus.UNCERTAIN.value,
)


def grouped(connection: sa.Connection, query: UsageQuery) -> tuple[Group, ...]:
    """One group per combination of the query's dimensions."""
    keys = [_KEYS[dimension].label(f"key{n}") for n, dimension in enumerate(query.group_by)]
    sums: defaultdict[tuple[str, ...], _Sum] = defaultdict(_Sum)
    for row in connection.execute(_same_amounts(query, keys)):
        sums[tuple(row[: len(keys)])].add(row)
    return tuple(each.group(keys_of) for keys_of, each in sums.items())


def listed(connection: sa.Connection, query: CallQuery) -> tuple[Entry, ...]:
    """Entries, newest first."""
    conditions = _conditions(query.selection)
    if query.status is not None:
        conditions.append(t.calls.c.status == query.status.value)
    if query.before:
        conditions.append(t.calls.c.id < query.before)
    # Ids are in the order in which entries were made.
    newest = sa.select(t.calls).where(*conditions).order_by(t.calls.c.id.desc())
    return tuple(t.entry_of(row) for row in connection.execute(newest.limit(query.limit)))


def tokens_per_second(connection: sa.Connection, provider: str, model: str) -> float | None:
    """How many tokens a second a model wrote in its last 100 calls, of the last 10,000 of all; None without any."""
    newest = sa.select(t.calls).order_by(t.calls.c.id.desc()).limit(_SEARCHED_CALLS).subquery().c
    measured = (
        sa.select(newest.output_tokens, newest.latency_ms)
        .where(
            newest.provider == provider,
            newest.model == model,
            newest.status == EntryStatus.SUCCEEDED.value,
            newest.output_tokens > 0,
            newest.latency_ms > 0,
        )
        .order_by(newest.id.desc())
        .limit(_MEASURED_CALLS)
        .subquery()
        .c
    )
    sums = sa.select(sa.func.sum(measured.output_tokens), sa.func.sum(measured.latency_ms))
    tokens, milliseconds = connection.execute(sums).one()
    return None if tokens is None else float(tokens) * 1000 / float(milliseconds)


@dataclass
class _Sum:
    usage: Usage = field(default_factory=Usage)
    details: Details = field(default_factory=Details)
    failed: int = 0

    def add(self, row: Any) -> None:
        """Adds entries that share keys, status and amounts."""
        if row.status in _REUSED:
            self.details += Details(
                reused_replies=row.calls,
                saved_usd=times(_known(row.saved_usd), row.calls),
                saved_tokens=int(row.saved_tokens),
            )
            return
        cost = None if row.cost_usd is None else times(Decimal(row.cost_usd), row.calls)
        self.usage += Usage(
            input_tokens=int(row.input_tokens),
            output_tokens=int(row.output_tokens),
            cost_usd=cost,
            calls=row.calls,
            unpriced_calls=row.calls if cost is None else 0,
        )
        self.failed += row.calls if row.status in _ENDED_BADLY else 0
        self.details += _details(row, cost)

    def group(self, keys: tuple[str, ...]) -> Group:
        """The group of these sums."""
        return Group(keys=keys, usage=self.usage, failed_calls=self.failed, details=self.details)


def _details(row: Any, cost: Decimal | None) -> Details:
    details = Details(
        known_usd=cost or Decimal(0),
        cached_input_tokens=int(row.cache_read_tokens),
        reasoning_tokens=int(row.reasoning_tokens),
    )
    worst = times(_known(row.reserved_usd), row.calls)
    unbounded = row.calls if row.reserved_usd is None and cost is None else 0
    if row.status == EntryStatus.SENT.value:
        return details + Details(open_calls=row.calls, open_usd=worst, unbounded_calls=unbounded)
    if row.is_uncertain:
        return details + Details(
            uncertain_calls=row.calls, uncertain_usd=worst, unbounded_calls=unbounded
        )
    return details


def _same_amounts(query: UsageQuery, keys: Sequence[sa.ColumnElement[str]]) -> sa.Select[Any]:
    # The database counts; decimals are added by us, because its own numbers lose digits.
    calls = t.calls.c
    # Free calls that ended without a word about their tokens are as uncertain, and as free.
    uncertain = sa.and_(calls.input_tokens.is_(None), calls.status != EntryStatus.SENT.value).label(
        "is_uncertain"
    )
    worst = sa.case((calls.input_tokens.is_(None), calls.reserved_usd), else_=None)
    same = [
        *keys,
        calls.status,
        calls.cost_usd,
        calls.saved_usd,
        worst.label("reserved_usd"),
        uncertain,
    ]
    sums = [sa.func.coalesce(sa.func.sum(calls[name]), 0).label(name) for name in _SUMMED]
    return (
        sa.select(*same, sa.func.count().label("calls"), *sums)
        .where(*_conditions(query.selection))
        .group_by(*same)
    )


def _conditions(selection: Selection) -> list[sa.ColumnElement[bool]]:
    calls = t.calls.c
    conditions: list[sa.ColumnElement[bool]] = []
    if selection.start is not None:
        conditions.append(calls.time >= t.time_text(selection.start))
    if selection.end is not None:
        conditions.append(calls.time < t.time_text(selection.end))
    if selection.workflow:
        conditions.append(calls.workflow == selection.workflow)
    if selection.run_id:
        run = selection.run_id
        conditions.append(sa.or_(calls.run_id == run, calls.root_run_id == run))
    return conditions


def _known(amount: str | None) -> Decimal:
    return Decimal(0) if amount is None else Decimal(amount)
