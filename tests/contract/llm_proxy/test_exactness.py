"""Sums and accounts equal the rows', to the last digit, whatever happened to them."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from cadre_kit.ids import new_id
from cadre_llm_proxy.adapters.sql_ledger import SqlLedger, open_ledger
from cadre_llm_proxy.domain.budgets import Budget, Period, Scope
from cadre_llm_proxy.domain.calls import Attribution
from cadre_llm_proxy.domain.entries import NOTHING, Bound, Entry, EntryStatus
from cadre_llm_proxy.domain.prices import Price, Tokens, cost_of
from cadre_llm_proxy.domain.usage import CallQuery, Dimension, Selection, UsageQuery

prices = st.builds(
    Price,
    input=st.decimals(0, 10**6, places=18),
    output=st.decimals(0, 10**6, places=18),
)
endings = st.sampled_from(
    [EntryStatus.SENT, EntryStatus.SUCCEEDED, EntryStatus.FAILED, EntryStatus.CANCELLED]
)
# Price, name of workflow, tokens written, how it ends, whether a budget is set just before it ends.
histories = st.lists(
    st.tuples(prices, st.sampled_from("ab"), st.integers(0, 10**9), endings, st.booleans()),
    max_size=12,
)
BUDGETS = (
    Budget(name="all", scope=Scope.PLATFORM, period=Period.DAY, tokens=10**18),
    Budget(name="a", scope=Scope.WORKFLOW, subject="a", period=Period.MONTH, tokens=10**18),
    Budget(name="run", scope=Scope.PLATFORM, period=Period.RUN, tokens=10**18),
)


@settings(max_examples=25, deadline=None)
@given(histories)
def test_sums_and_accounts_equal_the_rows(
    history: list[tuple[Price, str, int, EntryStatus, bool]],
) -> None:
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder)}/ledger.db"
        asyncio.run(_play(url, history))


async def _play(url: str, history: list[tuple[Price, str, int, EntryStatus, bool]]) -> None:
    ledger = await open_ledger(url)
    try:
        for price, workflow, written, ending, sets in history:
            await _call(ledger, price, workflow, written, ending, sets)
        await _check(ledger)
    finally:
        await ledger.close()


async def _call(
    ledger: SqlLedger, price: Price, workflow: str, written: int, ending: EntryStatus, sets: bool
) -> None:
    bound = Bound(input_tokens=7, output_tokens=10**9, price=price)
    entry = Entry(
        id=new_id(),
        time=datetime.now(UTC),
        idempotency_key="",
        request_digest="d",
        attribution=Attribution(workflow=workflow, run_id="r", root_run_id="r"),
        provider="p",
        model="m",
        price=price,
        reserved_usd=bound.usd,
        reserved_tokens=bound.tokens or 0,
    )
    await ledger.open(entry, bound)
    if sets:
        for budget in BUDGETS:
            await ledger.put_budget(budget)
    if ending is EntryStatus.SENT:
        return
    known = ending is not EntryStatus.CANCELLED
    tokens = Tokens(input=7, output=written) if known else None
    cost = cost_of(tokens, price) if tokens else None
    await ledger.settle(replace(entry, status=ending, tokens=tokens, cost_usd=cost), None)


async def _check(ledger: SqlLedger) -> None:
    rows = await ledger.entries(CallQuery(selection=Selection(), limit=1000))
    groups = await ledger.groups(UsageQuery(group_by=(Dimension.WORKFLOW, Dimension.HOUR)))
    known = sum((Fraction(row.cost_usd) for row in rows if row.cost_usd is not None), Fraction(0))
    assert sum((Fraction(group.details.known_usd) for group in groups), Fraction(0)) == known
    assert sum(group.usage.calls for group in groups) == len(rows)

    for status in await ledger.budgets():
        mine = [r.counted() for r in rows if status.budget.covers(r.attribution)]
        expected = sum(mine, start=NOTHING)
        used = sum((use.used for use in status.uses), start=NOTHING)
        if status.uses:
            assert (used.usd, used.tokens) == (expected.usd, expected.tokens)
        assert Decimal(0) <= used.usd
