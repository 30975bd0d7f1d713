"""Errors as Google and Anthropic word them, through litellm; and litellm within our bounds."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.providers import (
    Answer,
    ProviderServer,
    anthropic_error,
    anthropic_stream,
    gemini_reply,
    json_answer,
    provider_server,
)
from tests.fakes.speeches import SPEECHES, Speech

from cadre_llm_proxy.adapters.litellm_library import LitellmLibrary
from cadre_llm_proxy.adapters.litellm_models import LitellmModels
from cadre_llm_proxy.adapters.openai_http import Patience
from cadre_llm_proxy.domain import calls, facts
from cadre_llm_proxy.domain.completions import Models

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    # Said by pydantic of litellm's types.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
GOOGLE, ANTHROPIC = "gemini through litellm", "anthropic through litellm"
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
REASON = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
OVERLOADED = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n'


def google(code: int, status: str, message: str, *details: dict[str, str]) -> Answer:
    """An error of the Gemini API."""
    error = {"code": code, "message": message, "status": status, "details": details}
    return json_answer({"error": error}, status=code)


@pytest.fixture(params=[GOOGLE])
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


@pytest.mark.parametrize(
    ("speech", "answer", "fact", "wait"),
    [
        (
            GOOGLE,
            google(
                400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", REASON
            ),
            facts.KeyRefused,
            None,
        ),
        (
            GOOGLE,
            google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
            facts.ProviderForbids,
            None,
        ),
        (
            GOOGLE,
            google(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum"),
            facts.ContextTooLong,
            None,
        ),
        (
            GOOGLE,
            google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", RETRY),
            facts.RateLimited,
            7,
        ),
        (
            GOOGLE,
            google(503, "UNAVAILABLE", "The model is overloaded."),
            facts.ProviderFailed,
            None,
        ),
        # A good status with what litellm cannot read: it was worked on, and may have to be paid.
        (GOOGLE, json_answer({"candidates": [{"content": 5}]}), facts.ReplyMalformed, None),
        (
            ANTHROPIC,
            anthropic_error(
                400, "invalid_request_error", "Your credit balance is too low to access the API."
            ),
            facts.ProviderUnpaid,
            None,
        ),
        (ANTHROPIC, anthropic_error(529, "overloaded_error"), facts.ProviderFailed, None),
        (ANTHROPIC, json_answer({"type": "message", "content": []}), facts.ReplyMalformed, None),
    ],
    indirect=["speech"],
)
async def test_an_error_is_known_by_its_providers_own_words(
    answer: Answer,
    fact: type[facts.ProviderFailure],
    wait: float | None,
    models: Models,
    ask: calls.Ask,
    provider: ProviderServer,
) -> None:
    provider.will(answer)

    with pytest.raises(facts.ProviderFailure) as caught:
        await models.ask(ask)

    assert (type(caught.value), caught.value.retry_after_seconds) == (fact, wait)


@pytest.mark.parametrize("speech", [ANTHROPIC], indirect=True)
@pytest.mark.parametrize("said", [0, 3])
async def test_an_overload_in_a_stream_is_the_providers_fault(
    said: int, models: Models, ask: calls.Ask, provider: ProviderServer
) -> None:
    begun = anthropic_stream(["Hello", " there"])
    provider.will(replace(begun, chunks=(*begun.chunks[:said], OVERLOADED)))

    with pytest.raises(facts.ProviderFailed):
        _ = [part async for part in models.stream(ask)]


async def test_a_call_whose_time_is_over_before_litellm_is_loaded_cost_nothing(
    ask: calls.Ask,
) -> None:
    class Loading(LitellmLibrary):
        async def loaded(self) -> Any:
            await asyncio.Event().wait()

    models = LitellmModels(Loading(), Patience(connect_seconds=1, first_token_seconds=1))

    async with asyncio.timeout(10):
        for asked in (
            models.ask(replace(ask, seconds=0.1)),
            read(models, replace(ask, seconds=0.1)),
        ):
            with pytest.raises(facts.ProviderTimeout) as caught:
                await asked
            assert caught.value.spent is facts.Spent.NOTHING


@pytest.mark.parametrize("speech", [GOOGLE, ANTHROPIC], indirect=True)
async def test_closing_leaves_no_connection_open(
    ask: calls.Ask, speech: Speech, provider: ProviderServer
) -> None:
    provider.will(speech.stream(["Hello", " there"]))
    library = LitellmLibrary()
    await read(LitellmModels(library, Patience(connect_seconds=5, first_token_seconds=5)), ask)
    assert provider.writers

    await library.close()

    async with asyncio.timeout(5):
        while provider.writers:  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("speech", [GOOGLE, ANTHROPIC], indirect=True)
async def test_a_page_in_place_of_a_stream_is_no_stream_that_was_cut(
    models: Models, ask: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(
        Answer(content_type="text/html; charset=utf-8", chunks=(b"<html>Sign in</html>",))
    )

    with pytest.raises(facts.ReplyMalformed) as caught:
        await read(models, ask)

    assert "status" not in caught.value.metadata


async def read(models: Models, ask: calls.Ask) -> None:
    """Reads a stream to its end."""
    _ = [part async for part in models.stream(ask)]


@pytest.mark.parametrize("speech", [GOOGLE, ANTHROPIC], indirect=True)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_redirect_does_not_carry_the_key_to_another_address(
    streams: bool, models: Models, ask: calls.Ask, provider: ProviderServer
) -> None:
    async with provider_server(json_answer({})) as elsewhere:
        headers = (("location", f"{elsewhere.url}/steal"),)
        provider.will(Answer(status=307, headers=headers, chunks=(b"moved",)))

        with pytest.raises(facts.ProviderUnreachable):
            await (read(models, ask) if streams else models.ask(ask))

        assert not elsewhere.asked


@pytest.mark.parametrize("speech", [ANTHROPIC], indirect=True)
async def test_a_reply_without_an_end_is_not_read_to_it(
    models: Models, ask: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(Answer(chunks=(b"x" * 1_000_000,) * 100))

    async with asyncio.timeout(60):
        with pytest.raises(facts.ReplyMalformed):
            await models.ask(ask)


async def test_a_schema_that_refers_to_itself_reaches_google_with_its_parts_named(
    models: Models, ask: calls.Ask, provider: ProviderServer
) -> None:
    provider.will(gemini_reply("{}"))
    schema: Any = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    tool = calls.ToolDefinition(name="w", description="", parameters=schema)

    await models.ask(replace(ask, output_schema=schema, tools=(tool,)))

    sent = json.dumps(provider.asked[0].body)
    assert '"$ref": "#"' not in sent
    assert "next" in sent
