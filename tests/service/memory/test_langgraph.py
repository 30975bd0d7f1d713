"""LangGraph's BaseStore by the real gateway and memory service, held beside LangGraph's own store in memory."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore
from tests.postgresql import Postgresql
from tests.redis_server import RedisServer
from typing_extensions import TypedDict

from cadre_client import ApiError, Client
from cadre_client.langgraph import ServiceStore
from cadre_gateway.app import build as build_gateway
from cadre_gateway.entrypoint.streams import Stopping
from cadre_gateway.serving import serving as serving_http
from cadre_gateway.settings import GatewaySettings
from cadre_kit.serving import serving
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.app import build
from cadre_memory.settings import MemorySettings

NOBODY = "127.0.0.1:1"
SECONDS = 60


@asynccontextmanager
async def platform(home: Path, url: str) -> AsyncIterator[str]:
    """The gateway's address, in front of a memory service and of nothing else."""
    async with AsyncExitStack() as stack:
        settings = MemorySettings(home=home, memory_database_url=url)
        services = await stack.enter_async_context(build(settings))
        memory = await stack.enter_async_context(serving(services, host="127.0.0.1", port=0))
        others = dict.fromkeys(("executor_address", "llm_proxy_address", "sandbox_address"), NOBODY)
        chosen = GatewaySettings(
            _env_file=None,
            home=home,
            gateway_port=0,
            memory_address=memory,
            mlflow_url=f"http://{NOBODY}",
            prefect_url=f"http://{NOBODY}",
            **others,  # type: ignore[arg-type]  # they are addresses
        )
        stopping = Stopping()
        app = await stack.enter_async_context(build_gateway(chosen, stopping=stopping))
        address = await stack.enter_async_context(
            serving_http(app, host="127.0.0.1", port=0, drain_seconds=1, stopping=stopping)
        )
        yield f"http://{address}"


@contextmanager
def in_a_thread(home: Path, url: str) -> Iterator[str]:
    """The same, on an event loop of its own, so that blocking code can call it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = platform(home, url)

    def wait(call: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(call, loop).result(SECONDS)

    try:
        yield wait(anext(running.gen))
        wait(running.__aexit__(None, None, None))
    finally:
        wait(loop.shutdown_default_executor())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(
    scope="module",
    params=[
        "langgraph",
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("redis", marks=pytest.mark.redis),
    ],
)
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], BaseStore]]:
    """Makes stores with nothing in them."""
    home = tmp_path_factory.mktemp("platform")
    if request.param == "langgraph":
        yield _in_memory
        return
    url = f"sqlite:///{home}/memory.db"
    if request.param != "sqlite":
        own = {"postgresql": "postgresql_server", "redis": "redis_at"}[request.param]
        server: Postgresql | RedisServer = request.getfixturevalue(own)
        url = server.fresh()
    with in_a_thread(home, url) as gateway:
        key = (home / "api-key").read_text().strip()
        with Client(gateway, key) as client:
            numbers = iter(range(1_000))
            yield lambda: ServiceStore(client, root=("tests", f"store-{next(numbers)}"))


def _in_memory() -> BaseStore:
    embedder = WordLlamaEmbedder()

    def embed(texts: Any) -> list[list[float]]:
        vectors = [embedder.vector(text) for text in texts]
        return [[0.0] * 256 if each is None else each.tolist() for each in vectors]

    return InMemoryStore(index={"dims": 256, "embed": embed})


@pytest.fixture
def store(make: Callable[[], BaseStore]) -> BaseStore:
    return make()


def found(store: BaseStore, *prefix: str, **asked: Any) -> list[str]:
    return [item.key for item in store.search(prefix, **asked)]


def test_a_value_is_kept_replaced_and_deleted(store: BaseStore) -> None:
    store.put(("docs", "a"), "k", {"n": 1, "deep": {"x": [1, None, "ü"]}})
    first = store.get(("docs", "a"), "k")
    store.put(("docs", "a"), "k", {"n": 2})
    second = store.get(("docs", "a"), "k")

    assert isinstance(first, Item)
    assert isinstance(second, Item)
    assert first.value == {"n": 1, "deep": {"x": [1, None, "ü"]}}
    assert (first.namespace, first.key, second.value) == (("docs", "a"), "k", {"n": 2})
    assert first.created_at <= first.updated_at <= second.updated_at
    assert store.get(("docs", "b"), "k") is None
    store.delete(("docs", "a"), "k")
    store.delete(("docs", "a"), "k")
    assert store.get(("docs", "a"), "k") is None


async def test_the_same_by_async_calls(store: BaseStore) -> None:
    await asyncio.gather(*(store.aput(("docs",), f"k{n}", {"n": n}) for n in range(10)))
    items = await asyncio.gather(*(store.aget(("docs",), f"k{n}") for n in range(10)))

    assert [item.value["n"] for item in items if item] == list(range(10))
    assert len(await store.asearch(("docs",), limit=20)) == 10
    assert await store.alist_namespaces() == [("docs",)]
    await store.adelete(("docs",), "k0")
    assert await store.aget(("docs",), "k0") is None


def test_a_batch_answers_in_order_and_its_reads_see_what_was_there_before(
    store: BaseStore,
) -> None:
    store.put(("test", "foo"), "key1", {"data": "value1"})
    store.put(("test", "bar"), "key2", {"data": "value2"})

    results = store.batch(
        [
            GetOp(("test", "foo"), "key1"),
            PutOp(("test", "bar"), "key2", {"data": "new"}),
            PutOp(("test",), "key3", {"data": "first"}),
            PutOp(("test",), "key3", {"data": "second"}),
            GetOp(("test", "bar"), "key2"),
            SearchOp(("test",), filter={"data": "value1"}),
            ListNamespacesOp(),
            GetOp(("test",), "key3"),
            PutOp(("test", "foo"), "key1", None),
        ]
    )

    got: Any = results
    assert (got[0].value, got[4].value) == ({"data": "value1"}, {"data": "value2"})
    assert [item.key for item in got[5]] == ["key1"]
    assert got[6] == [("test", "bar"), ("test", "foo")]
    assert [got[n] for n in (1, 2, 3, 7, 8)] == [None] * 5
    after: Any = store.batch([GetOp(("test",), "key3"), GetOp(("test", "foo"), "key1")])
    assert (after[0].value, after[1]) == ({"data": "second"}, None)
    assert store.batch([]) == []


def test_filters_say_what_fields_are(store: BaseStore) -> None:
    rows: dict[str, dict[str, Any]] = {
        "a": {"author": "Ada", "score": 4.5, "meta": {"lang": "en"}},
        "b": {"author": "Ben", "score": 2, "meta": {"lang": "en"}, "tags": ["x"]},
        "c": {"author": "Ada", "score": 3, "meta": {"lang": "de"}},
    }
    for key, value in rows.items():
        store.put(("docs", key), key, value)

    for conditions, keys in (
        ({"author": "Ada"}, "ac"),
        ({"author": {"$eq": "Ada"}, "score": {"$gt": 3}}, "a"),
        ({"score": {"$gte": 3}}, "ac"),
        ({"score": {"$lt": 3}}, "b"),
        ({"score": {"$lte": 3}}, "bc"),
        ({"author": {"$ne": "Ada"}}, "b"),
        ({"meta": {"lang": "en"}, "author": "Ada"}, "a"),
        ({"tags": ["x"]}, "b"),
        ({"nothing": "x"}, ""),
    ):
        assert "".join(sorted(found(store, "docs", filter=conditions))) == keys
    with pytest.raises((ValueError, ApiError)):
        found(store, "docs", filter={"score": {"$near": 3}})


def test_a_search_sees_a_namespace_and_all_below_it_in_pages(store: BaseStore) -> None:
    for namespace in (("a",), ("a", "b"), ("a", "b", "c"), ("a", "bc"), ("b",)):
        store.put(namespace, "-".join(namespace), {"x": 1})

    assert sorted(found(store, "a", "b")) == ["a-b", "a-b-c"]
    assert len(found(store)) == 5
    pages = [found(store, "a", limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [len(page) for page in pages] == [2, 2, 0]
    assert len({key for page in pages for key in page}) == 4
    assert found(store, "a", limit=0) == []


def test_what_a_query_means_comes_first(store: BaseStore) -> None:
    texts = {"berlin": "Ada moved to Berlin", "cat": "Cats sleep all day", "bill": "An unpaid bill"}
    for key, text in texts.items():
        store.put(("docs",), key, {"text": text})

    hits = store.search(("docs",), query="Who went to Berlin?")

    assert hits[0].key == "berlin"
    assert hits[0].score is not None
    assert hits[0].score > 0
    assert {hit.key for hit in hits} == set(texts)
    assert found(store, "docs", query="Berlin", filter={"text": "An unpaid bill"}) == ["bill"]
    assert len(found(store, "docs", query="Berlin", limit=1)) == 1


def test_what_is_indexed_can_be_said_for_each_item(store: BaseStore) -> None:
    value = {"title": "Berlin", "parts": [{"text": "rivers"}, {"text": "mountains"}], "note": "x"}
    store.put(("docs",), "title", value, index=["title"])
    store.put(("docs",), "parts", value, index=["parts[*].text"])
    store.put(("docs",), "last", value, index=["parts[-1].text"])
    store.put(("docs",), "none", value, index=False)

    assert found(store, "docs", query="Berlin")[0] == "title"
    assert found(store, "docs", query="rivers")[0] == "parts"
    assert set(found(store, "docs", query="mountains")[:2]) == {"last", "parts"}
    scores = {item.key: item.score for item in store.search(("docs",), query="rivers")}
    assert scores["none"] is None
    assert scores["parts"] is not None
    assert store.get(("docs",), "none") is not None


def test_namespaces_are_listed_by_beginning_end_and_depth(store: BaseStore) -> None:
    namespaces = [
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("b", "a", "f"),
        ("users", "123"),
    ]
    for namespace in namespaces:
        store.put(namespace, "k", {"x": 1})

    assert store.list_namespaces() == namespaces
    assert store.list_namespaces(prefix=("a", "b")) == namespaces[:4]
    assert store.list_namespaces(suffix=("f",)) == namespaces[3:6]
    assert store.list_namespaces(prefix=("a",), suffix=("f",)) == namespaces[3:5]
    assert store.list_namespaces(prefix=("a", "*", "f")) == namespaces[3:5]
    assert store.list_namespaces(suffix=("*", "f")) == namespaces[3:6]
    assert store.list_namespaces(suffix=("x", "a", "b", "c")) == []
    assert store.list_namespaces(prefix=("a", "b"), max_depth=3) == [
        ("a", "b", "c"),
        ("a", "b", "d"),
        ("a", "b", "f"),
    ]
    assert store.list_namespaces(limit=2, offset=1) == namespaces[1:3]
    assert store.list_namespaces(prefix=("nothing",)) == []
    two = (MatchCondition("prefix", ("a", "*")), MatchCondition("prefix", ("*", "b", "d")))
    assert store.batch([ListNamespacesOp(match_conditions=two)]) == [namespaces[1:3]]


def test_namespaces_that_cannot_be_are_refused(store: BaseStore) -> None:
    for namespace in ((), ("a.b",), ("a", ""), ("langgraph", "x")):
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "k", {"x": 1})
    store.batch([PutOp(("langgraph", "x"), "k", {"x": 1})])

    assert found(store, "langgraph", "x") == ["k"]


async def test_a_graph_remembers_by_it(store: BaseStore) -> None:
    class State(TypedDict):
        text: str

    async def remember(state: State, *, store: BaseStore) -> State:
        known = await store.asearch(("people",), query=state["text"], limit=1)
        await store.aput(("people",), state["text"], {"text": state["text"]})
        return {"text": known[0].value["text"] if known else ""}

    graph = StateGraph(State).add_node("remember", remember).add_edge(START, "remember")
    compiled = graph.compile(store=store)

    assert await compiled.ainvoke({"text": "Ada lives in Berlin"}) == {"text": ""}
    assert await compiled.ainvoke({"text": "Who lives in Berlin?"}) == {
        "text": "Ada lives in Berlin"
    }


def test_time_to_live_is_in_minutes_and_begins_anew_with_each_reading(
    make: Callable[[], BaseStore],
) -> None:
    store = make()
    if not isinstance(store, ServiceStore):
        pytest.skip("LangGraph's store in memory knows no time to live")

    assert store.supports_ttl
    store.put(("docs",), "k", {"x": 1}, ttl=10)
    store.put(("docs",), "short", {"x": 1}, ttl=0.001)
    store.put(("docs",), "never", {"x": 1}, ttl=None)
    before = _expires(store, "k")
    store.get(("docs",), "k", refresh_ttl=False)
    assert _expires(store, "k") == before
    store.get(("docs",), "k")
    assert _expires(store, "k") > before
    searched = _expires(store, "k")
    store.search(("docs",))
    assert _expires(store, "k") > searched


def _expires(store: ServiceStore, key: str) -> Any:
    return store._client.get_memory([*store._root, "docs"], key).expires_time


def test_what_others_stored_is_seen_under_the_root_and_nothing_beside_it(
    make: Callable[[], BaseStore],
) -> None:
    store = make()
    if not isinstance(store, ServiceStore):
        pytest.skip("LangGraph's store in memory has no root")
    beside = (*store._root[:-1], "beside")

    store._client.put_memory([*store._root, "docs"], "text", "just words")
    store._client.put_memory(beside, "k", {"x": 1})

    assert [item.value for item in store.search(())] == [{"value": "just words"}]
    assert store.list_namespaces() == [("docs",)]


def test_more_than_one_request_takes_is_asked_for_in_several(store: BaseStore) -> None:
    store.batch([PutOp(("docs",), f"k{n:04}", {"n": n}, index=False) for n in range(1_200)])

    assert len(store.search(("docs",), limit=3_000)) == 1_200
