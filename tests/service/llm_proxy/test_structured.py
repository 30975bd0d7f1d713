"""JSON documents from models that keep to a schema by themselves, from those that only call tools, and from others."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations
from tests.fakes.providers import ProviderServer, openai_reply, openai_stream, openai_tool_call
from tests.service.llm_proxy.conftest import tool
from tests.service.llm_proxy.test_tools import conversation

from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.errors import CadreError

MOOD = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["good", "bad"]}},
    "required": ["mood"],
}
GOOD = '{"mood": "good"}'
PNG = b"\x89PNG\r\n\x1a\n0000"


@pytest.fixture
def able(start: Any, tmp_path: Path) -> Any:
    """Starts a proxy that believes OpenAI's model can do only what is said."""

    def started(**abilities: bool) -> Any:
        path = tmp_path / "models.yaml"
        path.write_text(yaml.safe_dump({"abilities": {"openai/gpt-4.1-mini": abilities}}))
        return start(llm_models_file=path)

    return started


async def test_a_model_that_only_calls_tools_must_call_one_with_the_document(
    able: Any, provider: ProviderServer
) -> None:
    provider.will(openai_tool_call("give_final_reply", GOOD))

    async with able(json_schema=False) as proxy:
        reply = await proxy.ask(schema=MOOD)

    assert json.loads(reply.content) == {"mood": "good"}
    assert reply.finish_reason == llm_pb2.FINISH_REASON_STOP
    assert not reply.tool_calls
    assert provider.asked[0].body["tool_choice"] == "required"
    assert "response_format" not in provider.asked[0].body


async def test_a_document_that_is_no_object_fits_into_a_tools_arguments_too(
    able: Any, provider: ProviderServer
) -> None:
    provider.will(openai_tool_call("give_final_reply", '{"reply": [1, 2]}'))

    async with able(json_schema=False) as proxy:
        reply = await proxy.ask(schema={"type": "array", "items": {"type": "integer"}})

    assert json.loads(reply.content) == [1, 2]


async def test_such_a_model_can_still_call_the_callers_tools(
    able: Any, provider: ProviderServer
) -> None:
    provider.will(openai_tool_call("weather", '{"city": "Oslo"}'))

    async with able(json_schema=False) as proxy:
        reply = await proxy.ask(schema=MOOD, tools=[tool()])

    assert [call.name for call in reply.tool_calls] == ["weather"]


async def test_a_model_that_can_do_neither_is_told_the_schema_and_mended(
    able: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply("Good!"), openai_reply('{"mood": "fine"}'), openai_reply(GOOD))

    async with able(json_schema=False, tools=False) as proxy:
        reply = await proxy.ask(schema=MOOD)

    assert reply.content == GOOD
    assert reply.usage.calls == 3
    assert '"enum"' in provider.asked[0].body["messages"][0]["content"]
    assert provider.asked[0].body.keys().isdisjoint({"tools", "response_format"})


async def test_tools_as_a_choice_end_in_an_answer_of_the_schema(
    able: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply('{"answer": {"mood": "good"}}'))

    async with able(tools=False) as proxy:
        reply = await proxy.ask(schema=MOOD, tools=[tool()])

    assert json.loads(reply.content) == {"mood": "good"}
    assert provider.asked[0].body["response_format"]["type"] == "json_schema"


async def test_the_last_answer_after_tools_as_a_choice_can_call_none(
    able: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply('{"answer": "It rains."}'))

    async with able(tools=False) as proxy:
        reply = await proxy.ask(
            messages=conversation(), tools=[tool()], tool_choice=llm_pb2.TOOL_CHOICE_NONE
        )

    schema = provider.asked[0].body["response_format"]["json_schema"]["schema"]
    assert reply.content == "It rains."
    assert [list(kind["properties"]) for kind in schema["anyOf"]] == [["answer"]]


async def test_a_stream_shows_the_answer_and_not_how_it_was_asked_for(
    able: Any, provider: ProviderServer
) -> None:
    provider.will(openai_stream(['{"answer": "It ', 'rains."}']))

    async with able(tools=False) as proxy:
        parts = [part async for part in proxy.stream(tools=[tool()])]

    assert [part.delta for part in parts[:-1]] == ["It rains."]


async def test_images_are_refused_for_a_model_that_cannot_see(
    able: Any, provider: ProviderServer
) -> None:
    picture = llm_pb2.Image(data=PNG, media_type="image/png")

    async with able(images=False) as proxy:
        with pytest.raises(CadreError) as caught:
            await proxy.ask(messages=[shown(picture)])

    assert caught.value.code == "MODEL_OPTION_UNSUPPORTED"
    assert not provider.asked


@pytest.mark.parametrize(
    "image",
    [
        llm_pb2.Image(),
        llm_pb2.Image(data=PNG),
        llm_pb2.Image(data=b"GIF", media_type="image/png"),
        llm_pb2.Image(data=PNG, media_type="image/tiff"),
        llm_pb2.Image(data=PNG, media_type="image/png", url="https://e.test/a.png"),
        llm_pb2.Image(url="http://169.254.169.254/latest"),
        llm_pb2.Image(url="file:///etc/passwd"),
    ],
)
async def test_a_bad_image_is_refused_before_anything_is_sent(
    image: llm_pb2.Image, proxy: Any, provider: ProviderServer
) -> None:
    with pytest.raises(CadreError) as caught:
        await proxy.ask(messages=[shown(image)])

    assert caught.value.code == "REQUEST_INVALID"
    assert caught.value.metadata["field"].startswith("messages[0].images[0]")
    assert not provider.asked


@pytest.mark.parametrize("name", ["api_base", "extra_headers", "mock_response"])
async def test_parameters_that_would_steer_litellm_are_refused(
    name: str, proxy: Any, provider: ProviderServer
) -> None:
    params = {"params": {"text": json.dumps({name: "http://e.test"})}}

    with pytest.raises(CadreError) as caught:
        await proxy.ask(provider="anthropic", **params)

    assert caught.value.code == "MODEL_OPTION_UNSUPPORTED"
    assert not provider.asked


async def test_what_models_can_do_is_listed(proxy: Any) -> None:
    models = await proxy.models()

    gpt = models["openai", "gpt-4.1-mini"]
    small = models["embedded", "smollm2-135m-instruct"]
    assert small.context_tokens == 4096
    vectors = [models["embedded", "wordllama"], models["ollama", "nomic-embed-text"]]
    assert (gpt.tools, gpt.json_schema, gpt.images, gpt.max_output_tokens) == (
        True,
        True,
        True,
        32768,
    )
    assert (small.tools, small.json_schema, small.images) == (False, True, False)
    assert [(each.embeddings, each.tools, each.available) for each in vectors] == [
        (True, False, True)
    ] * 2


def shown(image: llm_pb2.Image) -> llm_pb2.Message:
    return llm_pb2.Message(role=llm_pb2.ROLE_USER, content="What is it?", images=[image])
