"""Workflows as models of OpenAI's own package, in front of the real executor."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.service.executor.conftest import reached
from tests.service.gateway.platforms import Platform, platform_in

from cadre.executor.v1 import runs_pb2

ECHO = """
flow: {name: echo}
state:
  fields:
    message: {type: str, required: true}
    user: {type: str, default: nobody}
    conversation: {type: str, default: ""}
    mood: {type: str, default: ""}
    reply: {type: str, default: ""}
nodes:
  - {id: feel, prompt: "mood of {state.message}", outputs: [mood]}
  - {id: say, prompt: "{state.user} in {state.conversation} says {state.message}", stream: true, outputs: [reply]}
edges:
  - {from: START, to: feel}
  - {from: feel, to: say}
  - {from: say, to: END}
"""
PICKY = """
flow: {name: picky}
state:
  fields:
    left: {type: str, required: true}
    right: {type: str, required: true}
nodes:
  - {id: say, prompt: "{state.left} {state.right}", outputs: [left]}
"""
DIVIDE = """
flow: {name: divide}
state:
  fields:
    text: {type: str, required: true}
    answer: {type: float, default: 0}
nodes:
  - {id: divide, code: "result = 1 / 0", outputs: [answer]}
"""
ASK = """
flow: {name: ask}
state:
  fields:
    text: {type: str, required: true}
    decision: {type: str, default: ""}
nodes:
  - {id: check, type: approval, message: "Keep {state.text}?", choices: [keep, drop], outputs: {decision: choice}}
"""


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform_in(tmp_path) as found:
        for source in (ECHO, PICKY, DIVIDE, ASK):
            await found.executor.apply(source)
        yield found


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{platform.url}/v1",
        api_key=platform.key,
        max_retries=0,
        http_client=httpx.AsyncClient(verify=False),
    ) as opened:
        yield opened


def said(text: str) -> Any:
    return [
        {"role": "user", "content": "before"},
        {"role": "assistant", "content": "hm"},
        {"role": "user", "content": text},
    ]


async def asked(client: openai.AsyncOpenAI, workflow: str, *, streamed: bool) -> None:
    """Asks a workflow and reads its answer to the end."""
    answer: Any = await client.chat.completions.create(
        model=f"workflow:{workflow}", messages=said("hello"), stream=streamed
    )
    if streamed:
        async for _ in answer:
            pass


async def runs(platform: Platform) -> list[runs_pb2.Run]:
    request = runs_pb2.ListRunsRequest()
    answer = await platform.executor.ask(platform.executor.runs.ListRuns, request)
    return list(answer.runs)


async def test_the_last_message_starts_a_run_whose_reply_is_the_answer(
    client: openai.AsyncOpenAI, platform: Platform
) -> None:
    reply = await client.chat.completions.create(
        model="workflow:echo",
        messages=said("hello"),
        user="ada",
        extra_body={"conversation": "c1"},
    )

    assert reply.choices[0].message.content == "reply to ada in c1 says hello"
    assert (reply.model, reply.choices[0].finish_reason) == ("workflow:echo", "stop")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (20, 10)
    (run,) = await runs(platform)
    assert (reply.id, run.trigger) == (f"chatcmpl-{run.id}", "chat")


async def test_the_words_of_the_last_node_are_streamed_as_they_come(
    client: openai.AsyncOpenAI, platform: Platform
) -> None:
    stream = await client.chat.completions.create(
        model="workflow:echo",
        messages=said("many words " * 10),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    deltas = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    expected = f"reply to nobody in  says {'many words ' * 10}"
    assert "".join(deltas).strip() == expected.strip()
    assert len(deltas) > 1
    assert chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason == "stop"


async def test_a_repeated_key_is_answered_by_the_same_run(
    client: openai.AsyncOpenAI, platform: Platform
) -> None:
    asking = {"Idempotency-Key": "once"}
    first, second = [
        await client.chat.completions.create(
            model="workflow:echo", messages=said("hello"), extra_headers=asking
        )
        for _ in range(2)
    ]

    assert first.id == second.id
    assert len(await runs(platform)) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_caller_who_leaves_cancels_the_run(
    client: openai.AsyncOpenAI, platform: Platform, streamed: bool
) -> None:
    platform.near.llm_proxy.gate.clear()

    asking = asyncio.create_task(asked(client, "echo", streamed=streamed))
    await reached(lambda: platform.near.llm_proxy.was_asked(1))
    asking.cancel()

    async with asyncio.timeout(20):
        while (await runs(platform))[0].status != runs_pb2.RUN_STATUS_CANCELLED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_that_fails_is_an_error_that_is_not_tried_again(
    client: openai.AsyncOpenAI, streamed: bool
) -> None:
    with pytest.raises(openai.APIError) as caught:
        await asked(client, "divide", streamed=streamed)

    body: Any = caught.value.body
    assert set(body) == {"message", "type", "param", "code"}
    assert "divide" in caught.value.message
    if isinstance(caught.value, openai.APIStatusError):
        assert caught.value.status_code == 400


async def test_a_run_that_asks_a_person_says_what_and_waits(
    client: openai.AsyncOpenAI, platform: Platform
) -> None:
    reply = await client.chat.completions.create(model="workflow:ask", messages=said("it"))

    (run,) = await runs(platform)
    content = reply.choices[0].message.content or ""
    assert content.startswith("Keep it?")
    assert f"cadre runs answer {run.id} --node check keep|drop" in content
    assert run.status == runs_pb2.RUN_STATUS_WAITING


@pytest.mark.parametrize(
    ("model", "more", "code"),
    [
        ("workflow:nobody", {}, "model_not_found"),
        ("workflow:picky", {}, "MESSAGE_FIELD_UNCLEAR"),
        ("workflow:echo", {"response_format": {"type": "json_object"}}, "INVALID_REQUEST"),
        ("workflow:echo", {"messages": [{"role": "system", "content": "x"}]}, "INVALID_REQUEST"),
    ],
)
async def test_what_cannot_be_a_run_is_refused_before_one_starts(
    client: openai.AsyncOpenAI, platform: Platform, model: str, more: Any, code: str
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model=model, **{"messages": said("x"), **more})

    assert caught.value.code == code
    assert await runs(platform) == []


async def test_a_run_that_takes_too_long_is_cancelled(tmp_path: Path) -> None:
    async with platform_in(tmp_path, gateway={"gateway_completion_seconds": 0.5}) as platform:
        await platform.executor.apply(ECHO)
        platform.near.llm_proxy.gate.clear()
        async with platform.http() as http:
            answer = await http.post(
                "/v1/chat/completions", json={"model": "workflow:echo", "messages": said("x")}
            )
        (run,) = await runs(platform)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "RUN_TIMEOUT")
    assert run.status == runs_pb2.RUN_STATUS_CANCELLED
