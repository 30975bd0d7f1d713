"""Budgets and reports where a day, a week or a month ends: a call counts in the period in which it began."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.fakes.providers import ProviderServer, openai_reply, openai_stream
from tests.service.llm_proxy.test_budgets import COST, WORST, outcome, set_budget, usage_of

from cadre.llm_proxy.v1 import usage_pb2
from cadre_kit.errors import LimitExceeded

PERIODS = {
    "day": usage_pb2.BUDGET_PERIOD_DAY,
    "week": usage_pb2.BUDGET_PERIOD_WEEK,
    "month": usage_pb2.BUDGET_PERIOD_MONTH,
}
TICK = timedelta(microseconds=1)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def timestamp(time: datetime) -> Timestamp:
    """The time as a message."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


async def uses(proxy: Any) -> dict[str, Decimal]:
    """What the present period of the only budget has used."""
    (status,) = (await usage_of(proxy)("ListBudgets")).budgets
    return {use.period: Decimal(use.used_usd) for use in status.uses}


# The next period begins at this midnight: a leap day's, a Monday of another year, and after the last of December.
@pytest.mark.parametrize(
    ("period", "midnight", "before", "after"),
    [
        ("day", datetime(2028, 3, 1, tzinfo=UTC), "2028-02-29", "2028-03-01"),
        ("week", datetime(2029, 1, 1, tzinfo=UTC), "2028-12-25", "2029-01-01"),
        ("month", datetime(2029, 1, 1, tzinfo=UTC), "2028-12", "2029-01"),
        ("month", datetime(2028, 3, 1, tzinfo=UTC), "2028-02", "2028-03"),
    ],
)
async def test_a_budget_begins_anew_at_midnight_and_not_before(
    period: str, midnight: datetime, before: str, after: str, start: Any
) -> None:
    # Where the machine stands does not matter: here it is half past five in the morning.
    clock = Clock((midnight - TICK).astimezone(timezone(timedelta(hours=5, minutes=30))))
    async with start(clock=clock) as proxy:
        await set_budget(proxy, usd=f"{WORST + COST:f}", period=PERIODS[period])
        codes = [await outcome(proxy.ask(max_tokens=10)) for _ in range(3)]
        used = await uses(proxy)
        clock.now = midnight
        codes.append(await outcome(proxy.ask(max_tokens=10)))

        assert codes == ["answered", "answered", "BUDGET_EXCEEDED", "answered"]
        assert (used, await uses(proxy)) == ({before: 2 * COST}, {after: COST})


async def test_a_refusal_says_the_midnight_at_which_its_budget_begins_anew(start: Any) -> None:
    resets = {}
    async with start(clock=Clock(datetime(2028, 12, 31, 23, 59, tzinfo=UTC))) as proxy:
        for name, period in PERIODS.items():
            await set_budget(proxy, usd="0.000001", period=period)
            with pytest.raises(LimitExceeded) as caught:
                await proxy.ask(max_tokens=10)
            resets[name] = caught.value.metadata["resets"]

    assert set(resets.values()) == {"2029-01-01T00:00Z"}


async def test_a_call_over_the_end_of_a_month_counts_in_the_month_in_which_it_began(
    start: Any, provider: ProviderServer
) -> None:
    midnight = datetime(2029, 1, 1, tzinfo=UTC)
    clock, release = Clock(midnight - TICK), asyncio.Event()
    held = replace(openai_stream(["Hel", "lo"]), hold_after=b"Hel", release=release)
    provider.will(held, openai_reply("hello"))
    async with start(clock=clock) as proxy:
        await set_budget(proxy, usd="1", period=PERIODS["month"])
        parts = proxy.stream(max_tokens=10)
        await anext(parts)
        clock.now = midnight
        at_midnight = await uses(proxy)
        await proxy.ask(max_tokens=10)
        release.set()
        _ = [part async for part in parts]
        afterwards = await uses(proxy)
        # Added up anew, from the ledger.
        await usage_of(proxy)("DeleteBudget", name="b")
        await set_budget(proxy, usd="1", period=PERIODS["month"])
        again = await uses(proxy)
        clock.now = midnight - TICK
        old = await uses(proxy)
        days = await proxy.sums(usage_pb2.USAGE_DIMENSION_DAY)
        december = await proxy.sums(end_time=timestamp(midnight))
        january = await proxy.sums(start_time=timestamp(midnight))

    assert at_midnight == {"2029-01": 0}
    assert (afterwards, again, old) == ({"2029-01": COST}, {"2029-01": COST}, {"2028-12": COST})
    assert {group.keys[0] for group in days.groups} == {"2028-12-31", "2029-01-01"}
    assert Decimal(december.total.cost_usd) == Decimal(january.total.cost_usd) == COST
