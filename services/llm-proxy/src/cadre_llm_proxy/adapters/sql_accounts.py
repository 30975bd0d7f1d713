"""What budgets' periods used, in SQL: sums of the ledger that are kept, each within the transaction that changes it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from cadre_kit.logs import logger
from cadre_llm_proxy.adapters import ledger_tables as t
from cadre_llm_proxy.adapters.prepared import Prepared
from cadre_llm_proxy.domain.budgets import (
    Account,
    Budget,
    BudgetStatus,
    Period,
    Scope,
    Use,
    accounts_of,
    is_nearly_used,
    period_now,
    refusal,
)
from cadre_llm_proxy.domain.entries import NOTHING, Amount, Bound, Entry
from cadre_llm_proxy.domain.prices import times

__all__ = ["delete_budget", "list_budgets", "put_budget", "reserve", "settle"]

_RUNS_LISTED = 20
log = logger()
_SELECT_BUDGETS = Prepared(sa.select(t.budgets).order_by(t.budgets.c.name))
_SELECT_ACCOUNT = Prepared(
    sa.select(t.accounts).where(
        t.accounts.c.budget == sa.bindparam("of_budget"),
        t.accounts.c.period == sa.bindparam("of_period"),
    )
)
_UPDATE_ACCOUNT = Prepared(
    t.accounts.update()
    .where(
        t.accounts.c.budget == sa.bindparam("of_budget"),
        t.accounts.c.period == sa.bindparam("of_period"),
    )
    .values({name: sa.bindparam(name) for name in ("used_usd", "used_tokens", "warned", "time")})
)
_COUNTED_USD = sa.func.coalesce(t.calls.c.cost_usd, t.calls.c.reserved_usd, "0")
_COUNTED_TOKENS = sa.func.coalesce(
    t.calls.c.input_tokens + t.calls.c.output_tokens, t.calls.c.reserved_tokens
)


def reserve(connection: sa.Connection, entry: Entry, bound: Bound) -> bool:
    """Counts an entry that is not in the ledger yet in every account that it belongs to; says whether there is one.

    Raises the first refusal, and has changed nothing then.
    """
    accounts = accounts_of(_budgets(connection), entry.attribution, entry.time)
    used = [_used(connection, account) for account in accounts]
    for account, use in zip(accounts, used, strict=True):
        refused = refusal(account, use.used, bound, f"{entry.provider}/{entry.model}")
        if refused is not None:
            raise refused
    for account, use in zip(accounts, used, strict=True):
        _add(connection, account, use, entry.counted())
    return bool(accounts)


def settle(connection: sa.Connection, entry: Entry, change: Amount) -> None:
    """Changes the accounts that an entry of the ledger counts in. One that is not kept needs no change: it will be
    added up from the ledger."""
    for account in accounts_of(_budgets(connection), entry.attribution, entry.time):
        found = _kept(connection, account)
        if found is not None:
            _add(connection, account, found, change)


def put_budget(connection: sa.Connection, budget: Budget) -> BudgetStatus:
    """Stores a budget in place of the one of its name; its accounts are added up anew."""
    delete_budget(connection, budget.name)
    connection.execute(t.budgets.insert(), t.budget_row(budget))
    return _status(connection, budget)


def delete_budget(connection: sa.Connection, name: str) -> bool:
    """Removes a budget and its accounts; says whether there was one."""
    connection.execute(t.accounts.delete().where(t.accounts.c.budget == name))
    found = connection.execute(t.budgets.delete().where(t.budgets.c.name == name))
    return found.rowcount > 0


def list_budgets(connection: sa.Connection) -> tuple[BudgetStatus, ...]:
    """All budgets by name."""
    return tuple(_status(connection, budget) for budget in _budgets(connection))


def _budgets(connection: sa.Connection) -> list[Budget]:
    return [t.budget_of(row) for row in _SELECT_BUDGETS(connection)]


def _status(connection: sa.Connection, budget: Budget) -> BudgetStatus:
    if budget.scope is Scope.RUN:
        periods: Sequence[str] = [budget.subject]
    elif budget.period is Period.RUN:
        periods = _last_runs(connection, budget)
    else:
        periods = [period_now(budget.period, datetime.now(UTC))]
    accounts = [Account(budget=budget, period=period) for period in periods]
    return BudgetStatus(budget=budget, uses=tuple(_used(connection, each) for each in accounts))


def _last_runs(connection: sa.Connection, budget: Budget) -> list[str]:
    active = sa.select(t.accounts.c.period).where(t.accounts.c.budget == budget.name)
    newest = active.order_by(t.accounts.c.time.desc()).limit(_RUNS_LISTED)
    return list(connection.execute(newest).scalars())


def _used(connection: sa.Connection, account: Account) -> Use:
    """What an account has; one that is not kept yet is added up from the ledger, and kept."""
    found = _kept(connection, account)
    if found is not None:
        return found
    used = _added_up(connection, account)
    warned = is_nearly_used(account.budget, used)
    connection.execute(t.accounts.insert(), _row(account, used, warned))
    return Use(period=account.period, used=used, warned=warned)


def _kept(connection: sa.Connection, account: Account) -> Use | None:
    name, period = account.key
    key = {"of_budget": name, "of_period": period}
    row = _SELECT_ACCOUNT(connection, key).one_or_none()
    if row is None:
        return None
    used = Amount(usd=Decimal(row.used_usd), tokens=row.used_tokens)
    return Use(period=period, used=used, warned=bool(row.warned))


def _add(connection: sa.Connection, account: Account, use: Use, change: Amount) -> None:
    used = use.used + change
    warned = use.warned or is_nearly_used(account.budget, used)
    if warned and not use.warned:
        name, period = account.key
        log.warning("budget_nearly_used", budget=name, period=period, used_usd=f"{used.usd:f}")
    name, period = account.key
    key = {"of_budget": name, "of_period": period}
    row = _row(account, used, warned)
    _UPDATE_ACCOUNT(connection, {**row, **key})


def _row(account: Account, used: Amount, warned: bool) -> dict[str, Any]:
    name, period = account.key
    return {
        "budget": name,
        "period": period,
        "used_usd": f"{used.usd:f}",
        "used_tokens": used.tokens,
        "warned": warned,
        "time": t.time_text(datetime.now(UTC)),
    }


def _added_up(connection: sa.Connection, account: Account) -> Amount:
    # The database adds up equal amounts only: its own numbers lose digits.
    same = sa.select(
        _COUNTED_USD.label("usd"),
        sa.func.count().label("calls"),
        sa.func.coalesce(sa.func.sum(_COUNTED_TOKENS), 0).label("tokens"),
    )
    rows = connection.execute(same.where(*_conditions(account)).group_by(_COUNTED_USD))
    amounts = (Amount(usd=times(Decimal(r.usd), r.calls), tokens=int(r.tokens)) for r in rows)
    return _total(amounts)


def _total(amounts: Iterable[Amount]) -> Amount:
    return sum(amounts, start=NOTHING)


def _conditions(account: Account) -> list[sa.ColumnElement[bool]]:
    budget, calls = account.budget, t.calls.c
    conditions: list[sa.ColumnElement[bool]] = []
    match budget.scope:
        case Scope.WORKFLOW:
            conditions.append(calls.workflow == budget.subject)
        case Scope.KEY:
            conditions.append(calls.api_key == budget.subject)
        case Scope.RUN:
            run = budget.subject
            conditions.append(sa.or_(calls.run_id == run, calls.root_run_id == run))
    if budget.period is not Period.RUN:
        conditions += _within(account)
    elif budget.scope is not Scope.RUN:
        conditions.append(calls.root_run_id == account.period)
    return conditions


def _within(account: Account) -> list[sa.ColumnElement[bool]]:
    end = account.budget.reset_time(account.period)
    assert end is not None, "days, weeks and months end"
    start = account.period if len(account.period) > len("2026-11") else f"{account.period}-01"
    return [t.calls.c.time >= start, t.calls.c.time < t.time_text(end)]
