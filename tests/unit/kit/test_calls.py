"""Calls between services: errors, deadlines, health, reflection and cancellation, over a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cadre.executor.v1 import runs_pb2, runs_pb2_grpc
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect, stream
from cadre_kit.errors import (
    CadreError,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    Kind,
    NotFound,
    Problem,
    Unavailable,
    error_of,
)
from cadre_kit.health import is_serving
from cadre_kit.interceptor import idempotency_key
from cadre_kit.serving import GrpcService, serving
from cadre_kit.wire import error_from_rpc


class ItemNotFound(NotFound):
    code = "ITEM_NOT_FOUND"


PROBLEM = Problem(
    code="BAD", message="bad", path="nodes[0]", line=3, column=5, resolution="mend it"
)


class Servicer:
    """Answers each key in a way of its own; no test calls the other RPCs."""

    def __getattr__(self, name: str) -> None:
        return None

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.refused = 0

    async def Get(self, request: memory_pb2.GetRequest, context: Any) -> memory_pb2.GetResponse:
        match request.key:
            case "missing":
                raise ItemNotFound(
                    "no item 'missing'", resolution="store it first", metadata={"key": "missing"}
                )
            case "invalid":
                raise InvalidInput("refused", problems=[PROBLEM])
            case "unavailable":
                self.refused += 1
                raise Unavailable("the provider is away", code="PROVIDER_UNAVAILABLE")
            case "mistake":
                raise ZeroDivisionError("secret detail")
            case "slow":
                try:
                    await asyncio.sleep(30)
                finally:
                    self.cancelled.set()
        return memory_pb2.GetResponse(item=memory_pb2.Item(key=idempotency_key(context)))

    async def WatchRun(
        self, request: runs_pb2.WatchRunRequest, context: Any
    ) -> AsyncIterator[runs_pb2.WatchRunResponse]:
        yield runs_pb2.WatchRunResponse(event=runs_pb2.Event(sequence=1))
        raise ItemNotFound("the rest is gone")


SERVICES = ("cadre.memory.v1.MemoryService", "cadre.executor.v1.RunService")


@pytest.fixture
async def servicer() -> Any:
    return Servicer()


@pytest.fixture
async def address(servicer: Any) -> AsyncIterator[str]:
    memory, runs = SERVICES
    services = [
        GrpcService(
            name=memory,
            add=lambda s: memory_pb2_grpc.add_MemoryServiceServicer_to_server(servicer, s),
        ),
        GrpcService(
            name=runs, add=lambda s: runs_pb2_grpc.add_RunServiceServicer_to_server(servicer, s)
        ),
    ]
    async with serving(services, host="127.0.0.1", port=0) as bound:
        yield bound


async def get(address: str, key: str, **options: Any) -> memory_pb2.GetResponse:
    async with connect(address) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        options.setdefault("timeout_seconds", 5.0)
        return await call(stub.Get, memory_pb2.GetRequest(key=key), service="memory", **options)


async def _collect(responses: AsyncIterator[runs_pb2.WatchRunResponse], into: list[int]) -> None:
    async for response in responses:
        into.append(response.event.sequence)


async def test_a_services_error_arrives_as_the_same_kind_with_its_code_and_resolution(
    address: str,
) -> None:
    with pytest.raises(NotFound) as caught:
        await get(address, "missing")

    assert caught.value.code == "ITEM_NOT_FOUND"
    assert caught.value.message == "no item 'missing'"
    assert caught.value.resolution == "store it first"
    assert caught.value.metadata == {"key": "missing"}


async def test_the_problems_of_a_document_arrive_with_their_places(address: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await get(address, "invalid")

    assert caught.value.problems == (PROBLEM,)


async def test_a_mistake_of_ours_says_nothing_of_its_details(address: str) -> None:
    with pytest.raises(Internal) as caught:
        await get(address, "mistake")

    assert "secret" not in caught.value.message


async def test_an_error_in_a_stream_arrives_after_what_came_before_it(address: str) -> None:
    received: list[int] = []

    async with connect(address) as channel:
        stub = runs_pb2_grpc.RunServiceStub(channel)
        responses = stream(
            stub.WatchRun, runs_pb2.WatchRunRequest(), service="executor", timeout_seconds=5.0
        )
        with pytest.raises(NotFound, match="the rest is gone"):
            await _collect(responses, received)

    assert received == [1]


async def test_a_call_past_its_deadline_ends_on_both_sides(address: str, servicer: Any) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await get(address, "slow", timeout_seconds=0.2)

    assert caught.value.code == "SERVICE_TIMEOUT"
    await asyncio.wait_for(servicer.cancelled.wait(), 5)


async def test_a_service_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable) as caught:
        await get(f"127.0.0.1:{unused_tcp_port}", "any", timeout_seconds=10.0)

    assert caught.value.code == "SERVICE_UNAVAILABLE"
    assert "memory" in caught.value.message


async def test_the_idempotency_key_travels_and_has_a_limit(address: str) -> None:
    assert (await get(address, "any", idempotency_key="run/1")).item.key == "run/1"

    with pytest.raises(InvalidInput) as caught:
        await get(address, "any", idempotency_key="k" * 256)
    assert caught.value.code == "IDEMPOTENCY_KEY_TOO_LONG"


async def test_a_request_that_cannot_be_read_is_refused_with_its_reason(address: str) -> None:
    unreadable = b"\x0a\x02\xff\xfe"
    async with connect(address) as channel:
        get: Any = channel.unary_unary("/cadre.memory.v1.MemoryService/Get")
        watch: Any = channel.unary_stream("/cadre.executor.v1.RunService/WatchRun")
        for refused in (get(unreadable, timeout=5.0), watch(unreadable, timeout=5.0).read()):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await refused

            error = error_from_rpc(caught.value, service="memory")
            assert (type(error), error.code) == (InvalidInput, "REQUEST_UNREADABLE")
            assert error.resolution


async def test_of_many_calls_at_once_none_is_cancelled(address: str) -> None:
    async with connect(address) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        asked = [stub.Get(memory_pb2.GetRequest(key="k"), timeout=30.0) for _ in range(2_500)]
        for each in asked:
            await each


async def test_a_service_reports_its_health_and_its_protos(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = stub.ServerReflectionInfo(iter([request]))
        listed = [s.name async for a in answers for s in a.list_services_response.service]

    assert set(SERVICES) <= set(listed)
    assert await is_serving(address)
    assert not await is_serving("127.0.0.1:1")


async def test_a_proxy_of_the_environment_is_no_way_between_services(
    address: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")

    assert (await get(address, "key")).item == memory_pb2.Item()
    assert await is_serving(address)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_error_has_a_class_that_its_grpc_code_leads_back_to(kind: Kind) -> None:
    error = error_of(kind.value.grpc, "m", code="C")

    assert isinstance(error, CadreError)
    assert type(error).kind is kind


async def test_what_a_service_answers_is_not_asked_again(address: str, servicer: Any) -> None:
    with pytest.raises(Unavailable) as caught:
        await get(address, "unavailable")

    assert caught.value.code == "PROVIDER_UNAVAILABLE"
    assert servicer.refused == 1
