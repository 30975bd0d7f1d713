"""The embedded model, for real: no key, no network."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator

from cadre.llm_proxy.v1 import usage_pb2
from cadre_kit.channels import call
from cadre_kit.errors import CadreError, LimitExceeded
from cadre_llm_proxy.adapters.embedded import EmbeddedModel
from cadre_llm_proxy.domain.facts import EmbeddedBusy

EMBEDDED: dict[str, Any] = {"provider": "embedded", "timeout_seconds": 60.0}
TICKET = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": ["complaint", "question", "praise"]},
        "urgency": {"type": "integer", "minimum": 1, "maximum": 5},
        "refund": {"type": "boolean"},
        "who": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 20},
                "score": {"type": "number"},
            },
            "required": ["name", "score"],
        },
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
    },
    "required": ["category", "urgency", "refund", "who", "tags"],
}


@pytest_asyncio.fixture(loop_scope="session")
async def keyless(start: Any, variables: dict[str, str]) -> AsyncIterator[Any]:
    variables.clear()
    async with start() as client:
        yield client


async def test_it_answers_by_default_without_a_key_at_no_cost(keyless: Any) -> None:
    reply = await keyless.ask("Say hello.", provider="", max_tokens=12)

    assert reply.content
    assert (reply.provider, reply.model) == ("embedded", "smollm2-135m-instruct")
    assert reply.usage.input_tokens > 5
    assert 0 < reply.usage.output_tokens <= 12
    assert reply.usage.cost_usd == "0"


async def test_it_uses_no_more_than_was_reserved_for_it(keyless: Any) -> None:
    await keyless.ask("Hi", max_tokens=3, **EMBEDDED)
    await keyless.ask("Classify this.", schema=TICKET, **EMBEDDED)

    answer = await call(
        keyless.usage.ListCalls,
        usage_pb2.ListCallsRequest(),
        service="llm-proxy",
        timeout_seconds=30.0,
    )

    for entry in answer.calls:
        assert entry.input_tokens + entry.output_tokens <= entry.reserved_tokens
    assert len(answer.calls) == 2


async def test_it_obeys_a_schema_and_says_the_same_twice(keyless: Any) -> None:
    first = await keyless.ask("The parcel arrived broken!", schema=TICKET, **EMBEDDED)
    second = await keyless.ask("The parcel arrived broken!", schema=TICKET, **EMBEDDED)

    Draft202012Validator(TICKET).validate(json.loads(first.content))
    assert first.content == second.content


async def test_a_string_without_a_bound_still_ends(keyless: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"story": {"type": "string"}},
        "required": ["story"],
    }

    reply = await keyless.ask("Tell a very long story.", schema=schema, **EMBEDDED)

    assert len(json.loads(reply.content)["story"]) <= 400


async def test_too_few_tokens_for_a_document_are_said_so(keyless: Any) -> None:
    with pytest.raises(CadreError) as caught:
        await keyless.ask("Classify this.", schema=TICKET, max_tokens=5, **EMBEDDED)

    assert caught.value.code == "MODEL_OUTPUT_TRUNCATED"


async def test_a_prompt_beyond_its_context_is_said_so(keyless: Any) -> None:
    with pytest.raises(CadreError) as caught:
        await keyless.ask("word " * 6000, **EMBEDDED)

    assert caught.value.code == "CONTEXT_TOO_LONG"


async def test_closing_a_stream_frees_its_place(keyless: Any) -> None:
    for _ in range(3):
        parts = keyless.stream("Count to a thousand.", max_tokens=2000, **EMBEDDED)
        assert (await anext(parts)).delta
        await parts.aclose()

    reply = await asyncio.wait_for(keyless.ask("Hi", max_tokens=3, **EMBEDDED), 20)

    assert reply.usage.output_tokens <= 3


async def test_it_is_started_again_after_its_process_died(keyless: Any) -> None:
    await keyless.ask("Hi", max_tokens=2, **EMBEDDED)
    for pid in _children_that_run_the_model():
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while _children_that_run_the_model():  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.02)

    reply = await keyless.ask("Hi", max_tokens=2, **EMBEDDED)

    assert reply.content


async def test_more_calls_than_may_wait_are_refused() -> None:
    model = EmbeddedModel(threads=1, slots=1, queue=0, context_tokens=512)
    try:
        async with model.slot():
            with pytest.raises(EmbeddedBusy) as caught:
                await model.slot().__aenter__()
    finally:
        await model.close()

    assert isinstance(caught.value, LimitExceeded)
    assert not _children_that_run_the_model()


def _children_that_run_the_model() -> list[int]:
    children = [
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    return [
        pid for pid in children if b"embedded_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
