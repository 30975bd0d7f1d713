"""`cadre keys` and `cadre audit` against the real gateway, as a person types them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Ran:
    status: int
    stdout: str
    stderr: str


async def cadre(running: Any, *arguments: str, key: str = "") -> Ran:
    """One command in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CADRE_") and k != "COLUMNS"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cadre_cli",
        *arguments,
        env={**kept, "CADRE_GATEWAY_URL": running.url, "CADRE_API_KEY": key or running.key},
        cwd=running.home,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Ran(status=process.returncode or 0, stdout=out.decode(), stderr=err.decode())


async def test_a_key_is_made_used_listed_rotated_and_revoked(running: Any) -> None:
    limits = ["--expires", "30d", "--rate", "60/m", "--budget", "5/day"]
    made = await cadre(running, "keys", "create", "ci", "--scope", "run", *limits)
    secret = made.stdout.strip()

    listed, refused = await asyncio.gather(
        cadre(running, "keys", "list"), cadre(running, "keys", "list", "--json", key=secret)
    )
    rotated = await cadre(running, "keys", "rotate", "ci", "--json")
    revoked = await cadre(running, "keys", "revoke", "ci")
    after = json.loads((await cadre(running, "keys", "list", "--json")).stdout)["keys"]

    assert (made.status, made.stdout) == (0, f"{secret}\n")
    assert "Keep the secret now" in made.stderr
    assert "60 in 60 s" in listed.stdout
    assert secret not in listed.stdout
    assert refused.status == 2
    assert json.loads(refused.stdout)["error"]["code"] == "SCOPE_MISSING"
    assert json.loads(rotated.stdout)["secret"] != secret
    assert revoked.stdout == "ci is revoked\n"
    assert [(key["name"], key["status"]) for key in after] == [("ci", "revoked")]
    budget = running.llm_proxy.budgets["key.ci"]
    assert (budget.subject, budget.usd) == ("ci", "5")


async def test_who_did_what_is_shown_and_filtered(running: Any) -> None:
    await cadre(running, "keys", "create", "ci", "--scope", "read")
    await cadre(running, "keys", "list", key="cadre_wrong_key_of_nobody")

    shown, refused = await asyncio.gather(
        cadre(running, "audit"), cadre(running, "audit", "--refused", "--last", "1h", "--json")
    )

    assert "admin" in shown.stdout
    assert "/api/v1/keys" in shown.stdout
    (entry,) = json.loads(refused.stdout)["entries"]
    assert (entry["key"], entry["code"]) == ("", "API_KEY_WRONG")


async def test_what_cannot_be_is_refused_with_what_to_write(running: Any) -> None:
    create = ["keys", "create", "ci", "--scope"]

    runs = await asyncio.gather(
        cadre(running, *create, "root"),
        cadre(running, *create, "run", "--rate", "fast"),
        cadre(running, *create, "run", "--budget", "5/year"),
        cadre(running, *create, "run", "--expires", "soon"),
        cadre(running, "audit", "--refused", "--done"),
    )

    assert [ran.status for ran in runs] == [2] * 5
    for ran, said in zip(runs, ["read, run", "60/m", "5/day", "7d", "exclude"], strict=True):
        assert said in ran.stderr
    assert "Traceback" not in "".join(ran.stderr for ran in runs)
