"""The ledger's tables, and its values as their rows and back."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from cadre_llm_proxy.adapters.reply_documents import reply_document, reply_from
from cadre_llm_proxy.domain.budgets import Budget, OnExceed, Period, Scope
from cadre_llm_proxy.domain.calls import Attribution, Reply
from cadre_llm_proxy.domain.entries import Entry, EntryStatus
from cadre_llm_proxy.domain.prices import Price, Tokens

__all__ = [
    "SETTLED",
    "accounts",
    "budget_of",
    "budget_row",
    "budgets",
    "cached_replies",
    "calls",
    "claims",
    "entry_of",
    "entry_row",
    "processes",
    "replies",
    "reply_of",
    "reply_text",
    "settled_row",
    "time_text",
]

_metadata = sa.MetaData()


def _table(name: str, key: str, columns: dict[str, Any]) -> sa.Table:
    keys = key.split()
    made = (sa.Column(n, kind, primary_key=n in keys) for n, kind in columns.items())
    return sa.Table(name, _metadata, *made)


calls = _table(
    "calls",
    "id",
    {
        "id": sa.String,
        "time": sa.String,
        "idempotency_key": sa.String,
        "request_digest": sa.String,
        "workflow": sa.Text,
        "workflow_version": sa.Integer,
        "run_id": sa.Text,
        "root_run_id": sa.Text,
        "node": sa.Text,
        "schedule": sa.Text,
        "api_key": sa.Text,
        "provider": sa.Text,
        "model": sa.Text,
        "input_tokens": sa.BigInteger,
        "output_tokens": sa.BigInteger,
        "cache_read_tokens": sa.BigInteger,
        "cache_write_tokens": sa.BigInteger,
        "reasoning_tokens": sa.BigInteger,
        "estimated": sa.Boolean,
        "input_usd_per_million": sa.Text,
        "output_usd_per_million": sa.Text,
        "cache_read_usd_per_million": sa.Text,
        "cache_write_usd_per_million": sa.Text,
        "reserved_usd": sa.Text,
        "reserved_tokens": sa.BigInteger,
        "cost_usd": sa.Text,
        "saved_usd": sa.Text,
        "saved_tokens": sa.BigInteger,
        "latency_ms": sa.BigInteger,
        "first_token_ms": sa.BigInteger,
        "status": sa.String,
        "error_code": sa.String,
        "process_id": sa.String,
    },
)
replies = _table(
    "replies",
    "idempotency_key",
    {
        "idempotency_key": sa.String,
        "call_id": sa.String,
        "request_digest": sa.String,
        "time": sa.String,
        "reply": sa.Text,
    },
)
claims = _table(
    "claims",
    "idempotency_key",
    {"idempotency_key": sa.String, "request_digest": sa.String, "process_id": sa.String},
)
cached_replies = _table(
    "cached_replies", "cache_key", {"cache_key": sa.String, "time": sa.String, "reply": sa.Text}
)
budgets = _table(
    "budgets",
    "name",
    {
        "name": sa.String,
        "scope": sa.String,
        "subject": sa.Text,
        "period": sa.String,
        "usd": sa.Text,
        "tokens": sa.BigInteger,
        "warn_percent": sa.Integer,
        "on_exceed": sa.String,
        "downgrade_to": sa.Text,
    },
)
accounts = _table(
    "accounts",
    "budget period",
    {
        "budget": sa.Text,
        "period": sa.Text,
        "used_usd": sa.Text,
        "used_tokens": sa.BigInteger,
        "warned": sa.Boolean,
        "time": sa.String,
    },
)
processes = _table(
    "processes",
    "id",
    {
        "id": sa.String,
        "host": sa.Text,
        "pid": sa.BigInteger,
        "began": sa.Text,
        "seen_time": sa.String,
    },
)


SETTLED = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "estimated",
    "cost_usd",
    "latency_ms",
    "first_token_ms",
    "status",
    "error_code",
    "input_usd_per_million",
    "output_usd_per_million",
    "cache_read_usd_per_million",
    "cache_write_usd_per_million",
)
"""The columns that change when an entry ends."""


def time_text(time: datetime) -> str:
    """UTC as 2026-11-22T14:03:05.123456Z: of one width, so that text order is time order."""
    text = time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}Z"


def entry_row(entry: Entry) -> dict[str, Any]:
    """An entry's columns but `process_id`."""
    who = entry.attribution
    return {
        "id": entry.id,
        "time": time_text(entry.time),
        "idempotency_key": entry.idempotency_key,
        "request_digest": entry.request_digest,
        "workflow": who.workflow,
        "workflow_version": who.version,
        "run_id": who.run_id,
        "root_run_id": who.root_run_id,
        "node": who.node,
        "schedule": who.schedule,
        "api_key": who.api_key,
        "provider": entry.provider,
        "model": entry.model,
        "reserved_usd": _text(entry.reserved_usd),
        "reserved_tokens": entry.reserved_tokens,
        "saved_usd": _text(entry.saved_usd),
        "saved_tokens": entry.saved_tokens,
        **settled_row(entry),
    }


def settled_row(entry: Entry) -> dict[str, Any]:
    """The columns that change when an entry ends."""
    tokens, price = entry.tokens, entry.price
    return {
        "input_tokens": tokens and tokens.input,
        "output_tokens": tokens and tokens.output,
        "cache_read_tokens": tokens and tokens.cache_read,
        "cache_write_tokens": tokens and tokens.cache_write,
        "reasoning_tokens": tokens and tokens.reasoning,
        "estimated": entry.estimated,
        "cost_usd": _text(entry.cost_usd),
        "latency_ms": entry.latency_ms,
        "first_token_ms": entry.first_token_ms,
        "status": entry.status.value,
        "error_code": entry.error_code,
        # Which of a model's prices holds is known when its request has ended.
        "input_usd_per_million": price and _text(price.input),
        "output_usd_per_million": price and _text(price.output),
        "cache_read_usd_per_million": price and _text(price.cache_read),
        "cache_write_usd_per_million": price and _text(price.cache_write),
    }


def entry_of(row: Any) -> Entry:
    """The entry of a row."""
    return Entry(
        id=row.id,
        time=datetime.fromisoformat(row.time),
        idempotency_key=row.idempotency_key,
        request_digest=row.request_digest,
        attribution=Attribution(
            workflow=row.workflow,
            version=row.workflow_version,
            run_id=row.run_id,
            root_run_id=row.root_run_id,
            node=row.node,
            schedule=row.schedule,
            api_key=row.api_key,
        ),
        provider=row.provider,
        model=row.model,
        price=_price_of(row),
        reserved_usd=_decimal(row.reserved_usd),
        reserved_tokens=row.reserved_tokens,
        status=EntryStatus(row.status),
        error_code=row.error_code,
        tokens=_tokens_of(row),
        estimated=bool(row.estimated),
        cost_usd=_decimal(row.cost_usd),
        latency_ms=row.latency_ms,
        first_token_ms=row.first_token_ms,
        saved_usd=_decimal(row.saved_usd),
        saved_tokens=row.saved_tokens,
    )


def budget_row(budget: Budget) -> dict[str, Any]:
    """A budget's columns."""
    return {
        "name": budget.name,
        "scope": budget.scope.value,
        "subject": budget.subject,
        "period": budget.period.value,
        "usd": _text(budget.usd),
        "tokens": budget.tokens,
        "warn_percent": budget.warn_percent,
        "on_exceed": budget.on_exceed.value,
        "downgrade_to": budget.downgrade_to,
    }


def budget_of(row: Mapping[str, Any]) -> Budget:
    """The budget of a row."""
    return Budget(
        name=row["name"],
        scope=Scope(row["scope"]),
        subject=row["subject"],
        period=Period(row["period"]),
        usd=_decimal(row["usd"]),
        tokens=row["tokens"],
        warn_percent=row["warn_percent"],
        on_exceed=OnExceed(row["on_exceed"]),
        downgrade_to=row["downgrade_to"],
    )


def reply_text(reply: Reply) -> str:
    """A reply as JSON."""
    return json.dumps(reply_document(reply))


def reply_of(text: str) -> Reply:
    """The reply of a JSON document."""
    return reply_from(json.loads(text))


def _price_of(row: Any) -> Price | None:
    if row.input_usd_per_million is None:
        return None
    return Price(
        input=Decimal(row.input_usd_per_million),
        output=Decimal(row.output_usd_per_million),
        cache_read=_decimal(row.cache_read_usd_per_million),
        cache_write=_decimal(row.cache_write_usd_per_million),
    )


def _tokens_of(row: Any) -> Tokens | None:
    if row.input_tokens is None:
        return None
    return Tokens(
        input=row.input_tokens,
        output=row.output_tokens,
        cache_read=row.cache_read_tokens or 0,
        cache_write=row.cache_write_tokens or 0,
        reasoning=row.reasoning_tokens or 0,
    )


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
