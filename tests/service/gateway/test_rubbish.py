"""Whatever is sent to any route, the answer is one of those that the description names, and never a failure of ours."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["..", "%00", "%2e%2e%2f", "'; --", "null", "-1", "1e999", "😀", "a/b", "{}"]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
FLAT = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(TEXTS, SCALARS, max_size=3)
)
VALUES = st.one_of(FLAT, st.lists(FLAT, max_size=2), st.dictionaries(TEXTS, FLAT, max_size=2))


def requests_of(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
        if not path.endswith("/events")
    ]


def body_of(data: Any, operation: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A body whose fields have the right names and any values, or anything at all."""
    content: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
    references = [one["schema"].get("$ref", "") for one in content.values()]
    reference = references[0] if references else ""
    fields = schemas.get(reference.rpartition("/")[2], {}).get("properties", {})
    shaped = st.fixed_dictionaries({}, optional=dict.fromkeys(fields, VALUES))
    return data.draw(st.one_of(shaped, VALUES))


def send_rubbish(http: httpx.Client, description: dict[str, Any], data: Any) -> httpx.Response:
    method, path, operation = data.draw(st.sampled_from(requests_of(description)))
    parameters = operation.get("parameters", [])
    for name in [one["name"] for one in parameters if one["in"] == "path"]:
        path = path.replace(f"{{{name}}}", data.draw(TEXTS))
    query = {one["name"]: data.draw(TEXTS) for one in parameters if one["in"] == "query"}
    body = body_of(data, operation, description["components"]["schemas"])
    return http.request(method, quote(path), params=query, json=body if method == "POST" else None)


def _is_without_sandbox(answer: httpx.Response) -> bool:
    """Whether it says that no sandbox is there, which is so here."""
    asked = answer.request.url.path.startswith(("/api/v1/executions", "/api/v1/sandbox-sessions"))
    return asked and answer.status_code == 503 and "sandbox" in answer.json()["detail"]


async def test_no_request_makes_the_gateway_fail(running: Any) -> None:
    headers = {"Authorization": f"Bearer {running.key}"}
    with httpx.Client(base_url=running.url, headers=headers, verify=False, timeout=30) as http:
        description = (await asyncio.to_thread(http.get, "/openapi.json")).json()

        @settings(max_examples=200, deadline=None, database=None)
        @given(data=st.data())
        def every_answer_is_a_known_one(data: Any) -> None:
            answer = send_rubbish(http, description, data)
            assert answer.status_code < 500 or _is_without_sandbox(answer)
            if answer.status_code >= 400:
                problem = answer.json()
                assert problem.get("code") or problem["error"]["code"]

        await asyncio.to_thread(every_answer_is_a_known_one)


async def test_what_is_no_http_is_refused_as_everything_else(running: Any) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()

    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head.lower()
    assert json.loads(body)["code"] == "INVALID_REQUEST"


async def test_bytes_that_are_no_http_do_no_harm(running: Any, http: httpx.AsyncClient) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    noise = random.Random(7)
    for _ in range(30):
        _reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(noise.randbytes(500) + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    assert (await http.get("/healthz")).status_code == 200
