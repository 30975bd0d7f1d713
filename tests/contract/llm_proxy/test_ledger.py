"""What every ledger keeps to: no budget is passed, nothing that was sent is lost, sums are exact."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cadre_kit.errors import LimitExceeded
from cadre_kit.ids import new_id
from cadre_llm_proxy.adapters.sql_ledger import SqlLedger
from cadre_llm_proxy.domain.budgets import Budget, Period, Scope
from cadre_llm_proxy.domain.calls import Attribution, FinishReason, Reply, RunBudget, Usage
from cadre_llm_proxy.domain.entries import Bound, Entry, EntryStatus, StoredReply
from cadre_llm_proxy.domain.facts import BudgetExceeded, BudgetNeedsMaxTokens, BudgetNeedsPrice
from cadre_llm_proxy.domain.metering import Kept
from cadre_llm_proxy.domain.patience import PatientLedger
from cadre_llm_proxy.domain.prices import Price, Tokens, cost_of
from cadre_llm_proxy.domain.replies import Claim
from cadre_llm_proxy.domain.usage import CallQuery, Dimension, Selection, UsageQuery

Open = Callable[[], Awaitable[SqlLedger]]
PRICE = Price(input=Decimal("0.4"), output=Decimal("1.6"))
# At most 0.000164 dollars, 200 tokens.
BOUND = Bound(input_tokens=130, output_tokens=70, price=PRICE)
DAILY = Budget(name="daily", scope=Scope.PLATFORM, period=Period.DAY, usd=Decimal("0.001"))


def entry(
    bound: Bound = BOUND, *, key: str = "", time: datetime | None = None, **who: Any
) -> Entry:
    """A request that is about to be sent."""
    who.setdefault("root_run_id", who.get("run_id", ""))
    return Entry(
        id=new_id(),
        time=time or datetime.now(UTC),
        idempotency_key=key,
        request_digest="digest",
        attribution=Attribution(**who),
        provider="openai",
        model="m",
        price=bound.price,
        reserved_usd=bound.usd,
        reserved_tokens=bound.tokens or 0,
    )


def ended(
    sent: Entry, status: EntryStatus = EntryStatus.SUCCEEDED, *, tokens: Tokens | None = None
) -> Entry:
    """The same when it has ended."""
    cost = None if tokens is None or sent.price is None else cost_of(tokens, sent.price)
    return replace(sent, status=status, tokens=tokens, cost_usd=cost, latency_ms=3)


def kept(sent: Entry, cache_key: str = "") -> Kept:
    """A reply to keep."""
    reply = Reply(
        content="hello",
        finish_reason=FinishReason.STOP,
        provider="openai",
        model="m",
        usage=Usage(input_tokens=1, output_tokens=1, cost_usd=Decimal("0.1"), calls=1),
        latency_ms=3,
        call_id=sent.id,
    )
    return Kept(reply=reply, cache_key=cache_key)


async def used(ledger: SqlLedger, name: str = "daily") -> Decimal:
    """What the only period of a budget used."""
    (use,) = next(s.uses for s in await ledger.budgets() if s.budget.name == name)
    return use.used.usd


async def opened(ledger: SqlLedger, sent: Entry) -> bool:
    """Whether a call was let through."""
    try:
        await ledger.open(sent, BOUND)
    except BudgetExceeded:
        return False
    return True


async def test_no_number_of_calls_at_once_passes_a_budget_from_two_processes_either(
    open_ledger: Open,
) -> None:
    one, other = await open_ledger(), await open_ledger()
    await one.put_budget(DAILY)
    calls = [opened(ledger, entry()) for ledger in (one, other) for _ in range(100)]

    let_through = sum(await asyncio.gather(*calls))

    assert let_through == 0.001 // 0.000164 == 6
    assert await used(other) == Decimal("0.000984")


async def test_what_a_call_did_not_use_is_free_again_when_it_ends(ledger: SqlLedger) -> None:
    await ledger.put_budget(DAILY)
    calls = [entry() for _ in range(6)]
    for call in calls:
        await ledger.open(call, BOUND)

    await ledger.settle(ended(calls[0], tokens=Tokens(input=10, output=5)), None)
    await ledger.settle(ended(calls[1], EntryStatus.FAILED, tokens=Tokens()), None)
    await ledger.settle(ended(calls[2], EntryStatus.CANCELLED), None)

    assert await used(ledger) == 4 * Decimal("0.000164") + Decimal("0.000012")
    assert await opened(ledger, entry())


async def test_settling_twice_counts_once(ledger: SqlLedger) -> None:
    await ledger.put_budget(DAILY)
    call = entry()
    await ledger.open(call, BOUND)

    for _ in range(2):
        await ledger.settle(ended(call, tokens=Tokens(input=10, output=5)), None)

    assert await used(ledger) == Decimal("0.000012")


async def test_a_refusal_says_which_budget_what_is_left_and_when_it_begins_anew(
    ledger: SqlLedger,
) -> None:
    await ledger.put_budget(replace(DAILY, usd=Decimal("0.0002")))
    await ledger.open(entry(), BOUND)

    with pytest.raises(LimitExceeded) as caught:
        await ledger.open(entry(), BOUND)

    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    assert caught.value.code == "BUDGET_EXCEEDED"
    assert caught.value.metadata["budget"] == "daily"
    assert caught.value.metadata["left"] == "$0.000036"
    assert caught.value.metadata["worst_case"] == "$0.000164"
    assert caught.value.metadata["resets"] == f"{tomorrow}T00:00Z"
    assert len(await ledger.entries(CallQuery(selection=Selection(), limit=10))) == 1


async def test_a_budget_counts_what_was_spent_before_it_was_set(ledger: SqlLedger) -> None:
    call, still_open = entry(), entry()
    await ledger.open(call, BOUND)
    await ledger.open(still_open, BOUND)
    await ledger.settle(ended(call, tokens=Tokens(input=10, output=5)), None)

    await ledger.put_budget(DAILY)
    before = await used(ledger)
    await ledger.settle(ended(still_open, tokens=Tokens(input=10, output=5)), None)

    assert before == Decimal("0.000176")
    assert await used(ledger) == Decimal("0.000024")


@pytest.mark.parametrize(
    ("budget", "inside", "outside"),
    [
        (
            Budget(name="b", scope=Scope.WORKFLOW, subject="a", period=Period.WEEK),
            {"workflow": "a"},
            {"workflow": "b"},
        ),
        (
            Budget(name="b", scope=Scope.KEY, subject="k", period=Period.MONTH),
            {"api_key": "k"},
            {"api_key": ""},
        ),
        (
            Budget(name="b", scope=Scope.RUN, subject="r", period=Period.RUN),
            {"run_id": "s", "root_run_id": "r"},
            {"run_id": "t"},
        ),
        (
            Budget(name="b", scope=Scope.PLATFORM, period=Period.RUN),
            {"run_id": "r"},
            {"run_id": "t"},
        ),
    ],
)
async def test_a_budget_bounds_its_own_calls_and_no_others(
    budget: Budget, inside: dict[str, Any], outside: dict[str, Any], ledger: SqlLedger
) -> None:
    await ledger.put_budget(replace(budget, tokens=300))

    answers = [await opened(ledger, entry(**who)) for who in (inside, inside, outside)]

    assert answers == [True, False, True]


async def test_calls_of_yesterday_do_not_count_today(ledger: SqlLedger) -> None:
    await ledger.put_budget(replace(DAILY, usd=Decimal("0.0002")))
    yesterday = datetime.now(UTC) - timedelta(days=1)

    assert await opened(ledger, entry(time=yesterday))
    assert not await opened(ledger, entry(time=yesterday))
    assert await opened(ledger, entry())


async def test_a_runs_own_budget_holds_for_the_runs_that_are_steps_of_it(ledger: SqlLedger) -> None:
    own = (RunBudget(run_id="top", tokens=450),)
    runs = ("top", "a", "b")
    calls = [entry(run_id=run, root_run_id="top", run_budgets=own) for run in runs]

    answers = [await opened(ledger, call) for call in calls]

    assert answers == [True, True, False]


async def test_a_model_without_a_price_or_a_limit_is_refused_where_they_are_needed(
    ledger: SqlLedger,
) -> None:
    await ledger.put_budget(DAILY)
    unpriced = Bound(input_tokens=1, output_tokens=1, price=None)
    unlimited = Bound(input_tokens=1, output_tokens=None, price=PRICE)

    with pytest.raises(BudgetNeedsPrice):
        await ledger.open(entry(unpriced), unpriced)
    with pytest.raises(BudgetNeedsMaxTokens):
        await ledger.open(entry(unlimited), unlimited)


async def test_a_budget_that_is_nearly_used_up_says_so_once(ledger: SqlLedger) -> None:
    await ledger.put_budget(replace(DAILY, warn_percent=30))
    calls = [entry(key=f"k{n}") for n in range(4)]
    for call in calls:
        await ledger.open(call, BOUND)

    said = [
        await ledger.settle(ended(call, tokens=Tokens(input=130, output=70)), kept(call))
        for call in calls
    ]
    stored = await ledger.claim("k0", "digest"), await ledger.claim("k1", "digest")

    (warning,) = said[0]
    assert (warning.budget, warning.limit_usd) == ("daily", DAILY.usd)
    assert warning.used_usd == Decimal("0.000656")
    assert said[1:] == [(), (), ()]
    assert [s.reply.warnings for s in stored if isinstance(s, StoredReply)] == [(warning,), ()]


async def test_the_worst_case_of_calls_under_way_warns_of_nothing_yet(ledger: SqlLedger) -> None:
    await ledger.put_budget(replace(DAILY, warn_percent=30))
    calls = [entry() for _ in range(3)]
    for call in calls:
        await ledger.open(call, BOUND)

    begun = (await ledger.budgets())[0].uses[0].warned
    said = [
        await ledger.settle(ended(call, tokens=Tokens(input=1, output=1)), None) for call in calls
    ]

    assert not begun
    # The others were still under way when the first ended.
    assert [len(each) for each in said] == [1, 0, 0]


async def test_what_a_dead_process_sent_stays_counted_as_uncertain(open_ledger: Open) -> None:
    dead, living = await open_ledger(), await open_ledger()
    await living.put_budget(DAILY)
    call = entry(key="k")
    await dead.claim("k", "digest")
    await dead.open(call, BOUND)

    await dead.leave()
    await living.bury_the_dead()

    (group,) = await living.groups(UsageQuery())
    assert (group.details.open_calls, group.details.uncertain_calls) == (0, 1)
    assert group.details.uncertain_usd == Decimal("0.000164") == await used(living)
    assert group.usage.cost_usd is None
    assert await living.claim("k", "digest") == Claim(request_digest="digest", is_ours=True)


async def test_a_reply_that_comes_after_all_settles_what_was_uncertain(open_ledger: Open) -> None:
    slow, other = await open_ledger(), await open_ledger()
    await other.put_budget(DAILY)
    call = entry()
    await slow.open(call, BOUND)
    await slow.leave()
    await other.bury_the_dead()

    await slow.settle(ended(call, tokens=Tokens(input=10, output=5)), None)

    assert await used(other) == Decimal("0.000012")
    (found,) = await other.entries(CallQuery(selection=Selection(), limit=10))
    assert found.status is EntryStatus.SUCCEEDED


async def test_a_key_is_answered_by_one_process_at_a_time(open_ledger: Open) -> None:
    one, other = await open_ledger(), await open_ledger()
    ours, theirs = await one.claim("k", "digest"), await other.claim("k", "digest")
    call = entry(key="k")
    await one.open(call, BOUND)

    await one.settle(ended(call, tokens=Tokens(input=10, output=5)), kept(call))
    found = await other.claim("k", "digest")

    assert isinstance(ours, Claim)
    assert isinstance(theirs, Claim)
    assert (ours.is_ours, theirs.is_ours) == (True, False)
    assert found == StoredReply(request_digest="digest", model=call.model, reply=kept(call).reply)


async def test_a_key_that_is_given_up_is_free(open_ledger: Open) -> None:
    one, other = await open_ledger(), await open_ledger()
    await one.claim("k", "digest")

    await other.release("k")
    kept_by_one = await other.claim("k", "digest")
    await one.release("k")

    assert kept_by_one == Claim(request_digest="digest", is_ours=False)
    assert await other.claim("k", "other") == Claim(request_digest="other", is_ours=True)


async def test_what_is_given_up_while_it_is_written_down_leaves_nothing_behind(
    open_ledger: Open,
) -> None:
    ledger, other = await open_ledger(), await open_ledger()
    await ledger.put_budget(DAILY)
    patient = PatientLedger(ledger)
    begun = [
        asyncio.create_task(patient.open(entry(), BOUND)),
        asyncio.create_task(patient.claim("k", "digest")),
    ]
    await asyncio.sleep(0)

    for task in begun:
        task.cancel()
    await asyncio.wait(begun)
    await patient.settled()

    (found,) = await ledger.entries(CallQuery(selection=Selection(), limit=10))
    assert (found.status, found.cost_usd) == (EntryStatus.CANCELLED, Decimal(0))
    assert await used(ledger) == 0
    assert await other.claim("k", "digest") == Claim(request_digest="digest", is_ours=True)


async def test_a_cached_reply_is_found_until_it_is_too_old(ledger: SqlLedger) -> None:
    sent = datetime.now(UTC)
    for _ in range(2):
        call = entry(time=sent)
        await ledger.open(call, BOUND)
        await ledger.settle(ended(call, tokens=Tokens(input=1, output=1)), kept(call, "cache"))

    second = timedelta(seconds=1)
    assert await ledger.cached("cache", since=sent - second) == kept(call).reply
    assert await ledger.cached("cache", since=sent + second) is None
    assert await ledger.cached("other", since=sent - second) is None


async def test_entries_come_back_as_they_went_in(ledger: SqlLedger) -> None:
    price = replace(PRICE, cache_read=Decimal("0.1"))
    call = replace(
        entry(run_id="r", workflow="w", version=3, node="n", schedule="s", api_key="k"),
        price=price,
    )
    await ledger.open(call, BOUND)
    done = replace(
        ended(call, tokens=Tokens(input=9, output=4, cache_read=5, reasoning=2)), first_token_ms=2
    )
    await ledger.settle(done, None)

    assert await ledger.entries(CallQuery(selection=Selection(), limit=10)) == (done,)


async def test_entries_are_paged_and_filtered(ledger: SqlLedger) -> None:
    calls = [entry(run_id=run) for run in ("a", "b", "a")]
    for call in calls:
        await ledger.open(call, BOUND)
    await ledger.settle(ended(calls[0], tokens=Tokens()), None)
    every = Selection()

    newest = await ledger.entries(CallQuery(selection=every, limit=2))
    rest = await ledger.entries(CallQuery(selection=every, limit=2, before=newest[-1].id))
    of_a = await ledger.entries(CallQuery(selection=Selection(run_id="a"), limit=9))
    sent = await ledger.entries(CallQuery(selection=every, limit=9, status=EntryStatus.SENT))

    assert [e.id for e in (*newest, *rest)] == [c.id for c in reversed(calls)]
    assert [e.id for e in of_a] == [calls[2].id, calls[0].id]
    assert len(sent) == 2


async def test_every_dimension_adds_up_to_the_same_total(ledger: SqlLedger) -> None:
    for number in range(7):
        call = entry(workflow=f"w{number % 2}", run_id=f"r{number % 3}", schedule=f"s{number}")
        await ledger.open(call, BOUND)
        tokens = Tokens(input=number * 7, output=number)
        await ledger.settle(ended(call, tokens=tokens), None)
    expected = sum((cost_of(Tokens(input=n * 7, output=n), PRICE) for n in range(7)), Decimal(0))

    for dimension in Dimension:
        groups = await ledger.groups(UsageQuery(group_by=(dimension,)))
        assert sum(group.usage.cost_usd or 0 for group in groups) == expected
        assert sum(group.usage.calls for group in groups) == 7


async def test_one_write_that_the_database_does_not_take_spoils_no_other(
    ledger: SqlLedger,
) -> None:
    good, twice = entry(), entry()
    await ledger.open(twice, BOUND)

    answers = await asyncio.gather(
        ledger.open(good, BOUND), ledger.open(twice, BOUND), return_exceptions=True
    )

    assert answers[0] is False
    assert isinstance(answers[1], Exception)
    assert len(await ledger.entries(CallQuery(selection=Selection(), limit=9))) == 2
