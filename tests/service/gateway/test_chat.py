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
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None),
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

    assert [model.id for model in models] == ["default", "embedded/smol"]
    assert models[1].owned_by == "embedded"
