"""The executor with the real llm-proxy, in front of a real provider's server: runs that budgets stop."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.providers import ProviderServer
from tests.service.executor.conftest import Executor

from cadre.common.v1 import common_pb2
from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import usage_pb2, usage_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.serving import serving
from cadre_llm_proxy.app import build_with
from cadre_llm_proxy.settings import ProcessEnvironment, Settings

__all__ = [
    "CONFIG",
    "EACH",
    "TWICE",
    "LlmProxy",
    "Open",
    "answer",
    "llm_proxy_running",
    "paused",
    "resume",
    "waiting",
]

CONFIG = """
config:
  llm: {provider: openai, model: gpt-4.1-mini, max_tokens: 50}
  budget: {tokens: 80, on_exceed: pause}
"""
TWICE = """
flow: {name: twice}
state: {fields: {message: {type: str, required: true}, one: {type: str, default: ""}, two: {type: str, default: ""}}}
nodes:
  - {id: first, prompt: "Say {state.message}", outputs: [one]}
  - {id: second, prompt: "Say {state.one}", outputs: [two], on_error: continue}
edges:
  - {from: START, to: first}
  - {from: first, to: second}
  - {from: second, to: END}
"""
EACH = """
flow: {name: each}
state: {fields: {message: {type: str, required: true}, said: {type: "list[str]", default: []}}}
nodes:
  - id: every
    for_each: {items: [a, b, c, d, e], as: item, max_concurrency: 1}
    prompt: "Say {item}"
    outputs: [said]
edges: [{from: START, to: every}, {from: every, to: END}]
"""
Open = Callable[[], AbstractAsyncContextManager[Executor]]


@dataclass(frozen=True, kw_only=True)
class LlmProxy:
    """Sets the llm-proxy's budgets."""

    address: str

    async def set_budget(self, name: str, **fields: Any) -> usage_pb2.BudgetStatus:
        """A budget of each day of all calls, unless told otherwise."""
        said = {
            "scope": usage_pb2.BUDGET_SCOPE_PLATFORM,
            "period": usage_pb2.BUDGET_PERIOD_DAY,
            **fields,
        }
        request = usage_pb2.SetBudgetRequest(budget=usage_pb2.Budget(name=name, **said))
        async with connect(self.address) as channel:
            stub = usage_pb2_grpc.UsageServiceStub(channel)
            answer = await call(stub.SetBudget, request, service="llm-proxy", timeout_seconds=30.0)
        stored: usage_pb2.BudgetStatus = answer.status
        return stored

    async def used(self) -> common_pb2.Usage:
        """What all calls together used, by the ledger."""
        async with connect(self.address) as channel:
            stub = usage_pb2_grpc.UsageServiceStub(channel)
            request = usage_pb2.QueryUsageRequest()
            answer = await call(stub.QueryUsage, request, service="llm-proxy", timeout_seconds=30.0)
        total: common_pb2.Usage = answer.total
        return total


@asynccontextmanager
async def llm_proxy_running(
    home: Path, provider: ProviderServer, **more: Any
) -> AsyncIterator[LlmProxy]:
    """The real llm-proxy, in this process."""
    settings = Settings(home=home, traces_endpoint="", _env_file=None, **more)
    keys = {"OPENAI_API_KEY": "sk-any", "OPENAI_API_BASE": f"{provider.url}/v1"}
    async with (
        build_with(settings, ProcessEnvironment(keys)) as services,
        serving(services, host="127.0.0.1", port=0) as address,
    ):
        yield LlmProxy(address=address)


async def paused(executor: Executor, source: str) -> runs_pb2.Run:
    """A run of the file, once it waits."""
    run = await executor.start(source, message="x")
    await executor.until(run.id, lambda event: event.type == runs_pb2.EVENT_TYPE_NODE_WAITING)
    return await waiting(executor, run.id)


async def waiting(executor: Executor, run_id: str) -> runs_pb2.Run:
    while True:
        run = await executor.get(run_id)
        if run.status == runs_pb2.RUN_STATUS_WAITING:
            return run


async def answer(executor: Executor, run_id: str, choice: str) -> None:
    request = runs_pb2.AnswerRunRequest(run_id=run_id, choice=choice, answered_by="Ada")
    await executor.ask(executor.runs.AnswerRun, request)


async def resume(executor: Executor, run_id: str, **budget: Any) -> None:
    request = runs_pb2.ResumeRunRequest(run_id=run_id, **budget)
    await executor.ask(executor.runs.ResumeRun, request)
