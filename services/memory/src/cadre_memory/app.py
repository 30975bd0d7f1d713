"""Builds the memory service out of its parts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import connect as connect_service
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger
from cadre_kit.serving import GrpcService
from cadre_memory.adapters.databases import opened
from cadre_memory.adapters.llm_proxy import LlmProxyModels
from cadre_memory.adapters.sql import SqlStore
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.learning import Learner
from cadre_memory.domain.memories import Memories
from cadre_memory.domain.models import Models
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.summarizing import Summarizer
from cadre_memory.domain.upkeeps import Upkeeps
from cadre_memory.domain.work import Kind, Queue, Worker
from cadre_memory.entrypoint.servicer import MemoryServicer
from cadre_memory.settings import MemorySettings

log = logger()


@asynccontextmanager
async def build(settings: MemorySettings) -> AsyncIterator[Sequence[GrpcService]]:
    """Opens and migrates the database, and yields what is served. Raises CadreError when that is not possible."""
    url = settings.database_url(settings.memory_database_url, "memory")
    connect = opened(url)
    embedder = WordLlamaEmbedder()
    store = SqlStore(connect, model=embedder.model)
    searches = Searches(store, held_bytes=settings.memory_vector_mb * 1024 * 1024)
    memories = Memories(store=store, searches=searches, embedder=embedder, clock=_now)
    conversations = Conversations(store=store, embedder=embedder, clock=_now)
    queue = Queue(memories=memories)
    async with connect_service(settings.llm_proxy_address) as llm_proxy:
        background = [
            asyncio.create_task(_warm(memories, embedder)),
            asyncio.create_task(_sweep(memories, every_seconds=settings.memory_sweep_seconds)),
            asyncio.create_task(_worker(queue, LlmProxyModels(llm_proxy)).run()),
        ]
        try:
            upkeeps = Upkeeps(conversations=conversations, queue=queue)
            yield [_service(memories, conversations, upkeeps)]
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await store.close()


def _worker(queue: Queue, models: Models) -> Worker:
    memories = queue.memories
    return Worker(
        queue,
        {
            Kind.LEARN: Learner(memories=memories, models=models),
            Kind.SUMMARIZE: Summarizer(memories=memories, models=models),
        },
    )


def _service(memories: Memories, conversations: Conversations, upkeeps: Upkeeps) -> GrpcService:
    servicer = MemoryServicer(memories, conversations, upkeeps)
    return GrpcService(
        name=memory_pb2.DESCRIPTOR.services_by_name["MemoryService"].full_name,
        add=partial(memory_pb2_grpc.add_MemoryServiceServicer_to_server, servicer),
    )


def _now() -> datetime:
    return datetime.now(UTC)


async def _warm(memories: Memories, embedder: WordLlamaEmbedder) -> None:
    """Loads the embeddings, and understands anew what others understood, while what is there is served."""
    try:
        await asyncio.to_thread(embedder.load)
        if refreshed := await memories.refresh():
            log.info("memories_refreshed", refreshed=refreshed, model=embedder.model)
    except CadreError as error:
        log.error("embeddings_failed", code=error.code, reason=error.message)


async def _sweep(memories: Memories, *, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        try:
            if removed := await memories.sweep():
                log.info("memories_swept", removed=removed)
        except CadreError as error:
            log.warning("sweep_failed", code=error.code, reason=error.message)
