"""MemoryService over gRPC: converts, calls, converts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.timestamp_pb2 import Timestamp

from cadre.common.v1 import common_pb2
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.interceptor import idempotency_key
from cadre_memory.domain.batches import Batches, Find, Found, Get, ListNamespaces, Operation, Result
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.entries import Role
from cadre_memory.domain.filters import Filter, valid_filter
from cadre_memory.domain.items import FieldInvalid, Item, Turn
from cadre_memory.domain.memories import Hit, Memories, NewItem, Query
from cadre_memory.domain.messages import Message
from cadre_memory.domain.models import Asker
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.ranking import Mode
from cadre_memory.domain.stores import Removal
from cadre_memory.domain.summaries import Summary
from cadre_memory.domain.upkeeps import Upkeep, Upkeeps

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_MODES = {
    memory_pb2.SEARCH_MODE_UNSPECIFIED: Mode.HYBRID,
    memory_pb2.SEARCH_MODE_HYBRID: Mode.HYBRID,
    memory_pb2.SEARCH_MODE_TEXT: Mode.TEXT,
    memory_pb2.SEARCH_MODE_VECTOR: Mode.VECTOR,
}
_ROLE_NUMBERS = {
    Role.USER: memory_pb2.ROLE_USER,
    Role.ASSISTANT: memory_pb2.ROLE_ASSISTANT,
    Role.SYSTEM: memory_pb2.ROLE_SYSTEM,
    Role.TOOL: memory_pb2.ROLE_TOOL,
}
_ROLES = {number: role for role, number in _ROLE_NUMBERS.items()} | {
    memory_pb2.ROLE_UNSPECIFIED: Role.USER
}


class MemoryServicer(memory_pb2_grpc.MemoryServiceServicer):
    """The calls. Errors are the domain's; the kit's interceptor says them."""

    def __init__(self, memories: Memories, conversations: Conversations, upkeeps: Upkeeps) -> None:
        self._memories = memories
        self._conversations = conversations
        self._batches = Batches(memories=memories)
        self._upkeeps = upkeeps

    async def Put(self, request: memory_pb2.PutRequest, context: Context) -> memory_pb2.PutResponse:
        item = await self._memories.put(
            _new_item(request), idempotency_key=idempotency_key(context)
        )
        return memory_pb2.PutResponse(item=_item(item))

    async def BatchPut(
        self, request: memory_pb2.BatchPutRequest, context: Context
    ) -> memory_pb2.BatchPutResponse:
        items = await self._memories.put_all(
            [_new_item(each) for each in request.puts], idempotency_key=idempotency_key(context)
        )
        return memory_pb2.BatchPutResponse(versions=[item.version for item in items])

    async def Get(self, request: memory_pb2.GetRequest, context: Context) -> memory_pb2.GetResponse:
        item = await self._memories.get(
            namespace=tuple(request.namespace), key=request.key, version=request.version
        )
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
            matching=_filter(request.filter),
        )
        return memory_pb2.ListResponse(
            items=[_item(item) for item in listing.items], next_page_token=listing.next_page_token
        )

    async def Search(
        self, request: memory_pb2.SearchRequest, context: Context
    ) -> memory_pb2.SearchResponse:
        answer = await self._memories.answer(
            Query(
                namespace=tuple(request.namespace),
                text=request.query,
                top_k=request.top_k,
                mode=_mode(request.mode),
                matching=_filter(request.filter),
                window=request.window,
                asked=_moment(request, "asked_time"),
            )
        )
        return memory_pb2.SearchResponse(
            hits=[_hit(hit) for hit in answer.hits], without_meaning=answer.without_meaning
        )

    async def AppendMessages(
        self, request: memory_pb2.AppendMessagesRequest, context: Context
    ) -> memory_pb2.AppendMessagesResponse:
        now = datetime.now(UTC)
        first = await self._upkeeps.append(
            namespace=tuple(request.namespace),
            messages=[_new_message(each, now=now) for each in request.messages],
            upkeep=_upkeep(request.upkeep) if request.HasField("upkeep") else None,
            idempotency_key=idempotency_key(context),
        )
        return memory_pb2.AppendMessagesResponse(first_position=first)

    async def ListMessages(
        self, request: memory_pb2.ListMessagesRequest, context: Context
    ) -> memory_pb2.ListMessagesResponse:
        recent = await self._conversations.recent(
            namespace=tuple(request.namespace),
            limit=request.limit,
            max_tokens=request.max_tokens,
            before=request.before_position,
            with_summary=request.with_summary,
        )
        messages = [_message(item, item.turn) for item in recent.messages if item.turn]
        summary = _summary(recent.summary) if recent.summary else None
        return memory_pb2.ListMessagesResponse(messages=messages, more=recent.more, summary=summary)

    async def ListNamespaces(
        self, request: memory_pb2.ListNamespacesRequest, context: Context
    ) -> memory_pb2.ListNamespacesResponse:
        found, token = await self._memories.namespaces(
            above=tuple(request.namespace), page_size=request.page_size, token=request.page_token
        )
        namespaces = [memory_pb2.Namespace(segments=each) for each in found]
        if request.conversations:
            namespaces = [each async for each in self._conversations_among(found)]
        return memory_pb2.ListNamespacesResponse(namespaces=namespaces, next_page_token=token)

    async def _conversations_among(
        self, namespaces: Sequence[Namespace]
    ) -> AsyncIterator[memory_pb2.Namespace]:
        for each in namespaces:
            newest = await self._memories.newest(each)
            if newest is not None and newest.turn is not None:
                message = _message(newest, newest.turn)
                yield memory_pb2.Namespace(segments=each, newest=message)

    async def Forget(
        self, request: memory_pb2.ForgetRequest, context: Context
    ) -> memory_pb2.ForgetResponse:
        forgotten = await self._memories.forget(
            namespace=tuple(request.namespace),
            matching=_filter(request.filter),
            everything=request.everything,
        )
        return memory_pb2.ForgetResponse(forgotten=forgotten)

    async def Batch(
        self, request: memory_pb2.BatchRequest, context: Context
    ) -> memory_pb2.BatchResponse:
        results = await self._batches.run(
            [_operation(each) for each in request.operations],
            idempotency_key=idempotency_key(context),
        )
        return memory_pb2.BatchResponse(results=[_result(result) for result in results])


def _new_item(request: memory_pb2.PutRequest) -> NewItem:
    return NewItem(
        namespace=tuple(request.namespace),
        key=request.key,
        value=request.value.text,
        ttl_seconds=request.ttl_seconds,
        metadata=request.metadata.text,
        tags=tuple(request.tags),
        if_version=request.if_version if request.HasField("if_version") else None,
        fields=tuple(request.searched_fields.paths)
        if request.HasField("searched_fields")
        else None,
    )


def _operation(message: memory_pb2.Operation) -> Operation:
    match message.WhichOneof("kind"):
        case "put":
            return _new_item(message.put)
        case "delete":
            return Removal(namespace=tuple(message.delete.namespace), key=message.delete.key)
        case "get":
            get = message.get
            return Get(namespace=tuple(get.namespace), key=get.key, refresh=get.refresh_ttl)
        case "find":
            return _find(message.find)
        case "namespaces":
            return _list_namespaces(message.namespaces)
    raise FieldInvalid(
        "operations", "operations has one that says nothing to do", code="OPERATIONS_INVALID"
    )


def _find(message: memory_pb2.BatchFind) -> Find:
    return Find(
        namespace=tuple(message.namespace),
        query=message.query,
        matching=_filter(message.filter),
        limit=message.limit,
        offset=message.offset,
        refresh=message.refresh_ttl,
    )


def _list_namespaces(message: memory_pb2.BatchNamespaces) -> ListNamespaces:
    return ListNamespaces(
        prefix=tuple(message.prefix),
        suffix=tuple(message.suffix),
        max_depth=message.max_depth,
        limit=message.limit,
        offset=message.offset,
    )


def _result(result: Result) -> memory_pb2.BatchResult:
    match result:
        case Item():
            return memory_pb2.BatchResult(item=_item(result))
        case bool():
            return memory_pb2.BatchResult(deleted=result)
        case None:
            return memory_pb2.BatchResult()
        case found:
            return memory_pb2.BatchResult(
                found=[
                    memory_pb2.BatchFound(item=_item(each.item), score=each.score)
                    for each in found
                    if isinstance(each, Found)
                ],
                namespaces=[
                    memory_pb2.Namespace(segments=each) for each in found if isinstance(each, tuple)
                ],
            )


def _new_message(message: memory_pb2.Message, *, now: datetime) -> Message:
    if message.role not in _ROLES:
        raise FieldInvalid("role", f"role {message.role} is not one", code="ROLE_INVALID")
    return Message(
        role=_ROLES[message.role],
        name=message.name,
        text=message.text,
        time=_moment(message, "time") or now,
        session=message.session,
        metadata=message.metadata.text,
    )


def _upkeep(message: memory_pb2.Upkeep) -> Upkeep:
    choice = memory_pb2.Upkeep(
        model=message.model, fallbacks=message.fallbacks, attribution=message.attribution
    )
    asker = Asker(
        workflow=message.attribution.workflow,
        run_id=message.attribution.run_id,
        node=message.attribution.node,
        choice=json_format.MessageToJson(choice, indent=None),
    )
    return Upkeep(asker=asker, summary_tokens=message.summary_tokens, learn=message.learn)


def _filter(message: memory_pb2.Filter) -> Filter:
    return valid_filter(
        tags=tuple(message.tags),
        metadata=message.metadata.text,
        since=_moment(message, "since_time"),
        before=_moment(message, "before_time"),
        value=message.value.text,
    )


def _moment(message: ProtoMessage, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise FieldInvalid(
            field, f"{field} is outside of the years 1 to 9999", code="TIME_INVALID"
        ) from exc


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
        matched_text=hit.passage,
        message=_message(hit.item, hit.item.turn) if hit.item.turn else None,
        neighbours=[_message(each, each.turn) for each in hit.neighbours if each.turn],
    )


def _message(item: Item, turn: Turn) -> memory_pb2.Message:
    return memory_pb2.Message(
        position=turn.position,
        role=_ROLE_NUMBERS[turn.role],
        name=turn.name,
        text=json.loads(item.value),
        time=_timestamp(turn.time),
        session=turn.session,
        metadata=common_pb2.Json(text=item.metadata),
    )


def _summary(summary: Summary) -> memory_pb2.Summary:
    return memory_pb2.Summary(
        text=summary.text,
        last_position=summary.last_position,
        time=_timestamp(summary.time),
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
        metadata=common_pb2.Json(text=item.metadata),
        tags=item.tags,
    )


def _timestamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message
