"""The memory service over gRPC: the real server, its real database, its errors as a caller gets them."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.platform import eventually

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.errors import CadreError, Conflict, InvalidInput, NotFound, Unavailable
from cadre_kit.health import is_serving
from cadre_kit.serving import serving
from cadre_memory.app import build
from cadre_memory.settings import MemorySettings

PLACE = ["workflow", "triage"]
UNKNOWN: Any = 9


@pytest.fixture
def settings(tmp_path: Path) -> MemorySettings:
    return MemorySettings(home=tmp_path, memory_sweep_seconds=0.05)


@pytest.fixture
async def address(settings: MemorySettings) -> AsyncIterator[str]:
    async with build(settings) as services, serving(services, host="127.0.0.1", port=0) as bound:
        yield bound


@pytest.fixture
async def stub(address: str) -> AsyncIterator[memory_pb2_grpc.MemoryServiceStub]:
    async with connect(address) as channel:
        yield memory_pb2_grpc.MemoryServiceStub(channel)


async def ask(method: Any, request: Any, *, once: str = "") -> Any:
    return await call(method, request, service="memory", timeout_seconds=20, idempotency_key=once)


def put_request(key: str, value: object, **more: Any) -> memory_pb2.PutRequest:
    more.setdefault("namespace", PLACE)
    return memory_pb2.PutRequest(key=key, value=common_pb2.Json(text=json.dumps(value)), **more)


async def test_a_value_comes_back_as_it_was_stored(stub: Any) -> None:
    await ask(stub.Put, put_request("k", {"n": 1, "x": 1.0, "t": "ü"}, ttl_seconds=60))
    item = (await ask(stub.Get, memory_pb2.GetRequest(namespace=PLACE, key="k"))).item

    assert json.loads(item.value.text) == {"n": 1, "x": 1.0, "t": "ü"}
    assert (list(item.namespace), item.key, item.version) == (PLACE, "k", 1)
    assert item.created_time.ToNanoseconds() == item.updated_time.ToNanoseconds() > 0
    lifetime = item.expires_time.ToNanoseconds() - item.created_time.ToNanoseconds()
    assert lifetime == 60 * 10**9


async def test_what_never_expires_has_no_such_time(stub: Any) -> None:
    item = (await ask(stub.Put, put_request("k", None))).item

    assert not item.HasField("expires_time")
    assert item.value.text == "null"


async def test_a_deleted_item_is_not_found_and_why_is_said(stub: Any) -> None:
    await ask(stub.Put, put_request("k", 1))
    request = memory_pb2.DeleteRequest(namespace=PLACE, key="k")

    assert (await ask(stub.Delete, request)).deleted
    assert not (await ask(stub.Delete, request)).deleted
    with pytest.raises(NotFound) as caught:
        await ask(stub.Get, memory_pb2.GetRequest(namespace=PLACE, key="k"))
    assert caught.value.code == "ITEM_NOT_FOUND"
    assert caught.value.resolution


async def test_a_listing_goes_on_from_its_token(stub: Any) -> None:
    await asyncio.gather(*(ask(stub.Put, put_request(f"k{n}", n)) for n in range(5)))

    first = await ask(stub.List, memory_pb2.ListRequest(namespace=PLACE, page_size=3))
    rest = await ask(
        stub.List,
        memory_pb2.ListRequest(namespace=PLACE, page_size=3, page_token=first.next_page_token),
    )

    assert [item.key for item in [*first.items, *rest.items]] == ["k0", "k1", "k2", "k3", "k4"]
    assert rest.next_page_token == ""


async def test_a_search_says_how_well_each_hit_matches(stub: Any) -> None:
    await ask(stub.Put, put_request("city", "Ada moved to Berlin in May"))
    await ask(stub.Put, put_request("cats", "Cats sleep all day"))

    hits = (
        await ask(stub.Search, memory_pb2.SearchRequest(namespace=PLACE, query="Ada in Berlin?"))
    ).hits

    assert hits[0].item.key == "city"
    assert hits[0].text_score == 1.0
    assert 0.3 < hits[0].vector_score <= 1.0
    assert [hit.item.key for hit in hits] == ["city"]
    assert hits[0].matched_text == "Ada moved to Berlin in May"


async def test_a_repeated_call_is_answered_as_before(stub: Any) -> None:
    first = await ask(stub.Put, put_request("k", "one"), once="run/node/1")
    await ask(stub.Put, put_request("k", "two"))

    assert await ask(stub.Put, put_request("k", "one"), once="run/node/1") == first
    with pytest.raises(Conflict) as caught:
        await ask(stub.Put, put_request("k", "three"), once="run/node/1")
    assert caught.value.code == "IDEMPOTENCY_KEY_REUSED"


def _text(text: str) -> memory_pb2.PutRequest:
    return memory_pb2.PutRequest(namespace=PLACE, key="k", value=common_pb2.Json(text=text))


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("Put", put_request("k", 1, namespace=[]), "NAMESPACE_INVALID"),
        ("Put", put_request("", 1), "KEY_INVALID"),
        ("Put", put_request("k", "x" * 1024 * 1024), "VALUE_TOO_LARGE"),
        ("Put", put_request("k", 1, ttl_seconds=float("nan")), "TTL_INVALID"),
        ("Put", _text("NaN"), "NOT_JSON"),
        ("Put", _text(""), "NOT_JSON"),
        ("Put", _text("[" * 100_000), "NOT_JSON"),
        ("Get", memory_pb2.GetRequest(namespace=["a\x1fb"], key="k"), "NAMESPACE_INVALID"),
        ("Delete", memory_pb2.DeleteRequest(namespace=PLACE, key="k" * 513), "KEY_INVALID"),
        ("List", memory_pb2.ListRequest(namespace=PLACE, page_size=501), "PAGE_SIZE_INVALID"),
        ("List", memory_pb2.ListRequest(namespace=PLACE, page_token="x"), "PAGE_TOKEN_INVALID"),
        ("Search", memory_pb2.SearchRequest(namespace=PLACE, query=""), "QUERY_INVALID"),
        (
            "Search",
            memory_pb2.SearchRequest(namespace=PLACE, query="x", top_k=201),
            "TOP_K_INVALID",
        ),
        (
            "Search",
            memory_pb2.SearchRequest(namespace=PLACE, query="x", mode=UNKNOWN),
            "MODE_INVALID",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_input_names_its_field(stub: Any, method: str, request_: Any, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await ask(getattr(stub, method), request_)

    assert caught.value.code == code
    assert caught.value.metadata["field"] in caught.value.message


async def test_bytes_that_are_no_message_leave_the_service_well(address: str, stub: Any) -> None:
    async with connect(address) as channel:
        raw: Any = channel.unary_unary("/cadre.memory.v1.MemoryService/Put")
        for rubbish in (b"\xff" * 100, b"\x0a\x02\xff\xfe"):
            with pytest.raises(CadreError):
                await call(raw, rubbish, service="memory", timeout_seconds=5)

    assert (await ask(stub.Put, put_request("k", 1))).item.version == 1
    assert await is_serving(address)


async def test_everything_is_there_after_a_restart(settings: MemorySettings) -> None:
    for version in (1, 2, 3):
        async with build(settings) as services, serving(services, host="127.0.0.1", port=0) as at:
            async with connect(at) as channel:
                stub = memory_pb2_grpc.MemoryServiceStub(channel)
                assert (await ask(stub.Put, put_request("k", "mango"))).item.version == version
                search = memory_pb2.SearchRequest(namespace=PLACE, query="mango")
                assert len((await ask(stub.Search, search)).hits) == 1


async def test_what_expired_is_removed_from_the_file_in_the_background(
    stub: Any, settings: MemorySettings
) -> None:
    await ask(stub.Put, put_request("kept", "here to stay"))
    await ask(stub.Put, put_request("k", "gone soon", ttl_seconds=0.05))

    await asyncio.to_thread(eventually, lambda: _keys(settings.home / "memory.db") == ["kept"])


def _keys(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM item")]


async def test_an_address_of_another_database_is_refused(tmp_path: Path) -> None:
    settings = MemorySettings(home=tmp_path, memory_database_url="mysql://localhost/x")

    with pytest.raises(InvalidInput) as caught:
        async with build(settings):
            pass

    assert caught.value.code == "UNKNOWN_DATABASE_URL"


async def test_a_postgresql_that_is_not_there_is_said(tmp_path: Path) -> None:
    url = f"postgresql://postgres@/x?host={tmp_path}"

    with pytest.raises(Unavailable) as caught:
        async with build(MemorySettings(home=tmp_path, memory_database_url=url)):
            pass

    assert caught.value.code == "DATABASE_UNAVAILABLE"


async def test_a_conversation_is_appended_searched_and_forgotten(stub: Any) -> None:
    chat = ["conversation", "c1"]
    lines = (("Ada", "Where do you live, Ben?"), ("Ben", "In Lisbon, since last month"))
    messages = [
        memory_pb2.Message(role=memory_pb2.ROLE_USER, name=name, text=text) for name, text in lines
    ]

    append = memory_pb2.AppendMessagesRequest(namespace=chat, messages=messages)
    assert (await ask(stub.AppendMessages, append, once="a")).first_position == 0
    assert (await ask(stub.AppendMessages, append, once="a")).first_position == 0
    listed = await ask(stub.ListMessages, memory_pb2.ListMessagesRequest(namespace=chat, limit=1))
    search = memory_pb2.SearchRequest(namespace=chat, query="Lisbon", top_k=1, window=1)
    (hit,) = (await ask(stub.Search, search)).hits

    assert ([m.text for m in listed.messages], listed.more) == ([lines[1][1]], True)
    assert (hit.message.name, hit.message.role) == ("Ben", memory_pb2.ROLE_USER)
    assert [neighbour.name for neighbour in hit.neighbours] == ["Ada"]
    forget = memory_pb2.ForgetRequest(namespace=chat, everything=True)
    assert (await ask(stub.Forget, forget)).forgotten == 2
    place = memory_pb2.ListNamespacesRequest(namespace=["conversation"])
    assert not (await ask(stub.ListNamespaces, place)).namespaces


async def test_a_batch_with_conditions_is_all_or_nothing(stub: Any) -> None:
    puts = [put_request("a", 1), put_request("b", 2, if_version=3)]

    with pytest.raises(Conflict) as caught:
        await ask(stub.BatchPut, memory_pb2.BatchPutRequest(puts=puts))

    assert caught.value.code == "VERSION_CONFLICT"
    with pytest.raises(NotFound):
        await ask(stub.Get, memory_pb2.GetRequest(namespace=PLACE, key="a"))
    answer = await ask(stub.BatchPut, memory_pb2.BatchPutRequest(puts=puts[:1]))
    assert list(answer.versions) == [1]
