"""The real llm-proxy on a free port, with a provider on loopback that does as the test says."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.fakes.providers import ProviderServer, openai_reply, provider_server

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc, usage_pb2, usage_pb2_grpc
from cadre_kit.channels import call, connect, stream
from cadre_kit.serving import serving
from cadre_llm_proxy.adapters.sql_ledger import utc_now
from cadre_llm_proxy.app import build_with
from cadre_llm_proxy.settings import ProcessEnvironment, Settings

SECONDS = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs these tests on one event loop, as the process does: litellm keeps to the one that it was used on first."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            # Said by pydantic of litellm's types, when the first stream is read.
            item.add_marker(pytest.mark.filterwarnings("ignore::UserWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))


@dataclass(frozen=True, kw_only=True)
class Client:
    """Calls the proxy as the executor does."""

    llm: Any
    usage: Any

    async def ask(self, text: str = "hi", *, key: str = "", **fields: Any) -> llm_pb2.Reply:
        """The whole reply."""
        response = await call(
            self.llm.Complete,
            request(text, **fields),
            service="llm-proxy",
            timeout_seconds=SECONDS,
            idempotency_key=key,
        )
        reply: llm_pb2.Reply = response.reply
        return reply

    async def stream(
        self, text: str = "hi", *, key: str = "", **fields: Any
    ) -> AsyncGenerator[llm_pb2.StreamCompleteResponse]:
        """The reply in parts."""
        parts = stream(
            self.llm.StreamComplete,
            llm_pb2.StreamCompleteRequest(request=request(text, **fields)),
            service="llm-proxy",
            timeout_seconds=SECONDS,
            idempotency_key=key,
        )
        async for part in parts:
            yield part

    async def sums(self, *group_by: Any, **filters: Any) -> usage_pb2.QueryUsageResponse:
        """What the ledger adds up to."""
        query = usage_pb2.QueryUsageRequest(group_by=group_by, **filters)
        return await call(
            self.usage.QueryUsage, query, service="llm-proxy", timeout_seconds=SECONDS
        )

    async def models(self) -> dict[tuple[str, str], llm_pb2.Model]:
        """The models, by provider and name."""
        return {(each.provider, each.name): each for each in (await self.listed()).models}

    async def groups(self) -> dict[str, list[str]]:
        """The models of each group."""
        return {group.name: list(group.models) for group in (await self.listed()).groups}

    async def listed(self) -> llm_pb2.ListModelsResponse:
        """All that can be named."""
        response: llm_pb2.ListModelsResponse = await call(
            self.llm.ListModels,
            llm_pb2.ListModelsRequest(),
            service="llm-proxy",
            timeout_seconds=SECONDS,
        )
        return response

    async def embed(self, *texts: str, **fields: Any) -> llm_pb2.EmbedResponse:
        """Vectors of texts."""
        response: llm_pb2.EmbedResponse = await call(
            self.llm.Embed,
            llm_pb2.EmbedRequest(texts=texts, **fields),
            service="llm-proxy",
            timeout_seconds=SECONDS,
        )
        return response


def request(
    text: str = "hi",
    *,
    schema: Mapping[str, Any] | None = None,
    run_id: str = "run-1",
    node: str = "node-1",
    workflow: str = "greet",
    # The first call through litellm waits for its import, within its time.
    timeout_seconds: float = 50.0,
    tools: Sequence[llm_pb2.ToolDefinition] = (),
    tool_choice: llm_pb2.ToolChoice.ValueType = llm_pb2.TOOL_CHOICE_AUTO,
    messages: Sequence[llm_pb2.Message] = (),
    fallbacks: Sequence[llm_pb2.ModelOptions] = (),
    cache_seconds: float = 0.0,
    run_budgets: Sequence[llm_pb2.RunBudget] = (),
    **options: Any,
) -> llm_pb2.CompleteRequest:
    """A request to OpenAI, unless `options` name another provider; `messages` instead of `text`."""
    options.setdefault("provider", "openai")
    return llm_pb2.CompleteRequest(
        options=llm_pb2.ModelOptions(**options),
        messages=messages or [llm_pb2.Message(role=llm_pb2.ROLE_USER, content=text)],
        output_schema=None if schema is None else common_pb2.Json(text=json.dumps(schema)),
        attribution=llm_pb2.Attribution(
            workflow=workflow, run_id=run_id, node=node, run_budgets=run_budgets
        ),
        timeout_seconds=timeout_seconds,
        tools=tools,
        tool_choice=tool_choice,
        fallbacks=fallbacks,
        cache_seconds=cache_seconds,
    )


def tool(name: str = "weather", **properties: Any) -> llm_pb2.ToolDefinition:
    """A tool; its one argument is a `city` unless `properties` say otherwise, and all are required."""
    properties = properties or {"city": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return llm_pb2.ToolDefinition(
        name=name, description=f"The {name}.", parameters=common_pb2.Json(text=json.dumps(schema))
    )


Start = Callable[..., AbstractAsyncContextManager[Client]]


@pytest_asyncio.fixture(loop_scope="session")
async def provider() -> AsyncIterator[ProviderServer]:
    async with provider_server(openai_reply("hello")) as server:
        yield server


@pytest.fixture
def variables(provider: ProviderServer) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": "sk-secret-openai",
        "OPENAI_API_BASE": f"{provider.url}/v1",
        "ANTHROPIC_API_KEY": "sk-secret-anthropic",
        "CADRE_ANTHROPIC_API_BASE": provider.url,
        "GEMINI_API_KEY": "sk-secret-gemini",
        "CADRE_GEMINI_API_BASE": provider.url,
        "OLLAMA_API_BASE": provider.url,
        "MY_SERVER_API_KEY": "sk-secret-mine",
    }


@pytest.fixture
def start(tmp_path: Path, variables: dict[str, str]) -> Start:
    """Starts a proxy on the test's folder; a second one, after the first was closed, is a restart."""

    @asynccontextmanager
    async def started(
        *, clock: Callable[[], datetime] = utc_now, **settings: Any
    ) -> AsyncIterator[Client]:
        chosen = Settings(home=tmp_path, traces_endpoint="", _env_file=None, **settings)
        async with (
            build_with(chosen, ProcessEnvironment(variables), clock) as services,
            serving(services, host="127.0.0.1", port=0) as address,
            connect(address) as channel,
        ):
            yield Client(
                llm=llm_pb2_grpc.LlmServiceStub(channel),
                usage=usage_pb2_grpc.UsageServiceStub(channel),
            )

    return started


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(start: Start) -> AsyncIterator[Client]:
    async with start() as client:
        yield client
