"""MemoryService over gRPC: converts, calls, converts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.interceptor import idempotency_key
from cadre_memory.domain.items import FieldInvalid, Item
from cadre_memory.domain.memories import Hit, Memories
from cadre_memory.domain.ranking import Mode

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_MODES = {
    memory_pb2.SEARCH_MODE_UNSPECIFIED: Mode.HYBRID,
    memory_pb2.SEARCH_MODE_HYBRID: Mode.HYBRID,
    memory_pb2.SEARCH_MODE_TEXT: Mode.TEXT,
    memory_pb2.SEARCH_MODE_VECTOR: Mode.VECTOR,
}


class MemoryServicer(memory_pb2_grpc.MemoryServiceServicer):
    """The five calls. Errors are the domain's; the kit's interceptor says them."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories

    async def Put(self, request: memory_pb2.PutRequest, context: Context) -> memory_pb2.PutResponse:
        item = await self._memories.put(
            namespace=tuple(request.namespace),
            key=request.key,
            value=request.value.text,
            ttl_seconds=request.ttl_seconds,
            idempotency_key=idempotency_key(context),
        )
        return memory_pb2.PutResponse(item=_item(item))

    async def Get(self, request: memory_pb2.GetRequest, context: Context) -> memory_pb2.GetResponse:
        item = await self._memories.get(namespace=tuple(request.namespace), key=request.key)
        return memory_pb2.GetResponse(item=_item(item))

    async def Delete(
        self, request: memory_pb2.DeleteRequest, context: Context
    ) -> memory_pb2.DeleteResponse:
        deleted = await self._memories.delete(
            namespace=tuple(request.namespace),
            key=request.key,
            idempotency_key=idempotency_key(context),
        )
        return memory_pb2.DeleteResponse(deleted=deleted)

    async def List(
        self, request: memory_pb2.ListRequest, context: Context
    ) -> memory_pb2.ListResponse:
        listing = await self._memories.list(
            namespace=tuple(request.namespace),
            key_prefix=request.key_prefix,
            page_size=request.page_size,
            token=request.page_token,
        )
        return memory_pb2.ListResponse(
            items=[_item(item) for item in listing.items], next_page_token=listing.next_page_token
        )

    async def Search(
        self, request: memory_pb2.SearchRequest, context: Context
    ) -> memory_pb2.SearchResponse:
        hits = await self._memories.search(
            namespace=tuple(request.namespace),
            query=request.query,
            top_k=request.top_k,
            mode=_mode(request.mode),
        )
        return memory_pb2.SearchResponse(hits=[_hit(hit) for hit in hits])


def _mode(mode: memory_pb2.SearchMode.ValueType) -> Mode:
    if mode not in _MODES:
        raise FieldInvalid("mode", f"mode {mode} is not a way to search", code="MODE_INVALID")
    return _MODES[mode]


def _hit(hit: Hit) -> memory_pb2.Hit:
    return memory_pb2.Hit(
        item=_item(hit.item),
        score=hit.score.score,
        text_score=hit.score.text_score,
        vector_score=hit.score.vector_score,
    )


def _item(item: Item) -> memory_pb2.Item:
    return memory_pb2.Item(
        namespace=item.namespace,
        key=item.key,
        value=common_pb2.Json(text=item.value),
        version=item.version,
        created_time=_timestamp(item.created),
        updated_time=_timestamp(item.updated),
        expires_time=None if item.expires is None else _timestamp(item.expires),
    )


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
