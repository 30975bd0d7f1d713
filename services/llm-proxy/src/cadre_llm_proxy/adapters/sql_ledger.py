"""The ledger in SQLite or PostgreSQL."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from cadre_kit.databases import database_errors
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger
from cadre_llm_proxy.adapters import ledger_tables as t
from cadre_llm_proxy.adapters import sql_accounts, sql_usage
from cadre_llm_proxy.adapters.grouped_writes import GroupedWrites
from cadre_llm_proxy.adapters.living_processes import (
    SEEN_EVERY_SECONDS,
    Self,
    bury_the_dead,
    leave,
    say_alive,
)
from cadre_llm_proxy.adapters.prepared import Prepared
from cadre_llm_proxy.domain.budgets import Budget, BudgetStatus
from cadre_llm_proxy.domain.calls import Reply
from cadre_llm_proxy.domain.entries import Bound, Entry, KeptReply, StoredReply
from cadre_llm_proxy.domain.metering import Kept
from cadre_llm_proxy.domain.replies import Claim
from cadre_llm_proxy.domain.usage import CallQuery, Group, UsageQuery

__all__ = ["MIGRATIONS", "NAME", "SqlLedger"]

NAME = "llm-proxy"
MIGRATIONS = Path(__file__).parent.parent / "migrations"
Result = TypeVar("Result")
log = logger()

_INSERT_CALL = Prepared(t.calls.insert())
_SETTLED = (
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
)
_SETTLE_CALL = Prepared(
    t.calls.update()
    .where(t.calls.c.id == sa.bindparam("of_id"), sa.text("status IN ('sent', 'uncertain')"))
    .values({name: sa.bindparam(name) for name in _SETTLED})
)
_SELECT_REPLY = Prepared(
    sa.select(t.replies.c.request_digest, t.replies.c.reply).where(
        t.replies.c.idempotency_key == sa.bindparam("key")
    )
)
_SELECT_CLAIM = Prepared(
    sa.select(t.claims).where(t.claims.c.idempotency_key == sa.bindparam("key"))
)
_INSERT_CLAIM = Prepared(t.claims.insert())
_DELETE_CLAIM = Prepared(
    t.claims.delete().where(
        t.claims.c.idempotency_key == sa.bindparam("key"),
        t.claims.c.process_id == sa.bindparam("owner"),
    )
)
# What is there already is the same, written before the answer that it was got lost.
_IF_NEW = "ON CONFLICT DO NOTHING"
_ADD_CALL = Prepared(t.calls.insert(), ending=_IF_NEW)
_INSERT_REPLY = Prepared(t.replies.insert(), ending=_IF_NEW)
_DELETE_CACHED = Prepared(
    t.cached_replies.delete().where(t.cached_replies.c.cache_key == sa.bindparam("key"))
)
_INSERT_CACHED = Prepared(t.cached_replies.insert())


class SqlLedger:
    """Keeps entries, budgets and replies in one database that several processes may share.

    Works in threads of its own: one writes, all that is ready in one transaction, and others read. `open` it first.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._me = Self.of_process()
        self._writes = GroupedWrites(engine, name=NAME)
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="ledger-reader")
        self._keeping_alive: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Says that this process is alive, from now on, and looks after what dead ones left."""
        await self.bury_the_dead()
        self._keeping_alive = asyncio.create_task(self._keep_alive())

    async def leave(self) -> None:
        """Says no more that this process is alive: what it has under way becomes uncertain."""
        if self._keeping_alive is not None:
            self._keeping_alive.cancel()
            await self._writes.run(lambda connection: leave(connection, self._me))

    async def bury_the_dead(self) -> None:
        """Marks what dead processes left: their entries under way become uncertain, their claims end."""

        def work(connection: sa.Connection) -> int:
            say_alive(connection, self._me)
            return bury_the_dead(connection, self._me)

        if left := await self._writes.run(work):
            log.warning("calls_are_uncertain", calls=left, reason="the process that sent them died")

    async def close(self) -> None:
        """Ends the threads, after what they are at, and closes the connections."""
        # While the database is locked or full, others find out by themselves that this process is gone.
        with suppress(CadreError):
            await self.leave()
        self._writes.close()
        self._readers.shutdown()
        self._engine.dispose()

    async def open(self, entry: Entry, bound: Bound) -> bool:
        """Adds a request that is about to be sent, and reserves its worst case; says whether a budget holds for it."""

        def work(connection: sa.Connection) -> bool:
            bounded = sql_accounts.reserve(connection, entry, bound)
            row = {**t.entry_row(entry), "process_id": self._me.id}
            _INSERT_CALL(connection, row)
            return bounded

        return await self._writes.run(work)

    async def settle(self, entry: Entry, kept: Kept | None) -> None:
        """Ends an entry that is under way, or was given up as uncertain, and keeps its reply."""
        row = t.entry_row(entry)
        settled = {"of_id": entry.id, **{name: row[name] for name in _SETTLED}}
        change = entry.counted() - entry.reserved()

        def work(connection: sa.Connection) -> None:
            if _SETTLE_CALL(connection, settled).rowcount:
                sql_accounts.settle(connection, entry, change)
            if kept is not None:
                self._keep(connection, entry, kept)

        await self._writes.run(work)

    async def add(self, entry: Entry) -> None:
        """Adds an entry for which nothing was sent. Adding it twice does no harm."""
        row = {**t.entry_row(entry), "process_id": ""}
        await self._writes.run(lambda connection: _ADD_CALL(connection, row).close())

    async def claim(self, key: str, digest: str) -> StoredReply | Claim:
        """The reply kept for a key, or else the claim to it, which is ours if nobody alive has it."""
        return await self._writes.run(lambda connection: self._claim(connection, key, digest))

    async def release(self, key: str) -> None:
        """Gives our claim up."""
        ours = {"key": key, "owner": self._me.id}

        await self._writes.run(lambda connection: _DELETE_CLAIM(connection, ours).close())

    async def cached(self, key: str, *, since: datetime) -> Reply | None:
        """The reply cached under a key at that time or later."""
        return await self._read(_cached, key, since)

    async def forget_replies(self, *, before: datetime) -> None:
        """Deletes replies that were kept before a time, and accounts that were active before it; entries stay."""
        time = t.time_text(before)

        def work(connection: sa.Connection) -> None:
            for table in (t.replies, t.cached_replies, t.accounts):
                connection.execute(table.delete().where(table.c.time < time))

        await self._writes.run(work)

    async def groups(self, query: UsageQuery) -> tuple[Group, ...]:
        """One group per combination of the query's dimensions."""
        return await self._read(sql_usage.grouped, query)

    async def entries(self, query: CallQuery) -> tuple[Entry, ...]:
        """Entries, newest first."""
        return await self._read(sql_usage.listed, query)

    async def kept_replies(self, run_id: str, *, limit: int, after: str) -> tuple[KeptReply, ...]:
        """Replies to a run's calls that are kept, the oldest first, after that of a call."""
        return await self._read(_kept_replies, run_id, limit, after)

    async def put_budget(self, budget: Budget) -> BudgetStatus:
        """Stores a budget in place of the one of its name."""
        return await self._writes.run(lambda c: sql_accounts.put_budget(c, budget))

    async def delete_budget(self, name: str) -> bool:
        """Removes a budget; says whether there was one."""
        return await self._writes.run(lambda c: sql_accounts.delete_budget(c, name))

    async def budgets(self) -> tuple[BudgetStatus, ...]:
        """All budgets by name."""
        # A write, for it may begin the account of a new day.
        return await self._writes.run(sql_accounts.list_budgets)

    def _claim(self, connection: sa.Connection, key: str, digest: str) -> StoredReply | Claim:
        row = _SELECT_REPLY(connection, {"key": key}).one_or_none()
        if row is not None:
            return StoredReply(request_digest=row.request_digest, reply=t.reply_of(row.reply))
        claim = _SELECT_CLAIM(connection, {"key": key}).one_or_none()
        if claim is not None:
            is_ours = claim.process_id == self._me.id
            return Claim(request_digest=claim.request_digest, is_ours=is_ours)
        ours = {"idempotency_key": key, "request_digest": digest, "process_id": self._me.id}
        _INSERT_CLAIM(connection, ours)
        return Claim(request_digest=digest, is_ours=True)

    def _keep(self, connection: sa.Connection, entry: Entry, kept: Kept) -> None:
        text, time = t.reply_text(kept.reply), t.time_text(entry.time)
        if entry.idempotency_key:
            row = {
                "idempotency_key": entry.idempotency_key,
                "call_id": entry.id,
                "request_digest": entry.request_digest,
                "time": time,
                "reply": text,
            }
            _INSERT_REPLY(connection, row)
            _DELETE_CLAIM(connection, {"key": entry.idempotency_key, "owner": self._me.id})
        if kept.cache_key:
            _DELETE_CACHED(connection, {"key": kept.cache_key})
            row = {"cache_key": kept.cache_key, "time": time, "reply": text}
            _INSERT_CACHED(connection, row)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(SEEN_EVERY_SECONDS)
            try:
                await self.bury_the_dead()
            except CadreError as error:
                log.warning("ledger_waits", waiting="sign of life", reason=error.message)

    async def _read(self, work: Callable[..., Result], *args: Any) -> Result:
        def reading() -> Result:
            with database_errors(NAME), self._engine.connect() as connection:
                return work(connection, *args)

        return await asyncio.get_running_loop().run_in_executor(self._readers, reading)


def _cached(connection: sa.Connection, key: str, since: datetime) -> Reply | None:
    columns = t.cached_replies.c
    young = sa.select(columns.reply).where(
        columns.cache_key == key, columns.time >= t.time_text(since)
    )
    text = connection.execute(young).scalar_one_or_none()
    return None if text is None else t.reply_of(text)


def _kept_replies(
    connection: sa.Connection, run_id: str, limit: int, after: str
) -> tuple[KeptReply, ...]:
    calls, replies = t.calls.c, t.replies.c
    of_run = (
        sa.select(replies.call_id, replies.idempotency_key, replies.reply)
        .join_from(t.calls, t.replies, replies.call_id == calls.id)
        .where(calls.run_id == run_id, calls.id > after)
        .order_by(calls.id)
        .limit(limit)
    )
    rows = connection.execute(of_run)
    return tuple(
        KeptReply(call_id=row.call_id, key=row.idempotency_key, reply=t.reply_of(row.reply))
        for row in rows
    )
