"""Builds the executor from its parts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from cadre.executor.v1 import (
    agents_pb2_grpc,
    batches_pb2_grpc,
    files_pb2_grpc,
    runs_pb2_grpc,
    schedules_pb2_grpc,
    workflows_pb2_grpc,
)
from cadre_executor.adapters.accounts import GrpcAccounts
from cadre_executor.adapters.agent_store import SqlAgentStore
from cadre_executor.adapters.agents.requests import A2aAgents
from cadre_executor.adapters.batch_store import SqlBatchStore
from cadre_executor.adapters.database import open_executor_database
from cadre_executor.adapters.definition_store import SqlDefinitionStore
from cadre_executor.adapters.delegation_store import SqlDelegationStore
from cadre_executor.adapters.graphs import Graphs
from cadre_executor.adapters.peers import GrpcMemory, GrpcModels, GrpcSandbox
from cadre_executor.adapters.prefect import PrefectScheduler
from cadre_executor.adapters.prefect_api import PrefectApi
from cadre_executor.adapters.prefect_batches import PrefectLauncher
from cadre_executor.adapters.result_cache import SqlResultCache
from cadre_executor.adapters.run_files import WorkspaceFiles
from cadre_executor.adapters.run_store import SqlRunStore
from cadre_executor.adapters.tools.built_in import handlers
from cadre_executor.adapters.tools.files import FileTools
from cadre_executor.adapters.tools.mcp_connections import Connections
from cadre_executor.adapters.tools.mcp_servers import read_mcp_servers
from cadre_executor.adapters.tools.memories import MemoryTools
from cadre_executor.adapters.tools.programs import ProgramTools
from cadre_executor.adapters.tools.queries import QueryTools
from cadre_executor.adapters.tools.schemas import check_arguments, misfits
from cadre_executor.adapters.tools.searches import SearchTools, brave, searxng, serper, tavily
from cadre_executor.adapters.tools.secrets import Secrets
from cadre_executor.adapters.tools.toolbox import Toolbox
from cadre_executor.adapters.tools.web import WebTools
from cadre_executor.adapters.workspaces import WorkspaceLimits, Workspaces
from cadre_executor.domain.agents import RemoteAgents
from cadre_executor.domain.definitions import Language, Library
from cadre_executor.domain.delegations import Delegations
from cadre_executor.domain.desks import Desk
from cadre_executor.domain.dispatch import Dispatch
from cadre_executor.domain.drivers import Driver
from cadre_executor.domain.leftovers import Leftovers
from cadre_executor.domain.needs import Needs
from cadre_executor.domain.peers import Children, Peers
from cadre_executor.domain.planners import Planner
from cadre_executor.domain.recordings import Recorder
from cadre_executor.domain.registries import Registry
from cadre_executor.domain.shelves import Shelf
from cadre_executor.domain.testers import Tester
from cadre_executor.domain.timetables import Timetable
from cadre_executor.domain.tools import Tools
from cadre_executor.domain.watchers import Watchers
from cadre_executor.entrypoint.agents import AgentServicer
from cadre_executor.entrypoint.batches import BatchServicer
from cadre_executor.entrypoint.run_files import FileServicer
from cadre_executor.entrypoint.runs import RunServicer
from cadre_executor.entrypoint.schedules import ScheduleServicer
from cadre_executor.entrypoint.workflows import WorkflowServicer
from cadre_executor.settings import Settings, process_variables
from cadre_kit.addresses import AddressRules
from cadre_kit.channels import connect
from cadre_kit.credentials import load_credentials
from cadre_kit.outgoing import outgoing_client
from cadre_kit.processes import own_name, process_is_dead
from cadre_kit.serving import GrpcService
from cadre_kit.transactions import Transactions

if TYPE_CHECKING:
    from cadre_executor.adapters.tools.mcp_tools import McpTools

__all__ = ["build", "build_with", "open_tools"]


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Sequence[GrpcService]]:
    """The executor's services; on leaving, runs are let go for the next start."""
    # Imported here: only a process that serves needs the language's libraries.
    from cadre_executor.adapters.files import WorkflowFiles

    variables = process_variables()
    async with open_tools(settings, variables) as tools:
        async with build_with(settings, WorkflowFiles(), tools, variables=variables) as services:
            yield services


@asynccontextmanager
async def open_tools(settings: Settings, variables: Mapping[str, str]) -> AsyncIterator[Tools]:
    """The tools; `variables` are the environment that secrets and search keys are taken from."""
    secrets, rules = Secrets(variables), AddressRules.parse(settings.allowed_addresses)
    workspaces = _workspaces(settings)
    servers, connections = read_mcp_servers(settings.mcp_servers_file), Connections()

    @cache
    def mcp() -> "McpTools":
        # Imported here: MCP's library takes a tenth of the start, and few installations use it.
        from cadre_executor.adapters.tools.mcp_tools import McpTools

        return McpTools(servers=servers, rules=rules, secrets=secrets, connections=connections)

    to = partial(connect, credentials=load_credentials(settings))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(connections.close)
        sandbox = GrpcSandbox(await stack.enter_async_context(to(settings.sandbox_address)))
        memory = GrpcMemory(await stack.enter_async_context(to(settings.memory_address)))
        searches = await _searches(settings, variables, rules, stack)
        programs = ProgramTools(sandbox)
        handled = handlers(
            files=FileTools(workspaces),
            queries=QueryTools(workspaces, secrets),
            web=WebTools(await stack.enter_async_context(outgoing_client(rules)), secrets),
            searches=searches,
            programs=programs,
            memories=MemoryTools(memory),
            secrets=secrets,
        )
        yield Toolbox(
            handlers=handled,
            mcp=mcp,
            workspaces=workspaces,
            searches=searches,
            secrets=secrets,
            programs=programs,
        )


def _workspaces(settings: Settings) -> Workspaces:
    limits = WorkspaceLimits(
        max_bytes=settings.workspace_max_mb * 1024 * 1024, max_files=settings.workspace_max_files
    )
    return Workspaces(settings.workspaces or settings.home / "workspaces", limits=limits)


async def _searches(
    settings: Settings, variables: Mapping[str, str], rules: AddressRules, stack: AsyncExitStack
) -> SearchTools:
    """The search services; the operator's own server may be at any address."""
    url = settings.searxng_url
    client = outgoing_client(rules.allowing_url(url) if url else rules)
    services = [
        searxng(url),
        brave(variables.get("BRAVE_API_KEY", "")),
        tavily(variables.get("TAVILY_API_KEY", "")),
        serper(variables.get("SERPER_API_KEY", "")),
    ]
    return SearchTools(await stack.enter_async_context(client), services)


@asynccontextmanager
async def build_with(
    settings: Settings,
    language: Language,
    tools: Tools,
    *,
    variables: Mapping[str, str] = MappingProxyType({}),
    run_store: Callable[..., SqlRunStore] = SqlRunStore,
    result_cache: Callable[[Transactions], SqlResultCache] = SqlResultCache,
) -> AsyncIterator[Sequence[GrpcService]]:
    """The executor's services for files of a language, with some tools; `variables` hold the secrets of agents,
    `run_store` and `result_cache` make what stores runs and results."""
    async with AsyncExitStack() as stack:
        url = settings.database_url(settings.executor_database_url, "executor")
        database = await open_executor_database(url, strict=settings.durability == "strict")
        stack.push_async_callback(database.close)
        to = partial(connect, credentials=load_credentials(settings))
        llm_proxy = await stack.enter_async_context(to(settings.llm_proxy_address))
        accounts = GrpcAccounts(llm_proxy)
        sandbox = GrpcSandbox(await stack.enter_async_context(to(settings.sandbox_address)))
        peers = Peers(
            models=GrpcModels(llm_proxy),
            sandbox=sandbox,
            memory=GrpcMemory(await stack.enter_async_context(to(settings.memory_address))),
            tools=tools,
            files=WorkspaceFiles(_workspaces(settings)),
        )
        library = Library(language)
        definitions = SqlDefinitionStore(database)
        rules = AddressRules.parse(settings.allowed_addresses)
        client = await stack.enter_async_context(outgoing_client(rules))
        delegations = _delegations(settings, database, A2aAgents(client, variables))
        store = run_store(database, kept_checkpoints=settings.executor_checkpoints)
        cache = result_cache(database)
        desk = _desk(settings, store, cache, library, definitions, peers, delegations)
        prefect = PrefectApi(settings.prefect_url)
        stack.push_async_callback(prefect.close)
        stack.push_async_callback(desk.close)
        leftovers = Leftovers(
            store=store,
            tools=tools,
            keep=timedelta(days=settings.workspace_keep_days),
        )
        registry = delegations.registry
        shelf = Shelf(definitions=definitions, library=library, registry=registry)
        tester = _tester(library, desk.driver)
        planner = Planner(
            library=library,
            store=store,
            definitions=definitions,
            needs=Needs(tools=tools, sandbox=sandbox, definitions=definitions, agents=registry),
            estimates=accounts,
        )
        recorder = Recorder(store=store, library=library, replies=accounts, tester=tester)
        timetable = Timetable(
            scheduler=PrefectScheduler(prefect), definitions=definitions, library=library
        )
        dispatch = Dispatch(
            store=SqlBatchStore(database),
            desk=desk,
            library=library,
            launcher=PrefectLauncher(prefect),
        )
        runs = (desk.run(), leftovers.run(), registry.run(), delegations.run(), dispatch.run())
        for upkeep in runs:
            stack.push_async_callback(_end, asyncio.create_task(upkeep))
        yield _services(
            WorkflowServicer(shelf, tester, planner),
            RunServicer(desk, recorder),
            ScheduleServicer(timetable),
            FileServicer(desk, peers.files),
            AgentServicer(registry),
            BatchServicer(dispatch),
        )


def _delegations(settings: Settings, database: Transactions, remote: RemoteAgents) -> Delegations:
    refresh = timedelta(seconds=settings.executor_agent_refresh_seconds)
    registry = Registry(store=SqlAgentStore(database), remote=remote, refresh=refresh)
    return Delegations(store=SqlDelegationStore(database), registry=registry, remote=remote)


def _desk(
    settings: Settings,
    store: SqlRunStore,
    cache: SqlResultCache,
    library: Library,
    definitions: SqlDefinitionStore,
    peers: Peers,
    delegations: Delegations,
) -> Desk:
    watchers = Watchers()

    def driver(children: Children) -> Driver:
        return Driver(
            store=store,
            library=library,
            engine=Graphs(),
            peers=peers,
            children=children,
            delegations=delegations,
            cache=cache,
            owner=own_name(),
            lease_seconds=settings.executor_lease_seconds,
            patience_seconds=settings.executor_patience_seconds,
            trace_content=settings.trace_content,
            max_state_bytes=settings.executor_max_state_bytes,
            stored=watchers.notify,
        )

    return Desk(
        store=store,
        definitions=definitions,
        library=library,
        driver=driver,
        delegations=delegations,
        watchers=watchers,
        is_dead=process_is_dead,
        max_runs=settings.executor_max_runs,
    )


def _tester(library: Library, driver: Driver) -> Tester:
    return Tester(library=library, driver=driver, check_arguments=check_arguments, misfits=misfits)


def _services(
    workflows: WorkflowServicer,
    runs: RunServicer,
    schedules: ScheduleServicer,
    files: FileServicer,
    agents: AgentServicer,
    batches: BatchServicer,
) -> list[GrpcService]:
    return [
        GrpcService(
            name="cadre.executor.v1.WorkflowService",
            add=lambda s: workflows_pb2_grpc.add_WorkflowServiceServicer_to_server(workflows, s),
        ),
        GrpcService(
            name="cadre.executor.v1.RunService",
            add=lambda s: runs_pb2_grpc.add_RunServiceServicer_to_server(runs, s),
        ),
        GrpcService(
            name="cadre.executor.v1.FileService",
            add=lambda s: files_pb2_grpc.add_FileServiceServicer_to_server(files, s),
        ),
        GrpcService(
            name="cadre.executor.v1.ScheduleService",
            add=lambda s: schedules_pb2_grpc.add_ScheduleServiceServicer_to_server(schedules, s),
        ),
        GrpcService(
            name="cadre.executor.v1.AgentService",
            add=lambda s: agents_pb2_grpc.add_AgentServiceServicer_to_server(agents, s),
        ),
        GrpcService(
            name="cadre.executor.v1.BatchService",
            add=lambda s: batches_pb2_grpc.add_BatchServiceServicer_to_server(batches, s),
        ),
    ]


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
