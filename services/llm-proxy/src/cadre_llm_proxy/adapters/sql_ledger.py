"""The ledger in SQLite or PostgreSQL."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa

from cadre_kit.databases import database_errors
from cadre_llm_proxy.adapters.reply_documents import reply_document, reply_of
from cadre_llm_proxy.domain.calls import (
    Attempt,
    AttemptStatus,
    Reply,
    Usage,
)
from cadre_llm_proxy.domain.completions import StoredReply
from cadre_llm_proxy.domain.prices import times
from cadre_llm_proxy.domain.usage import Dimension, Group, UsageQuery

__all__ = ["MIGRATIONS", "NAME", "SqlLedger"]

NAME = "llm-proxy"
MIGRATIONS = Path(__file__).parent.parent / "migrations"

_metadata = sa.MetaData()
_calls = sa.Table(
    "calls",
    _metadata,
    *(
        sa.Column(name, kind)
        for name, kind in {
            "id": sa.String,
            "time": sa.String,
            "idempotency_key": sa.String,
            "request_digest": sa.String,
            "workflow": sa.Text,
            "workflow_version": sa.Integer,
            "run_id": sa.Text,
            "node": sa.Text,
            "provider": sa.Text,
            "model": sa.Text,
            "input_tokens": sa.BigInteger,
            "output_tokens": sa.BigInteger,
            "cache_read_tokens": sa.BigInteger,
            "cache_write_tokens": sa.BigInteger,
            "estimated": sa.Boolean,
            "input_usd_per_million": sa.Text,
            "output_usd_per_million": sa.Text,
            "cost_usd": sa.Text,
            "latency_ms": sa.BigInteger,
            "status": sa.String,
            "error_code": sa.String,
        }.items()
    ),
)
_replies = sa.Table(
    "replies",
    _metadata,
    sa.Column("idempotency_key", sa.String, primary_key=True),
    sa.Column("call_id", sa.String),
    sa.Column("request_digest", sa.String),
    sa.Column("time", sa.String),
    sa.Column("reply", sa.Text),
)
_INSERT_CALL = _calls.insert()
_INSERT_REPLY = _replies.insert()
_SELECT_REPLY = sa.select(_replies.c.request_digest, _replies.c.reply).where(
    _replies.c.idempotency_key == sa.bindparam("key")
)
P = ParamSpec("P")
Result = TypeVar("Result")
_KEYS: dict[Dimension, sa.ColumnElement[str]] = {
    Dimension.WORKFLOW: _calls.c.workflow,
    Dimension.RUN: _calls.c.run_id,
    Dimension.NODE: _calls.c.node,
    Dimension.MODEL: _calls.c.model,
    Dimension.PROVIDER: _calls.c.provider,
    Dimension.DAY: sa.func.substr(_calls.c.time, 1, 10),
    Dimension.HOUR: sa.func.substr(_calls.c.time, 1, 13),
}


class SqlLedger:
    """Keeps entries and replies in one database, each entry with its reply in one transaction.

    Works in threads of its own, a whole transaction in one hop: one thread writes, others read.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-writer")
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="ledger-reader")

    async def add(self, attempt: Attempt, *, reply: Reply | None = None) -> None:
        """Adds an entry, and keeps the reply for its idempotency key. Raises the database's errors."""
        await self._run(self._writer, self._add, attempt, reply)

    async def stored(self, key: str) -> StoredReply | None:
        """The reply kept for an idempotency key."""
        return await self._run(self._readers, self._stored, key)

    async def forget_replies(self, *, before: datetime) -> None:
        """Deletes replies kept for keys that were used before a time; their entries stay."""
        await self._run(self._writer, self._forget_replies, before)

    async def groups(self, query: UsageQuery) -> tuple[Group, ...]:
        """One group per combination of the query's dimensions."""
        return await self._run(self._readers, self._groups, query)

    def close(self) -> None:
        """Ends the threads, after what they are at, and closes the connections."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._engine.dispose()

    async def _run(
        self, threads: ThreadPoolExecutor, work: Callable[P, Result], *args: P.args, **_: P.kwargs
    ) -> Result:
        with database_errors(NAME):
            return await asyncio.get_running_loop().run_in_executor(threads, work, *args)

    def _add(self, attempt: Attempt, reply: Reply | None) -> None:
        with self._writing() as connection:
            connection.execute(_INSERT_CALL, _call_row(attempt))
            if reply is not None and attempt.idempotency_key:
                connection.execute(_INSERT_REPLY, _reply_row(attempt, reply))

    def _stored(self, key: str) -> StoredReply | None:
        with self._engine.connect() as connection:
            row = connection.execute(_SELECT_REPLY, {"key": key}).one_or_none()
        if row is None:
            return None
        return StoredReply(request_digest=row.request_digest, reply=reply_of(json.loads(row.reply)))

    def _forget_replies(self, before: datetime) -> None:
        with self._writing() as connection:
            connection.execute(_replies.delete().where(_replies.c.time < _time_text(before)))

    def _groups(self, query: UsageQuery) -> tuple[Group, ...]:
        keys = [_KEYS[dimension].label(f"key{n}") for n, dimension in enumerate(query.group_by)]
        sums: defaultdict[tuple[str, ...], _Sum] = defaultdict(_Sum)
        with self._engine.connect() as connection:
            for row in connection.execute(_grouped(query, keys)):
                sums[tuple(row[: len(keys)])].add(row)
        return tuple(
            Group(keys=keys_of, usage=each.usage, failed_calls=each.failed)
            for keys_of, each in sums.items()
        )

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection


@dataclass
class _Sum:
    usage: Usage = field(default_factory=Usage)
    failed: int = 0

    def add(self, row: Any) -> None:
        """Adds calls that share keys and cost."""
        calls = int(row.calls)
        known = row.cost_usd is not None
        self.usage += Usage(
            input_tokens=int(row.input_tokens),
            output_tokens=int(row.output_tokens),
            cost_usd=times(Decimal(row.cost_usd), calls) if known else None,
            calls=calls,
            unpriced_calls=0 if known else calls,
        )
        self.failed += int(row.failed)


def _grouped(query: UsageQuery, keys: Sequence[sa.ColumnElement[str]]) -> sa.Select[Any]:
    # The database counts; decimals are added by us, because its own numbers lose digits.
    failed = sa.case((_calls.c.status == AttemptStatus.SUCCEEDED.value, 0), else_=1)
    return (
        sa.select(
            *keys,
            _calls.c.cost_usd,
            sa.func.count().label("calls"),
            sa.func.coalesce(sa.func.sum(_calls.c.input_tokens), 0).label("input_tokens"),
            sa.func.coalesce(sa.func.sum(_calls.c.output_tokens), 0).label("output_tokens"),
            sa.func.sum(failed).label("failed"),
        )
        .where(*_conditions(query))
        .group_by(*keys, _calls.c.cost_usd)
    )


def _conditions(query: UsageQuery) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if query.start is not None:
        conditions.append(_calls.c.time >= _time_text(query.start))
    if query.end is not None:
        conditions.append(_calls.c.time < _time_text(query.end))
    if query.workflow:
        conditions.append(_calls.c.workflow == query.workflow)
    if query.run_id:
        conditions.append(_calls.c.run_id == query.run_id)
    return conditions


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _call_row(attempt: Attempt) -> dict[str, Any]:
    tokens, price = attempt.tokens, attempt.price
    return {
        "id": attempt.id,
        "time": _time_text(attempt.time),
        "idempotency_key": attempt.idempotency_key,
        "request_digest": attempt.request_digest,
        "workflow": attempt.attribution.workflow,
        "workflow_version": attempt.attribution.version,
        "run_id": attempt.attribution.run_id,
        "node": attempt.attribution.node,
        "provider": attempt.provider,
        "model": attempt.model,
        "input_tokens": tokens and tokens.input,
        "output_tokens": tokens and tokens.output,
        "cache_read_tokens": tokens and tokens.cache_read,
        "cache_write_tokens": tokens and tokens.cache_write,
        "estimated": attempt.estimated,
        "input_usd_per_million": price and f"{price.input:f}",
        "output_usd_per_million": price and f"{price.output:f}",
        "cost_usd": None if attempt.cost_usd is None else f"{attempt.cost_usd:f}",
        "latency_ms": attempt.latency_ms,
        "status": attempt.status.value,
        "error_code": attempt.error_code,
    }


def _reply_row(attempt: Attempt, reply: Reply) -> dict[str, Any]:
    return {
        "idempotency_key": attempt.idempotency_key,
        "call_id": attempt.id,
        "request_digest": attempt.request_digest,
        "time": _time_text(attempt.time),
        "reply": json.dumps(reply_document(reply)),
    }
