"""The llm-proxy as a process: stopped and killed, it leaves nothing behind, and a paid reply is not lost."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.health import is_serving

REQUEST = llm_pb2.CompleteRequest(
    options=llm_pb2.ModelOptions(provider="embedded", max_tokens=4),
    messages=[llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")],
)


async def started(home: Path, port: int) -> Process:
    environment = {**os.environ, "CADRE_HOME": str(home), "CADRE_LLM_PROXY_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cadre_llm_proxy", env=environment, cwd=home
    )
    async with asyncio.timeout(60):
        while not await is_serving(f"127.0.0.1:{port}"):  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.1)
    return process


async def asked(port: int) -> llm_pb2.Reply:
    async with connect(f"127.0.0.1:{port}") as channel:
        stub = llm_pb2_grpc.LlmServiceStub(channel)
        response = await call(
            stub.Complete,
            REQUEST,
            service="llm-proxy",
            timeout_seconds=90,
            idempotency_key="run/node/1",
        )
        reply: llm_pb2.Reply = response.reply
        return reply


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(10):
        while any(map(runs, pids)):  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.05)


async def test_a_reply_outlives_a_kill_and_no_process_does(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    first = await started(tmp_path, unused_tcp_port)
    paid = await asked(unused_tcp_port)
    models = children(first.pid)

    first.kill()
    await first.wait()
    await until_gone(models)
    second = await started(tmp_path, unused_tcp_port)
    again = await asked(unused_tcp_port)
    second.send_signal(signal.SIGTERM)

    assert models
    assert (again.replayed, again.call_id) == (True, paid.call_id)
    assert await asyncio.wait_for(second.wait(), 10) == 0
