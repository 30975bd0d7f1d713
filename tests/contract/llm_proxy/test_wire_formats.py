"""What reaches a provider and what comes back of it, in each wire format: options, usage, thoughts, broken streams."""

import asyncio
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.providers import ProviderServer
from tests.fakes.speeches import Speech

from cadre_llm_proxy.domain import calls, facts
from cadre_llm_proxy.domain.completions import Models

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    # Said by pydantic of litellm's types.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def leaves(document: Any) -> Iterator[Any]:
    """All values in a document, wherever they are."""
    if isinstance(document, Mapping):
        document = list(document.values())
    if not isinstance(document, list):
        yield document
        return
    for each in document:
        yield from leaves(each)


async def test_options_that_all_providers_have_reach_them(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.reply("Hello"))
    options = calls.Options(temperature=0.25, max_tokens=777, stop=("XYZ",))

    await models.ask(replace(ask, options=options))

    assert {0.25, 777, "XYZ"} <= set(leaves(provider.asked[0].body))


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        (calls.Options(seed=4711), "seed", 4711),
        (calls.Options(top_logprobs=13), "top_logprobs", 13),
    ],
)
async def test_an_option_reaches_the_provider_or_is_refused_by_its_name(
    options: calls.Options,
    name: str,
    value: int,
    models: Models,
    ask: calls.Ask,
    speech: Speech,
    provider: ProviderServer,
) -> None:
    provider.will(speech.reply("Hello"))
    asked = replace(ask, options=options)

    if name in speech.refuses:
        with pytest.raises(facts.OptionUnsupported) as caught:
            await models.ask(asked)
        assert caught.value.metadata["param"] in (name, "logprobs")
        assert not provider.asked
    else:
        await models.ask(asked)
        assert value in leaves(provider.asked[0].body)


async def test_a_conversation_reaches_the_provider_whole(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.reply("Hello"))
    used = calls.ToolCall(id="call_1", name="weather", arguments={"city": "Oslo"})
    said = (
        calls.Message(role=calls.Role.SYSTEM, content="Be brief."),
        calls.Message(role=calls.Role.USER, content="Is it cold?"),
        calls.Message(role=calls.Role.ASSISTANT, content="", tool_calls=(used,)),
        calls.Message(role=calls.Role.TOOL, content="minus 4", tool_call_id="call_1"),
    )
    tool = calls.ToolDefinition(
        name="weather",
        description="The weather.",
        parameters={"type": "object", "properties": {"city": {"type": "string"}}},
    )

    await models.ask(replace(ask, messages=said, tools=(tool,)))

    sent = str(provider.asked[0].body)
    assert all(each in sent for each in ("Be brief.", "Is it cold?", "weather", "Oslo", "minus 4"))


@pytest.mark.parametrize("values", [{"enum": ["good", "bad"]}, {"const": "good"}])
async def test_a_schema_reaches_the_provider_with_its_values_and_stays_as_it_is(
    values: dict[str, Any],
    models: Models,
    ask: calls.Ask,
    speech: Speech,
    provider: ProviderServer,
) -> None:
    provider.will(speech.tool_call("rate", '{"mood": "good"}'))
    parameters = {"type": "object", "properties": {"mood": values}, "required": ["mood"]}
    before = deepcopy(parameters)
    tool = calls.ToolDefinition(name="rate", description="Rates.", parameters=parameters)

    await models.ask(replace(ask, tools=(tool,)))
    await models.ask(replace(ask, output_schema=parameters))

    assert parameters == before
    assert "good" in leaves(provider.asked[0].body["tools"])
    assert "object" not in str(provider.asked[0].body["tools"]).partition("mood")[2]
    assert "good" in leaves({**provider.asked[1].body, "tools": [], "messages": []})


async def test_usage_says_what_was_cached_and_thoughts_are_kept_apart_from_the_reply(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.detailed("Hmm.", "Hello"))

    answer = await models.ask(ask)

    assert (answer.content, answer.reasoning) == ("Hello", "Hmm.")
    assert answer.tokens is not None
    assert (answer.tokens.input, answer.tokens.output) == (12, 5)
    assert answer.tokens.cache_read == 4
    # Anthropic does not say how many of its tokens were thoughts.
    assert speech.provider == "anthropic" or answer.tokens.reasoning == 2


async def test_a_stream_that_stalls_in_its_middle_is_given_up_when_its_time_is_over(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    begun = speech.stream(["Hello", " there", "!"])
    provider.will(replace(begun, chunks=begun.chunks[:-1][:3], stall=True))
    stream = models.stream(replace(ask, seconds=1.5))

    async with asyncio.timeout(10):
        first = await anext(stream)
        with pytest.raises(facts.ProviderTimeout):
            _ = [part async for part in stream]

    assert isinstance(first, calls.Delta)
    await asyncio.wait_for(provider.gone.wait(), 10)


async def test_a_stream_of_what_is_no_json_is_malformed(
    models: Models, ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    begun = speech.stream(["Hello", " there", "!"])
    broken = (begun.chunks[0], b'data: {"choices": [{"delta"\n\n', *begun.chunks[1:])
    provider.will(replace(begun, chunks=broken))

    with pytest.raises(facts.ReplyMalformed):
        _ = [part async for part in models.stream(ask)]
