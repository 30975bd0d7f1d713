"""Builds the executor from its parts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from cadre.executor.v1 import runs_pb2_grpc, schedules_pb2_grpc, workflows_pb2_grpc
from cadre_executor.adapters.database import open_executor_database
from cadre_executor.adapters.definition_store import SqlDefinitionStore
from cadre_executor.adapters.graphs import Graphs
from cadre_executor.adapters.no_tools import NoTools
from cadre_executor.adapters.peers import GrpcMemory, GrpcModels, GrpcSandbox
from cadre_executor.adapters.prefect import PrefectScheduler
from cadre_executor.adapters.processes import own_name, process_is_dead
from cadre_executor.adapters.result_cache import SqlResultCache
from cadre_executor.adapters.run_store import SqlRunStore
from cadre_executor.domain.definitions import Language, Library
from cadre_executor.domain.desks import Desk
from cadre_executor.domain.drivers import Driver
from cadre_executor.domain.peers import Children, Peers
from cadre_executor.domain.shelves import Shelf
from cadre_executor.domain.timetables import Timetable
from cadre_executor.domain.tools import Tools
from cadre_executor.domain.watchers import Watchers
from cadre_executor.entrypoint.runs import RunServicer
from cadre_executor.entrypoint.schedules import ScheduleServicer
from cadre_executor.entrypoint.workflows import WorkflowServicer
from cadre_executor.settings import Settings
from cadre_kit.channels import connect
from cadre_kit.serving import GrpcService
from cadre_kit.transactions import Transactions

__all__ = ["build", "build_with"]


@asynccontextmanager
async def build(settings: Settings) -> AsyncIterator[Sequence[GrpcService]]:
    """The executor's services; on leaving, runs are let go for the next start."""
    # Imported here: only a process that serves needs the language's libraries.
    from cadre_executor.adapters.files import WorkflowFiles

    async with build_with(settings, WorkflowFiles(), NoTools()) as services:
        yield services


@asynccontextmanager
async def build_with(
    settings: Settings, language: Language, tools: Tools
) -> AsyncIterator[Sequence[GrpcService]]:
    """The executor's services for files of a language, with some tools."""
    async with AsyncExitStack() as stack:
        url = settings.database_url(settings.executor_database_url, "executor")
        database = await open_executor_database(url, strict=settings.durability == "strict")
        stack.push_async_callback(database.close)
        peers = Peers(
            models=GrpcModels(await stack.enter_async_context(connect(settings.llm_proxy_address))),
            sandbox=GrpcSandbox(await stack.enter_async_context(connect(settings.sandbox_address))),
            memory=GrpcMemory(await stack.enter_async_context(connect(settings.memory_address))),
            tools=tools,
        )
        library = Library(language)
        definitions = SqlDefinitionStore(database)
        desk = _desk(settings, database, library, definitions, peers)
        scheduler = PrefectScheduler(settings.prefect_url, executor=settings.executor_address)
        stack.push_async_callback(scheduler.close)
        stack.push_async_callback(desk.close)
        upkeep = asyncio.create_task(desk.run())
        stack.push_async_callback(_end, upkeep)
        timetable = Timetable(scheduler=scheduler, definitions=definitions, library=library)
        shelf = Shelf(definitions=definitions, library=library)
        yield _services(shelf, desk, timetable)


def _desk(
    settings: Settings,
    database: Transactions,
    library: Library,
    definitions: SqlDefinitionStore,
    peers: Peers,
) -> Desk:
    store = SqlRunStore(database, kept_checkpoints=settings.executor_checkpoints)
    watchers = Watchers()

    def driver(children: Children) -> Driver:
        return Driver(
            store=store,
            library=library,
            engine=Graphs(),
            peers=peers,
            children=children,
            cache=SqlResultCache(database),
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
        watchers=watchers,
        is_dead=process_is_dead,
        max_runs=settings.executor_max_runs,
    )


def _services(shelf: Shelf, desk: Desk, timetable: Timetable) -> list[GrpcService]:
    workflows = WorkflowServicer(shelf)
    runs = RunServicer(desk)
    schedules = ScheduleServicer(timetable)
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
            name="cadre.executor.v1.ScheduleService",
            add=lambda s: schedules_pb2_grpc.add_ScheduleServiceServicer_to_server(schedules, s),
        ),
    ]


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
