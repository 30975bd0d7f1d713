"""What a call costs where its model has several prices, and where nobody knows."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.providers import Answer, ProviderServer, events, json_answer
from tests.service.llm_proxy.test_budgets import one_use, outcome, set_budget, usage_of

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_llm_proxy.adapters.litellm_library import PublishedByLitellm
from cadre_llm_proxy.domain.prices import Price

MODEL = "gpt-5.6"
SHORT, LONG = 1_000, 300_000


def replied(sent: int, *, service: str = "", cached: int = 0, written: int = 0) -> dict[str, Any]:
    """A reply of 10 tokens to so many, some of them read from the cache or put into it."""
    details = {"cached_tokens": cached, "cache_write_tokens": written}
    usage = {"prompt_tokens": sent, "completion_tokens": 10, "prompt_tokens_details": details}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Hi"},
        "finish_reason": "stop",
    }
    told = {"service_tier": service} if service else {}
    return {"id": "c", "model": MODEL, "choices": [choice], "usage": usage, **told}


def published(service: str = "", sent: int = SHORT) -> Price:
    """The price in litellm's table."""
    price = PublishedByLitellm().facts("openai", MODEL).price
    found = price and price.of(sent, service)
    assert found is not None
    return found


def params(**said: Any) -> common_pb2.Json:
    """Settings that are sent as they are."""
    return common_pb2.Json(text=json.dumps(said))


@pytest.mark.parametrize("sent", [SHORT, LONG])
@pytest.mark.parametrize("asked", ["", "auto", "flex", "priority"])
async def test_a_call_costs_what_its_length_and_service_cost(
    sent: int, asked: str, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(json_answer(replied(sent, service=asked)))
    price = published("" if asked == "auto" else asked, sent)

    reply = await proxy.ask(
        model=MODEL, params=params(**({"service_tier": asked} if asked else {}))
    )

    cost = (sent * price.input + 10 * price.output) / 1_000_000
    assert Decimal(reply.usage.cost_usd) == cost
    (entry,) = (await usage_of(proxy)("ListCalls")).calls
    assert Decimal(entry.input_usd_per_million) == price.input


async def test_a_call_costs_what_the_service_costs_that_it_got(
    proxy: Any, provider: ProviderServer
) -> None:
    told = {**replied(SHORT, service="priority"), "choices": []}
    begun = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
    provider.will(json_answer(replied(SHORT, service="default")), events(begun, told))

    lesser = await proxy.ask(model=MODEL, params=params(service_tier="priority"))
    *_, greater = [part async for part in proxy.stream(model=MODEL)]

    basic, priority = published(), published("priority")
    assert Decimal(lesser.usage.cost_usd) * 1_000_000 == SHORT * basic.input + 10 * basic.output
    cost = Decimal(greater.reply.usage.cost_usd) * 1_000_000
    assert cost == SHORT * priority.input + 10 * priority.output


async def test_what_is_put_into_the_cache_has_its_own_price(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(json_answer(replied(SHORT, cached=300, written=500)))
    price = published()
    assert price.cache_read is not None
    assert price.cache_write is not None

    reply = await proxy.ask(model=MODEL)

    cost = 200 * price.input + 300 * price.cache_read + 500 * price.cache_write + 10 * price.output
    assert Decimal(reply.usage.cost_usd) * 1_000_000 == cost


@pytest.mark.parametrize("asked", [{"service_tier": "scale"}, {"web_search_options": {}}])
async def test_a_price_that_is_not_known_is_not_the_basic_one(
    asked: dict[str, Any], proxy: Any, provider: ProviderServer
) -> None:
    provider.will(json_answer(replied(SHORT)))

    reply = await proxy.ask(model=MODEL, params=params(**asked))
    await set_budget(proxy, usd="100")
    refused = await outcome(proxy.ask(model=MODEL, params=params(**asked), max_tokens=10))

    assert not reply.usage.HasField("cost_usd")
    assert (await proxy.sums()).total.unpriced_calls == 1
    assert refused == "BUDGET_NEEDS_PRICE"


async def test_a_budget_reserves_the_price_of_the_dearer_service(
    proxy: Any, provider: ProviderServer
) -> None:
    dearest = (10 * published("priority").output) / 1_000_000
    provider.will(json_answer(replied(25, service="priority")))
    await set_budget(proxy, usd=f"{dearest:f}")

    codes = [
        await outcome(proxy.ask(model=MODEL, max_tokens=10, params=params(service_tier=service)))
        for service in ("priority", "default")
    ]

    assert codes == ["BUDGET_EXCEEDED", "answered"]


@pytest.mark.parametrize("left", [{}, {"service_tier": "auto"}])
async def test_a_budget_is_not_passed_where_the_provider_gives_a_dearer_service_by_itself(
    left: dict[str, str], proxy: Any, provider: ProviderServer
) -> None:
    provider.will(json_answer(replied(20, service="priority")))
    cost = (20 * published("priority").input + 10 * published("priority").output) / 1_000_000
    await set_budget(proxy, usd=f"{cost * 3:f}")

    asked = [
        outcome(proxy.ask(max_tokens=10, model=MODEL, params=params(**left))) for _ in range(20)
    ]
    codes = await asyncio.gather(*asked)

    assert codes.count("answered") == len(provider.asked) == 2
    assert Decimal((await one_use(proxy)).used_usd) == 2 * cost


async def test_the_operators_file_says_what_other_services_and_long_requests_cost(
    start: Any, provider: ProviderServer, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        'openai/gpt-5.6: {input: "1", output: "0", tiers: [\n'
        '  {above_tokens: 200000, input: "2", output: "0"},\n'
        '  {service: scale, input: "3", output: "0"}]}\n'
    )
    provider.will(*(json_answer(replied(n)) for n in (SHORT, LONG, SHORT, LONG)))

    async with start(prices_file=prices) as proxy:
        costs = [
            (await proxy.ask(model=MODEL, params=params(service_tier=service))).usage.cost_usd
            for service in ("default", "default", "scale", "scale")
        ]

    assert costs == ["0.001", "0.6", "0.003", ""]


@pytest.mark.parametrize("finish", ["error", "content_filter"])
async def test_an_empty_reply_that_was_given_up_or_withheld_is_an_error_and_is_paid_for(
    finish: str, proxy: Any, provider: ProviderServer
) -> None:
    broken = replied(SHORT)
    broken["choices"][0] |= {"message": {"content": ""}, "finish_reason": finish}
    provider.will(json_answer(broken))

    code = await outcome(proxy.ask(model=MODEL))

    expected = {"error": ("MODEL_OUTPUT_INVALID", 3), "content_filter": ("CONTENT_REFUSED", 1)}
    assert (code, len(provider.asked)) == expected[finish]
    assert (await proxy.sums()).total.output_tokens == 10 * len(provider.asked)


async def test_a_reply_that_was_given_up_is_asked_for_again(
    proxy: Any, provider: ProviderServer
) -> None:
    broken: Answer = json_answer(
        replied(SHORT)
        | {
            "choices": [
                {
                    "index": 0,
                    "message": {"content": None},
                    "finish_reason": "malformed_function_call",
                }
            ]
        }
    )
    provider.will(broken, json_answer(replied(SHORT)))

    reply = await proxy.ask(model=MODEL)

    assert (reply.content, reply.usage.calls) == ("Hi", 2)
    assert reply.finish_reason == llm_pb2.FINISH_REASON_STOP
