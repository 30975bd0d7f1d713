"""Tool calls: in each provider's own words, and as a choice in JSON for a model that has none."""

import json
from typing import Any

import pytest
from tests.fakes.providers import (
    ProviderServer,
    anthropic_tool_call,
    anthropic_tool_call_stream,
    gemini_tool_call,
    gemini_tool_call_stream,
    openai_reply,
    openai_tool_call,
    openai_tool_call_stream,
)
from tests.service.llm_proxy.conftest import tool

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.errors import CadreError, InvalidInput

OSLO = '{"city": "Oslo"}'
CALLS = {
    "openai": openai_tool_call,
    "anthropic": anthropic_tool_call,
    "google": gemini_tool_call,
    "ollama": openai_tool_call,
}
STREAMED = {
    "openai": openai_tool_call_stream,
    "anthropic": anthropic_tool_call_stream,
    "google": gemini_tool_call_stream,
    "ollama": openai_tool_call_stream,
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_tool_call_comes_with_its_name_and_arguments(
    name: str, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(CALLS[name]("weather", OSLO))

    reply = await proxy.ask(provider=name, tools=[tool()])

    assert [(c.name, json.loads(c.arguments.text)) for c in reply.tool_calls] == [
        ("weather", {"city": "Oslo"})
    ]
    assert reply.tool_calls[0].id
    assert reply.finish_reason == llm_pb2.FINISH_REASON_TOOL_CALLS
    assert "weather" in json.dumps(provider.asked[0].body["tools"])


@pytest.mark.parametrize("name", STREAMED)
async def test_a_streamed_tool_call_is_put_together(
    name: str, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(STREAMED[name]("weather", OSLO))

    *_, last = [part async for part in proxy.stream(provider=name, tools=[tool()])]

    (called,) = last.reply.tool_calls
    assert (called.name, json.loads(called.arguments.text)) == ("weather", {"city": "Oslo"})
    assert last.reply.finish_reason == llm_pb2.FINISH_REASON_TOOL_CALLS


@pytest.mark.parametrize("name", CALLS)
async def test_the_result_of_a_tool_reaches_the_model(
    name: str, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(CALLS[name]("weather", OSLO))

    await proxy.ask(provider=name, tools=[tool()], messages=conversation())

    sent = json.dumps(provider.asked[0].body)
    assert "rain, 4 degrees" in sent
    assert "Oslo" in sent


async def test_arguments_against_the_parameters_are_mended(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_tool_call("weather", "{}"), openai_tool_call("weather", OSLO))

    reply = await proxy.ask(tools=[tool()])

    assert json.loads(reply.tool_calls[0].arguments.text) == {"city": "Oslo"}
    assert reply.usage.calls == 2


async def test_a_tool_that_is_wrong_is_named(proxy: Any, provider: ProviderServer) -> None:
    broken = tool("weather", city={"$ref": "#/$defs/city"})
    provider.will(openai_tool_call("weather", '{"city": 5}'))

    with pytest.raises(InvalidInput) as refused:
        await proxy.ask(tools=[tool("time"), broken])
    asked_before = len(provider.asked)
    with pytest.raises(CadreError) as unfit:
        await proxy.ask(tools=[tool()])

    assert (refused.value.code, asked_before) == ("TOOL_SCHEMA_INVALID", 0)
    assert "'weather'" in refused.value.message
    assert "does not match the parameters of the tool 'weather'" in unfit.value.message


@pytest.mark.parametrize(("name", "arguments"), [("weather", "{"), ("rockets", OSLO)])
async def test_a_call_that_cannot_be_made_is_never_passed_on(
    name: str, arguments: str, proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_tool_call(name, arguments))

    with pytest.raises(CadreError) as caught:
        await proxy.ask(tools=[tool()])

    assert caught.value.code == "MODEL_OUTPUT_INVALID"


async def test_a_model_that_must_call_a_tool_and_does_not_is_asked_again(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_reply("It is fine."), openai_tool_call("weather", OSLO))

    reply = await proxy.ask(tools=[tool()], tool_choice=llm_pb2.TOOL_CHOICE_REQUIRED)

    assert reply.tool_calls[0].name == "weather"
    assert provider.asked[0].body["tool_choice"] == "required"


async def test_a_tool_call_is_replayed_for_its_key(proxy: Any, provider: ProviderServer) -> None:
    provider.will(openai_tool_call("weather", OSLO))

    first = await proxy.ask(tools=[tool()], key="k1")
    second = await proxy.ask(tools=[tool()], key="k1")

    assert second.replayed
    assert second.tool_calls == first.tool_calls
    assert len(provider.asked) == 1


async def test_the_embedded_model_chooses_a_tool(proxy: Any) -> None:
    answer_to = {"question": {"enum": ["weather"]}}

    reply = await proxy.ask(
        "What is the weather?",
        provider="embedded",
        tools=[tool(), tool("search", **answer_to)],
        tool_choice=llm_pb2.TOOL_CHOICE_REQUIRED,
        timeout_seconds=60,
    )

    (called,) = reply.tool_calls
    assert called.name in {"weather", "search"}
    assert json.loads(called.arguments.text)


async def test_the_embedded_model_goes_on_after_a_tools_result(proxy: Any) -> None:
    reply = await proxy.ask(
        provider="embedded",
        tools=[tool()],
        tool_choice=llm_pb2.TOOL_CHOICE_NONE,
        messages=conversation(),
        timeout_seconds=60,
    )

    assert reply.content
    assert not reply.tool_calls


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [tool("a b")]},
        {"tools": [tool(), tool()]},
        {"tool_choice": llm_pb2.TOOL_CHOICE_REQUIRED},
        {"messages": [llm_pb2.Message(role=llm_pb2.ROLE_TOOL, content="x")]},
        {"messages": [llm_pb2.Message(role=llm_pb2.ROLE_UNSPECIFIED, content="x")]},
    ],
)
async def test_a_request_with_wrong_tools_or_roles_is_refused(
    fields: dict[str, Any], proxy: Any, provider: ProviderServer
) -> None:
    with pytest.raises(CadreError) as caught:
        await proxy.ask(**fields)

    assert caught.value.code == "REQUEST_INVALID"
    assert not provider.asked


def conversation() -> list[llm_pb2.Message]:
    """A question, the call that it led to, and its result."""
    called = llm_pb2.ToolCall(id="call_1", name="weather", arguments=common_pb2.Json(text=OSLO))
    return [
        llm_pb2.Message(role=llm_pb2.ROLE_USER, content="How is the weather in Oslo?"),
        llm_pb2.Message(role=llm_pb2.ROLE_ASSISTANT, tool_calls=[called]),
        llm_pb2.Message(role=llm_pb2.ROLE_TOOL, tool_call_id="call_1", content="rain, 4 degrees"),
    ]
