"""What every way to a model keeps to, whichever wire format it speaks: straight HTTP, and litellm for each provider."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.providers import Answer, ProviderServer, openai_stream, openai_thinking
from tests.fakes.speeches import Speech

from cadre_llm_proxy.domain import calls, facts
from cadre_llm_proxy.domain.completions import Models

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    # Said by pydantic of litellm's types.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
KEY = "sk-secret-contract"
PNG = b"\x89PNG\r\n\x1a\n0000"


WEATHER = calls.ToolDefinition(
    name="weather",
    description="The weather.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)


async def test_a_reply_has_its_text_its_end_and_its_tokens(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.reply("Hello"))

    answer = await models.ask(ask)

    assert (answer.content, answer.finish_reason) == ("Hello", calls.FinishReason.STOP)
    assert answer.tokens is not None
    assert (answer.tokens.input, answer.tokens.output) == (12, 5)
    assert KEY in str(provider.asked[0].headers) + provider.asked[0].path


async def test_a_stream_is_the_reply_in_parts(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.stream(["Hel", "lo ", "there"]))

    *parts, whole = [part async for part in models.stream(ask)]

    assert isinstance(whole, calls.Answer)
    assert "".join(p.text for p in parts if isinstance(p, calls.Delta)) == "Hello there"
    assert whole.content == "Hello there"
    assert whole.finish_reason is calls.FinishReason.STOP
    assert whole.tokens is not None
    assert whole.tokens.output == 5


async def test_a_tool_call_has_its_name_and_arguments(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.tool_call("weather", '{"city": "Oslo"}'))

    answer = await models.ask(replace(ask, tools=(WEATHER,)))

    assert [(c.name, c.arguments.replace(" ", "")) for c in answer.tool_calls] == [
        ("weather", '{"city":"Oslo"}')
    ]
    assert answer.finish_reason is calls.FinishReason.TOOL_CALLS


async def test_an_image_reaches_the_provider(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.reply("A dot."))
    image = calls.Image(data=PNG, media_type="image/png")
    message = calls.Message(role=calls.Role.USER, content="What is it?", images=(image,))

    await models.ask(replace(ask, messages=(message,)))

    assert "iVBORw0KGgowMDAw" in str(provider.asked[0].body)


@pytest.mark.parametrize(
    ("status", "fact"),
    [
        (400, facts.RequestRefused),
        (401, facts.KeyRefused),
        (403, facts.ProviderForbids),
        (404, facts.ModelUnknown),
        (408, facts.ProviderFailed),
        (413, facts.ContextTooLong),
        (429, facts.RateLimited),
        (500, facts.ProviderFailed),
        (503, facts.ProviderFailed),
        (529, facts.ProviderFailed),
    ],
)
async def test_a_refusal_means_what_its_status_says_and_quotes_nothing(
    status: int,
    fact: type[facts.ProviderFailure],
    models: Models,
    ask: calls.Ask,
    speech: Speech,
    provider: ProviderServer,
) -> None:
    provider.will(speech.error(status, "some_code", f"no: {KEY} PROMPT"))

    with pytest.raises(facts.ProviderFailure) as caught:
        await models.ask(ask)

    said = f"{caught.value!r} {caught.value} {caught.value.metadata} {caught.value.resolution}"
    assert type(caught.value) is fact
    assert caught.value.retry_after_seconds is None
    assert KEY not in said
    assert "PROMPT" not in said


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_stream_is_refused_in_the_same_words(
    status: int, models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.error(status, "some_code"))

    with pytest.raises(facts.ProviderFailure) as whole:
        await models.ask(ask)
    with pytest.raises(facts.ProviderFailure) as streamed:
        _ = [part async for part in models.stream(ask)]

    assert type(streamed.value) is type(whole.value)


async def test_retry_after_is_told(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.error(429, "some_code", retry_after="7"))

    with pytest.raises(facts.RateLimited) as caught:
        await models.ask(ask)

    assert caught.value.retry_after_seconds == 7


async def test_what_is_no_reply_is_malformed(
    models: Models, ask: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(Answer(chunks=(b"<html>",)))

    with pytest.raises(facts.ReplyMalformed):
        await models.ask(ask)


async def test_a_cut_stream_is_said_to_be_cut(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    begun = speech.stream(["Hel", "lo", "there"])
    provider.will(replace(begun, chunks=begun.chunks[:1], cut=True))

    with pytest.raises(facts.StreamCut):
        _ = [part async for part in models.stream(ask)]


async def test_a_stream_that_does_not_begin_is_given_up_early(
    models: Models, ask: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(Answer(content_type="text/event-stream", stall=True))

    async with asyncio.timeout(10):
        with pytest.raises(facts.ProviderTimeout, match=r"did not answer within [01]\.\d s"):
            _ = [part async for part in models.stream(ask)]


async def test_a_call_has_an_end_in_time(
    models: Models, ask: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(Answer(stall=True))

    with pytest.raises(facts.ProviderTimeout):
        await models.ask(replace(ask, seconds=0.3))

    await asyncio.wait_for(provider.gone.wait(), 10)


async def test_closing_a_stream_hangs_up_on_the_provider(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    begun = speech.stream(["Hello", " there", "!"])
    provider.will(replace(begun, chunks=begun.chunks[:-1][:3], stall=True))

    async with aclosing(models.stream(ask)) as parts:
        assert isinstance(await anext(parts), calls.Delta)

    await asyncio.wait_for(provider.gone.wait(), 10)


async def test_an_address_that_takes_no_connection_is_given_up_early(
    models: Models, ask: calls.Ask, speech: Speech
) -> None:
    with no_room() as url:
        reached = replace(ask, target=replace(ask.target, api_base=url + speech.path))
        async with asyncio.timeout(30):
            with pytest.raises(facts.ProviderUnreachable):
                await models.ask(reached)


@contextmanager
def no_room() -> Iterator[str]:
    """An address where connections are left waiting: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield f"http://{host}:{port}"


async def test_nobody_at_the_address_is_said_so(
    models: Models, ask: calls.Ask, unused_tcp_port: int
) -> None:
    target = replace(ask.target, api_base=f"http://127.0.0.1:{unused_tcp_port}")

    with pytest.raises(facts.ProviderUnreachable):
        await models.ask(replace(ask, target=target))


async def test_a_server_that_keeps_the_connection_after_the_last_word_is_not_waited_for(
    ways: dict[bool, Models], provider: ProviderServer
) -> None:
    provider.will(replace(openai_stream(["Hello"]), stall=True))
    target = calls.Target(provider="openai_compatible", model="m", api_base=f"{provider.url}/v1")
    message = calls.Message(role=calls.Role.USER, content="?")
    ask = calls.Ask(
        target=target,
        options=calls.Options(),
        messages=(message,),
        output_schema=None,
        seconds=60,
    )

    async with asyncio.timeout(10):
        *_, whole = [part async for part in ways[True].stream(ask)]

    assert isinstance(whole, calls.Answer)
    assert whole.content == "Hello"


@pytest.mark.parametrize("straight", [True, False])
async def test_what_a_model_thinks_and_how_likely_its_words_are_is_told(
    straight: bool, ways: dict[bool, Models], provider: ProviderServer
) -> None:
    provider.will(openai_thinking("Hmm.", "Yes"))
    ask: Any = calls.Ask(
        target=calls.Target(provider="openai_compatible", model="m", api_base=f"{provider.url}/v1"),
        options=calls.Options(top_logprobs=1, params={"reasoning_effort": "low"}),
        messages=(calls.Message(role=calls.Role.USER, content="?"),),
        output_schema=None,
        seconds=15,
    )

    answer = await ways[straight].ask(ask)

    assert (answer.reasoning, answer.content) == ("Hmm.", "Yes")
    assert answer.likelihoods == (
        calls.Likelihood(
            token="Yes", logprob=-0.25, others=(calls.Likelihood(token="No", logprob=-1.5),)
        ),
    )
    body = provider.asked[0].body
    assert (body["logprobs"], body["top_logprobs"], body["reasoning_effort"]) == (True, 1, "low")
