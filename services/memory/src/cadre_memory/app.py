"""Builds the memory service out of its parts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import grpc

from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import connect
from cadre_kit.credentials import load_credentials
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger
from cadre_kit.serving import GrpcService
from cadre_memory.adapters.databases import open_store
from cadre_memory.adapters.llm_proxy import LlmProxyModels
from cadre_memory.adapters.provider import ProviderEmbedder
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.learning import Learner
from cadre_memory.domain.memories import Memories
from cadre_memory.domain.models import Models
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.stores import Embedder
from cadre_memory.domain.summarizing import Summarizer
from cadre_memory.domain.understanding import Understanding
from cadre_memory.domain.upkeeps import Upkeeps
from cadre_memory.domain.work import Kind, Queue, Worker
from cadre_memory.entrypoint.servicer import MemoryServicer
from cadre_memory.settings import MemorySettings

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 60.0

log = logger()


@asynccontextmanager
async def build(settings: MemorySettings) -> AsyncIterator[Sequence[GrpcService]]:
    """Opens and migrates the database, and yields what is served. Raises CadreError when that is not possible."""
    async with AsyncExitStack() as stack:
        llm_proxy = await stack.enter_async_context(
            connect(settings.llm_proxy_address, load_credentials(settings))
        )
        embedder = _embedder(settings, llm_proxy)
        url = settings.database_url(settings.memory_database_url, "memory")
        store = await open_store(url, model=embedder.model, understood=not embedder.costs)
        stack.push_async_callback(store.close)
        searches = Searches(store, held_bytes=settings.memory_vector_mb * 1024 * 1024)
        memories = Memories(store=store, searches=searches, embedder=embedder, clock=_now)
        conversations = Conversations(store=store, embedder=embedder, clock=_now)
        queue = Queue(memories=memories)
        understanding = Understanding(store=store, embedder=embedder)
        background = [
            asyncio.create_task(_understand(understanding)),
            asyncio.create_task(_sweep(memories, every_seconds=settings.memory_sweep_seconds)),
            asyncio.create_task(_worker(queue, LlmProxyModels(llm_proxy)).run()),
        ]
        stack.push_async_callback(_end, background)
        upkeeps = Upkeeps(conversations=conversations, queue=queue)
        yield [_service(memories, conversations, upkeeps)]


def _embedder(settings: MemorySettings, llm_proxy: grpc.aio.Channel) -> Embedder:
    if not settings.memory_embedding_model:
        return WordLlamaEmbedder()
    return ProviderEmbedder(
        llm_proxy,
        name=settings.memory_embedding_model,
        dimensions=settings.memory_embedding_dimensions,
    )


async def _end(background: Sequence[asyncio.Task[None]]) -> None:
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)


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


async def _understand(understanding: Understanding) -> None:
    """Loads the embeddings, and understands what others did, or none yet; as long as there can be such."""
    embedder, pause = understanding.embedder, _FIRST_PAUSE_SECONDS
    while True:
        try:
            # So that the first text is as fast as any.
            await embedder.understand([""])
            if refreshed := await understanding.refresh():
                log.info("memories_refreshed", refreshed=refreshed, model=embedder.model)
            pause = _FIRST_PAUSE_SECONDS
        except CadreError as error:
            log.error("embeddings_failed", code=error.code, reason=error.message)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            if not embedder.costs:
                return
        await asyncio.sleep(pause)


async def _sweep(memories: Memories, *, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        try:
            if removed := await memories.sweep():
                log.info("memories_swept", removed=removed)
        except CadreError as error:
            log.warning("sweep_failed", code=error.code, reason=error.message)
