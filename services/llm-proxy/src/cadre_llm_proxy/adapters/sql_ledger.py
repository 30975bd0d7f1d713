"""The ledger in SQLite or PostgreSQL."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from cadre_kit.databases import migrate
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger
from cadre_kit.transactions import Statements, Transactions, open_transactions
from cadre_llm_proxy.adapters import ledger_tables as t
from cadre_llm_proxy.adapters import sql_accounts, sql_usage
from cadre_llm_proxy.adapters.living_processes import (
    SEEN_EVERY_SECONDS,
    Self,
    bury_the_dead,
    leave,
    say_alive,
)
from cadre_llm_proxy.domain.budgets import Budget, BudgetStatus
from cadre_llm_proxy.domain.calls import BudgetWarning, Reply
from cadre_llm_proxy.domain.entries import Bound, Entry, KeptReply, StoredReply
from cadre_llm_proxy.domain.metering import Kept
from cadre_llm_proxy.domain.replies import Claim
from cadre_llm_proxy.domain.usage import CallQuery, Group, UsageQuery

__all__ = ["MIGRATIONS", "NAME", "SqlLedger", "open_ledger", "utc_now"]

NAME = "llm-proxy"
MIGRATIONS = Path(__file__).parent.parent / "migrations"
# Any number that other users of a PostgreSQL database do not lock.
_LOCK = 7_411_001
log = logger()

_INSERT_CALL = sa.insert(t.calls)
_SETTLE_CALL = (
    sa.update(t.calls)
    .where(t.calls.c.id == sa.bindparam("of_id"), sa.text("status IN ('sent', 'uncertain')"))
    .values({name: sa.bindparam(f"new_{name}") for name in t.SETTLED})
)
_SELECT_REPLY = (
    sa.select(t.replies.c.request_digest, t.calls.c.model, t.replies.c.reply)
    .join_from(t.replies, t.calls, t.calls.c.id == t.replies.c.call_id)
    .where(t.replies.c.idempotency_key == sa.bindparam("key"))
)
_SELECT_CLAIM = sa.select(t.claims).where(t.claims.c.idempotency_key == sa.bindparam("key"))
_INSERT_CLAIM = sa.insert(t.claims)
_DELETE_CLAIM = sa.delete(t.claims).where(
    t.claims.c.idempotency_key == sa.bindparam("key"),
    t.claims.c.process_id == sa.bindparam("owner"),
)
# What is there already is the same, written before the answer that it was got lost. SQLite has PostgreSQL's words.
_ADD_CALL = postgresql.insert(t.calls).on_conflict_do_nothing()
_INSERT_REPLY = postgresql.insert(t.replies).on_conflict_do_nothing()
_DELETE_CACHED = sa.delete(t.cached_replies).where(
    t.cached_replies.c.cache_key == sa.bindparam("key")
)
_INSERT_CACHED = sa.insert(t.cached_replies)


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


async def open_ledger(url: str, *, clock: Callable[[], datetime] = utc_now) -> "SqlLedger":
    """The ledger at `sqlite:///PATH` or `postgresql://...`, brought to its newest schema. The present periods of
    budgets are those of the clock."""
    await asyncio.to_thread(migrate, url, migrations=MIGRATIONS, name=NAME)
    return SqlLedger(open_transactions(url, name=NAME, strict=False, lock=_LOCK), clock)


class SqlLedger:
    """Keeps entries, budgets and replies in one database that several processes may share. `join` it first."""

    def __init__(self, transactions: Transactions, clock: Callable[[], datetime]) -> None:
        self._transactions = transactions
        self._clock = clock
        self._me = Self.of_process()
        self._keeping_alive: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Says that this process is alive, from now on, and looks after what dead ones left."""
        await self.bury_the_dead()
        self._keeping_alive = asyncio.create_task(self._keep_alive())

    async def leave(self) -> None:
        """Says no more that this process is alive: what it has under way becomes uncertain."""
        if self._keeping_alive is not None:
            self._keeping_alive.cancel()
            await self._transactions.write(lambda connection: leave(connection, self._me))

    async def bury_the_dead(self) -> None:
        """Marks what dead processes left: their entries under way become uncertain, their claims end."""

        def work(connection: sa.Connection) -> int:
            say_alive(connection, self._me)
            return bury_the_dead(connection, self._me)

        if left := await self._transactions.write(work):
            log.warning("calls_are_uncertain", calls=left, reason="the process that sent them died")

    async def close(self) -> None:
        """Ends after what is under way, and closes the connections."""
        # While the database is locked or full, others find out by themselves that this process is gone.
        with suppress(CadreError):
            await self.leave()
        await self._transactions.close()

    async def open(self, entry: Entry, bound: Bound) -> bool:
        """Adds a request that is about to be sent, and reserves its worst case; says whether a budget holds for it."""
        row = {**t.entry_row(entry), "process_id": self._me.id}

        def work(statements: Statements) -> bool:
            bounded = sql_accounts.reserve(statements, entry, bound)
            statements.add(_INSERT_CALL, [row])
            return bounded

        return await self._transactions.write_fast(work)

    async def settle(self, entry: Entry, kept: Kept | None) -> tuple[BudgetWarning, ...]:
        """Ends an entry that is under way, or was given up as uncertain, and keeps its reply, with the warnings that
        are due now."""
        new = {f"new_{name}": value for name, value in t.settled_row(entry).items()}
        settled = {"of_id": entry.id, **new}
        change = entry.counted() - entry.reserved()

        def work(statements: Statements) -> tuple[BudgetWarning, ...]:
            warnings: tuple[BudgetWarning, ...] = ()
            if statements.change(_SETTLE_CALL, settled):
                warnings = sql_accounts.settle(statements, entry, change)
            if kept is not None:
                self._keep(statements, entry, kept.warned(warnings))
            return warnings

        return await self._transactions.write_fast(work)

    async def add(self, entry: Entry) -> None:
        """Adds an entry for which nothing was sent. Adding it twice does no harm."""
        row = {**t.entry_row(entry), "process_id": ""}
        await self._transactions.write_fast(lambda statements: statements.add(_ADD_CALL, [row]))

    async def claim(self, key: str, digest: str) -> StoredReply | Claim:
        """The reply kept for a key, or else the claim to it, which is ours if nobody alive has it."""
        return await self._transactions.write_fast(
            lambda statements: self._claim(statements, key, digest)
        )

    async def release(self, key: str) -> None:
        """Gives our claim up."""
        ours = {"key": key, "owner": self._me.id}
        await self._transactions.write_fast(
            lambda statements: statements.change(_DELETE_CLAIM, ours)
        )

    async def cached(self, key: str, *, since: datetime) -> Reply | None:
        """The reply cached under a key at that time or later."""
        return await self._transactions.read(lambda connection: _cached(connection, key, since))

    async def forget_replies(self, *, before: datetime) -> None:
        """Deletes replies that were kept before a time, and accounts that were active before it; entries stay."""
        time = t.time_text(before)

        def work(connection: sa.Connection) -> None:
            for table in (t.replies, t.cached_replies, t.accounts):
                connection.execute(table.delete().where(table.c.time < time))

        await self._transactions.write(work)

    async def groups(self, query: UsageQuery) -> tuple[Group, ...]:
        """One group per combination of the query's dimensions."""
        return await self._transactions.read(
            lambda connection: sql_usage.grouped(connection, query)
        )

    async def entries(self, query: CallQuery) -> tuple[Entry, ...]:
        """Entries, newest first."""
        return await self._transactions.read(lambda connection: sql_usage.listed(connection, query))

    async def kept_replies(self, run_id: str, *, limit: int, after: str) -> tuple[KeptReply, ...]:
        """Replies to a run's calls that are kept, the oldest first, after that of a call."""
        return await self._transactions.read(lambda c: _kept_replies(c, run_id, limit, after))

    async def tokens_per_second(self, provider: str, model: str) -> float | None:
        """How fast a model wrote in its last calls; None when it did not."""
        return await self._transactions.read(
            lambda c: sql_usage.tokens_per_second(c, provider, model)
        )

    async def put_budget(self, budget: Budget) -> BudgetStatus:
        """Stores a budget in place of the one of its name."""
        now = self._clock()
        return await self._transactions.write(lambda c: sql_accounts.put_budget(c, budget, now))

    async def delete_budget(self, name: str) -> bool:
        """Removes a budget; says whether there was one."""
        return await self._transactions.write(lambda c: sql_accounts.delete_budget(c, name))

    async def budgets(self) -> tuple[BudgetStatus, ...]:
        """All budgets by name."""
        # A write, for it may begin the account of a new day.
        now = self._clock()
        return await self._transactions.write(lambda c: sql_accounts.list_budgets(c, now))

    def _claim(self, statements: Statements, key: str, digest: str) -> StoredReply | Claim:
        for row in statements.rows(_SELECT_REPLY, {"key": key}):
            return StoredReply(
                request_digest=row["request_digest"],
                model=row["model"],
                reply=t.reply_of(row["reply"]),
            )
        for row in statements.rows(_SELECT_CLAIM, {"key": key}):
            is_ours = row["process_id"] == self._me.id
            return Claim(request_digest=row["request_digest"], is_ours=is_ours)
        ours = {"idempotency_key": key, "request_digest": digest, "process_id": self._me.id}
        statements.add(_INSERT_CLAIM, [ours])
        return Claim(request_digest=digest, is_ours=True)

    def _keep(self, statements: Statements, entry: Entry, kept: Kept) -> None:
        if not (entry.idempotency_key or kept.cache_key):
            return
        text, time = t.reply_text(kept.reply), t.time_text(entry.time)
        if entry.idempotency_key:
            row = {
                "idempotency_key": entry.idempotency_key,
                "call_id": entry.id,
                "request_digest": entry.request_digest,
                "time": time,
                "reply": text,
            }
            statements.add(_INSERT_REPLY, [row])
            ours = {"key": entry.idempotency_key, "owner": self._me.id}
            statements.change(_DELETE_CLAIM, ours)
        if kept.cache_key:
            statements.change(_DELETE_CACHED, {"key": kept.cache_key})
            row = {"cache_key": kept.cache_key, "time": time, "reply": text}
            statements.add(_INSERT_CACHED, [row])

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(SEEN_EVERY_SECONDS)
            try:
                await self.bury_the_dead()
            except CadreError as error:
                log.warning("ledger_waits", waiting="sign of life", reason=error.message)


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
