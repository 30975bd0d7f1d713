"""Who gets in, what is refused and how it is said, for every request alike."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import psutil
import pytest

from cadre_kit.errors import CadreError, Kind, LimitExceeded

PROTECTED = ["/api/v1/runs", "/api/v1/status", "/v1/models", "/metrics", "/nothing/here"]
OPEN = ["/healthz", "/docs", "/openapi.json", "/api/v1/schema"]


@pytest.fixture
async def anybody(running: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the gateway without a key."""
    async with httpx.AsyncClient(base_url=running.url, timeout=60, verify=False) as client:
        yield client


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic wrong", "wrong"])
async def test_without_the_key_nothing_is_answered(
    anybody: httpx.AsyncClient, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}

    for path in PROTECTED:
        answer = await anybody.get(path, headers=headers)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "API key" in answer.text


async def test_what_needs_no_key_is_open(anybody: httpx.AsyncClient) -> None:
    for path in OPEN:
        assert (await anybody.get(path)).status_code == 200


async def test_the_key_is_checked_before_the_body_is_read(running: Any) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")

    status = await asyncio.wait_for(reader.readline(), 5)

    assert b"401" in status
    writer.close()


async def test_every_answer_names_its_request(http: httpx.AsyncClient) -> None:
    own = await http.get("/healthz", headers={"X-Request-Id": "mine-1"})
    made = await http.get("/api/v1/runs/x", headers={"X-Request-Id": "bad id"})

    assert own.headers["x-request-id"] == "mine-1"
    assert re.fullmatch(r"[0-9A-Z]{26}", made.headers["x-request-id"])
    assert made.json()["request_id"] == made.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "ROUTE_NOT_FOUND"),
        ("PUT", "/api/v1/runs", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/runs?status=asleep", 400, "INVALID_REQUEST"),
        ("GET", "/api/v1/runs?page_size=0", 400, "INVALID_REQUEST"),
        ("GET", "/api/v1/usage?group_by=mood", 400, "INVALID_REQUEST"),
        ("GET", "/api/v1/usage?start=0001-01-01T00:00:00%2B14:00", 400, "INVALID_REQUEST"),
        ("GET", "/api/v1/memories", 400, "INVALID_REQUEST"),
        ("GET", "/api/v1/runs/none", 404, "RUN_NOT_FOUND"),
    ],
)
async def test_every_refusal_is_a_problem_document(
    http: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await http.request(method, path)

    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["detail"]
    assert {"type", "title", "resolution", "request_id", "problems"} <= problem.keys()


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", ""),
        (b"{", "[1]"),
        (b"\xff\xfe", None),
        (b"[]", ""),
        (b'"text"', ""),
        (b'{"source": 3}', "source"),
        (b'{"sauce": "x"}', None),
        (b'{"source": "\\ud800"}', "source"),
        (b'{"source": "x", "inputs": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}", None),
        (b"[" * 100_000, None),
        (b'{"source": "x", "inputs": {"a": NaN}}', None),
        (b'{"source": "x", "version": 99999999999}', "version"),
        (b'{"source": "x", "inputs": {"a": ' + b"9" * 5000 + b"}}", None),
        (b'{"source": "x", "workflow": "y"}', None),
        (b"{}", None),
    ],
)
async def test_rubbish_in_a_body_is_refused_with_its_place(
    http: httpx.AsyncClient, body: bytes, path: str | None
) -> None:
    headers = {"Content-Type": "application/json"}

    answer = await http.post("/api/v1/runs", content=body, headers=headers)

    assert answer.status_code == 400
    problem = answer.json()
    if path is not None:
        assert problem["problems"][0]["path"] == path


async def test_the_rejected_value_is_not_repeated(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/v1/runs", json={"source": ["s3cret"], "inputs": "s3cret"})

    assert answer.status_code == 400
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("how", ["announced", "streamed"])
async def test_a_body_that_is_too_large_is_refused(start: Callable[..., Any], how: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000

    content = b"x" * 300_000 if how == "announced" else chunks()
    async with start(gateway_body_bytes=200_000) as running:
        headers = {"Authorization": f"Bearer {running.key}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers) as http:
            answer = await http.post("/api/v1/runs", content=content)

    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")


async def test_headers_without_an_end_are_refused(running: Any) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
    writer.write(b"x" * 1_000_000)

    assert b"400" in await asyncio.wait_for(reader.readline(), 5)
    writer.close()


async def test_more_requests_at_once_than_allowed_are_refused(start: Callable[..., Any]) -> None:
    async with start(gateway_concurrent_requests=1) as running:
        running.llm_proxy.hanging = True
        headers = {"Authorization": f"Bearer {running.key}"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers) as http:
            chat = {"messages": [{"role": "user", "content": "hi"}]}
            first = asyncio.create_task(http.post("/v1/chat/completions", json=chat))
            async with asyncio.timeout(5):
                while (answer := await http.get("/healthz")).status_code == 200:
                    pass
            first.cancel()

    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_REQUESTS")


@pytest.mark.parametrize("kind", list(Kind))
async def test_every_kind_of_error_of_a_service_has_its_status(
    running: Any, http: httpx.AsyncClient, kind: Kind
) -> None:
    cls = next(cls for cls in CadreError.__subclasses__() if cls.kind is kind)
    running.executor.failure = cls("it is so", code="IT_IS_SO", resolution="do this")

    answer = await http.get("/api/v1/workflows")

    # gRPC sends what is unavailable once more.
    assert (answer.status_code, answer.json()["code"]) == (kind.value.http, "IT_IS_SO")
    assert (answer.json()["detail"], answer.json()["resolution"]) == ("it is so", "do this")


async def test_a_service_that_is_not_there_is_named(start: Callable[..., Any]) -> None:
    async with start(executor_address="127.0.0.1:1") as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=15) as http:
            answer = await http.get("/api/v1/runs")
            ready = await http.get("/readyz")

    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "executor" in answer.json()["detail"]
    assert (ready.status_code, ready.json()["code"]) == (503, "NOT_READY")


async def test_a_service_that_hangs_is_named(start: Callable[..., Any]) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    address = {"executor_address": f"127.0.0.1:{port}", "gateway_call_seconds": 0.2}
    async with start(**address) as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers) as http:
            answer = await http.get("/api/v1/runs")
            status = (await http.get("/api/v1/status")).json()["services"][1]
    silent.close()

    assert (answer.status_code, answer.json()["code"]) == (504, "SERVICE_TIMEOUT")
    assert "executor" in answer.json()["detail"]
    assert (status["status"], status["detail"]) == ("unreachable", "no answer within 1 s")


async def test_a_budget_that_is_used_up_says_when_to_come_back(
    running: Any, http: httpx.AsyncClient
) -> None:
    running.executor.failure = LimitExceeded("the budget is used up", code="BUDGET_EXCEEDED")

    answer = await http.get("/api/v1/workflows")

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


async def test_the_status_names_every_service(running: Any, http: httpx.AsyncClient) -> None:
    services = (await http.get("/api/v1/status")).json()["services"]

    assert {one["name"]: one["status"] for one in services} == {
        "gateway": "ready",
        "executor": "ready",
        "llm-proxy": "ready",
        "sandbox": "unreachable",
        "memory": "ready",
        "mlflow": "unreachable",
        "prefect": "unreachable",
    }
    assert [one["version"] for one in services[:4]] == ["0.1.0", "0.1.0", "0.1.0", None]
    assert services[3]["detail"] == "nobody listens at its address"


async def test_requests_are_counted_by_route(http: httpx.AsyncClient) -> None:
    await http.get("/api/v1/runs/none")
    await http.get("/api/v1/nothing")

    text = (await http.get("/metrics")).text

    route = 'route="/api/v1/runs/{run_id}"'
    assert f'cadre_http_requests_total{{method="GET",{route},status="404"}} 1.0' in text
    assert 'route="unmatched"' in text
    assert "/api/v1/nothing" not in text


async def test_the_trace_goes_on_into_the_services(running: Any, http: httpx.AsyncClient) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}

    await http.post("/api/v1/runs", json={"source": "flow: x"}, headers=headers)

    assert trace_id in running.executor.traceparents[0]


async def test_the_description_is_typed_and_complete(anybody: httpx.AsyncClient) -> None:
    spec = (await anybody.get("/openapi.json")).json()

    text = json.dumps(spec)
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named <= spec["components"]["schemas"].keys()
    assert "422" not in text
    assert "ValidationError" not in text
    run = spec["components"]["schemas"]["Run"]
    assert set(run["required"]) == run["properties"].keys()
    assert spec["paths"]["/api/v1/runs"]["post"]["security"] == [{"key": ["run"]}]
    assert "security" not in spec["paths"]["/healthz"]["get"]


async def test_the_reference_page_shows_every_route_without_the_network(
    anybody: httpx.AsyncClient,
) -> None:
    page = (await anybody.get("/docs")).text
    paths = (await anybody.get("/openapi.json")).json()["paths"]

    assert all(f"<code>{path}</code>" in page for path in paths)
    assert page.count("needs a key that may admin") == len(
        [
            1
            for methods in paths.values()
            for one in methods.values()
            if one.get("security") == [{"key": ["admin"]}]
        ]
    )
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


async def connected(running: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = running.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def dripped(writer: asyncio.StreamWriter, first: bytes) -> None:
    """Sends a byte now and then, for as long as somebody takes it."""
    writer.write(first)
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)


async def said_until_cut_off(reader: asyncio.StreamReader) -> bytes:
    """What was said last; nothing when more was under way to whoever closed, which loses it."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"\r\n",
        b"GET /healthz HTTP/1.1\r\nX: ",
        b"POST /hooks/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n",
        b"POST /hooks/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n",
    ],
)
async def test_whoever_sends_in_drops_is_cut_off(start: Callable[..., Any], first: bytes) -> None:
    async with start(gateway_read_seconds=0.5) as running:
        reader, writer = await connected(running)
        dripping = asyncio.create_task(dripped(writer, first))

        said = await asyncio.wait_for(said_until_cut_off(reader), 20)

        dripping.cancel()
        writer.close()
        async with httpx.AsyncClient(base_url=running.url, verify=False) as http:
            assert (await http.get("/healthz")).status_code == 200
    assert said == b"" or said.startswith(b"HTTP/1.1 40")


async def test_whoever_says_nothing_is_cut_off(start: Callable[..., Any]) -> None:
    async with start(gateway_read_seconds=0.3) as running:
        reader, writer = await connected(running)

        assert b"408" in await asyncio.wait_for(reader.read(), 20)

        writer.close()


def asking_for_much(running: Any) -> socket.socket:
    """Asks for more than a connection holds."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    caller.connect(("127.0.0.1", httpx.URL(running.url).port))
    caller.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
    return caller


async def test_whoever_does_not_take_their_answer_is_cut_off(
    start: Callable[..., Any], eventually: Any
) -> None:
    async with start(gateway_read_seconds=0.3) as running:
        with asking_for_much(running) as caller:
            here = caller.getsockname()

            def is_held() -> bool:
                return any(c.raddr == here for c in psutil.Process().net_connections("tcp"))

            await eventually(is_held)
            await eventually(lambda: not is_held())


async def test_whoever_takes_their_answer_slowly_gets_all_of_it(start: Callable[..., Any]) -> None:
    async with start(gateway_read_seconds=2) as running:
        async with httpx.AsyncClient(base_url=running.url, verify=False) as http:
            wanted = 10 * len((await http.get("/openapi.json")).content)
        with asking_for_much(running) as caller:
            caller.settimeout(10)
            taken = 0
            while taken < wanted and (said := await asyncio.to_thread(caller.recv, 16384)):
                taken += len(said)
                await asyncio.sleep(0.01)

    assert taken >= wanted


async def test_a_slow_answer_is_not_taken_for_a_slow_client(start: Callable[..., Any]) -> None:
    async with start(gateway_read_seconds=0.2, gateway_heartbeat_seconds=0.1) as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        async with httpx.AsyncClient(base_url=running.url, headers=headers, verify=False) as http:
            run = (await http.post("/api/v1/runs", json={"source": "flow: x"})).json()
            beats = 0
            async with http.stream("GET", f"/api/v1/runs/{run['id']}/events") as events:
                async for line in events.aiter_lines():
                    beats += line.startswith(": keep-alive")
                    if beats == 6:
                        break

    assert beats == 6


@pytest.mark.parametrize("path", ["/api/v1/runs", "/docs", "/healthz", "/nothing", "/hooks/none"])
async def test_no_other_page_may_show_or_read_an_answer(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers={"Origin": "https://elsewhere.example"})

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    assert (await http.options(path, headers=asked)).status_code >= 400
