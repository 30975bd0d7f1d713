"""What budgets' periods used, in SQL: sums of the ledger that are kept, each within the transaction that changes it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import sqlalchemy as sa

from cadre_kit.logs import logger
from cadre_kit.transactions import ConnectionStatements, Statements
from cadre_llm_proxy.adapters import ledger_tables as t
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
    warning,
)
from cadre_llm_proxy.domain.calls import BudgetWarning
from cadre_llm_proxy.domain.entries import NOTHING, Amount, Bound, Entry
from cadre_llm_proxy.domain.prices import times

__all__ = ["delete_budget", "list_budgets", "put_budget", "reserve", "settle"]

_RUNS_LISTED = 20
log = logger()
_SELECT_BUDGETS = sa.select(t.budgets).order_by(t.budgets.c.name)
_OF_ACCOUNT = (
    t.accounts.c.budget == sa.bindparam("of_budget"),
    t.accounts.c.period == sa.bindparam("of_period"),
)
_SELECT_ACCOUNT = sa.select(t.accounts).where(*_OF_ACCOUNT)
_INSERT_ACCOUNT = sa.insert(t.accounts)
_SELECT_LAST_RUNS = (
    sa.select(t.accounts.c.period)
    .where(t.accounts.c.budget == sa.bindparam("of_budget"))
    .order_by(t.accounts.c.time.desc())
    .limit(_RUNS_LISTED)
)
_UPDATE_ACCOUNT = (
    sa.update(t.accounts)
    .where(*_OF_ACCOUNT)
    .values({n: sa.bindparam(f"new_{n}") for n in ("used_usd", "used_tokens", "warned", "time")})
)
_COUNTED_USD = sa.func.coalesce(t.calls.c.cost_usd, t.calls.c.reserved_usd, "0")
_COUNTED_TOKENS = sa.func.coalesce(
    t.calls.c.input_tokens + t.calls.c.output_tokens, t.calls.c.reserved_tokens
)


def reserve(statements: Statements, entry: Entry, bound: Bound) -> bool:
    """Counts an entry that is not in the ledger yet in every account that it belongs to; says whether there is one.

    Raises the first refusal, and has changed nothing then.
    """
    accounts = accounts_of(_budgets(statements), entry.attribution, entry.time)
    used = [_used(statements, account) for account in accounts]
    amounts = zip(accounts, (use.used for use in used), strict=True)
    refused = refusal(amounts, bound, f"{entry.provider}/{entry.model}")
    if refused is not None:
        raise refused
    for account, use in zip(accounts, used, strict=True):
        _put(statements, account, use.used + entry.counted(), warned=use.warned)
    return bool(accounts)


def settle(statements: Statements, entry: Entry, change: Amount) -> tuple[BudgetWarning, ...]:
    """Changes the accounts that an entry of the ledger counts in; the warnings that are due now. An account that is not
    kept needs no change: it will be added up from the ledger."""
    accounts = accounts_of(_budgets(statements), entry.attribution, entry.time)
    settled = (_settled(statements, account, change) for account in accounts)
    return tuple(each for each in settled if each is not None)


def put_budget(connection: sa.Connection, budget: Budget, now: datetime) -> BudgetStatus:
    """Stores a budget in place of the one of its name; its accounts are added up anew."""
    delete_budget(connection, budget.name)
    connection.execute(t.budgets.insert(), t.budget_row(budget))
    return _status(ConnectionStatements(connection), budget, now)


def delete_budget(connection: sa.Connection, name: str) -> bool:
    """Removes a budget and its accounts; says whether there was one."""
    connection.execute(t.accounts.delete().where(t.accounts.c.budget == name))
    found = connection.execute(t.budgets.delete().where(t.budgets.c.name == name))
    return found.rowcount > 0


def list_budgets(connection: sa.Connection, now: datetime) -> tuple[BudgetStatus, ...]:
    """All budgets by name."""
    statements = ConnectionStatements(connection)
    return tuple(_status(statements, budget, now) for budget in _budgets(statements))


def _budgets(statements: Statements) -> list[Budget]:
    return [t.budget_of(row) for row in statements.rows(_SELECT_BUDGETS, {})]


def _status(statements: Statements, budget: Budget, now: datetime) -> BudgetStatus:
    if budget.scope is Scope.RUN:
        periods: Sequence[str] = [budget.subject]
    elif budget.period is Period.RUN:
        of_budget = {"of_budget": budget.name}
        periods = [row["period"] for row in statements.rows(_SELECT_LAST_RUNS, of_budget)]
    else:
        periods = [period_now(budget.period, now)]
    accounts = [Account(budget=budget, period=period) for period in periods]
    return BudgetStatus(budget=budget, uses=tuple(_used(statements, each) for each in accounts))


def _used(statements: Statements, account: Account) -> Use:
    """What an account has; one that is not kept yet is added up from the ledger, and kept."""
    found = _kept(statements, account)
    if found is not None:
        return found
    used = _added_up(statements, account)
    warned = is_nearly_used(account.budget, used)
    name, period = account.key
    row = {"budget": name, "period": period, **_columns(used, warned)}
    statements.add(_INSERT_ACCOUNT, [row])
    return Use(period=account.period, used=used, warned=warned)


def _kept(statements: Statements, account: Account) -> Use | None:
    name, period = account.key
    for row in statements.rows(_SELECT_ACCOUNT, {"of_budget": name, "of_period": period}):
        used = Amount(usd=Decimal(row["used_usd"]), tokens=row["used_tokens"])
        return Use(period=period, used=used, warned=bool(row["warned"]))
    return None


def _settled(statements: Statements, account: Account, change: Amount) -> BudgetWarning | None:
    use = _kept(statements, account)
    if use is None:
        return None
    used = use.used + change
    # Only now: the worst case of a call that has begun is mostly far from what it uses.
    warns = not use.warned and is_nearly_used(account.budget, used)
    _put(statements, account, used, warned=use.warned or warns)
    if not warns:
        return None
    name, period = account.key
    log.warning("budget_nearly_used", budget=name, period=period, used_usd=f"{used.usd:f}")
    return warning(account, used)


def _put(statements: Statements, account: Account, used: Amount, *, warned: bool) -> None:
    name, period = account.key
    new = {f"new_{column}": value for column, value in _columns(used, warned).items()}
    statements.change(_UPDATE_ACCOUNT, {"of_budget": name, "of_period": period, **new})


def _columns(used: Amount, warned: bool) -> dict[str, Any]:
    return {
        "used_usd": f"{used.usd:f}",
        "used_tokens": used.tokens,
        "warned": warned,
        "time": t.time_text(datetime.now(UTC)),
    }


def _added_up(statements: Statements, account: Account) -> Amount:
    statement = _sum_of_calls(account.budget.scope, account.budget.period)
    rows = statements.rows(statement, _values(account))
    amounts = (
        Amount(usd=times(Decimal(row["usd"]), row["calls"]), tokens=int(row["tokens"]))
        for row in rows
    )
    return _total(amounts)


def _total(amounts: Iterable[Amount]) -> Amount:
    return sum(amounts, start=NOTHING)


@cache
def _sum_of_calls(scope: Scope, period: Period) -> sa.Executable:
    """Counts and tokens of the calls of an account by equal amounts: the database's own numbers would lose digits."""
    same = sa.select(
        _COUNTED_USD.label("usd"),
        sa.func.count().label("calls"),
        sa.func.coalesce(sa.func.sum(_COUNTED_TOKENS), 0).label("tokens"),
    )
    return same.where(*_conditions(scope, period)).group_by(_COUNTED_USD)


def _conditions(scope: Scope, period: Period) -> list[sa.ColumnElement[bool]]:
    calls = t.calls.c
    subject: sa.BindParameter[str] = sa.bindparam("subject")
    conditions: list[sa.ColumnElement[bool]] = []
    match scope:
        case Scope.WORKFLOW:
            conditions.append(calls.workflow == subject)
        case Scope.KEY:
            conditions.append(calls.api_key == subject)
        case Scope.RUN:
            conditions.append(sa.or_(calls.run_id == subject, calls.root_run_id == subject))
    if period is not Period.RUN:
        conditions += [calls.time >= sa.bindparam("start"), calls.time < sa.bindparam("end")]
    elif scope is not Scope.RUN:
        conditions.append(calls.root_run_id == sa.bindparam("run"))
    return conditions


def _values(account: Account) -> dict[str, str]:
    """The values that the conditions leave open."""
    period, end = account.period, account.budget.reset_time(account.period)
    of_time = {}
    if end is not None:
        start = period if len(period) > len("2026-11") else f"{period}-01"
        of_time = {"start": start, "end": t.time_text(end)}
    return {"subject": account.budget.subject, "run": period, **of_time}
