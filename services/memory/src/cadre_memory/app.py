"""Builds the memory service out of its parts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import connect
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger
from cadre_kit.serving import GrpcService
from cadre_memory.adapters.databases import open_store
from cadre_memory.adapters.provider import ProviderEmbedder
from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.memories import Memories
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.stores import Embedder
from cadre_memory.domain.understanding import Understanding
from cadre_memory.entrypoint.servicer import MemoryServicer
from cadre_memory.settings import MemorySettings

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 60.0

log = logger()


@asynccontextmanager
async def build(settings: MemorySettings) -> AsyncIterator[Sequence[GrpcService]]:
    """Opens and migrates the database, and yields what is served. Raises CadreError when that is not possible."""
    async with AsyncExitStack() as stack:
        embedder = await _embedder(settings, stack)
        url = settings.database_url(settings.memory_database_url, "memory")
        store = await open_store(url, model=embedder.model, understood=not embedder.costs)
        stack.push_async_callback(store.close)
        searches = Searches(store, held_bytes=settings.memory_vector_mb * 1024 * 1024)
        memories = Memories(store=store, searches=searches, embedder=embedder, clock=_now)
        conversations = Conversations(store=store, embedder=embedder, clock=_now)
        understanding = Understanding(store=store, embedder=embedder)
        background = [
            asyncio.create_task(_understand(understanding)),
            asyncio.create_task(_sweep(memories, every_seconds=settings.memory_sweep_seconds)),
        ]
        stack.push_async_callback(_end, background)
        yield [_service(memories, conversations)]


async def _embedder(settings: MemorySettings, stack: AsyncExitStack) -> Embedder:
    if not settings.memory_embedding_model:
        return WordLlamaEmbedder()
    return ProviderEmbedder(
        await stack.enter_async_context(connect(settings.llm_proxy_address)),
        name=settings.memory_embedding_model,
        dimensions=settings.memory_embedding_dimensions,
    )


async def _end(background: Sequence[asyncio.Task[None]]) -> None:
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)


def _service(memories: Memories, conversations: Conversations) -> GrpcService:
    servicer = MemoryServicer(memories, conversations)
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
