"""Memory's protos to the API's documents, and the other way around."""

from __future__ import annotations

from collections.abc import Mapping

from cadre.llm_proxy.v1 import llm_pb2
from cadre.memory.v1 import memory_pb2
from cadre_gateway.entrypoint import memory_documents as d
from cadre_gateway.entrypoint.conversions import json_of, moment, timestamp
from cadre_kit.documents import object_from_json, to_json

__all__ = [
    "ROLE_NUMBERS",
    "SEARCH_MODE_NUMBERS",
    "conversation",
    "memory_filter",
    "memory_hit",
    "memory_item",
    "message",
    "new_messages",
    "summary",
]

SEARCH_MODE_NUMBERS: Mapping[d.SearchMode, memory_pb2.SearchMode.ValueType] = {
    d.SearchMode.HYBRID: memory_pb2.SEARCH_MODE_HYBRID,
    d.SearchMode.TEXT: memory_pb2.SEARCH_MODE_TEXT,
    d.SearchMode.VECTOR: memory_pb2.SEARCH_MODE_VECTOR,
}
ROLE_NUMBERS: Mapping[d.Role, memory_pb2.Role.ValueType] = {
    d.Role.USER: memory_pb2.ROLE_USER,
    d.Role.ASSISTANT: memory_pb2.ROLE_ASSISTANT,
    d.Role.SYSTEM: memory_pb2.ROLE_SYSTEM,
    d.Role.TOOL: memory_pb2.ROLE_TOOL,
}
_ROLES = {number: role for role, number in ROLE_NUMBERS.items()}


def memory_filter(asked: d.Selection) -> memory_pb2.Filter:
    """The conditions of a request."""
    return memory_pb2.Filter(
        tags=asked.tags,
        metadata=to_json(asked.metadata),
        since_time=timestamp(asked.since_time),
        before_time=timestamp(asked.before_time),
    )


def memory_item(found: memory_pb2.Item) -> d.MemoryItem:
    """A stored value."""
    return d.MemoryItem(
        namespace=list(found.namespace),
        key=found.key,
        value=json_of(found, "value"),
        version=found.version,
        created_time=moment(found, "created_time"),
        updated_time=moment(found, "updated_time"),
        expires_time=moment(found, "expires_time"),
        tags=list(found.tags),
        metadata=dict(object_from_json(found.metadata, field="metadata")),
    )


def memory_hit(hit: memory_pb2.Hit) -> d.MemoryHit:
    """A value that was found."""
    return d.MemoryHit(
        item=memory_item(hit.item),
        score=hit.score,
        text_score=hit.text_score,
        vector_score=hit.vector_score,
        matched_text=hit.matched_text,
        message=message(hit.message) if hit.HasField("message") else None,
        neighbours=[message(each) for each in hit.neighbours],
    )


def message(said: memory_pb2.Message) -> d.ConversationMessage:
    """A message of a conversation."""
    return d.ConversationMessage(
        position=said.position,
        role=_ROLES[said.role],
        name=said.name,
        text=said.text,
        time=moment(said, "time"),
        session=said.session,
        metadata=dict(object_from_json(said.metadata, field="metadata")),
    )


def summary(answer: memory_pb2.ListMessagesResponse) -> d.Summary | None:
    """The summary of an answer, if there is one."""
    if not answer.HasField("summary"):
        return None
    found = answer.summary
    return d.Summary(text=found.text, last_position=found.last_position, time=moment(found, "time"))


def conversation(found: memory_pb2.Namespace) -> d.Conversation:
    """A conversation."""
    return d.Conversation(namespace=list(found.segments), newest=message(found.newest))


def new_messages(asked: d.NewMessages) -> memory_pb2.AppendMessagesRequest:
    """Messages to add, and what is made of them."""
    request = memory_pb2.AppendMessagesRequest(
        namespace=asked.namespace, messages=[_new_message(each) for each in asked.messages]
    )
    if asked.learn or asked.summary_tokens:
        provider, _, name = ("" if asked.model == "default" else asked.model).partition("/")
        upkeep = memory_pb2.Upkeep(
            learn=asked.learn,
            summary_tokens=asked.summary_tokens,
            model=llm_pb2.ModelOptions(provider=provider, model=name),
        )
        request.upkeep.CopyFrom(upkeep)
    return request


def _new_message(asked: d.NewMessage) -> memory_pb2.Message:
    return memory_pb2.Message(
        role=ROLE_NUMBERS[asked.role],
        name=asked.name,
        text=asked.text,
        time=timestamp(asked.time),
        session=asked.session,
        metadata=to_json(asked.metadata),
    )
