"""The files of a run through the real HTTP API."""

from __future__ import annotations

from typing import Any

import httpx


async def test_the_files_of_a_run_are_listed_and_read(
    running: Any, http: httpx.AsyncClient
) -> None:
    run = (await http.post("/api/v1/runs", json={"source": "flow: {}\n"})).json()["id"]
    running.executor.files.contents[run] = {"out/page.html": b"<b>hi</b>", "a.csv": b"x\n"}

    listed = (await http.get(f"/api/v1/runs/{run}/files")).json()["files"]
    read = await http.get(f"/api/v1/runs/{run}/files/out/page.html")
    missing = await http.get(f"/api/v1/runs/{run}/files/none")
    nobody = await http.get("/api/v1/runs/none/files")

    assert [(one["path"], one["size_bytes"]) for one in listed] == [
        ("a.csv", 2),
        ("out/page.html", 9),
    ]
    assert (read.content, read.headers["x-content-type-options"]) == (b"<b>hi</b>", "nosniff")
    # A page that a program wrote must not act as one of ours.
    assert "sandbox" in read.headers["content-security-policy"]
    assert (missing.status_code, missing.json()["code"]) == (404, "FILE_NOT_FOUND")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "RUN_NOT_FOUND")
