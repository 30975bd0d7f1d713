"""Embeddings: the embedded model's, and those of providers, metered like all else."""

import struct
from typing import Any

import pytest
from tests.fakes.providers import ProviderServer, gemini_embeddings, openai_embeddings, openai_error

from cadre_kit.errors import CadreError


def floats(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def likeness(first: bytes, second: bytes) -> float:
    return sum(a * b for a, b in zip(floats(first), floats(second), strict=True))


async def test_the_embedded_model_puts_like_texts_close_together(proxy: Any) -> None:
    response = await proxy.embed("a cat sat down", "the kitten rested", "quarterly tax revenue")

    cat, kitten, tax = response.vectors
    assert likeness(cat, kitten) > likeness(cat, tax)
    assert likeness(cat, cat) == pytest.approx(1, abs=1e-5)
    assert (response.dimensions, response.provider) == (256, "embedded")
    assert response.usage.cost_usd == "0"
    assert response.usage.input_tokens > 0


async def test_a_providers_vectors_come_in_the_order_of_the_texts_with_their_cost(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_embeddings([[1.0, 0.5], [0.25, -1.0]]))

    response = await proxy.embed("one", "two", provider="openai", dimensions=2)

    assert [floats(vector) for vector in response.vectors] == [(1.0, 0.5), (0.25, -1.0)]
    assert response.usage.cost_usd == "0.00000024"
    assert provider.asked[0].body["input"] == ["one", "two"]
    assert provider.asked[0].body["dimensions"] == 2
    assert (await proxy.sums()).total.calls == 1


async def test_gemini_embeds_through_litellm(proxy: Any, provider: ProviderServer) -> None:
    provider.will(gemini_embeddings([[0.5, 0.5]]))

    response = await proxy.embed("one", provider="google")

    assert floats(response.vectors[0]) == (0.5, 0.5)


async def test_a_reply_with_too_few_vectors_is_refused(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_embeddings([[1.0]]))

    with pytest.raises(CadreError) as caught:
        await proxy.embed("one", "two", provider="openai")

    assert caught.value.code == "PROVIDER_REPLY_MALFORMED"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"provider": "anthropic"}, "MODEL_UNKNOWN"),
        ({"dimensions": 3}, "MODEL_OPTION_UNSUPPORTED"),
        ({"dimensions": -1}, "REQUEST_INVALID"),
        ({"provider": "nobody", "model": "m"}, "PROVIDER_UNKNOWN"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(
    fields: dict[str, Any], code: str, proxy: Any
) -> None:
    with pytest.raises(CadreError) as caught:
        await proxy.embed("one", **fields)

    assert caught.value.code == code


@pytest.mark.parametrize("texts", [(), ("",), ("x",) * 2049])
async def test_texts_have_limits(texts: tuple[str, ...], proxy: Any) -> None:
    with pytest.raises(CadreError) as caught:
        await proxy.embed(*texts)

    assert caught.value.code == "REQUEST_INVALID"


async def test_a_providers_refusal_is_said_and_written_down(
    proxy: Any, provider: ProviderServer
) -> None:
    provider.will(openai_error(401, "invalid_api_key"))

    with pytest.raises(CadreError) as caught:
        await proxy.embed("one", provider="openai")

    assert caught.value.code == "PROVIDER_KEY_REFUSED"
    assert (await proxy.sums(4)).groups[0].failed_calls == 1
