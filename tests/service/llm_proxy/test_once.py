"""Paid once: an idempotency key has one reply, whoever asks again and whenever."""

import asyncio
from typing import Any

import pytest
from tests.fakes.providers import (
    ProviderServer,
    openai_error,
    openai_reply,
    openai_stream,
    openai_thinking,
)

from cadre_kit.errors import CadreError, Conflict


async def test_a_repeated_key_gets_the_stored_reply(proxy: Any, provider: ProviderServer) -> None:
    first = await proxy.ask(key="k")
    second = await proxy.ask(key="k")

    assert (first.replayed, second.replayed) == (False, True)
    assert (second.content, second.call_id, second.usage) == (
        first.content,
        first.call_id,
        first.usage,
    )
    assert len(provider.asked) == 1
    assert (await proxy.sums()).total.calls == 1


async def test_the_stored_reply_outlives_a_restart(start: Any, provider: ProviderServer) -> None:
    async with start() as before:
        await before.ask(key="k")
    async with start() as after:
        reply = await after.ask(key="k")

    assert reply.replayed
    assert len(provider.asked) == 1


async def test_the_same_key_at_the_same_time_asks_once(
    proxy: Any, provider: ProviderServer
) -> None:
    replies = await asyncio.gather(*(proxy.ask(key="k") for _ in range(8)))

    assert sorted(reply.replayed for reply in replies) == [False, *[True] * 7]
    assert len(provider.asked) == 1


async def test_a_key_used_for_another_request_is_refused(
    proxy: Any, provider: ProviderServer
) -> None:
    await proxy.ask("one", key="k")

    with pytest.raises(Conflict) as caught:
        await proxy.ask("two", key="k")

    assert caught.value.code == "IDEMPOTENCY_KEY_REUSED"
    assert len(provider.asked) == 1


async def test_a_failed_call_leaves_its_key_free(proxy: Any, provider: ProviderServer) -> None:
    provider.will(openai_error(401, "invalid_api_key"), openai_reply("good"))

    with pytest.raises(CadreError):
        await proxy.ask(key="k")
    reply = await proxy.ask(key="k")

    assert (reply.content, reply.replayed) == ("good", False)
    assert (await proxy.sums()).total.calls == 2


async def test_a_stream_and_a_plain_call_share_the_stored_reply(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_stream(["a", "b"]))

    streamed = [part async for part in proxy.stream(key="k")]
    plain = await proxy.ask(key="k")
    again = [part async for part in proxy.stream(key="k")]

    assert (plain.content, plain.replayed) == ("ab", True)
    assert streamed[-1].reply.call_id == plain.call_id
    assert [part.delta for part in again] == ["ab", ""]
    assert len(provider.asked) == 1


async def test_a_stream_of_the_stored_reply_has_what_the_model_thought(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_thinking("Hmm.", "Yes"))
    await proxy.ask(key="k")

    parts = [part async for part in proxy.stream(key="k")]

    assert [(p.reasoning_delta, p.delta) for p in parts[:-1]] == [("Hmm.", ""), ("", "Yes")]
