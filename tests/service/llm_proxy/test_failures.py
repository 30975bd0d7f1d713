"""What goes wrong at providers, said in the platform's words, tried again where it may pass, and written down."""

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from tests.fakes.providers import (
    INPUT_TOKENS,
    Answer,
    ProviderServer,
    anthropic_stream,
    gemini_stream,
    json_answer,
    openai_ended_early,
    openai_error,
    openai_reply,
    openai_stream,
    openai_tool_call_stream,
)
from tests.service.llm_proxy.conftest import tool

from cadre_kit.errors import CadreError, DeadlineExceeded, FailedPrecondition, Unavailable

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOO_LONG = "This model's maximum context length is 8192 tokens."


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (openai_error(401, "invalid_api_key"), "PROVIDER_KEY_REFUSED"),
        (openai_error(404, "model_not_found"), "MODEL_UNKNOWN"),
        (openai_error(400, "invalid_value"), "PROVIDER_REFUSED_REQUEST"),
        (openai_error(400, "context_length_exceeded", TOO_LONG), "CONTEXT_TOO_LONG"),
        (openai_error(400, "content_policy_violation"), "CONTENT_REFUSED"),
    ],
)
async def test_what_will_not_pass_is_sent_once_and_named(
    answer: Answer, code: str, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(answer)

    with pytest.raises(CadreError) as caught:
        await proxy.ask()

    assert caught.value.code == code
    assert caught.value.resolution
    assert len(provider.asked) == 1
    assert (await proxy.sums(4)).groups[0].failed_calls == 1


@pytest.mark.parametrize(
    "answer",
    [
        openai_error(429, "rate_limit_exceeded", retry_after="0.1"),
        openai_error(500, "server_error"),
        openai_error(503, "overloaded"),
        Answer(chunks=(b"<html>not a reply",)),
    ],
)
async def test_what_may_pass_is_tried_again(
    answer: Answer, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(answer, openai_reply("at last"))

    reply = await proxy.ask()

    assert reply.content == "at last"
    assert reply.usage.calls == 2
    assert len(provider.asked) == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (openai_error(429, "rate_limit_exceeded", retry_after="0.05"), "RATE_LIMITED"),
        (openai_error(500, "server_error"), "PROVIDER_FAILED"),
        (Answer(chunks=(b"<html>not a reply",)), "PROVIDER_REPLY_MALFORMED"),
    ],
)
async def test_tries_have_an_end(
    answer: Answer, code: str, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(answer)

    with pytest.raises(CadreError) as caught:
        await proxy.ask()

    assert caught.value.code == code
    assert len(provider.asked) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_a_provider_is_not_asked_again_before_it_wants_to_be(
    status: int, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_error(status, "some_code", retry_after="1.2"), openai_reply("at last"))

    began = monotonic()
    reply = await proxy.ask()

    # Longer than the pause before a first try that nobody asked for.
    assert monotonic() - began >= 1.2
    assert (reply.content, reply.usage.calls) == ("at last", 2)


async def test_a_provider_that_wants_a_long_wait_is_not_waited_for(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_error(429, "rate_limit_exceeded", retry_after="3600"))

    with pytest.raises(CadreError) as caught:
        await asyncio.wait_for(proxy.ask(), 15)

    assert caught.value.code == "RATE_LIMITED"
    assert caught.value.metadata["retry_after_seconds"] == "3600"
    assert len(provider.asked) == 1


async def test_nobody_at_the_address_is_said_so(
    proxy: Any, variables: dict[str, str], unused_tcp_port: int
) -> None:
    base = f"http://127.0.0.1:{unused_tcp_port}/v1"

    with pytest.raises(Unavailable) as caught:
        await proxy.ask(provider="openai_compatible", model="m", api_base=base)

    assert caught.value.code == "PROVIDER_UNREACHABLE"


async def test_a_provider_that_stalls_is_given_up_in_time_and_its_cost_is_unknown(
    proxy: Any, provider: ProviderServer
) -> None:
    # What is loaded once is loaded then.
    await proxy.ask()
    provider.will(Answer(stall=True))

    with pytest.raises(DeadlineExceeded) as caught:
        await proxy.ask(timeout_seconds=2)

    assert caught.value.code == "PROVIDER_TIMEOUT"
    total = (await proxy.sums()).total
    assert total.unpriced_calls == 1
    await asyncio.wait_for(provider.gone.wait(), 10)


async def test_a_call_whose_time_is_over_before_it_is_sent_costs_nothing(
    proxy: Any, provider: ProviderServer
) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await proxy.ask(timeout_seconds=0.000001)

    assert caught.value.code == "PROVIDER_TIMEOUT"
    total = (await proxy.sums()).total
    assert (total.calls, total.cost_usd) == (1, "0")
    assert not provider.asked


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        # What arrives in the same moment as the cut may not be seen any more.
        (openai_stream(["Hello", " there"], cut=True), {1, 2}),
        (openai_ended_early(["Hello", " there"]), {2}),
    ],
)
async def test_a_cut_stream_is_an_error_and_what_came_is_paid(
    answer: Answer, seen: set[int], proxy: Any, provider: ProviderServer
) -> None:
    provider.will(answer)

    with pytest.raises(Unavailable) as caught:
        _ = [part async for part in proxy.stream()]

    assert caught.value.code == "PROVIDER_STREAM_CUT"
    assert len(provider.asked) == 1
    total = (await proxy.sums()).total
    assert total.output_tokens in seen
    assert float(total.cost_usd) > 0


@pytest.mark.parametrize(
    ("name", "streamed"), [("anthropic", anthropic_stream), ("google", gemini_stream)]
)
async def test_what_the_provider_said_before_a_stream_was_cut_is_what_was_sent(
    name: str, streamed: Any, proxy: Any, provider: ProviderServer
) -> None:
    begun = streamed(["Hello", " there", "!"])
    provider.will(replace(begun, chunks=begun.chunks[:3], cut=True))

    with pytest.raises(Unavailable) as caught:
        _ = [part async for part in proxy.stream("Hello you, " * 100, provider=name)]

    assert caught.value.code == "PROVIDER_STREAM_CUT"
    assert (await proxy.sums()).total.input_tokens == INPUT_TOKENS


@pytest.mark.parametrize("end", ["cut", "stall"])
async def test_a_reply_whose_last_word_came_is_whole_however_its_connection_ends(
    end: str, proxy: Any, provider: ProviderServer
) -> None:
    whole = openai_stream(["Hello", " there"])
    until_last_word, _, _ = b"".join(whole.chunks).partition(b"data: [DONE]")
    provider.will(replace(whole, chunks=(until_last_word,), cut=end == "cut", stall=end == "stall"))

    *_, last = [part async for part in proxy.stream(timeout_seconds=2.0)]

    assert (last.reply.content, last.reply.usage.output_tokens) == ("Hello there", 5)
    assert len(provider.asked) == 1


async def test_an_uncertain_call_without_a_price_is_not_said_to_cost_nothing_at_most(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(Answer(stall=True))
    unpriced = {"provider": "openai_compatible", "model": "m", "api_base": f"{provider.url}/v1"}

    for model in (unpriced, {}):
        with pytest.raises(CadreError):
            await proxy.ask(timeout_seconds=0.3, max_tokens=10, **model)

    details = (await proxy.sums()).total_details
    assert (details.uncertain_calls, details.unbounded_calls) == (2, 1)


async def test_a_stream_that_stalls_is_given_up_in_time(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_stream(["Hel"], stall=True))

    with pytest.raises(DeadlineExceeded) as caught:
        _ = [part async for part in proxy.stream(timeout_seconds=0.7)]

    assert caught.value.code == "PROVIDER_TIMEOUT"


async def test_closing_a_stream_stops_the_provider_and_meters_what_came(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_stream(["Hello"], stall=True))

    parts = proxy.stream()
    assert (await anext(parts)).delta == "Hello"
    await parts.aclose()

    await asyncio.wait_for(provider.gone.wait(), 10)
    await _until_metered(proxy)
    assert (await proxy.sums()).total.output_tokens == 1


async def test_a_tool_call_that_is_cut_as_it_is_written_is_metered(
    proxy: Any, provider: ProviderServer
) -> None:
    whole = openai_tool_call_stream("weather", json.dumps({"city": "Lisbon " * 100}))
    # The arguments' second half and all after it never come.
    provider.will(replace(whole, chunks=whole.chunks[:1], stall=True))

    with pytest.raises(DeadlineExceeded):
        _ = [part async for part in proxy.stream(tools=[tool()], timeout_seconds=1.0)]

    total = (await proxy.sums()).total
    assert 50 < total.output_tokens < 150
    assert (total.unpriced_calls, len(provider.asked)) == (0, 1)


async def test_cancelling_a_call_stops_the_provider(proxy: Any, provider: ProviderServer) -> None:
    provider.will(Answer(stall=True))
    under_way = asyncio.create_task(proxy.ask())
    await asyncio.wait_for(provider.arrived.wait(), 10)

    under_way.cancel()

    await asyncio.wait_for(provider.gone.wait(), 10)
    await _until_metered(proxy)
    assert (await proxy.sums(4)).groups[0].failed_calls == 1


async def _until_metered(proxy: Any) -> None:
    async with asyncio.timeout(10):
        while not (await proxy.sums()).total.calls:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)


async def test_a_reply_cut_within_its_document_says_so(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply('{"n": ', finish="length"))

    with pytest.raises(FailedPrecondition) as caught:
        await proxy.ask(schema=SCHEMA)

    assert caught.value.code == "MODEL_OUTPUT_TRUNCATED"
    assert (await proxy.sums()).total.output_tokens == 5


async def test_a_reply_that_cannot_be_mended_is_an_error(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply("no idea"))

    with pytest.raises(CadreError) as caught:
        await proxy.ask(schema=SCHEMA)

    assert caught.value.code == "MODEL_OUTPUT_INVALID"
    assert len(provider.asked) == 3
    assert (await proxy.sums()).total.output_tokens == 15


async def test_a_document_that_the_model_refuses_to_write_is_not_asked_for_again(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply("I cannot help with that.", finish="content_filter"))

    with pytest.raises(FailedPrecondition) as caught:
        await proxy.ask(schema=SCHEMA)

    assert caught.value.code == "CONTENT_REFUSED"
    assert len(provider.asked) == 1
    assert (await proxy.sums()).total.output_tokens == 5


async def test_rubbish_for_usage_leaves_no_entry_open_and_is_estimated(
    proxy: Any, provider: ProviderServer
) -> None:
    usage = {"prompt_tokens": "12", "completion_tokens": None}
    function = {"name": "weather", "arguments": '{"city": "a long name of a city"}'}
    message = {"content": None, "tool_calls": [{"id": "a", "function": function}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    provider.will(json_answer({"choices": [choice], "usage": usage}))

    reply = await proxy.ask(tools=[tool()])

    sums = await proxy.sums()
    assert sums.total_details.open_calls == 0
    # The call was written, and more than the prompt was sent: the tool as well.
    assert sums.total.output_tokens == reply.usage.output_tokens == 12
    assert sums.total.input_tokens > 20


async def test_a_missing_key_is_named_before_anything_is_sent(
    proxy: Any, provider: ProviderServer, variables: dict[str, str], start: Any
) -> None:
    del variables["OPENAI_API_KEY"]

    async with start() as keyless:
        with pytest.raises(FailedPrecondition) as caught:
            await keyless.ask()

    assert caught.value.code == "PROVIDER_KEY_MISSING"
    assert "OPENAI_API_KEY" in caught.value.resolution
    assert not provider.asked


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"provider": "nobody", "model": "m"}, "PROVIDER_UNKNOWN"),
        ({"api_base": "http://evil.example/v1"}, "API_BASE_REFUSED"),
        ({"provider": "openai_compatible", "model": "m"}, "API_BASE_REFUSED"),
        ({"api_key_env": "PATH"}, "PROVIDER_KEY_VARIABLE_REFUSED"),
        ({"api_key_env": "ANTHROPIC_API_KEY"}, "PROVIDER_KEY_VARIABLE_REFUSED"),
        ({"temperature": 3.0}, "REQUEST_INVALID"),
        ({"text": "a" * (4 * 1024 * 1024 + 1)}, "REQUEST_INVALID"),
        ({"max_tokens": 0}, "REQUEST_INVALID"),
        ({"timeout_seconds": 4000.0}, "REQUEST_INVALID"),
        ({"schema": {"type": "nonsense"}}, "OUTPUT_SCHEMA_INVALID"),
    ],
)
async def test_a_wrong_request_is_refused_before_anything_is_sent(
    fields: dict[str, Any], code: str, proxy: Any, provider: ProviderServer
) -> None:
    with pytest.raises(CadreError) as caught:
        await proxy.ask(**fields)

    assert caught.value.code == code
    assert not provider.asked


async def test_no_secret_or_prompt_reaches_an_error_or_a_log(
    proxy: Any, provider: ProviderServer, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.INFO)
    provider.will(openai_error(401, "invalid_api_key", "Incorrect key: sk-secret-openai; PROMPT"))

    with pytest.raises(CadreError) as caught:
        await proxy.ask("PROMPT")

    printed = "".join(capfd.readouterr())
    said = f"{caught.value!r} {caught.value.metadata} {caught.value.resolution}"
    for text in (said, caplog.text, printed):
        assert "sk-secret" not in text
        assert "PROMPT" not in text


@pytest.mark.parametrize("name", ["openai", "anthropic", "google", "openai_compatible"])
async def test_no_key_is_kept_or_shown_anywhere_after_failures(
    name: str,
    proxy: Any,
    provider: ProviderServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: Any,
) -> None:
    fields = {"provider": name}
    if name == "openai_compatible":
        base = f"{provider.url}/v1"
        fields |= {"model": "m", "api_base": base, "api_key_env": "MY_SERVER_API_KEY"}
    caplog.set_level(logging.DEBUG)
    said = []
    for answer in (
        openai_error(401, "invalid_api_key", "Incorrect key: sk-secret-openai"),
        openai_error(500, "sk-secret-openai"),
        Answer(chunks=(b"sk-secret-openai",)),
    ):
        provider.will(answer)
        with pytest.raises(CadreError) as caught:
            await proxy.ask(**fields)
        said.append(f"{caught.value!r} {caught.value.metadata} {caught.value.resolution}")

    assert len(provider.asked) >= 3
    assert b"sk-secret" not in await asyncio.to_thread(_all_of, tmp_path)
    for text in (*said, caplog.text, *capfd.readouterr(), repr(await proxy.models())):
        assert "sk-secret" not in text


def _all_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_the_proxy_serves_on_after_a_key_was_revoked(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_error(401, "invalid_api_key"), openai_reply("again"))

    with pytest.raises(CadreError):
        await proxy.ask()

    assert (await proxy.ask()).content == "again"


async def test_a_key_in_a_file_can_be_changed_without_a_restart(
    start: Any, variables: dict[str, str], provider: ProviderServer, tmp_path: Path
) -> None:
    file = tmp_path / "openai-key"
    file.write_text("sk-secret-old\n")
    del variables["OPENAI_API_KEY"]
    variables["OPENAI_API_KEY_FILE"] = str(file)

    async with start() as proxy:
        provider.will(openai_error(401, "invalid_api_key"), openai_reply("again"))
        with pytest.raises(CadreError):
            await proxy.ask()
        file.write_text("sk-secret-new\n")
        await proxy.ask()
        file.unlink()
        with pytest.raises(CadreError) as caught:
            await proxy.ask()

    keys = [each.headers["authorization"] for each in provider.asked]
    assert keys == ["Bearer sk-secret-old", "Bearer sk-secret-new"]
    assert caught.value.code == "SECRET_FILE_UNREADABLE"
