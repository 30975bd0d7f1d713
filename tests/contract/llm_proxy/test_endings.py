"""Why a reply ended, as each provider says it: what was cut, refused or given up is not taken for a good reply."""

import pytest
from tests.fakes.providers import ProviderServer
from tests.fakes.speeches import SPEECHES, Speech

from cadre_llm_proxy.domain import calls
from cadre_llm_proxy.domain.calls import FinishReason
from cadre_llm_proxy.domain.completions import Models

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    # Said by pydantic of litellm's types.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ANTHROPIC = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "pause_turn": FinishReason.LENGTH,
    "refusal": FinishReason.CONTENT_FILTER,
    "something_new": FinishReason.UNKNOWN,
}
GEMINI = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "MALFORMED_FUNCTION_CALL": FinishReason.BROKEN,
    "MALFORMED_RESPONSE": FinishReason.BROKEN,
    "MISSING_THOUGHT_SIGNATURE": FinishReason.BROKEN,
    "TOO_MANY_TOOL_CALLS": FinishReason.BROKEN,
    "UNEXPECTED_TOOL_CALL": FinishReason.BROKEN,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "SOMETHING_NEW": FinishReason.UNKNOWN,
}
OPENAI = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "abort": FinishReason.BROKEN,
    "error": FinishReason.BROKEN,
    "something_new": FinishReason.UNKNOWN,
}
SAID = [
    *(("anthropic through litellm", *each) for each in ANTHROPIC.items()),
    *(("gemini through litellm", *each) for each in GEMINI.items()),
    *(("openai straight", *each) for each in OPENAI.items()),
    *(("compatible through litellm", *each) for each in OPENAI.items()),
]


@pytest.fixture
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


@pytest.mark.parametrize(("speech", "said", "meant"), SAID, indirect=["speech"])
async def test_a_reply_ends_as_its_provider_says(
    said: str,
    meant: FinishReason,
    models: Models,
    ask: calls.Ask,
    speech: Speech,
    provider: ProviderServer,
) -> None:
    provider.will(speech.reply("Hello", finish=said), speech.stream(["Hel", "lo"], finish=said))

    whole = await models.ask(ask)
    *_, streamed = [part async for part in models.stream(ask)]

    assert isinstance(streamed, calls.Answer)
    assert (whole.finish_reason, streamed.finish_reason) == (meant, meant)
