"""Which model a call goes to: groups, weights, fallbacks in order, cooldown, limits, and options that are dropped."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations
from tests.fakes.providers import (
    Answer,
    ProviderServer,
    anthropic_reply,
    anthropic_stream,
    json_answer,
    openai_ended_early,
    openai_error,
    openai_reply,
    provider_server,
)

from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.errors import CadreError, FailedPrecondition

CLAUDE = llm_pb2.ModelOptions(provider="anthropic", model="claude-haiku-4-5")
TOO_LONG = "This model's maximum context length is 8192 tokens."


@pytest_asyncio.fixture(loop_scope="session")
async def second() -> AsyncIterator[ProviderServer]:
    async with provider_server(anthropic_reply("from the second")) as server:
        yield server


@pytest.fixture
def two(variables: dict[str, str], second: ProviderServer) -> dict[str, str]:
    variables["CADRE_ANTHROPIC_API_BASE"] = second.url
    return variables


@pytest.mark.parametrize(
    "failing",
    [
        openai_error(429, "rate_limit_exceeded"),
        openai_error(503, "overloaded"),
        openai_error(401, "invalid_api_key"),
        openai_error(404, "model_not_found"),
        openai_error(400, "context_length_exceeded", TOO_LONG),
        openai_error(400, "content_filter"),
        openai_reply("", finish="content_filter"),
        Answer(chunks=(b"<html>",)),
    ],
)
async def test_another_provider_answers_when_the_first_cannot(
    failing: Answer, start: Any, two: dict[str, str], provider: ProviderServer
) -> None:
    provider.will(failing)

    async with start() as proxy:
        reply = await proxy.ask(fallbacks=[CLAUDE])

    assert (reply.content, reply.provider) == ("from the second", "anthropic")
    assert reply.usage.calls == 2
    assert len(provider.asked) == 1


async def test_a_wrong_request_is_not_put_to_others(
    start: Any, two: dict[str, str], provider: ProviderServer, second: ProviderServer
) -> None:
    provider.will(openai_error(400, "invalid_value"))

    async with start() as proxy:
        with pytest.raises(CadreError):
            await proxy.ask(fallbacks=[CLAUDE])

    assert not second.asked


async def test_a_provider_without_a_key_is_passed_over(
    start: Any, two: dict[str, str], provider: ProviderServer
) -> None:
    del two["OPENAI_API_KEY"]

    async with start() as proxy:
        reply = await proxy.ask(fallbacks=[CLAUDE])

    assert reply.provider == "anthropic"
    assert not provider.asked


async def test_a_stream_does_not_fall_back_once_a_word_was_sent(
    start: Any, two: dict[str, str], provider: ProviderServer, second: ProviderServer
) -> None:
    provider.will(openai_ended_early(["Hel"]))

    async with start() as proxy:
        with pytest.raises(CadreError) as caught:
            _ = [part async for part in proxy.stream(fallbacks=[CLAUDE])]

    assert caught.value.code == "PROVIDER_STREAM_CUT"
    assert not second.asked


async def test_a_stream_falls_back_before_its_first_word(
    start: Any, two: dict[str, str], provider: ProviderServer, second: ProviderServer
) -> None:
    provider.will(openai_error(503, "overloaded"))
    second.will(anthropic_stream(["from ", "the second"]))

    async with start() as proxy:
        parts = [part async for part in proxy.stream(fallbacks=[CLAUDE])]

    assert parts[-1].reply.content == "from the second"


def models_file(folder: Path, document: object) -> Path:
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def test_a_group_shares_calls_by_weight(
    start: Any, tmp_path: Path, provider: ProviderServer
) -> None:
    deployments = [
        {"model": "openai/gpt-4.1", "weight": 9},
        {"model": "openai/gpt-4.1-mini", "weight": 1},
    ]
    path = models_file(tmp_path, {"groups": {"fast": {"deployments": deployments}}})

    async with start(llm_models_file=path) as proxy:
        await asyncio.gather(*(proxy.ask(provider="", model="fast") for _ in range(60)))
        listed = await proxy.groups()

    asked = Counter(each.body["model"] for each in provider.asked)
    assert asked["gpt-4.1"] > asked["gpt-4.1-mini"]
    assert listed == {"fast": ["openai/gpt-4.1", "openai/gpt-4.1-mini"]}


async def test_a_group_falls_back_on_another(
    start: Any, two: dict[str, str], tmp_path: Path, provider: ProviderServer
) -> None:
    groups = {
        "fast": {"deployments": [{"model": "openai/gpt-4.1-mini"}], "fallbacks": ["careful"]},
        "careful": {"deployments": [{"model": "anthropic/claude-haiku-4-5"}]},
    }
    provider.will(openai_error(500, "server_error"))

    async with start(llm_models_file=models_file(tmp_path, {"groups": groups})) as proxy:
        reply = await proxy.ask(provider="", model="fast", temperature=0.5)

    assert reply.provider == "anthropic"


async def test_a_model_that_fails_again_and_again_is_asked_last_for_a_while(
    start: Any, two: dict[str, str], provider: ProviderServer
) -> None:
    provider.will(openai_error(500, "server_error"))

    async with start() as proxy:
        for _ in range(5):
            await proxy.ask(fallbacks=[CLAUDE])

    assert len(provider.asked) == 3


async def test_calls_beyond_the_limits_wait_and_those_beyond_the_queue_are_refused(
    start: Any, tmp_path: Path, provider: ProviderServer
) -> None:
    deployment = {"model": "openai/gpt-4.1", "concurrent": 1, "queue": 1}
    path = models_file(tmp_path, {"groups": {"one": {"deployments": [deployment]}}})
    provider.will(Answer(stall=True))

    async with start(llm_models_file=path) as proxy:
        first = asyncio.create_task(proxy.ask(provider="", model="one"))
        await asyncio.wait_for(provider.arrived.wait(), 10)
        calls = [proxy.ask(provider="", model="one", timeout_seconds=0.3) for _ in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        first.cancel()

    assert [each.code for each in results if isinstance(each, CadreError)] == ["MODEL_BUSY"] * 3
    assert sum("wait for it already" in str(each) for each in results) == 2
    assert len(provider.asked) == 1


async def test_a_listed_group_says_how_its_models_are_now(
    start: Any, two: dict[str, str], tmp_path: Path, provider: ProviderServer
) -> None:
    deployments = [
        {"model": "openai/gpt-4.1", "weight": 100, "concurrent": 4},
        {"model": "openai_compatible/m", "api_base": "http://u:p@10.0.0.5:8000/v1"},
        {"model": "openai/gpt-4.1", "api_key_env": "NO_SUCH_KEY"},
    ]
    groups = {"fast": {"deployments": deployments, "fallbacks": ["anthropic/claude-haiku-4-5"]}}
    provider.will(openai_error(429, "rate_limit_exceeded", retry_after="600"))

    async with start(llm_models_file=models_file(tmp_path, {"groups": groups})) as proxy:
        await proxy.ask(provider="openai", model="gpt-4.1", fallbacks=[CLAUDE])
        (group,) = (await proxy.listed()).groups

    busy, near, keyless = group.deployments
    assert 0 < busy.cooling_seconds <= 600
    assert (busy.weight, busy.concurrent, busy.HasField("tokens_per_minute")) == (100, 4, False)
    assert (near.host, near.cooling_seconds) == ("10.0.0.5:8000", 0)
    assert (near.unavailable_reason, "NO_SUCH_KEY" in keyless.unavailable_reason) == ("", True)


@pytest.mark.parametrize(
    ("limit", "tokens"),
    [({"requests_per_minute": 2}, (1, 1, 1)), ({"tokens_per_minute": 100}, (60, 30, 30))],
)
async def test_what_a_minute_allows_is_kept_to(
    limit: dict[str, int],
    tokens: tuple[int, ...],
    start: Any,
    tmp_path: Path,
    provider: ProviderServer,
) -> None:
    deployment = {"model": "openai/gpt-4.1", **limit}
    path = models_file(tmp_path, {"groups": {"slow": {"deployments": [deployment]}}})
    *fit, too_many = tokens

    async with start(llm_models_file=path) as proxy:
        for each in fit:
            await proxy.ask(provider="", model="slow", max_tokens=each)
        with pytest.raises(CadreError) as caught:
            await proxy.ask(provider="", model="slow", max_tokens=too_many, timeout_seconds=0.5)

    assert len(provider.asked) == 2
    assert caught.value.code == "MODEL_BUSY"


@pytest.mark.parametrize("limit", [{"requests_per_minute": 2}, {"tokens_per_minute": 100}])
async def test_what_a_minute_allows_is_kept_to_over_a_restart(
    limit: dict[str, int], start: Any, tmp_path: Path, provider: ProviderServer
) -> None:
    deployment = {"model": "openai/gpt-4.1", **limit}
    path = models_file(tmp_path, {"groups": {"slow": {"deployments": [deployment]}}})

    async with start(llm_models_file=path) as proxy:
        for text in ("a", "b"):
            # A reply that is given again is no request.
            for _ in range(2):
                await proxy.ask(text, provider="", model="slow", cache_seconds=60)
    async with start(llm_models_file=path) as proxy:
        with pytest.raises(CadreError) as caught:
            await proxy.ask(provider="", model="slow", max_tokens=80, timeout_seconds=0.5)

    assert len(provider.asked) == 2
    assert caught.value.code == "MODEL_BUSY"


async def test_none_waits_for_a_model_of_a_group_while_another_has_a_place(
    start: Any, tmp_path: Path, provider: ProviderServer
) -> None:
    deployments = [{"model": f"openai/gpt-4.1{name}", "concurrent": 1} for name in ("", "-mini")]
    path = models_file(tmp_path, {"groups": {"fast": {"deployments": deployments}}})
    provider.will(Answer(stall=True))

    async with start(llm_models_file=path) as proxy, asyncio.TaskGroup() as asking:
        both = [asking.create_task(proxy.ask(provider="", model="fast")) for _ in range(2)]
        async with asyncio.timeout(10):
            while len(provider.asked) < 2:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.01)
        for each in both:
            each.cancel()

    assert {each.body["model"] for each in provider.asked} == {"gpt-4.1", "gpt-4.1-mini"}


async def test_a_file_of_models_that_is_wrong_says_where(start: Any, tmp_path: Path) -> None:
    path = models_file(tmp_path, {"groups": {"fast": {"deployments": [{"model": "nonsense"}]}}})

    with pytest.raises(FailedPrecondition, match=r"groups\.fast\.deployments\.0\.model"):
        async with start(llm_models_file=path):
            pass


async def test_an_option_that_the_model_does_not_take_is_an_error(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(unsupported("temperature"))

    with pytest.raises(CadreError) as caught:
        await proxy.ask(temperature=0.5)

    assert caught.value.code == "MODEL_OPTION_UNSUPPORTED"
    assert caught.value.metadata["param"] == "temperature"


async def test_by_setting_the_option_is_dropped_and_the_reply_says_so(
    start: Any, provider: ProviderServer
) -> None:
    provider.will(unsupported("temperature"), openai_reply("hello"))

    async with start(llm_drop_unsupported=True) as proxy:
        reply = await proxy.ask(temperature=0.5, top_p=0.5)

    assert list(reply.dropped_options) == ["temperature"]
    assert "temperature" not in provider.asked[1].body
    assert provider.asked[1].body["top_p"] == 0.5


def unsupported(name: str) -> Answer:
    """OpenAI's words for a parameter that a model does not take."""
    kind = {"type": "invalid_request_error", "code": "unsupported_parameter", "param": name}
    return json_answer({"error": {"message": "no", **kind}}, status=400)
