"""Many reads and writes of memories in one request, as the API takes and answers them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, model_validator

from cadre.memory.v1 import memory_pb2
from cadre_gateway.entrypoint import memory_conversions as conversions
from cadre_gateway.entrypoint.documents import (
    Answer,
    Asked,
    JsonObject,
    Namespace,
    Tags,
    Text,
)
from cadre_gateway.entrypoint.memory_documents import MemoryItem, NewMemory
from cadre_kit.documents import to_json

__all__ = ["MemoryBatch", "MemoryBatchResults", "batch_request", "batch_results", "put_request"]

_Segments = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=128)]], Field(max_length=16)
]
_Key = Annotated[Text, Field(min_length=1, max_length=512)]
_Limit = Annotated[StrictInt, Field(ge=1, le=1_000, description="At most this many.")]
_Offset = Annotated[
    StrictInt, Field(ge=0, le=100_000, description="Leave out this many of the first.")
]
_Refresh = Annotated[
    StrictBool, Field(description="Begin the time anew after which what is read is gone.")
]


class BatchDelete(Asked):
    """What to remove."""

    namespace: Namespace
    key: _Key


class BatchGet(Asked):
    """What to read."""

    namespace: Namespace
    key: _Key
    refresh_ttl: _Refresh = False


class BatchFind(Asked):
    """What to find in a namespace and below it: the best first for a query, else by namespace and key."""

    namespace: Namespace
    query: Text = Field("", max_length=10_000, description="Empty finds all.")
    tags: Tags = Field(default_factory=list, description="Only what has all of these.")
    value: JsonObject = Field(
        default_factory=dict,
        description='What fields of the value are: {"score": {"$gte": 3}}, with $eq, $ne, $gt, $gte, $lt and $lte.',
    )
    limit: _Limit = 10
    offset: _Offset = 0
    refresh_ttl: _Refresh = False


class BatchNamespaces(Asked):
    """Which namespaces to list; `*` stands for any one segment."""

    prefix: Namespace
    suffix: _Segments = Field(default_factory=list)
    max_depth: StrictInt = Field(
        0, ge=0, le=16, description="Cut them after so many segments; 0: never."
    )
    limit: _Limit = 100
    offset: _Offset = 0


class BatchOperation(Asked):
    """One of a batch: exactly one of these."""

    put: NewMemory | None = None
    delete: BatchDelete | None = None
    get: BatchGet | None = None
    find: BatchFind | None = None
    namespaces: BatchNamespaces | None = None

    @model_validator(mode="after")
    def _one(self) -> BatchOperation:
        given = [self.put, self.delete, self.get, self.find, self.namespaces]
        if sum(each is not None for each in given) != 1:
            raise ValueError("give exactly one of put, delete, get, find and namespaces")
        return self


class MemoryBatch(Asked):
    """Reads, which see what was there before, and writes, all or none of which are done after them."""

    operations: list[BatchOperation] = Field(min_length=1, max_length=1_000)


class MemoryFound(Answer):
    """A value that was found."""

    item: MemoryItem
    score: float | None = Field(
        description="0 to 1; null without a query, or if it does not match."
    )


class MemoryBatchResult(Answer):
    """What an operation came to; of these only what it is about."""

    item: MemoryItem | None = Field(description="What a get found, or a put stored.")
    found: list[MemoryFound]
    namespaces: list[list[str]]
    deleted: bool = Field(description="Whether a delete found something.")


class MemoryBatchResults(Answer):
    """What each operation came to, in their order."""

    results: list[MemoryBatchResult]


def put_request(asked: NewMemory) -> memory_pb2.PutRequest:
    """The message of a value to store."""
    return memory_pb2.PutRequest(
        namespace=asked.namespace,
        key=asked.key,
        value=to_json(asked.value),
        ttl_seconds=asked.ttl_seconds,
        tags=asked.tags,
        metadata=to_json(asked.metadata),
        if_version=asked.if_version,
        searched_fields=None
        if asked.searched_fields is None
        else memory_pb2.SearchedFields(paths=asked.searched_fields),
    )


def batch_request(asked: MemoryBatch) -> memory_pb2.BatchRequest:
    """The message of a batch."""
    return memory_pb2.BatchRequest(operations=[_operation(each) for each in asked.operations])


def _operation(asked: BatchOperation) -> memory_pb2.Operation:
    if asked.put is not None:
        return memory_pb2.Operation(put=put_request(asked.put))
    if asked.find is not None:
        return memory_pb2.Operation(find=_find(asked.find))
    return memory_pb2.Operation(
        delete=None if asked.delete is None else memory_pb2.DeleteRequest(**dict(asked.delete)),
        get=None if asked.get is None else memory_pb2.BatchGet(**dict(asked.get)),
        namespaces=None
        if asked.namespaces is None
        else memory_pb2.BatchNamespaces(**dict(asked.namespaces)),
    )


def _find(asked: BatchFind) -> memory_pb2.BatchFind:
    return memory_pb2.BatchFind(
        namespace=asked.namespace,
        query=asked.query,
        filter=memory_pb2.Filter(
            tags=asked.tags, value=to_json(asked.value) if asked.value else None
        ),
        limit=asked.limit,
        offset=asked.offset,
        refresh_ttl=asked.refresh_ttl,
    )


def batch_results(answer: memory_pb2.BatchResponse) -> MemoryBatchResults:
    """What a batch came to."""
    return MemoryBatchResults(results=[_result(each) for each in answer.results])


def _result(message: memory_pb2.BatchResult) -> MemoryBatchResult:
    return MemoryBatchResult(
        item=conversions.memory_item(message.item) if message.HasField("item") else None,
        found=[
            MemoryFound(
                item=conversions.memory_item(each.item),
                score=each.score if each.HasField("score") else None,
            )
            for each in message.found
        ],
        namespaces=[list(each.segments) for each in message.namespaces],
        deleted=message.deleted,
    )
