"""The endpoints that OpenAI's own package talks to, with that package."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.errors import InvalidInput, LimitExceeded, NotFound, Unavailable

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def client(running: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{running.url}/v1",
        api_key=running.key,
        max_retries=0,
        http_client=httpx.AsyncClient(verify=False),
    ) as opened:
        yield opened


async def test_a_reply_has_openais_shape(client: openai.AsyncOpenAI, running: Any) -> None:
    reply = await client.chat.completions.create(
        model="openai/gpt-x/1",
        messages=HELLO,
        temperature=0,
        max_tokens=5,
        stop="END",
        seed=7,
        user="ignored",
    )

    assert reply.choices[0].message.content == "you said hello"
    assert (reply.object, reply.model, reply.id) == (
        "chat.completion",
        "openai/gpt-x/1",
        "chatcmpl-call1",
    )
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (12, 15)
    options = running.llm_proxy.asked[0].options
    assert (options.provider, options.model) == ("openai", "gpt-x/1")
    assert (options.temperature, options.max_tokens, options.seed) == (0, 5, 7)
    assert options.HasField("temperature")
    assert not options.HasField("top_p")
    assert list(options.stop) == ["END"]


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("default", "", ""),
        ("embedded", "embedded", ""),
        ("ollama/llama3:8b", "ollama", "llama3:8b"),
        ("fast", "", "fast"),
    ],
)
async def test_a_model_is_named_by_provider_and_name(
    client: openai.AsyncOpenAI, running: Any, name: str, provider: str, model: str
) -> None:
    await client.chat.completions.create(model=name, messages=HELLO)

    options = running.llm_proxy.asked[0].options
    assert (options.provider, options.model) == (provider, model)


async def test_roles_and_parts_become_plain_messages(
    client: openai.AsyncOpenAI, running: Any
) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages: Any = [
        {"role": "developer", "content": "be brief"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": parts},
    ]

    await client.chat.completions.create(model="default", messages=messages)

    asked = [(one.role, one.content) for one in running.llm_proxy.asked[0].messages]
    assert asked == [
        (llm_pb2.ROLE_SYSTEM, "be brief"),
        (llm_pb2.ROLE_ASSISTANT, ""),
        (llm_pb2.ROLE_USER, "ab"),
    ]


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"type": "text"}, ""),
        ({"type": "json_object"}, '{"type":"object"}'),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"a": 1}}}, '{"a":1}'),
    ],
)
async def test_a_reply_can_be_a_document(
    client: openai.AsyncOpenAI, running: Any, wanted: Any, schema: str
) -> None:
    reply = await client.chat.completions.create(
        model="default", messages=HELLO, response_format=wanted
    )

    assert running.llm_proxy.asked[0].output_schema.text == schema
    assert (reply.choices[0].message.content == '{"said": "hello"}') is bool(schema)


async def test_a_stream_sends_the_reply_in_parts(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="default", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert said == "you said hello "
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-3:-1]] == [None, "stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_a_stream_ends_with_done(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json={"messages": HELLO, "stream": True})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"usage":{' not in answer.text


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("failure", "raised", "code"),
    [
        (NotFound("no model", code="UNKNOWN_MODEL"), openai.NotFoundError, "model_not_found"),
        (InvalidInput("no", code="BAD_SCHEMA"), openai.BadRequestError, "BAD_SCHEMA"),
        (LimitExceeded("slow down"), openai.RateLimitError, "rate_limit_exceeded"),
        (
            LimitExceeded("spent", code="BUDGET_EXCEEDED"),
            openai.RateLimitError,
            "insufficient_quota",
        ),
        (
            Unavailable("gone", code="PROVIDER_UNAVAILABLE"),
            openai.InternalServerError,
            "PROVIDER_UNAVAILABLE",
        ),
    ],
)
async def test_errors_are_those_that_the_package_knows(
    client: openai.AsyncOpenAI,
    running: Any,
    failure: Exception,
    raised: type[openai.APIStatusError],
    code: str,
    streamed: bool,
) -> None:
    running.llm_proxy.failure = failure

    with pytest.raises(raised) as caught:
        await client.chat.completions.create(model="default", messages=HELLO, stream=streamed)

    body: Any = caught.value.body
    assert set(body) == {"message", "type", "param", "code"}
    assert body["code"] == code


async def test_a_wrong_key_is_an_authentication_error(running: Any) -> None:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()

    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": []}, "messages"),
        ({"temperature": 9}, "temperature"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, None),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, None),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None),
        ({"messages": [{"role": "tool", "content": "x", "tool_calls": [{"id": "1"}]}]}, None),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
async def test_what_is_not_understood_is_refused_by_name(
    http: httpx.AsyncClient, wrong: dict[str, Any], param: str | None
) -> None:
    answer = await http.post("/v1/chat/completions", json={"messages": HELLO, **wrong})

    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param or param is None


async def test_a_failure_in_the_middle_ends_the_stream_with_it(
    http: httpx.AsyncClient, running: Any
) -> None:
    running.llm_proxy.failure, running.llm_proxy.late = Unavailable("gone"), True

    answer = await http.post("/v1/chat/completions", json={"messages": HELLO, "stream": True})

    last = json.loads(answer.text.rstrip().rpartition("data: ")[2])
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_caller_who_leaves_stops_the_model(
    http: httpx.AsyncClient, running: Any, eventually: Any, streamed: bool
) -> None:
    running.llm_proxy.hanging = running.llm_proxy.late = True
    body = {"messages": HELLO, "stream": streamed}
    asking = asyncio.create_task(http.post("/v1/chat/completions", json=body))
    await eventually(lambda: running.llm_proxy.under_way == 1)

    asking.cancel()

    await eventually(lambda: running.llm_proxy.under_way == 0)


async def test_only_usable_models_are_listed(client: openai.AsyncOpenAI) -> None:
    models = [model async for model in await client.models.list()]

    assert [model.id for model in models] == ["default", "embedded/smol", "fast"]
    assert models[1].owned_by == "embedded"


async def test_one_model_can_be_asked_for(client: openai.AsyncOpenAI) -> None:
    assert (await client.models.retrieve("embedded/smol")).owned_by == "embedded"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("openai/gpt")

    assert caught.value.code == "model_not_found"


TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Asks {name}",
            "strict": True,
            "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
        },
    }
    for name in ("weather", "news")
]


@pytest.mark.parametrize(
    ("choice", "names", "sent"),
    [
        ("auto", ["weather", "news"], llm_pb2.TOOL_CHOICE_AUTO),
        ("required", ["weather", "news"], llm_pb2.TOOL_CHOICE_REQUIRED),
        ("none", ["weather", "news"], llm_pb2.TOOL_CHOICE_NONE),
        (
            {"type": "function", "function": {"name": "news"}},
            ["news"],
            llm_pb2.TOOL_CHOICE_REQUIRED,
        ),
    ],
)
async def test_tools_are_offered_as_asked(
    client: openai.AsyncOpenAI, running: Any, choice: Any, names: list[str], sent: int
) -> None:
    await client.chat.completions.create(
        model="default", messages=HELLO, tools=TOOLS, tool_choice=choice
    )

    asked = running.llm_proxy.asked[0]
    assert [tool.name for tool in asked.tools] == names
    assert asked.tool_choice == sent
    assert asked.tools[0].description == f"Asks {names[0]}"
    assert json.loads(asked.tools[0].parameters.text)["properties"]["q"] == {"type": "string"}


async def test_a_conversation_goes_on_with_the_results_of_tools(
    client: openai.AsyncOpenAI, running: Any
) -> None:
    first = await client.chat.completions.create(
        model="default", messages=HELLO, tools=TOOLS, parallel_tool_calls=True
    )
    message = first.choices[0].message
    results: Any = [
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        for call in message.tool_calls or []
    ]
    said: Any = message.model_dump(exclude_none=True)
    last = await client.chat.completions.create(
        model="default", messages=[*HELLO, said, *results], tools=TOOLS
    )

    assert (first.choices[0].finish_reason, message.content) == ("tool_calls", None)
    assert [call.id for call in message.tool_calls or []] == ["call_weather", "call_news"]
    assert last.choices[0].message.content == "you said sunny"
    sent = running.llm_proxy.asked[1].messages
    assert [call.arguments.text for call in sent[1].tool_calls] == ['{"q":"hello"}'] * 2
    assert (sent[3].role, sent[3].tool_call_id) == (llm_pb2.ROLE_TOOL, "call_news")


async def test_calls_of_tools_are_streamed_whole(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="default", messages=HELLO, tools=TOOLS
    ) as stream:
        reply = await stream.get_final_completion()

    calls = reply.choices[0].message.tool_calls or []
    assert [(call.id, call.function.name) for call in calls] == [
        ("call_weather", "weather"),
        ("call_news", "news"),
    ]
    assert json.loads(calls[1].function.arguments) == {"q": "hello"}
    assert reply.choices[0].finish_reason == "tool_calls"


async def test_images_and_options_reach_the_model_and_thoughts_and_likelihoods_come_back(
    client: openai.AsyncOpenAI, running: Any
) -> None:
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
        {"type": "image_url", "image_url": {"url": "https://data.example.org/a.png"}},
    ]
    messages: Any = [{"role": "user", "content": parts}]

    reply = await client.chat.completions.create(
        model="default",
        messages=messages,
        reasoning_effort="low",
        frequency_penalty=0.5,
        logprobs=True,
        top_logprobs=3,
    )

    asked = running.llm_proxy.asked[0]
    assert json.loads(asked.options.params.text) == {
        "reasoning_effort": "low",
        "frequency_penalty": 0.5,
    }
    assert asked.options.top_logprobs == 3
    shown = asked.messages[0].images
    assert (shown[0].data, shown[0].media_type) == (b"\x89\x50\x4e", "image/png")
    assert shown[1].url == "https://data.example.org/a.png"
    likely = reply.choices[0].logprobs
    assert likely is not None
    assert likely.content is not None
    assert bytes(likely.content[0].bytes or []).decode() == "yö"
    assert reply.choices[0].message.model_dump()["reasoning_content"] == "let me see"


@pytest.mark.parametrize("url", ["data:image/png,iVBO", "data:image/png;base64,%%"])
async def test_an_image_that_cannot_be_read_is_refused(http: httpx.AsyncClient, url: str) -> None:
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    answer = await http.post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]}
    )

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert url.partition(",")[2] not in answer.json()["error"]["message"]


@pytest.mark.parametrize("form", [openai.NOT_GIVEN, "float"])
async def test_texts_become_vectors(client: openai.AsyncOpenAI, running: Any, form: Any) -> None:
    found = await client.embeddings.create(
        model="embedded", input=["one", "three"], encoding_format=form, dimensions=2
    )

    assert [one.embedding for one in found.data] == [[3.0, 0.5], [5.0, 0.5]]
    assert (found.model, found.usage.prompt_tokens) == ("embedded/wordllama", 12)
    asked = running.llm_proxy.embedded[0]
    assert (asked.provider, list(asked.texts), asked.dimensions) == (
        "embedded",
        ["one", "three"],
        2,
    )


@pytest.mark.parametrize("wrong", [[], [[1, 2]], "", 7])
async def test_what_cannot_be_embedded_is_refused(http: httpx.AsyncClient, wrong: Any) -> None:
    answer = await http.post("/v1/embeddings", json={"input": wrong})

    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
