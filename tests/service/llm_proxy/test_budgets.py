"""Budgets, estimates and reuse over gRPC: what may be spent is a limit, and what was spent is told."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.fakes.providers import Answer, ProviderServer, openai_error, openai_reply, openai_stream

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2, usage_pb2
from cadre_kit.channels import call
from cadre_kit.errors import CadreError, FailedPrecondition, InvalidInput, LimitExceeded, NotFound

PLATFORM = usage_pb2.BUDGET_SCOPE_PLATFORM
WORKFLOW = usage_pb2.BUDGET_SCOPE_WORKFLOW
DAY = usage_pb2.BUDGET_PERIOD_DAY
MONTH = usage_pb2.BUDGET_PERIOD_MONTH
DOWNGRADE = usage_pb2.BUDGET_EXCEED_DOWNGRADE
# "hi" with max_tokens=10 of gpt-4.1-mini: 25 tokens in and 10 out at most, at the price of the priority service, which
# may be given; 12 and 5, at the standard one, as the provider says.
WORST = Decimal("0.0000455")
COST = Decimal("0.0000128")
SCHEMA = {"type": "object"}
Usage = Callable[..., Awaitable[Any]]


def usage_of(proxy: Any) -> Usage:
    """Calls a method of UsageService by its name."""

    async def ask(method: str, **fields: Any) -> Any:
        request = getattr(usage_pb2, f"{method}Request")(**fields)
        return await call(
            getattr(proxy.usage, method), request, service="llm-proxy", timeout_seconds=30.0
        )

    return ask


async def set_budget(proxy: Any, name: str = "b", **fields: Any) -> usage_pb2.BudgetStatus:
    """Sets a budget of the platform's day, unless told otherwise."""
    said = {"scope": PLATFORM, "period": DAY, **fields}
    budget = usage_pb2.Budget(name=name, **said)
    answer = await usage_of(proxy)("SetBudget", budget=budget)
    stored: usage_pb2.BudgetStatus = answer.status
    return stored


async def one_use(proxy: Any) -> usage_pb2.BudgetUse:
    """How the only budget stands."""
    (status,) = (await usage_of(proxy)("ListBudgets")).budgets
    use: usage_pb2.BudgetUse
    (use,) = status.uses
    return use


async def outcome(asking: Awaitable[Any]) -> str:
    """`answered`, or the code of the refusal."""
    try:
        await asking
    except CadreError as error:
        return error.code
    return "answered"


async def test_200_calls_at_once_through_two_proxies_never_pass_a_budget(
    start: Any, provider: ProviderServer
) -> None:
    async with start() as one, start() as other:
        await set_budget(one, usd="0.0005")
        asked = [proxy.ask(max_tokens=10) for proxy in (one, other) for _ in range(100)]

        outcomes = await asyncio.gather(*map(outcome, asked))
        use = await one_use(other)

    assert set(outcomes) == {"answered", "BUDGET_EXCEEDED"}
    assert len(provider.asked) == outcomes.count("answered")
    assert Decimal(use.used_usd) == len(provider.asked) * COST
    assert Decimal(use.used_usd) <= Decimal("0.0005")


async def test_a_call_that_may_pass_a_budget_is_refused_before_it_is_sent(
    proxy: Any, provider: ProviderServer
) -> None:
    await set_budget(proxy, "team", scope=WORKFLOW, subject="greet", period=MONTH, tokens=30)

    with pytest.raises(LimitExceeded) as caught:
        await proxy.ask(max_tokens=10)

    assert caught.value.code == "BUDGET_EXCEEDED"
    assert caught.value.metadata["budget"] == "team"
    assert caught.value.metadata["left"] == "30 tokens"
    assert "begins anew at" in caught.value.resolution
    assert not provider.asked
    assert await outcome(proxy.ask(workflow="other", max_tokens=10)) == "answered"


@pytest.mark.parametrize("on_exceed", ["fail", "pause"])
async def test_a_refusal_can_be_read_by_a_program(on_exceed: str, proxy: Any) -> None:
    number = usage_pb2.BudgetExceed.Value(f"BUDGET_EXCEED_{on_exceed.upper()}")
    status = await set_budget(proxy, usd="0.00001", tokens=20, on_exceed=number)

    with pytest.raises(LimitExceeded) as caught:
        await proxy.ask(max_tokens=10)

    said = caught.value.metadata
    assert status.budget.on_exceed == number
    assert (said["budget"], said["on_exceed"]) == ("b", on_exceed)
    assert (said["limit_usd"], said["left_usd"]) == ("0.00001", "0.00001")
    assert (said["worst_case_usd"], said["limit_tokens"]) == (str(WORST), "20")
    assert (said["left_tokens"], said["worst_case_tokens"]) == ("20", "35")
    assert datetime.fromisoformat(said["resets"]) == status.uses[0].reset_time.ToDatetime(UTC)


@pytest.mark.parametrize(("pauses", "on_exceed"), [(False, "fail"), (True, "pause")])
async def test_a_runs_own_budget_is_refused_as_the_run_wishes(
    pauses: bool, on_exceed: str, proxy: Any
) -> None:
    own = llm_pb2.RunBudget(run_id="r", tokens=20, pauses=pauses)

    with pytest.raises(LimitExceeded) as caught:
        await proxy.ask(max_tokens=10, run_id="r", run_budgets=[own])

    said = caught.value.metadata
    assert (said["budget"], said["on_exceed"], said["resets"]) == ("run:r", on_exceed, "never")
    assert said["left_tokens"] == "20"


@pytest.mark.parametrize(
    "answer", [openai_error(401, "invalid_api_key"), openai_reply("x"), Answer(stall=True)]
)
async def test_a_call_frees_what_it_reserved_however_it_ends(
    answer: Answer, proxy: Any, provider: ProviderServer
) -> None:
    await set_budget(proxy, usd="1")
    provider.will(answer)
    asking = asyncio.create_task(outcome(proxy.ask(max_tokens=10)))
    await asyncio.wait_for(provider.arrived.wait(), 20)
    reserved = Decimal((await one_use(proxy)).used_usd)

    asking.cancel() if answer.stall else await asking
    await until_settled(proxy)

    used = Decimal((await one_use(proxy)).used_usd)
    assert reserved in (WORST, used)
    assert used == {401: 0, 200: WORST if answer.stall else COST}[answer.status]


async def until_settled(proxy: Any) -> None:
    """Waits until no call is open."""
    async with asyncio.timeout(10):
        while (await proxy.sums()).total_details.open_calls:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)


async def test_a_budget_downgrades_to_its_cheaper_model_and_then_refuses(
    proxy: Any, provider: ProviderServer
) -> None:
    await set_budget(proxy, usd="0.00006", on_exceed=DOWNGRADE, downgrade_to="openai/gpt-4.1-mini")

    reply = await proxy.ask(model="gpt-4.1", max_tokens=10)
    codes = [await outcome(proxy.ask(model="gpt-4.1", max_tokens=10)) for _ in range(2)]

    assert provider.asked[0].body["model"] == "gpt-4.1-mini"
    assert reply.usage.cost_usd == str(COST)
    assert codes == ["answered", "BUDGET_EXCEEDED"]


async def test_budgets_downgrade_one_after_the_other_until_none_refuses(
    proxy: Any, provider: ProviderServer
) -> None:
    mini, nano = "openai/gpt-4.1-mini", "openai/gpt-4.1-nano"
    await set_budget(proxy, "a", usd="0.00006", on_exceed=DOWNGRADE, downgrade_to=mini)
    await set_budget(proxy, "b", usd="0.00003", on_exceed=DOWNGRADE, downgrade_to=nano)

    reply = await proxy.ask(model="gpt-4.1", max_tokens=10)
    codes = [await outcome(proxy.ask(model="gpt-4.1", max_tokens=10)) for _ in range(8)]

    assert {asked.body["model"] for asked in provider.asked} == {"gpt-4.1-nano"}
    assert Decimal(reply.usage.cost_usd) == COST / 4
    assert codes[-1] == "BUDGET_EXCEEDED"
    assert len(provider.asked) == 1 + codes.count("answered")


async def test_of_budgets_that_refuse_at_once_each_may_name_the_cheaper_model(
    proxy: Any, provider: ProviderServer
) -> None:
    mini, nano = "openai/gpt-4.1-mini", "openai/gpt-4.1-nano"
    await set_budget(proxy, "a", usd="0.00003", on_exceed=DOWNGRADE, downgrade_to=mini)
    await set_budget(proxy, "b", usd="0.00003", on_exceed=DOWNGRADE, downgrade_to=nano)

    await proxy.ask(model="gpt-4.1", max_tokens=10)

    assert [asked.body["model"] for asked in provider.asked] == ["gpt-4.1-nano"]


async def test_a_cheaper_model_without_a_key_is_passed_over(
    start: Any, variables: dict[str, str], provider: ProviderServer
) -> None:
    mini, claude = "openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5"
    async with start() as proxy:
        await set_budget(proxy, "a", usd="0.00006", on_exceed=DOWNGRADE, downgrade_to=claude)
    del variables["ANTHROPIC_API_KEY"]

    async with start() as proxy:
        alone = await outcome(proxy.ask(model="gpt-4.1", max_tokens=10))
        await set_budget(proxy, "b", usd="0.00006", on_exceed=DOWNGRADE, downgrade_to=mini)
        both = await proxy.ask(model="gpt-4.1", max_tokens=10)

    assert alone == "BUDGET_EXCEEDED"
    assert [asked.body["model"] for asked in provider.asked] == ["gpt-4.1-mini"]
    assert both.provider == "openai"


async def test_a_model_that_costs_nothing_can_be_asked_where_nothing_is_left(proxy: Any) -> None:
    spent = await proxy.ask(max_tokens=10)
    await set_budget(proxy, usd="0.00001", on_exceed=DOWNGRADE, downgrade_to="ollama/llama3.2")

    reply = await proxy.ask(max_tokens=10)

    assert Decimal(spent.usage.cost_usd) > Decimal("0.00001")
    assert (reply.provider, reply.usage.cost_usd) == ("ollama", "0")


async def test_how_the_cheaper_model_fares_says_nothing_of_the_one_that_was_meant(
    start: Any, provider: ProviderServer
) -> None:
    provider.will(openai_error(500, "oops"))
    async with start(llm_retries=2) as proxy:
        await set_budget(
            proxy, usd="0.00006", on_exceed=DOWNGRADE, downgrade_to="openai/gpt-4.1-mini"
        )
        failed = await outcome(proxy.ask(model="gpt-4.1", max_tokens=10))
        await usage_of(proxy)("DeleteBudget", name="b")
        provider.will(openai_reply("hello"))
        other = llm_pb2.ModelOptions(provider="openai", model="gpt-4.1-nano")

        await proxy.ask(model="gpt-4.1", fallbacks=[other])

    models = [asked.body["model"] for asked in provider.asked]
    assert (failed, models) == ("PROVIDER_FAILED", [*["gpt-4.1-mini"] * 3, "gpt-4.1"])


async def test_models_that_budgets_send_to_each_other_end_in_a_refusal(
    proxy: Any, provider: ProviderServer
) -> None:
    for name, model in (("a", "openai/gpt-4.1-mini"), ("b", "openai/gpt-4.1")):
        await set_budget(proxy, name, tokens=1, on_exceed=DOWNGRADE, downgrade_to=model)

    assert await outcome(proxy.ask(model="gpt-4.1", max_tokens=10)) == "BUDGET_EXCEEDED"
    assert not provider.asked


@pytest.mark.parametrize("change", ["lower", "delete", "again"])
async def test_a_budget_that_changes_while_a_call_is_under_way_counts_it_rightly(
    change: str, proxy: Any, provider: ProviderServer
) -> None:
    await set_budget(proxy, usd="1")
    release = asyncio.Event()
    provider.will(replace(openai_reply("hello"), hold_after=b"hello", release=release))
    asking = asyncio.create_task(proxy.ask(max_tokens=10))
    await asyncio.wait_for(provider.arrived.wait(), 20)

    if change == "lower":
        status = await set_budget(proxy, usd="0.00003")
        assert Decimal(status.uses[0].used_usd) == WORST
        assert await outcome(proxy.ask(max_tokens=10)) == "BUDGET_EXCEEDED"
    else:
        await usage_of(proxy)("DeleteBudget", name="b")
    if change == "again":
        await set_budget(proxy, usd="2")
    release.set()
    await asking

    budgets = (await usage_of(proxy)("ListBudgets")).budgets
    assert [Decimal(b.uses[0].used_usd) for b in budgets] == ([] if change == "delete" else [COST])


async def test_what_is_sent_as_it_is_does_not_slip_past_a_budget(
    proxy: Any, provider: ProviderServer
) -> None:
    for params in ({"max_completion_tokens": 500}, {"n": 30}, {"extra_body": {"n": 30}}):
        said = common_pb2.Json(text=json.dumps(params))
        assert await outcome(proxy.ask(max_tokens=10, params=said)) == "REQUEST_INVALID"

    assert not provider.asked


async def test_a_model_without_a_known_price_is_refused_under_a_budget_in_dollars(
    proxy: Any, provider: ProviderServer
) -> None:
    mine = {"provider": "openai_compatible", "model": "m", "api_base": f"{provider.url}/v1"}
    await set_budget(proxy, usd="5")

    with pytest.raises(FailedPrecondition) as caught:
        await proxy.ask(**mine, max_tokens=10)

    assert caught.value.code == "BUDGET_NEEDS_PRICE"
    assert "CADRE_PRICES_FILE" in caught.value.resolution


async def test_prices_of_ones_own_go_before_the_published_ones(
    start: Any, provider: ProviderServer, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        'openai_compatible/m: {input: "1", output: "2", max_output_tokens: 50}\n'
        'openai/gpt-4.1-mini: {input: "100", output: "0.000001"}\n'
    )
    mine = {"provider": "openai_compatible", "model": "m", "api_base": f"{provider.url}/v1"}

    async with start(prices_file=prices) as proxy:
        await set_budget(proxy, usd="1")
        own = await proxy.ask(**mine)
        other = await proxy.ask()

    assert own.usage.cost_usd == "0.000022"
    assert other.usage.cost_usd == "0.001200000005"


async def test_a_file_of_prices_that_cannot_be_is_said_so_at_start(
    start: Any, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text('openai/x: {input: "-1", output: "2"}')

    with pytest.raises(FailedPrecondition) as caught:
        async with start(prices_file=prices):
            pass

    assert caught.value.code == "PRICES_FILE_INVALID"
    assert "openai/x.input" in caught.value.message


async def test_a_runs_own_budget_comes_with_its_calls(proxy: Any) -> None:
    own = [llm_pb2.RunBudget(run_id="run-1", tokens=60)]

    codes = [await outcome(proxy.ask(max_tokens=10, run_budgets=own)) for _ in range(4)]

    assert codes == ["answered", "answered", "BUDGET_EXCEEDED", "BUDGET_EXCEEDED"]


async def test_the_call_that_brings_a_budget_near_its_limit_says_so_also_when_it_is_replayed(
    proxy: Any,
) -> None:
    await set_budget(proxy, tokens=1000, warn_percent=3)
    first = await proxy.ask(max_tokens=10, cache_seconds=60)
    second = await proxy.ask("ho", key="k", max_tokens=10, cache_seconds=60)
    again = await proxy.ask("ho", key="k", max_tokens=10, cache_seconds=60)
    cached = await proxy.ask("ho", max_tokens=10, cache_seconds=60)

    (warning,) = second.budget_warnings
    assert (warning.budget, warning.used_tokens, warning.limit_tokens) == ("b", 34, 1000)
    assert not warning.HasField("limit_usd")
    assert again.replayed
    assert again.budget_warnings == second.budget_warnings
    assert not [*first.budget_warnings, *cached.budget_warnings]
    assert (await one_use(proxy)).warned


@pytest.mark.parametrize("streams", [False, True])
async def test_a_call_that_fails_says_what_it_used_and_which_budgets_that_brought_near_their_limits(
    proxy: Any, provider: ProviderServer, streams: bool
) -> None:
    await set_budget(proxy, tokens=1000, warn_percent=1)

    async def read(**fields: Any) -> None:
        [part async for part in proxy.stream(**fields)]

    provider.will(openai_stream(["no JSON"]) if streams else openai_reply("no JSON"))

    with pytest.raises(CadreError) as caught:
        await (read if streams else proxy.ask)(schema=SCHEMA, max_tokens=10)

    failed = llm_pb2.FailedCall()
    assert [detail.Unpack(failed) for detail in caught.value.details] == [True]
    (warning,) = failed.budget_warnings
    assert (caught.value.code, warning.budget) == ("MODEL_OUTPUT_INVALID", "b")
    # Mended twice, but not once text of a stream was sent.
    assert failed.usage.calls == (1 if streams else 3)
    assert failed.usage == (await proxy.sums()).total


async def test_a_call_that_fails_before_anything_is_sent_used_nothing(proxy: Any) -> None:
    await set_budget(proxy, tokens=1)

    with pytest.raises(CadreError) as caught:
        await proxy.ask()

    assert not caught.value.details


async def test_a_deleted_budget_bounds_nothing(proxy: Any) -> None:
    await set_budget(proxy, tokens=1)
    refused = await outcome(proxy.ask())

    await usage_of(proxy)("DeleteBudget", name="b")

    assert (refused, await outcome(proxy.ask())) == ("BUDGET_EXCEEDED", "answered")
    with pytest.raises(NotFound):
        await usage_of(proxy)("DeleteBudget", name="b")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "a b", "tokens": 1}, "name"),
        ({"subject": "x", "tokens": 1}, "subject"),
        ({"scope": WORKFLOW, "tokens": 1}, "subject"),
        ({"scope": usage_pb2.BUDGET_SCOPE_RUN, "subject": "r", "tokens": 1}, "period"),
        ({"scope": 0, "tokens": 1}, "scope"),
        ({"period": 99, "tokens": 1}, "period"),
        ({}, "usd"),
        ({"usd": "0"}, "usd"),
        ({"usd": "-1"}, "usd"),
        ({"usd": "1e3"}, "usd"),
        ({"tokens": 0}, "tokens"),
        ({"tokens": 1, "warn_percent": 101}, "warn_percent"),
        ({"tokens": 1, "on_exceed": DOWNGRADE}, "downgrade_to"),
        ({"tokens": 1, "downgrade_to": "openai/x"}, "downgrade_to"),
        # Nobody knows what it costs.
        ({"usd": "1", "on_exceed": DOWNGRADE, "downgrade_to": "openai/x"}, "downgrade_to"),
    ],
)
async def test_a_budget_that_cannot_be_is_refused_with_the_field_that_is_wrong(
    fields: dict[str, Any], field: str, proxy: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await set_budget(proxy, **fields)

    assert caught.value.metadata["field"] == field
    assert not (await usage_of(proxy)("ListBudgets")).budgets


async def test_an_estimate_has_the_cost_within_it_and_sends_nothing(
    proxy: Any, provider: ProviderServer
) -> None:
    options = llm_pb2.ModelOptions(provider="openai", max_tokens=10)
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")
    request = llm_pb2.CompleteRequest(options=options, messages=[message])

    estimate = await usage_of(proxy)("Estimate", request=request)

    assert (estimate.model, estimate.max_output_tokens) == ("gpt-4.1-mini", 10)
    assert Decimal(estimate.min_usd) == estimate.input_tokens * Decimal("0.0000004")
    assert Decimal(estimate.min_usd) < COST < Decimal(estimate.max_usd) == WORST
    assert not provider.asked


async def test_an_estimate_counts_what_is_not_known_yet_and_the_replies_that_may_be_mended(
    proxy: Any,
) -> None:
    options = llm_pb2.ModelOptions(provider="openai", max_tokens=10)
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")
    request = llm_pb2.CompleteRequest(options=options, messages=[message])
    schema = llm_pb2.CompleteRequest(options=options, messages=[message])
    schema.output_schema.CopyFrom(common_pb2.Json(text='{"type": "object"}'))

    plain = await usage_of(proxy)("Estimate", request=request)
    longer = await usage_of(proxy)("Estimate", request=request, more_input_tokens=1000)
    checked = await usage_of(proxy)("Estimate", request=schema)

    assert longer.input_tokens == plain.input_tokens + 1000
    assert Decimal(longer.max_usd) == Decimal(plain.max_usd) + Decimal("0.0007")
    assert (plain.max_requests, checked.max_requests) == (1, 3)
    assert plain.context_tokens > 100_000
    with pytest.raises(InvalidInput):
        await usage_of(proxy)("Estimate", request=request, more_input_tokens=-1)


async def test_an_estimate_needs_no_key_and_says_that_one_is_missing(
    start: Any, variables: dict[str, str]
) -> None:
    del variables["ANTHROPIC_API_KEY"]
    options = llm_pb2.ModelOptions(provider="anthropic", max_tokens=10)
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")

    async with start() as proxy:
        estimate = await usage_of(proxy)(
            "Estimate", request=llm_pb2.CompleteRequest(options=options, messages=[message])
        )

    assert Decimal(estimate.max_usd) > 0
    assert "ANTHROPIC_API_KEY" in estimate.unavailable_reason


async def test_the_replies_of_a_run_are_listed_page_by_page(proxy: Any) -> None:
    for run_id, step in (("r1", "a"), ("r10", "a"), ("r1", "b"), ("r1", "c"), ("r0", "a")):
        await proxy.ask(run_id=run_id, key=f"{run_id}/{step}")
    listed = usage_of(proxy)

    first = await listed("ListReplies", run_id="r1", page_size=2)
    rest = await listed("ListReplies", run_id="r1", page_size=2, page_token=first.next_page_token)

    keys = [kept.idempotency_key for page in (first, rest) for kept in page.replies]
    assert keys == ["r1/a", "r1/b", "r1/c"]
    assert first.replies[0].reply.content
    assert not rest.next_page_token
    with pytest.raises(InvalidInput):
        await listed("ListReplies", run_id="")


async def test_a_cached_reply_costs_nothing_and_is_told_as_saved(
    proxy: Any, provider: ProviderServer
) -> None:
    first = await proxy.ask(cache_seconds=60)
    again = await proxy.ask(cache_seconds=60)
    await proxy.ask()
    await proxy.ask(cache_seconds=60, workflow="other")
    await proxy.ask("ho", cache_seconds=60)

    sums = await proxy.sums()
    assert (again.cached, again.content, again.usage.calls) == (True, first.content, 0)
    assert again.usage.cost_usd == "0"
    assert len(provider.asked) == sums.total.calls == 4
    details = sums.total_details
    assert (details.reused_replies, details.saved_usd, details.saved_tokens) == (1, str(COST), 17)


async def test_a_replayed_reply_is_told_as_saved(proxy: Any) -> None:
    await proxy.ask(key="k")
    await proxy.ask(key="k")

    details = (await proxy.sums()).total_details
    assert (details.reused_replies, details.saved_usd, details.saved_tokens) == (1, str(COST), 17)
    (again, _) = (await usage_of(proxy)("ListCalls")).calls
    assert (again.saved_usd, again.saved_tokens) == (str(COST), 17)


async def test_what_reuse_saved_stands_with_the_model_that_was_asked(proxy: Any) -> None:
    for _ in range(2):
        await proxy.ask(key="k", cache_seconds=60)
    await proxy.ask(cache_seconds=60)

    # The provider answers under a name with a date.
    (group,) = (await proxy.sums(usage_pb2.USAGE_DIMENSION_MODEL)).groups
    assert list(group.keys) == ["gpt-4.1-mini"]
    assert (group.usage.calls, group.details.reused_replies) == (1, 2)


async def test_two_proxies_ask_once_for_one_key(start: Any, provider: ProviderServer) -> None:
    async with start() as one, start() as other:
        asked = [proxy.ask(key="k") for proxy in (one, other) for _ in range(5)]
        replies = await asyncio.gather(*asked)

    assert len(provider.asked) == 1
    assert sorted(reply.replayed for reply in replies) == [False, *[True] * 9]


async def test_a_key_whose_call_failed_elsewhere_is_asked_for_anew(
    start: Any, provider: ProviderServer
) -> None:
    provider.will(openai_error(401, "invalid_api_key"), openai_reply("good"))

    async with start() as one, start() as other:
        outcomes = await asyncio.gather(*(outcome(p.ask(key="k")) for p in (one, other)))

    assert sorted(outcomes) == ["PROVIDER_KEY_REFUSED", "answered"]


async def test_every_entry_is_listed_page_by_page(proxy: Any, provider: ProviderServer) -> None:
    provider.will(openai_error(500, "server_error"), openai_reply("hello"))
    await proxy.ask(key="k")
    await proxy.ask(key="k")
    ask = usage_of(proxy)

    first = await ask("ListCalls", page_size=2)
    rest = await ask("ListCalls", page_size=2, page_token=first.next_page_token)
    failed = await ask("ListCalls", status=usage_pb2.CALL_STATUS_FAILED)

    statuses = [entry.status for entry in (*first.calls, *rest.calls)]
    assert statuses == [
        usage_pb2.CALL_STATUS_REPLAYED,
        usage_pb2.CALL_STATUS_SUCCEEDED,
        usage_pb2.CALL_STATUS_FAILED,
    ]
    assert (first.calls[1].cost_usd, first.calls[1].input_usd_per_million) == (str(COST), "0.4")
    assert [entry.error_code for entry in failed.calls] == ["PROVIDER_FAILED"]
    assert not rest.next_page_token


async def test_a_wrong_page_is_refused(proxy: Any) -> None:
    for fields in ({"page_size": 1001}, {"page_token": "ö"}, {"status": 99}):
        with pytest.raises(InvalidInput):
            await usage_of(proxy)("ListCalls", **fields)


async def test_an_estimate_says_where_the_model_answers_and_how_fast_it_wrote(
    proxy: Any, provider: ProviderServer
) -> None:
    options = llm_pb2.ModelOptions(provider="openai", max_tokens=10)
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")
    request = llm_pb2.CompleteRequest(options=options, messages=[message])
    elsewhere = llm_pb2.CompleteRequest(
        options=llm_pb2.ModelOptions(provider="mistral", model="m"), messages=[message]
    )

    before = await usage_of(proxy)("Estimate", request=request)
    await proxy.ask(max_tokens=10)
    after = await usage_of(proxy)("Estimate", request=request)
    other = await usage_of(proxy)("Estimate", request=elsewhere)

    assert before.host == urlsplit(provider.url).netloc
    assert not before.HasField("output_tokens_per_second")
    assert after.output_tokens_per_second > 0
    assert other.host == "api.mistral.ai"
    assert not other.HasField("output_tokens_per_second")
