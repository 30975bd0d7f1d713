"""The services behind the gateway, as calls with a deadline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import grpc

from cadre.executor.v1 import (
    agents_pb2_grpc,
    batches_pb2_grpc,
    files_pb2_grpc,
    runs_pb2_grpc,
    schedules_pb2_grpc,
    workflows_pb2_grpc,
)
from cadre.llm_proxy.v1 import llm_pb2_grpc, usage_pb2_grpc
from cadre.memory.v1 import memory_pb2_grpc
from cadre.sandbox.v1 import sandbox_pb2_grpc
from cadre_kit import channels
from cadre_kit.credentials import Credentials

if TYPE_CHECKING:
    from cadre.executor.v1.agents_pb2_grpc import AgentServiceAsyncStub
    from cadre.executor.v1.batches_pb2_grpc import BatchServiceAsyncStub
    from cadre.executor.v1.files_pb2_grpc import FileServiceAsyncStub
    from cadre.executor.v1.runs_pb2_grpc import RunServiceAsyncStub
    from cadre.executor.v1.schedules_pb2_grpc import ScheduleServiceAsyncStub
    from cadre.executor.v1.workflows_pb2_grpc import WorkflowServiceAsyncStub
    from cadre.llm_proxy.v1.llm_pb2_grpc import LlmServiceAsyncStub
    from cadre.llm_proxy.v1.usage_pb2_grpc import UsageServiceAsyncStub
    from cadre.memory.v1.memory_pb2_grpc import MemoryServiceAsyncStub
    from cadre.sandbox.v1.sandbox_pb2_grpc import SandboxServiceAsyncStub

__all__ = [
    "Addresses",
    "Executor",
    "LlmProxy",
    "Memory",
    "Sandbox",
    "Service",
    "Services",
    "connected",
]

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that is called. Its errors come back as CadreError; so does its silence."""

    name: str
    call_seconds: float

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        idempotency_key: str = "",
        timeout_seconds: float | None = None,
    ) -> Response:
        """One answer. Raises what the service answered with, Unavailable or DeadlineExceeded."""
        return await channels.call(
            method,
            request,
            service=self.name,
            timeout_seconds=timeout_seconds or self.call_seconds,
            idempotency_key=idempotency_key,
        )

    def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        idempotency_key: str = "",
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[Response]:
        """Answers as they come, with no deadline unless one is given. Raises as `call` does."""
        return channels.stream(
            method,
            request,
            service=self.name,
            timeout_seconds=timeout_seconds,
            idempotency_key=idempotency_key,
        )


@dataclass(frozen=True, kw_only=True)
class Executor(Service):
    """Keeps workflows, runs, schedules, batches and remote agents."""

    workflows: WorkflowServiceAsyncStub
    runs: RunServiceAsyncStub
    schedules: ScheduleServiceAsyncStub
    files: FileServiceAsyncStub
    agents: AgentServiceAsyncStub
    batches: BatchServiceAsyncStub


@dataclass(frozen=True, kw_only=True)
class LlmProxy(Service):
    """Talks to models, and keeps the ledger of it."""

    models: LlmServiceAsyncStub
    usage: UsageServiceAsyncStub


@dataclass(frozen=True, kw_only=True)
class Memory(Service):
    """Keeps what agents remember."""

    memories: MemoryServiceAsyncStub


@dataclass(frozen=True, kw_only=True)
class Sandbox(Service):
    """Runs programs."""

    programs: SandboxServiceAsyncStub


@dataclass(frozen=True, kw_only=True)
class Services:
    """All services that are called."""

    executor: Executor
    llm_proxy: LlmProxy
    memory: Memory
    sandbox: Sandbox


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where they are, as host:port."""

    executor: str
    llm_proxy: str
    memory: str
    sandbox: str


@asynccontextmanager
async def connected(
    addresses: Addresses, *, credentials: Credentials | None, call_seconds: float
) -> AsyncIterator[Services]:
    """The services. Each is connected to at its first call, so none needs to be there yet."""
    connect = partial(channels.connect, credentials=credentials)
    async with AsyncExitStack() as stack:
        executor = await stack.enter_async_context(connect(addresses.executor))
        llm_proxy = await stack.enter_async_context(connect(addresses.llm_proxy))
        memory = await stack.enter_async_context(connect(addresses.memory))
        sandbox = await stack.enter_async_context(connect(addresses.sandbox))
        yield Services(
            executor=Executor(
                name="executor",
                call_seconds=call_seconds,
                workflows=workflows_pb2_grpc.WorkflowServiceStub(executor),
                runs=runs_pb2_grpc.RunServiceStub(executor),
                schedules=schedules_pb2_grpc.ScheduleServiceStub(executor),
                files=files_pb2_grpc.FileServiceStub(executor),
                agents=agents_pb2_grpc.AgentServiceStub(executor),
                batches=batches_pb2_grpc.BatchServiceStub(executor),
            ),
            llm_proxy=LlmProxy(
                name="llm-proxy",
                call_seconds=call_seconds,
                models=llm_pb2_grpc.LlmServiceStub(llm_proxy),
                usage=usage_pb2_grpc.UsageServiceStub(llm_proxy),
            ),
            memory=Memory(
                name="memory",
                call_seconds=call_seconds,
                memories=memory_pb2_grpc.MemoryServiceStub(memory),
            ),
            sandbox=Sandbox(
                name="sandbox",
                call_seconds=call_seconds,
                programs=sandbox_pb2_grpc.SandboxServiceStub(sandbox),
            ),
        )
