"""Conversations: added to, read from the end, listed, removed."""

from typing import Annotated

from fastapi import APIRouter, Query

from cadre.memory.v1 import memory_pb2
from cadre_gateway.entrypoint import memory_conversions as conversions
from cadre_gateway.entrypoint import memory_documents as documents
from cadre_gateway.entrypoint.access import READ, RUN, WRITE
from cadre_gateway.entrypoint.dependencies import IdempotencyKey, TheMemory
from cadre_gateway.entrypoint.routes.memories import AskedNamespace, PageSize, PageToken
from cadre_kit.ids import new_id

__all__ = ["router"]

router = APIRouter(tags=["conversations"])


@router.post("/api/v1/conversations/messages", dependencies=[RUN])
async def append_messages(
    asked: documents.NewMessages, memory: TheMemory, key: IdempotencyKey
) -> documents.MessagesAdded:
    """Adds messages to the end of a conversation, which begins with its first message."""
    answer = await memory.call(
        memory.memories.AppendMessages,
        conversions.new_messages(asked),
        idempotency_key=key or f"request/{new_id()}",
    )
    return documents.MessagesAdded(first_position=answer.first_position)


@router.get("/api/v1/conversations/messages", dependencies=[READ])
async def list_messages(
    namespace: AskedNamespace,
    memory: TheMemory,
    limit: Annotated[int, Query(ge=1, le=1000, description="At most this many.")] = 100,
    max_tokens: Annotated[
        int, Query(ge=0, le=10_000_000, description="At most about so many tokens; 0 means any.")
    ] = 0,
    before_position: Annotated[
        int, Query(ge=0, le=2**62, description="Only those before; 0 means the newest.")
    ] = 0,
    with_summary: Annotated[
        bool, Query(description="Whether a summary of what is left out comes too.")
    ] = False,
) -> documents.Messages:
    """Returns the newest messages of a conversation, or those before a position."""
    request = memory_pb2.ListMessagesRequest(
        namespace=namespace,
        limit=limit,
        max_tokens=max_tokens,
        before_position=before_position,
        with_summary=with_summary,
    )
    answer = await memory.call(memory.memories.ListMessages, request)
    return documents.Messages(
        messages=[conversions.message(one) for one in answer.messages],
        more=answer.more,
        summary=conversions.summary(answer),
    )


@router.get("/api/v1/conversations", dependencies=[READ])
async def list_conversations(
    namespace: AskedNamespace,
    memory: TheMemory,
    page_size: PageSize = 100,
    page_token: PageToken = "",
) -> documents.Conversations:
    """Lists the conversations at and below a namespace. A page may be empty and yet not the last."""
    request = memory_pb2.ListNamespacesRequest(
        namespace=namespace, page_size=page_size, page_token=page_token, conversations=True
    )
    answer = await memory.call(memory.memories.ListNamespaces, request)
    return documents.Conversations(
        conversations=[conversions.conversation(one) for one in answer.namespaces],
        next_page_token=answer.next_page_token,
    )


@router.delete("/api/v1/conversations", dependencies=[WRITE])
async def delete_conversation(namespace: AskedNamespace, memory: TheMemory) -> documents.Forgotten:
    """Really removes a conversation: its messages, its summary, the facts learned from it, and all else in its
    namespace and below. Cannot be undone."""
    request = memory_pb2.ForgetRequest(namespace=namespace, everything=True)
    answer = await memory.call(memory.memories.Forget, request)
    return documents.Forgotten(forgotten=answer.forgotten)
