"""Programs over HTTP, from Python and from the terminal, on a real sandbox."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cadre_client import Client
from cadre_kit.serving import serving
from cadre_sandbox.app import build
from cadre_sandbox.settings import SandboxSettings


@pytest.fixture
async def gateway(start: Any, tmp_path: Path) -> AsyncIterator[Any]:
    settings = SandboxSettings(_env_file=None, home=tmp_path, sandbox_docker=False)
    async with (
        build(settings) as services,
        serving(services, host="127.0.0.1", port=0) as address,
        start(sandbox_address=address) as running,
    ):
        yield running


async def cadre(gateway: Any, *arguments: str) -> tuple[int, str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CADRE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cadre_cli",
        *arguments,
        cwd=gateway.home,
        env={**kept, "CADRE_GATEWAY_URL": gateway.url, "CADRE_API_KEY": gateway.key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_program_runs_over_http_and_says_how_it_ended(gateway: Any) -> None:
    with Client(gateway.url, gateway.key) as client:
        done = await asyncio.to_thread(
            client.execute, "print(a)\nresult = {'twice': a * 2}", inputs={"a": 4}, preset="low"
        )
        failed = await asyncio.to_thread(client.execute, "\n1 / 0")
        limited = await asyncio.to_thread(client.execute, "while True: pass", timeout_seconds=0.2)

    assert (done.outcome, done.stdout, done.result) == ("succeeded", "4\n", {"twice": 8})
    assert "syscalls" in done.walls
    assert failed.error is not None
    assert failed.error.message == "line 2: ZeroDivisionError: division by zero"
    assert (limited.outcome, limited.limits_reached) == ("limit", ["time"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"code": "1", "mode": "docker"}, 501, "MODE_NOT_OFFERED"),
        ({"code": "1", "memory_mb": 60_000}, 400, "LIMIT_OUT_OF_RANGE"),
        ({"code": "1", "files": [{"name": "/x", "content": ""}]}, 400, "FILE_REFUSED"),
        ({"code": "1", "packages": ["numpy"]}, 400, "PACKAGE_NOT_ALLOWED"),
        ({"code": "1", "hosts": ["example.com"]}, 400, "HOST_NOT_ALLOWED"),
        ({"code": "1", "files": [{"name": "x", "content": "!"}]}, 400, "INVALID_REQUEST"),
        ({"code": 1}, 400, "INVALID_REQUEST"),
    ],
)
async def test_a_wrong_request_is_refused(
    gateway: Any, body: dict[str, Any], status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as http:
        answer = await http.post("/api/v1/executions", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_command_prints_what_the_program_leaves(gateway: Any) -> None:
    (gateway.home / "sum.py").write_text("print('adding')\nresult = sum(numbers)")

    status, out, _ = await cadre(gateway, "exec", "sum.py", "-i", "numbers:=[1,2]")
    shown, document, _ = await cadre(gateway, "exec", "sum.py", "-i", "numbers:=[3]", "--json")

    assert (status, out) == (0, "adding\n3\n")
    done = json.loads(document)
    assert list(done) == [
        "outcome", "stdout", "stderr", "result", "files", "limits_reached", "usage", "walls", "error",
    ]  # fmt: skip
    assert list(done["usage"]) == ["wall_ms", "cpu_ms", "peak_memory_bytes", "output_bytes"]
    assert "syscalls" in done["walls"]
    assert (shown, done["outcome"], done["result"], done["error"]) == (0, "succeeded", 3, None)


async def test_the_command_ends_with_1_when_the_program_fails(gateway: Any) -> None:
    (gateway.home / "bad.py").write_text("import os")

    status, out, err = await cadre(gateway, "exec", "bad.py")

    assert (status, out) == (1, "")
    assert "blocked: line 1: the module 'os' is not allowed" in err
    assert "Traceback (most recent call last):\n  line 1, in <module>" in err


async def test_the_command_takes_a_preset_which_other_limits_change(gateway: Any) -> None:
    (gateway.home / "big.py").write_text("x = 'a' * (300 << 20)\nresult = len(x)")

    default, _, said = await cadre(gateway, "exec", "big.py")
    preset, out, _ = await cadre(gateway, "exec", "big.py", "--preset", "medium")
    lower, _, _ = await cadre(gateway, "exec", "big.py", "--preset", "medium", "--memory-mb", "256")

    assert (default, preset, lower, out) == (1, 0, 1, "314572800\n")
    assert "the program needs more than 256 MiB of memory" in said


async def test_files_are_sent_and_come_back_changed(gateway: Any) -> None:
    code = "with open('a.bin', 'ab') as f: f.write(b'!')\nopen('b.csv', 'w').write('x,y')"
    with Client(gateway.url, gateway.key) as client:
        done = await asyncio.to_thread(client.execute, code, files={"a.bin": b"\x00\x01"})

    found = {file.name: base64.b64decode(file.content) for file in done.files}
    assert found == {"a.bin": b"\x00\x01!", "b.csv": b"x,y"}
    assert [file.media_type for file in done.files][1] == "text/csv"
