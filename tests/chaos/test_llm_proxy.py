"""The llm-proxy as a process: stopped and killed, it leaves nothing behind, and a paid reply is not lost."""

import asyncio
import os
import signal
from decimal import Decimal
from pathlib import Path

from tests.fakes.providers import Answer, openai_reply, provider_server
from tests.preloaded import Forked, fork

from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc, usage_pb2, usage_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.credentials import Credentials
from cadre_kit.health import is_serving

CREDENTIALS = Credentials(token="a-token-of-the-tests")
REQUEST = llm_pb2.CompleteRequest(
    options=llm_pb2.ModelOptions(provider="embedded", max_tokens=4),
    messages=[llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")],
)


async def started(home: Path, port: int, **variables: str) -> Forked:
    environment = {
        **os.environ,
        "CADRE_HOME": str(home),
        "CADRE_LLM_PROXY_PORT": str(port),
        "CADRE_SERVICE_TOKEN": CREDENTIALS.token,
        **variables,
    }
    with (home / "log").open("ab") as log:
        process = await asyncio.to_thread(
            fork, "cadre_llm_proxy", env=environment, cwd=home, log=log
        )
    async with asyncio.timeout(60):
        while not await is_serving(f"127.0.0.1:{port}"):  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.1)
    return process


async def asked(port: int) -> llm_pb2.Reply:
    async with connect(f"127.0.0.1:{port}", CREDENTIALS) as channel:
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
    await asyncio.to_thread(first.wait)
    await until_gone(models)
    second = await started(tmp_path, unused_tcp_port)
    again = await asked(unused_tcp_port)
    second.send_signal(signal.SIGTERM)

    assert models
    assert (again.replayed, again.call_id) == (True, paid.call_id)
    assert await asyncio.to_thread(second.wait, 10) == 0


async def used(port: int) -> usage_pb2.QueryUsageResponse:
    async with connect(f"127.0.0.1:{port}", CREDENTIALS) as channel:
        stub = usage_pb2_grpc.UsageServiceStub(channel)
        query = usage_pb2.QueryUsageRequest()
        return await call(stub.QueryUsage, query, service="llm-proxy", timeout_seconds=30)


async def spent(port: int, usd: str) -> usage_pb2.BudgetStatus:
    async with connect(f"127.0.0.1:{port}", CREDENTIALS) as channel:
        stub = usage_pb2_grpc.UsageServiceStub(channel)
        budget = usage_pb2.Budget(
            name="all",
            scope=usage_pb2.BUDGET_SCOPE_PLATFORM,
            period=usage_pb2.BUDGET_PERIOD_MONTH,
            usd=usd,
        )
        set_it = usage_pb2.SetBudgetRequest(budget=budget)
        answer = await call(stub.SetBudget, set_it, service="llm-proxy", timeout_seconds=30)
        status: usage_pb2.BudgetStatus = answer.status
        return status


async def test_what_was_sent_when_it_was_killed_stays_counted_and_its_key_is_free_at_once(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    request = llm_pb2.CompleteRequest(
        options=llm_pb2.ModelOptions(provider="openai", max_tokens=10),
        messages=[llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")],
    )

    async def ask(seconds: float) -> llm_pb2.CompleteResponse:
        async with connect(f"127.0.0.1:{unused_tcp_port}", CREDENTIALS) as channel:
            stub = llm_pb2_grpc.LlmServiceStub(channel)
            return await call(
                stub.Complete,
                request,
                service="llm-proxy",
                timeout_seconds=seconds,
                idempotency_key="run/node/1",
            )

    async with provider_server(Answer(stall=True)) as provider:
        at = {"OPENAI_API_KEY": "sk-none", "OPENAI_API_BASE": f"{provider.url}/v1"}
        first = await started(tmp_path, unused_tcp_port, **at)
        under_way = asyncio.create_task(ask(90))
        await asyncio.wait_for(provider.arrived.wait(), 60)
        first.kill()
        await asyncio.to_thread(first.wait)
        under_way.cancel()
        await asyncio.wait([under_way])

        provider.will(openai_reply("hello"))
        second = await started(tmp_path, unused_tcp_port, **at)
        before = await used(unused_tcp_port)
        reply = (await ask(60)).reply
        budget = await spent(unused_tcp_port, "1")
        second.terminate()
        await asyncio.to_thread(second.wait)

    details = before.total_details
    assert (details.open_calls, details.uncertain_calls) == (0, 1)
    assert Decimal(details.uncertain_usd) > 0
    assert not reply.replayed
    expected = Decimal(details.uncertain_usd) + Decimal(reply.usage.cost_usd)
    assert Decimal(budget.uses[0].used_usd) == expected
