"""API keys over HTTP: made, limited, given another secret, revoked; and what each may do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from cadre_gateway.domain.api_keys import Scope
from cadre_kit.errors import FailedPrecondition

SCOPES = [scope.value for scope in Scope]
NEEDED = [
    ("GET", "/api/v1/runs", "read"),
    ("POST", "/api/v1/workflows/validate", "read"),
    ("POST", "/api/v1/runs", "run"),
    ("POST", "/v1/chat/completions", "run"),
    ("POST", "/v1/embeddings", "run"),
    ("POST", "/mcp", "run"),
    ("POST", "/a2a/triage/message:send", "run"),
    ("DELETE", "/api/v1/workflows/triage", "write"),
    ("POST", "/api/v1/schedules/nightly/pause", "write"),
    ("DELETE", "/api/v1/budgets/all", "admin"),
    ("GET", "/api/v1/keys", "admin"),
    ("GET", "/api/v1/audit", "admin"),
]


async def made(http: httpx.AsyncClient, name: str = "ci", **more: Any) -> str:
    answer = await http.post("/api/v1/keys", json={"name": name, "scope": "run", **more})
    assert answer.status_code == 201, answer.text
    secret: str = answer.json()["secret"]
    return secret


@asynccontextmanager
async def calling(running: Any, secret: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(
        base_url=running.url, headers=headers, timeout=30, verify=False
    ) as http:
        yield http


async def test_every_route_says_what_it_needs_of_a_key(http: httpx.AsyncClient) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]

    asked = {
        (method, path): operation.get("security")
        for path, methods in paths.items()
        for method, operation in methods.items()
    }

    without = {path for (_, path), security in asked.items() if security is None}
    assert without == {
        "/healthz",
        "/readyz",
        "/api/v1/schema",
        "/hooks/{workflow}",
        "/hooks/{kind}/{name}",
    }
    declared = [security for security in asked.values() if security is not None]
    assert len(declared) > 70
    assert all(each in [[{"key": [scope]}] for scope in SCOPES] for each in declared)
    unsafe = [key for key, security in asked.items() if key[0] != "get" and security]
    posted_questions = {
        path for method, path in unsafe if asked[method, path] == [{"key": ["read"]}]
    }
    assert posted_questions == {
        "/api/v1/workflows/validate",
        "/api/v1/workflows/plan",
        "/api/v1/memories/search",
    }


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_key_does_what_its_scope_includes_and_nothing_else(
    running: Any, http: httpx.AsyncClient, scope: str
) -> None:
    secret = await made(http, scope=scope)

    async with calling(running, secret) as caller:
        answers = [(await caller.request(method, path)) for method, path, _ in NEEDED]

    for answer, (_, path, needed) in zip(answers, NEEDED, strict=True):
        if SCOPES.index(scope) >= SCOPES.index(needed):
            assert answer.status_code not in (401, 403)
            continue
        assert answer.status_code == 403
        said = answer.json().get("detail") or answer.json()["error"]["message"]
        assert f"scope {needed}" in said, path


async def test_by_json_rpc_too_a_task_needs_what_it_does(
    running: Any, http: httpx.AsyncClient
) -> None:
    secret = await made(http, scope="read")
    call = {"jsonrpc": "2.0", "id": 1, "params": {"id": "none"}}

    async with calling(running, secret) as caller:
        caller.headers["A2A-Version"] = "1.0"
        read = await caller.post("/a2a/triage", json={**call, "method": "GetTask"})
        cancel = await caller.post("/a2a/triage", json={**call, "method": "CancelTask"})

    assert (read.status_code, cancel.status_code) == (200, 403)


async def test_a_key_is_shown_once_and_listed_without_its_secret(
    running: Any, http: httpx.AsyncClient
) -> None:
    secret = await made(http, expires_seconds=3600, rate={"requests": 100, "seconds": 60})
    async with calling(running, secret) as caller:
        who = (await caller.get("/api/v1/whoami")).json()

    listed = await http.get("/api/v1/keys")

    (key,) = listed.json()["keys"]
    assert secret.startswith(key["prefix"] + "_")
    assert who == {"name": "ci", "prefix": key["prefix"], "scope": "run"}
    assert (key["status"], key["rate"]) == ("active", {"requests": 100, "seconds": 60})
    assert key["expires_time"] > key["last_used_time"] >= key["created_time"]
    assert secret.removeprefix(key["prefix"]) not in listed.text
    assert secret not in (running.home / "gateway.db").read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"name": "ci"}, 409, "API_KEY_EXISTS"),
        ({"name": "admin"}, 400, "API_KEY_RESERVED"),
        ({"name": "No Spaces"}, 400, "API_KEY_NAME_INVALID"),
        ({"name": "x", "scope": "root"}, 400, "INVALID_REQUEST"),
        ({"name": "x", "expires_seconds": 0}, 400, "INVALID_REQUEST"),
        ({"name": "x", "rate": {"requests": 0, "seconds": 1}}, 400, "INVALID_REQUEST"),
        ({"name": "x", "budget": {"period": "day"}}, 400, "INVALID_REQUEST"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(
    http: httpx.AsyncClient, asked: dict[str, Any], status: int, code: str
) -> None:
    await made(http)

    answer = await http.post("/api/v1/keys", json={"scope": "run", **asked})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [key["name"] for key in (await http.get("/api/v1/keys")).json()["keys"]] == ["ci"]


async def test_a_revoked_key_opens_nothing_more(running: Any, http: httpx.AsyncClient) -> None:
    secret = await made(http)
    async with calling(running, secret) as caller:
        before = await caller.get("/api/v1/runs")
        await http.post("/api/v1/keys/ci/revoke")
        after = await caller.get("/api/v1/runs")
        openai = await caller.get("/v1/models")

    assert (before.status_code, after.status_code) == (200, 401)
    assert after.json()["code"] == "API_KEY_REVOKED"
    assert openai.json()["error"]["code"] == "invalid_api_key"
    assert (await http.get("/api/v1/keys")).json()["keys"][0]["status"] == "revoked"


async def test_a_key_gets_another_secret(running: Any, http: httpx.AsyncClient) -> None:
    old = await made(http)

    new = (await http.post("/api/v1/keys/ci/rotate", json={})).json()["secret"]

    for secret, status in ((old, 401), (new, 200)):
        async with calling(running, secret) as caller:
            assert (await caller.get("/api/v1/whoami")).status_code == status


@pytest.mark.parametrize("what", ["rotate", "revoke"])
async def test_the_key_in_the_home_is_not_changed_here(http: httpx.AsyncClient, what: str) -> None:
    own = await http.post(f"/api/v1/keys/admin/{what}", json={})
    none = await http.post(f"/api/v1/keys/nobody/{what}", json={})

    assert (own.status_code, own.json()["code"]) == (400, "API_KEY_RESERVED")
    assert (none.status_code, none.json()["code"]) == (404, "API_KEY_NOT_FOUND")


async def test_more_requests_than_the_rate_are_refused_with_when_to_come_back(
    running: Any, http: httpx.AsyncClient
) -> None:
    secret = await made(http, rate={"requests": 5, "seconds": 3600})

    async with calling(running, secret) as caller:
        answers = await asyncio.gather(*(caller.get("/api/v1/whoami") for _ in range(12)))

    good = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(good), len(refused)) == (5, 7)
    assert sorted(answer.headers["ratelimit-remaining"] for answer in good) == list("01234")
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"5"}
    assert all(0 < int(answer.headers["retry-after"]) <= 720 for answer in refused)
    assert refused[0].json()["code"] == "RATE_EXCEEDED"
    assert (await http.get("/api/v1/whoami")).status_code == 200


async def test_a_keys_budget_is_set_with_it_or_there_is_no_key(
    running: Any, http: httpx.AsyncClient
) -> None:
    budget = {"usd": "5.00", "period": "day"}

    await made(http, budget=budget)
    running.llm_proxy.failure = FailedPrecondition("the ledger cannot be written")
    refused = await http.post("/api/v1/keys", json={"name": "b", "scope": "run", "budget": budget})
    running.llm_proxy.failure = None

    (kept,) = (await http.get("/api/v1/budgets")).json()["budgets"]
    assert kept["budget"]["name"] == "key.ci"
    assert (kept["budget"]["scope"], kept["budget"]["subject"]) == ("key", "ci")
    assert refused.status_code == 400
    assert [key["name"] for key in (await http.get("/api/v1/keys")).json()["keys"]] == ["ci"]


async def test_what_a_key_starts_is_known_as_its_own(running: Any, http: httpx.AsyncClient) -> None:
    secret = await made(http)
    chat = {"messages": [{"role": "user", "content": "hi"}]}

    async with calling(running, secret) as caller:
        run = (await caller.post("/api/v1/runs", json={"source": "flow: x"})).json()
        fork = (await caller.post(f"/api/v1/runs/{run['id']}/fork", json={})).json()
        await caller.post("/v1/chat/completions", json=chat)
    own = (await http.post("/api/v1/runs", json={"source": "flow: x"})).json()

    assert (run["api_key"], fork["api_key"], own["api_key"]) == ("ci", "ci", "admin")
    assert [asked.attribution.api_key for asked in running.llm_proxy.asked] == ["ci"]


async def test_keys_survive_a_restart(start: Callable[..., Any]) -> None:
    async with start() as running, calling(running, running.key) as http:
        secret = await made(http, scope="read")

    async with start() as again, calling(again, secret) as caller:
        assert (await caller.get("/api/v1/whoami")).json()["scope"] == "read"
