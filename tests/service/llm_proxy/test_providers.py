"""Providers' wire formats: plain, structured and streamed replies, and what they cost."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.providers import (
    ProviderServer,
    anthropic_reply,
    anthropic_stream,
    gemini_reply,
    gemini_stream,
    json_answer,
    openai_reply,
    openai_stream,
)

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.errors import CadreError

PIECES = ("Hel", "lo ", "there")
SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["good", "bad"]}},
    "required": ["mood"],
}
# 12 tokens in and 5 out at litellm's prices; of Anthropic's 12, 4 were read from its cache.
PLAIN = {
    "openai": (openai_reply, "0.0000128"),
    "anthropic": (anthropic_reply, "0.0000334"),
    "google": (gemini_reply, "0.0000161"),
    "ollama": (openai_reply, "0"),
}
STREAMED = {
    "openai": openai_stream,
    "anthropic": anthropic_stream,
    "google": gemini_stream,
    "ollama": openai_stream,
}


@pytest.mark.parametrize("name", PLAIN)
async def test_a_reply_comes_with_its_tokens_and_exact_cost(
    name: str, proxy: Any, provider: ProviderServer
) -> None:
    reply_of, cost = PLAIN[name]
    provider.will(reply_of("Hello there"))

    reply = await proxy.ask(provider=name)

    assert reply.content == "Hello there"
    assert reply.finish_reason == llm_pb2.FINISH_REASON_STOP
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (12, 5)
    assert reply.usage.cost_usd == cost
    assert (await proxy.sums()).total.cost_usd == cost


@pytest.mark.parametrize("name", STREAMED)
async def test_a_stream_sends_text_as_it_comes_and_ends_with_the_whole_reply(
    name: str, proxy: Any, provider: ProviderServer
) -> None:
    written = replace(STREAMED[name](PIECES), hold_after=b"Hel")
    provider.will(written)

    stream = proxy.stream(provider=name)
    first = await anext(stream)
    written.release.set()
    parts = [part async for part in stream]

    assert first.delta == "Hel"
    assert "".join(part.delta for part in parts[:-1]) == "lo there"
    assert parts[-1].reply.content == "Hello there"
    assert (parts[-1].reply.usage.input_tokens, parts[-1].reply.usage.output_tokens) == (12, 5)


@pytest.mark.parametrize("name", PLAIN)
async def test_a_schema_is_said_in_the_providers_own_words(
    name: str, proxy: Any, provider: ProviderServer
) -> None:
    reply_of, _cost = PLAIN[name]
    provider.will(reply_of('{"mood": "good"}'))

    reply = await proxy.ask(provider=name, schema=SCHEMA)

    assert json.loads(reply.content) == {"mood": "good"}
    sent = json.dumps(provider.asked[0].body)
    assert '"mood"' in sent
    assert '"enum"' in sent


async def test_options_reach_the_provider(proxy: Any, provider: ProviderServer) -> None:
    await proxy.ask(temperature=0.25, max_tokens=7, top_p=0.5, seed=3, stop=["X"])

    body = provider.asked[0].body
    sent = {name: body.get(name) for name in ("temperature", "max_tokens", "top_p", "seed", "stop")}
    assert sent == {"temperature": 0.25, "max_tokens": 7, "top_p": 0.5, "seed": 3, "stop": ["X"]}


async def test_a_fence_around_a_document_is_taken_off(proxy: Any, provider: ProviderServer) -> None:
    provider.will(openai_reply('```json\n{"mood": "bad"}\n```'))

    assert (await proxy.ask(schema=SCHEMA)).content == '{"mood": "bad"}'


async def test_a_reply_against_the_schema_is_mended_once_and_both_are_paid(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply('{"mood": "odd"}'), openai_reply('{"mood": "good"}'))

    reply = await proxy.ask(schema=SCHEMA)

    assert reply.content == '{"mood": "good"}'
    assert (reply.usage.calls, reply.usage.output_tokens) == (2, 10)
    roles = [message["role"] for message in provider.asked[1].body["messages"]]
    assert roles == ["user", "assistant", "user"]


# Both as OpenAI's tokenizer o200k_base cuts them.
@pytest.mark.parametrize(
    ("text", "tokens"),
    [("The parcel arrived broken and nobody answers.", 8), ("包裹到达的时候已经损坏", 9)],
)
async def test_tokens_that_the_provider_does_not_say_are_counted_in_any_script(
    text: str, tokens: int, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply(text * 9000, usage=False))

    reply = await proxy.ask(text)

    assert tokens <= reply.usage.input_tokens <= tokens + 4
    assert reply.usage.output_tokens == pytest.approx(9000 * tokens, rel=0.15)
    assert float(reply.usage.cost_usd) > 0


async def test_a_model_without_a_known_price_has_no_cost(
    proxy: Any, provider: ProviderServer
) -> None:
    reply = await proxy.ask(
        provider="openai_compatible", model="my-model", api_base=f"{provider.url}/v1"
    )

    assert not reply.usage.HasField("cost_usd")
    assert reply.usage.unpriced_calls == 1
    assert not (await proxy.sums()).total.HasField("cost_usd")


async def test_a_compatible_server_gets_the_key_that_is_named_and_no_other(
    proxy: Any, provider: ProviderServer
) -> None:
    base = {"provider": "openai_compatible", "model": "m", "api_base": f"{provider.url}/v1"}

    await proxy.ask(**base)
    await proxy.ask(**base, api_key_env="MY_SERVER_API_KEY")

    first, second = (asked.headers.get("authorization", "") for asked in provider.asked)
    assert "sk-secret" not in first
    assert second == "Bearer sk-secret-mine"


@pytest.mark.parametrize(
    ("effort", "max_tokens", "thinking"),
    [("high", 64_000, 4096), ("high", 3000, 1500), ("medium", 1500, 1024), ("low", 1025, 1024)],
)
async def test_claude_thinks_within_the_tokens_that_the_call_gives(
    effort: str, max_tokens: int, thinking: int, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(anthropic_reply("Yes"))

    await proxy.ask(
        provider="anthropic", max_tokens=max_tokens, params=params(reasoning_effort=effort)
    )

    sent = provider.asked[0].body
    assert sent["thinking"]["budget_tokens"] == thinking
    assert sent["max_tokens"] == max_tokens


async def test_claude_thinks_within_the_tokens_that_the_call_gives_at_other_clouds_too(
    start: Any,
    provider: ProviderServer,
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables["CADRE_BEDROCK_API_BASE"] = provider.url
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION_NAME"):
        monkeypatch.setenv(name, "us-east-1")
    said = {"role": "assistant", "content": [{"text": "Yes"}]}
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    provider.will(
        json_answer({"output": {"message": said}, "stopReason": "end_turn", "usage": usage})
    )

    async with start() as proxy:
        model = {"provider": "bedrock", "model": "anthropic.claude-sonnet-4-5-20250929-v1:0"}
        high = params(reasoning_effort="high")
        reply = await proxy.ask(**model, max_tokens=3000, params=high)
        with pytest.raises(CadreError) as caught:
            await proxy.ask(**model, max_tokens=1000, params=high)

    (asked,) = provider.asked
    sent = asked.body["additionalModelRequestFields"]
    assert (reply.content, sent["thinking"]["budget_tokens"]) == ("Yes", 1500)
    assert caught.value.code == "MODEL_OPTION_UNSUPPORTED"


@pytest.mark.parametrize(
    "asked",
    [
        {"reasoning_effort": "minimal"},
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    ],
)
async def test_thinking_that_leaves_no_token_for_a_reply_is_refused_before_it_is_sent(
    asked: dict[str, Any], proxy: Any, provider: ProviderServer
) -> None:
    with pytest.raises(CadreError) as caught:
        await proxy.ask(provider="anthropic", max_tokens=1024, params=params(**asked))

    assert caught.value.code == "MODEL_OPTION_UNSUPPORTED"
    assert "Raise max_tokens" in caught.value.resolution
    assert not provider.asked


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "0.0.0.0", "0xa9fea9fe"],
)
async def test_an_api_base_leads_to_no_address_of_a_cloud_however_it_is_written(
    host: str, proxy: Any, provider: ProviderServer
) -> None:
    port = provider.url.rpartition(":")[2]

    with pytest.raises(CadreError) as caught:
        await proxy.ask(
            provider="openai_compatible", model="m", api_base=f"http://{host}:{port}/v1"
        )

    assert caught.value.code == "API_BASE_REFUSED"
    assert not provider.asked
    assert (await proxy.sums()).total.cost_usd == "0"


async def test_the_operator_can_name_any_address_in_a_group(
    start: Any, provider: ProviderServer, tmp_path: Path
) -> None:
    port = provider.url.rpartition(":")[2]
    models = tmp_path / "models.yaml"
    deployment = {"model": "openai_compatible/m", "api_base": f"http://0.0.0.0:{port}/v1"}
    models.write_text(json.dumps({"groups": {"mine": {"deployments": [deployment]}}}))

    async with start(llm_models_file=models) as proxy:
        reply = await proxy.ask(provider="", model="mine")

    assert reply.content == "hello"


@pytest.mark.parametrize("model", ["anthropic/", "google/", "ollama/llava"])
async def test_a_picture_is_fetched_from_public_addresses_only(
    model: str, proxy: Any, provider: ProviderServer
) -> None:
    name, _, model = model.partition("/")
    image = llm_pb2.Image(url=provider.url.replace("http:", "https:") + "/a.png")
    message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content="What is it?", images=[image])

    with pytest.raises(CadreError) as caught:
        await proxy.ask(provider=name, model=model, messages=[message])

    assert caught.value.code == "IMAGE_UNUSABLE"
    assert not provider.asked
    assert (await proxy.sums()).total.cost_usd == "0"


async def test_any_provider_that_litellm_knows_can_be_named(
    start: Any, provider: ProviderServer, variables: dict[str, str]
) -> None:
    variables |= {"MISTRAL_API_KEY": "sk-secret-mistral", "MISTRAL_API_BASE": f"{provider.url}/v1"}

    async with start() as proxy:
        reply = await proxy.ask(provider="mistral", model="mistral-small-latest")

    assert reply.content == "hello"
    assert provider.asked[0].headers["authorization"] == "Bearer sk-secret-mistral"


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        # Left out by litellm, and passed over by Ollama and llama.cpp.
        ("google/gemini-2.5-flash", "min_p", 0.1),
        ("ollama/llama3.2", "top_k", 7),
        ("embedded/smollm2-135m-instruct", "reasoning_effort", "low"),
        # Refused by litellm in a sentence.
        ("anthropic/claude-opus-4-8", "top_k", 7),
        ("google/gemini-2.5-flash", "reasoning_effort", "xhigh"),
        # Refused by OpenAI.
        ("openai/gpt-4.1-mini", "min_p", 0.1),
    ],
)
async def test_a_param_that_is_not_taken_is_named_or_left_out_and_said_to_be(
    model: str, name: str, value: object, start: Any, provider: ProviderServer
) -> None:
    provider_name, _, model = model.partition("/")
    asked = {
        "provider": provider_name,
        "model": model,
        "params": params(**{name: value}),
        "max_tokens": 5,
    }
    error = {"type": "invalid_request_error", "param": name, "code": "unknown_parameter"}
    refusal = json_answer({"error": {"message": "Unknown parameter.", **error}}, status=400)
    answers = {"anthropic": anthropic_reply("Yes"), "google": gemini_reply("Yes")}
    takes = answers.get(provider_name, openai_reply("Yes"))
    provider.will(*([refusal, refusal] if provider_name == "openai" else []), takes)

    async with start() as strict:
        with pytest.raises(CadreError) as caught:
            await strict.ask(**asked)
    async with start(llm_drop_unsupported=True) as lenient:
        reply = await lenient.ask(**asked)

    assert caught.value.code == "MODEL_OPTION_UNSUPPORTED"
    assert caught.value.metadata["param"] == name
    assert name in caught.value.message
    assert list(reply.dropped_options) == [name]


async def test_an_option_that_litellm_refuses_by_its_value_is_named_or_left_out(
    start: Any, provider: ProviderServer
) -> None:
    provider.will(anthropic_reply("Yes"))
    asked = {"provider": "anthropic", "model": "claude-opus-4-8", "temperature": 0.3}

    async with start() as strict:
        with pytest.raises(CadreError) as caught:
            await strict.ask(**asked)
    async with start(llm_drop_unsupported=True) as lenient:
        reply = await lenient.ask(**asked)

    assert caught.value.metadata["param"] == "temperature"
    # It made one up, and nobody answered.
    assert "status" not in caught.value.metadata
    assert list(reply.dropped_options) == ["temperature"]


def params(**values: Any) -> common_pb2.Json:
    """Settings for the provider."""
    return common_pb2.Json(text=json.dumps(values))
