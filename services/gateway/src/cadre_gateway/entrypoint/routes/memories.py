"""What agents remember: stored, read, listed, found, removed."""

from typing import Annotated

from fastapi import APIRouter, Query

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2
from cadre_gateway.entrypoint import memory_batch_documents
from cadre_gateway.entrypoint import memory_conversions as conversions
from cadre_gateway.entrypoint import memory_documents as documents
from cadre_gateway.entrypoint.access import READ, RUN, WRITE
from cadre_gateway.entrypoint.conversions import timestamp
from cadre_gateway.entrypoint.dependencies import IdempotencyKey, TheMemory
from cadre_gateway.entrypoint.documents import Moment
from cadre_kit.ids import new_id

__all__ = ["AskedNamespace", "PageSize", "PageToken", "router"]

router = APIRouter(tags=["memories"])

_Segment = Annotated[str, Query(min_length=1, max_length=128)]
AskedNamespace = Annotated[
    list[_Segment],
    Query(min_length=1, max_length=16, description="Once per segment, from the outermost on."),
]
PageSize = Annotated[int, Query(ge=1, le=500, description="At most this many.")]
PageToken = Annotated[str, Query(max_length=2000, description="The last page's next_page_token.")]
_Key = Annotated[str, Query(min_length=1, max_length=512, description="The value's key.")]


@router.post("/api/v1/memories", dependencies=[RUN])
async def put_memory(
    asked: documents.NewMemory, memory: TheMemory, key: IdempotencyKey
) -> documents.MemoryItem:
    """Stores a value in place of the one with the same namespace and key."""
    answer = await memory.call(
        memory.memories.Put,
        memory_batch_documents.put_request(asked),
        idempotency_key=key or f"request/{new_id()}",
    )
    return conversions.memory_item(answer.item)


@router.post("/api/v1/memories/batch", dependencies=[WRITE])
async def batch_memories(
    asked: memory_batch_documents.MemoryBatch, memory: TheMemory, key: IdempotencyKey
) -> memory_batch_documents.MemoryBatchResults:
    """Does many reads and writes: first the reads, which see what was there before, then all or none of the writes."""
    answer = await memory.call(
        memory.memories.Batch,
        memory_batch_documents.batch_request(asked),
        idempotency_key=key or f"request/{new_id()}",
    )
    return memory_batch_documents.batch_results(answer)


@router.get("/api/v1/memories/item", dependencies=[READ])
async def get_memory(
    namespace: AskedNamespace,
    key: _Key,
    memory: TheMemory,
    version: Annotated[
        int, Query(ge=0, le=2**62, description="As of this version; 0 means the newest.")
    ] = 0,
) -> documents.MemoryItem:
    """Returns a stored value, as it is or as of an earlier version; those before the last 20 are not kept."""
    request = memory_pb2.GetRequest(namespace=namespace, key=key, version=version)
    answer = await memory.call(memory.memories.Get, request)
    return conversions.memory_item(answer.item)


@router.delete("/api/v1/memories/item", dependencies=[WRITE])
async def delete_memory(
    namespace: AskedNamespace, key: _Key, memory: TheMemory
) -> documents.Deleted:
    """Removes a stored value. Removing what is not there is no error."""
    request = memory_pb2.DeleteRequest(namespace=namespace, key=key)
    answer = await memory.call(memory.memories.Delete, request)
    return documents.Deleted(deleted=answer.deleted)


@router.get("/api/v1/memories", dependencies=[READ])
async def list_memories(
    namespace: AskedNamespace,
    memory: TheMemory,
    key_prefix: Annotated[str, Query(max_length=512, description="Only keys that begin so.")] = "",
    page_size: PageSize = 100,
    page_token: PageToken = "",
    tag: Annotated[
        list[_Segment] | None, Query(max_length=64, description="Only what has all of these.")
    ] = None,
    metadata: Annotated[
        str,
        Query(
            max_length=16_384,
            description='Only what has each of these names, with the same value: {"kind": "fact"}.',
        ),
    ] = "",
    since_time: Annotated[
        Moment | None,
        Query(description="Only what was said, or else stored, then or later."),
    ] = None,
    before_time: Annotated[
        Moment | None, Query(description="Only what was said, or else stored, before.")
    ] = None,
) -> documents.MemoryPage:
    """Lists a namespace by key; namespaces below it are not listed."""
    request = memory_pb2.ListRequest(
        namespace=namespace,
        key_prefix=key_prefix,
        page_size=page_size,
        page_token=page_token,
        filter=memory_pb2.Filter(
            tags=tag or [],
            metadata=common_pb2.Json(text=metadata),
            since_time=timestamp(since_time),
            before_time=timestamp(before_time),
        ),
    )
    answer = await memory.call(memory.memories.List, request)
    return documents.MemoryPage(
        items=[conversions.memory_item(one) for one in answer.items],
        next_page_token=answer.next_page_token,
    )


@router.post("/api/v1/memories/search", dependencies=[READ])
async def search_memories(asked: documents.MemoryQuery, memory: TheMemory) -> documents.MemoryHits:
    """Finds what matches a question best, in a namespace and below it."""
    request = memory_pb2.SearchRequest(
        namespace=asked.namespace,
        query=asked.query,
        top_k=asked.top_k,
        mode=conversions.SEARCH_MODE_NUMBERS[asked.mode],
        filter=conversions.memory_filter(asked),
        window=asked.window,
        asked_time=timestamp(asked.asked_time),
    )
    answer = await memory.call(memory.memories.Search, request)
    return documents.MemoryHits(
        hits=[conversions.memory_hit(one) for one in answer.hits],
        without_meaning=answer.without_meaning,
    )


@router.post("/api/v1/memories/forget", dependencies=[WRITE])
async def forget_memories(
    asked: documents.MemoryForgetting, memory: TheMemory
) -> documents.Forgotten:
    """Really removes values, with their versions and all that is searched of them. Cannot be undone."""
    request = memory_pb2.ForgetRequest(
        namespace=asked.namespace,
        filter=conversions.memory_filter(asked),
        everything=asked.everything,
    )
    answer = await memory.call(memory.memories.Forget, request)
    return documents.Forgotten(forgotten=answer.forgotten)


@router.get("/api/v1/memories/namespaces", dependencies=[READ])
async def list_namespaces(
    namespace: AskedNamespace,
    memory: TheMemory,
    page_size: PageSize = 100,
    page_token: PageToken = "",
) -> documents.Namespaces:
    """Lists the namespaces that hold something, at and below one."""
    request = memory_pb2.ListNamespacesRequest(
        namespace=namespace, page_size=page_size, page_token=page_token
    )
    answer = await memory.call(memory.memories.ListNamespaces, request)
    return documents.Namespaces(
        namespaces=[list(one.segments) for one in answer.namespaces],
        next_page_token=answer.next_page_token,
    )
