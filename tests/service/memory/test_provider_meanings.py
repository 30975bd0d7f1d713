"""Meanings by a provider's model: the real memory service and llm-proxy, and a provider on loopback."""

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.openai_server import OpenAiServer, openai_server
from tests.fakes.providers import Answer, openai_embeddings, openai_error
from tests.platform import eventually_async
from tests.postgresql import Postgresql
from tests.redis_server import RedisServer

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.errors import CadreError
from cadre_kit.serving import serving
from cadre_llm_proxy.app import build_with
from cadre_llm_proxy.settings import ProcessEnvironment
from cadre_llm_proxy.settings import Settings as LlmProxySettings
from cadre_memory.app import build
from cadre_memory.settings import MemorySettings

PLACE = ["workflow", "triage"]
MODEL = "openai/text-embedding-3-small"
# Words that this provider's model knows to mean the same.
SAME = {"invoice": "bill", "cat": "kitten"}


class Vectors:
    """A model's meanings: the mean of one random direction for each word, those of the same meaning sharing one."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.texts: list[str] = []
        self.refused = ""

    def __call__(self, body: dict[str, Any]) -> Answer:
        texts = body["input"]
        if self.refused and any(self.refused in text for text in texts):
            return openai_error(400, "context_length_exceeded")
        self.texts += texts
        return openai_embeddings([self._vector(text) for text in texts])

    def _vector(self, text: str) -> list[float]:
        words = [SAME.get(word, word) for word in text.lower().split()]
        seeds = (int.from_bytes(hashlib.sha256(w.encode()).digest()[:4], "big") for w in words)
        each = [np.random.default_rng(seed).normal(size=self.width) for seed in seeds]
        return [float(number) for number in np.mean(each, axis=0)]


@pytest.fixture
def provider() -> Iterator[OpenAiServer]:
    with openai_server() as server:
        yield server


@pytest.fixture
def vectors(provider: OpenAiServer) -> Vectors:
    provider.respond = vectors = Vectors(64)
    return vectors


@pytest.fixture
async def llm_proxy(provider: OpenAiServer, tmp_path: Path) -> AsyncIterator[str]:
    settings = LlmProxySettings(home=tmp_path / "llm", traces_endpoint="", _env_file=None)
    environment = ProcessEnvironment(
        {"OPENAI_API_KEY": "sk-x", "OPENAI_API_BASE": f"{provider.url}/v1"}
    )
    async with (
        build_with(settings, environment) as services,
        serving(services, host="127.0.0.1", port=0) as address,
    ):
        yield address


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("redis", marks=pytest.mark.redis),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/memory.db"
    own = {"postgresql": "postgresql_server", "redis": "redis_at"}[request.param]
    server: Postgresql | RedisServer = request.getfixturevalue(own)
    return server.fresh()


@asynccontextmanager
async def memory(url: str, llm_proxy: str, **settings: Any) -> AsyncIterator[Any]:
    chosen = MemorySettings(
        memory_database_url=url,
        llm_proxy_address=llm_proxy,
        **{"memory_embedding_model": MODEL, **settings},
    )
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(build(chosen))
        at = await stack.enter_async_context(serving(services, host="127.0.0.1", port=0))
        yield memory_pb2_grpc.MemoryServiceStub(await stack.enter_async_context(connect(at)))


async def ask(method: Any, request: Any) -> Any:
    return await call(method, request, service="memory", timeout_seconds=30)


async def put(stub: Any, key: str, text: str) -> None:
    value = common_pb2.Json(text=json.dumps(text))
    await ask(stub.Put, memory_pb2.PutRequest(namespace=PLACE, key=key, value=value))


async def search(stub: Any, query: str, mode: Any = memory_pb2.SEARCH_MODE_HYBRID) -> Any:
    request = memory_pb2.SearchRequest(namespace=PLACE, query=query, mode=mode)
    return await ask(stub.Search, request)


async def meant(stub: Any, query: str) -> list[str]:
    """What is found by its meaning, closest first."""
    hits = (await search(stub, query, memory_pb2.SEARCH_MODE_VECTOR)).hits
    return [hit.item.key for hit in hits if hit.vector_score > 0.5]


async def test_meanings_come_after_the_write_and_each_text_is_paid_for_once(
    url: str, llm_proxy: str, vectors: Vectors
) -> None:
    async with memory(url, llm_proxy) as stub:
        for key, text in (("a", "the invoice"), ("b", "the invoice"), ("c", "a river")):
            await put(stub, key, text)
        await eventually_async(lambda: _found(stub, "the bill", ["a", "b"]))
        await put(stub, "d", "a river")
        await eventually_async(lambda: _found(stub, "a river", ["c", "d"]))
        await put(stub, "c", "a river")
        await eventually_async(lambda: _found(stub, "a river", ["c", "d"]))

    stored = [text for text in vectors.texts if text in ("the invoice", "a river")]
    assert stored.count("the invoice") == 1
    # Once stored, and once asked.
    assert stored.count("a river") == 2


async def _found(stub: Any, query: str, keys: list[str]) -> bool:
    return sorted(await meant(stub, query)) == keys


async def test_another_model_is_taken_up_in_the_background_and_the_first_not_paid_again(
    url: str, llm_proxy: str, provider: OpenAiServer, vectors: Vectors
) -> None:
    async with memory(url, llm_proxy) as stub:
        await put(stub, "a", "the invoice")
        await eventually_async(lambda: _found(stub, "the bill", ["a"]))
    paid = list(vectors.texts)

    provider.respond = other = Vectors(32)
    provider.gate.clear()
    async with memory(url, llm_proxy, memory_embedding_model="openai/another-model") as stub:
        response = await search(stub, "invoice", memory_pb2.SEARCH_MODE_TEXT)
        assert [hit.item.key for hit in response.hits] == ["a"]
        provider.gate.set()
        await eventually_async(lambda: _found(stub, "the bill", ["a"]))
    assert other.texts

    provider.respond = vectors
    async with memory(url, llm_proxy) as stub:
        await eventually_async(lambda: _found(stub, "the bill", ["a"]))
    assert vectors.texts.count("the invoice") == paid.count("the invoice") == 1


async def test_while_the_provider_is_down_words_are_found_and_nothing_is_lost(
    url: str, llm_proxy: str, provider: OpenAiServer, vectors: Vectors
) -> None:
    provider.respond = lambda _: openai_error(401, "invalid_api_key")
    async with memory(url, llm_proxy) as stub:
        await put(stub, "a", "the invoice")

        response = await search(stub, "which invoice")
        assert [hit.item.key for hit in response.hits] == ["a"]
        assert response.without_meaning == "PROVIDER_KEY_REFUSED"
        with pytest.raises(CadreError) as caught:
            await search(stub, "which invoice", memory_pb2.SEARCH_MODE_VECTOR)
        assert caught.value.code == "PROVIDER_KEY_REFUSED"
    provider.respond = vectors
    async with memory(url, llm_proxy) as stub:
        await eventually_async(lambda: _found(stub, "the bill", ["a"]))
        assert (await search(stub, "the bill")).without_meaning == ""


async def test_what_was_answered_before_the_provider_failed_is_not_paid_for_again(
    url: str, llm_proxy: str, provider: OpenAiServer, vectors: Vectors
) -> None:
    await _keep(url, [f"note {number}" for number in range(400)])
    asked = []

    def respond(body: dict[str, Any]) -> Answer:
        asked.append(len(body["input"]))
        # Of what no try again within the llm-proxy mends.
        return openai_error(401, "invalid_api_key") if len(asked) == 2 else vectors(body)

    provider.respond = respond
    async with memory(url, llm_proxy):
        await eventually_async(lambda: _is_true(len(set(vectors.texts)) == 400))

    assert len(asked) > 2
    assert set(Counter(vectors.texts).values()) == {1}


async def _keep(url: str, texts: Sequence[str]) -> None:
    """Stores texts that the embedded model understood."""
    async with memory(url, "127.0.0.1:1", memory_embedding_model="") as stub:
        value = [common_pb2.Json(text=json.dumps(text)) for text in texts]
        puts = [
            memory_pb2.PutRequest(namespace=PLACE, key=str(n), value=each)
            for n, each in enumerate(value)
        ]
        await ask(stub.BatchPut, memory_pb2.BatchPutRequest(puts=puts))


async def _is_true(condition: bool) -> bool:
    return condition


async def test_vectors_of_another_size_are_refused_and_words_are_found(
    tmp_path: Path, llm_proxy: str, vectors: Vectors
) -> None:
    url = f"sqlite:///{tmp_path}/memory.db"
    async with memory(url, llm_proxy, memory_embedding_dimensions=128) as stub:
        await put(stub, "a", "the invoice")

        response = await search(stub, "which invoice")

        assert [hit.item.key for hit in response.hits] == ["a"]
        assert response.without_meaning == "EMBEDDING_DIMENSIONS_WRONG"


async def test_a_text_that_the_model_refuses_is_found_by_its_words_and_holds_up_no_other(
    tmp_path: Path, llm_proxy: str, vectors: Vectors
) -> None:
    url = f"sqlite:///{tmp_path}/memory.db"
    vectors.refused = "endless"
    async with memory(url, llm_proxy) as stub:
        for key, text in (("a", "the invoice"), ("b", "an endless story"), ("c", "a cat")):
            await put(stub, key, text)

        await eventually_async(lambda: _found(stub, "a kitten", ["c"]))
        await eventually_async(lambda: _found(stub, "the bill", ["a"]))
        response = await search(stub, "story", memory_pb2.SEARCH_MODE_TEXT)
        assert [hit.item.key for hit in response.hits] == ["b"]


async def test_what_is_forgotten_is_forgotten_by_the_cache_too(
    url: str, llm_proxy: str, vectors: Vectors
) -> None:
    async with memory(url, llm_proxy) as stub:
        await put(stub, "a", "the invoice")
        await eventually_async(lambda: _found(stub, "the bill", ["a"]))
        everything = memory_pb2.ForgetRequest(namespace=PLACE, everything=True)
        assert (await ask(stub.Forget, everything)).forgotten == 1
        await put(stub, "a", "the invoice")
        await eventually_async(lambda: _found(stub, "the bill", ["a"]))

    assert vectors.texts.count("the invoice") == 2
