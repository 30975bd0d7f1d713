"""The audit log: who changed what, and what was refused to whom."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

SOURCE = {"source": "flow: x\n"}


async def entries(http: httpx.AsyncClient, **wanted: Any) -> list[dict[str, Any]]:
    answer = await http.get("/api/v1/audit", params=wanted)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


async def test_what_changes_something_is_written_down(
    running: Any, http: httpx.AsyncClient
) -> None:
    made = (await http.post("/api/v1/keys", json={"name": "ci", "scope": "write"})).json()
    own = {"Authorization": f"Bearer {made['secret']}"}
    run = await http.post("/api/v1/runs", json=SOURCE, headers=own)
    name = (await http.post("/api/v1/workflows", json=SOURCE)).json()["workflow"]["name"]
    deleted = await http.delete(f"/api/v1/workflows/{name}", headers=own)

    deletion, _, start = (await entries(http))[:3]

    assert start["ids"] == {"created": f"/api/v1/runs/{run.json()['id']}"}
    assert (start["key"], start["status"], start["code"]) == ("ci", 202, "")
    assert deletion["prefix"] == made["key"]["prefix"]
    assert (deletion["method"], deletion["route"]) == ("DELETE", "/api/v1/workflows/{name}")
    assert (deletion["ids"], deletion["status"]) == ({"name": name}, 204)
    assert deletion["request_id"] == deleted.headers["x-request-id"]
    assert deletion["address"] == "127.0.0.1"


async def test_what_only_looks_is_not(running: Any, http: httpx.AsyncClient) -> None:
    await http.get("/api/v1/runs")
    await http.post("/api/v1/workflows/validate", json=SOURCE)
    await http.post("/a2a/x", json={"jsonrpc": "2.0", "id": 1, "method": "GetTask"})
    async with httpx.AsyncClient(base_url=running.url, timeout=60, verify=False) as nobody:
        await nobody.get("/healthz")

    assert await entries(http) == []


async def test_what_is_refused_is_written_down_with_why(
    running: Any, http: httpx.AsyncClient
) -> None:
    made = (await http.post("/api/v1/keys", json={"name": "ci", "scope": "read"})).json()
    own = {"Authorization": f"Bearer {made['secret']}"}
    await http.post("/api/v1/runs", json=SOURCE, headers=own)
    await http.post("/api/v1/runs", json={"sauce": 1})
    await http.post("/api/v1/keys/ci/revoke")
    await http.get("/api/v1/runs", headers=own)
    await http.get("/api/v1/runs", headers={"Authorization": "Bearer wrong"})

    refused = await entries(http, refused=True)

    assert [(one["key"], one["status"], one["code"]) for one in refused] == [
        ("", 401, "API_KEY_WRONG"),
        ("ci", 401, "API_KEY_REVOKED"),
        ("admin", 400, "INVALID_REQUEST"),
        ("ci", 403, "SCOPE_MISSING"),
    ]


async def test_no_secret_and_no_body_is_written_down(running: Any, http: httpx.AsyncClient) -> None:
    made = (await http.post("/api/v1/keys", json={"name": "ci", "scope": "read"})).json()
    await http.post("/api/v1/runs?token=s3cret", json={"source": "s3cret"})
    await http.get("/api/v1/runs", headers={"Authorization": "Bearer s3cret"})

    said = (await http.get("/api/v1/audit")).text

    assert "s3cret" not in said
    assert made["secret"] not in said
    assert running.key not in said


@pytest.mark.parametrize(
    ("whose", "code"), [("nobody", "API_KEY_MISSING"), ("revoked", "API_KEY_REVOKED")]
)
async def test_whoever_is_turned_away_cannot_fill_the_log(
    running: Any, http: httpx.AsyncClient, whose: str, code: str
) -> None:
    made = (await http.post("/api/v1/keys", json={"name": "ci", "scope": "run"})).json()
    await http.post("/api/v1/keys/ci/revoke")
    headers = {"Authorization": f"Bearer {made['secret']}"} if whose == "revoked" else {}
    async with httpx.AsyncClient(
        base_url=running.url, headers=headers, timeout=60, verify=False
    ) as turned_away:
        began = time.monotonic()
        for _ in range(60):
            await turned_away.post("/api/v1/runs")
        seconds = time.monotonic() - began

    found = await entries(http, refused="true", page_size=500)
    # Two at once, and then one a second.
    assert 1 <= len(found) <= 3 + seconds
    assert {one["code"] for one in found} == {code}


async def test_the_log_is_read_page_by_page_and_survives_a_restart(
    start: Callable[..., Any],
) -> None:
    async with start() as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        async with httpx.AsyncClient(
            base_url=running.url, headers=headers, timeout=60, verify=False
        ) as http:
            for number in range(5):
                await http.post("/api/v1/keys", json={"name": f"k{number}", "scope": "read"})

    async with (
        start() as again,
        httpx.AsyncClient(base_url=again.url, headers=headers, timeout=60, verify=False) as http,
    ):
        first = (await http.get("/api/v1/audit?page_size=3")).json()
        token = first["next_page_token"]
        second = (await http.get(f"/api/v1/audit?page_size=3&page_token={token}")).json()

        odd = [
            await http.get(f"/api/v1/{which}", params={"page_token": wrong})
            for which in ("audit", "deliveries")
            for wrong in ("rubbish", "\0", f"{token}\n")
        ]

    assert [one.status_code for one in odd] == [400] * 6
    assert [len(first["entries"]), len(second["entries"])] == [3, 2]
    assert second["next_page_token"] == ""
    ids = [one["id"] for one in first["entries"] + second["entries"]]
    assert ids == sorted(ids, reverse=True)
