"""OpenAI's chat completions, embeddings and models, answered by the llm-proxy and, for workflows, by the executor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response

from cadre.executor.v1 import workflows_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_gateway.adapters.services import LlmProxy
from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint.access import READ, RUN, TheCaller
from cadre_gateway.entrypoint.chat_conversions import (
    Chunks,
    completion,
    embedding_request,
    embeddings,
    request_of,
)
from cadre_gateway.entrypoint.chat_documents import (
    ChatChunk,
    ChatCompletion,
    ChatDelta,
    ChatModel,
    ChatModels,
    ChatRequest,
    EmbeddingRequest,
    Embeddings,
)
from cadre_gateway.entrypoint.dependencies import IdempotencyKey, Parts, TheParts
from cadre_gateway.entrypoint.errors import openai_error
from cadre_gateway.entrypoint.streams import EventStream, aclosed, sse, until_disconnected
from cadre_gateway.entrypoint.workflow_chat import PREFIX, WorkflowChat
from cadre_kit.errors import CadreError, Cancelled, NotFound
from cadre_kit.ids import new_id
from cadre_kit.logs import logger

__all__ = ["router"]

log = logger()
router = APIRouter(tags=["openai"])

# The llm-proxy gives up first, and says why; this is for the answer's way back.
_GRACE_SECONDS = 10.0
# An error that comes this soon can still be the answer's status.
_REFUSAL_SECONDS = 5.0
_WORKFLOWS = 500
_DEFAULT = "default"

_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ChatCompletion,
        "description": "The reply; with `stream`, server-sent chunks of it, then `[DONE]`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


class ModelNotFound(NotFound):
    """No model, group or workflow of a name can be used now."""

    code = "MODEL_NOT_FOUND"


@router.get("/v1/models", dependencies=[READ])
async def list_openai_models(parts: TheParts) -> ChatModels:
    """Lists what can be named as a model now: the platform's default, models, groups of models, and workflows."""
    llm_proxy, executor = parts.services.llm_proxy, parts.services.executor
    answer, applied = await asyncio.gather(
        llm_proxy.call(llm_proxy.models.ListModels, llm_pb2.ListModelsRequest()),
        executor.call(
            executor.workflows.ListWorkflows,
            workflows_pb2.ListWorkflowsRequest(page_size=_WORKFLOWS),
        ),
    )
    known = [conversions.model(one) for one in answer.models]
    return ChatModels(
        data=[
            ChatModel(id=_DEFAULT, owned_by="cadre"),
            *(
                ChatModel(id=f"{one.provider}/{one.name}", owned_by=one.provider)
                for one in known
                if one.available
            ),
            *(ChatModel(id=group.name, owned_by="cadre") for group in answer.groups),
            *(ChatModel(id=f"{PREFIX}{one.name}", owned_by="cadre") for one in applied.workflows),
        ]
    )


@router.get("/v1/models/{model:path}", dependencies=[READ])
async def get_openai_model(model: str, parts: TheParts) -> ChatModel:
    """Returns one of the models that can be named now."""
    for one in (await list_openai_models(parts)).data:
        if one.id == model:
            return one
    raise ModelNotFound(
        f"no model {model!r} can be used now", resolution="GET /v1/models lists those that can."
    )


@router.post("/v1/embeddings", dependencies=[RUN])
async def embed(asked: EmbeddingRequest, parts: TheParts, caller: TheCaller) -> Embeddings:
    """Turns texts into vectors whose closeness is closeness of meaning."""
    llm_proxy, seconds = parts.services.llm_proxy, parts.waits.completion_seconds
    provider, model = await _named(asked.model, llm_proxy)
    answer = await llm_proxy.call(
        llm_proxy.models.Embed,
        embedding_request(
            asked,
            provider=provider,
            model=model,
            api_key=caller.name,
            timeout_seconds=seconds,
        ),
        timeout_seconds=seconds + _GRACE_SECONDS,
    )
    return embeddings(answer, asked)


@router.post("/v1/chat/completions", response_model=None, responses=_DOCUMENTED, dependencies=[RUN])
async def complete_chat(
    asked: ChatRequest,
    request: Request,
    parts: TheParts,
    caller: TheCaller,
    key: IdempotencyKey,
) -> ChatCompletion | Response:
    """Asks a model, or a workflow. A caller who leaves stops it."""
    key = key or f"request/{new_id()}"
    if asked.stream:
        return await _streamed(asked, parts, api_key=caller.name, key=key)
    work = asyncio.ensure_future(_reply(asked, parts, api_key=caller.name, key=key))
    reply = await until_disconnected(request.receive, work)
    if reply is None:
        raise Cancelled("the caller left before the model had answered")
    return completion(reply, model=_model_of(reply, asked))


async def _reply(asked: ChatRequest, parts: Parts, *, api_key: str, key: str) -> llm_pb2.Reply:
    if asked.model.startswith(PREFIX):
        chat = WorkflowChat(name=asked.model.removeprefix(PREFIX), parts=parts)
        return await (await chat.start(asked, api_key=api_key, key=key)).reply()
    llm_proxy = parts.services.llm_proxy
    answer = await llm_proxy.call(
        llm_proxy.models.Complete,
        await _wanted(asked, parts, api_key),
        idempotency_key=key,
        timeout_seconds=parts.waits.completion_seconds + _GRACE_SECONDS,
    )
    return answer.reply


async def _responses(
    asked: ChatRequest, parts: Parts, *, api_key: str, key: str
) -> AsyncIterator[llm_pb2.StreamCompleteResponse]:
    if asked.model.startswith(PREFIX):
        chat = WorkflowChat(name=asked.model.removeprefix(PREFIX), parts=parts)
        return (await chat.start(asked, api_key=api_key, key=key)).responses()
    llm_proxy = parts.services.llm_proxy
    return llm_proxy.stream(
        llm_proxy.models.StreamComplete,
        llm_pb2.StreamCompleteRequest(request=await _wanted(asked, parts, api_key)),
        idempotency_key=key,
        timeout_seconds=parts.waits.completion_seconds + _GRACE_SECONDS,
    )


async def _wanted(asked: ChatRequest, parts: Parts, api_key: str) -> llm_pb2.CompleteRequest:
    provider, model = await _named(asked.model, parts.services.llm_proxy)
    return request_of(
        asked,
        provider=provider,
        model=model,
        api_key=api_key,
        timeout_seconds=parts.waits.completion_seconds,
    )


async def _named(name: str, llm_proxy: LlmProxy) -> tuple[str, str]:
    """The provider and the model that a name stands for. A name without a slash may be a group's, or a provider's."""
    provider, slash, model = ("" if name == _DEFAULT else name).partition("/")
    if provider and not slash:
        known = await llm_proxy.call(llm_proxy.models.ListModels, llm_pb2.ListModelsRequest())
        if any(group.name == name for group in known.groups):
            return "", name
    return provider, model


def _model_of(reply: llm_pb2.Reply, asked: ChatRequest) -> str:
    return f"{reply.provider}/{reply.model}" if reply.provider else asked.model


async def _streamed(asked: ChatRequest, parts: Parts, *, api_key: str, key: str) -> Response:
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return EventStream(
        _chunks(
            await _begun(await _responses(asked, parts, api_key=api_key, key=key)),
            Chunks(chunk_id=new_id(), model=asked.model),
            include_usage=include_usage,
        ),
        heartbeat_seconds=parts.waits.heartbeat_seconds,
        stopping=parts.stopping,
        metrics=parts.metrics,
    )


class _Begun:
    """A stream whose first response is there, or is long in coming. Close it, whether it was read or not."""

    def __init__(
        self,
        first: asyncio.Future[llm_pb2.StreamCompleteResponse],
        rest: AsyncIterator[llm_pb2.StreamCompleteResponse],
    ) -> None:
        self._first = first
        self._rest = rest

    async def __aiter__(self) -> AsyncIterator[llm_pb2.StreamCompleteResponse]:
        yield await self._first
        async for response in self._rest:
            yield response

    async def aclose(self) -> None:
        """Ends the call, if it still goes on."""
        self._first.cancel()
        await asyncio.wait({self._first})
        await aclosed(self._rest)


async def _begun(responses: AsyncIterator[llm_pb2.StreamCompleteResponse]) -> _Begun:
    """Raises the error that comes in place of a first response."""
    begun = _Begun(first := asyncio.ensure_future(anext(responses)), responses)
    try:
        done, _ = await asyncio.wait({first}, timeout=_REFUSAL_SECONDS)
        if done:
            first.result()
    except BaseException:
        await begun.aclose()
        raise
    return begun


async def _chunks(
    responses: _Begun, chunks: Chunks, *, include_usage: bool
) -> AsyncIterator[bytes]:
    async with aclosing(responses):
        yield _said(chunks.more(ChatDelta(role="assistant", content="")))
        try:
            async for response in responses:
                if response.HasField("delta"):
                    yield _said(chunks.more(ChatDelta(content=response.delta)))
                elif response.HasField("reasoning_delta"):
                    delta = ChatDelta(reasoning_content=response.reasoning_delta)
                    yield _said(chunks.more(delta))
                else:
                    for chunk in chunks.ends(response.reply):
                        yield _said(chunk)
                    if include_usage:
                        yield _said(chunks.usage(response.reply))
        except CadreError as error:
            log.warning("chat_stream_failed", code=error.code, reason=error.message)
            yield sse(openai_error(error).model_dump_json())
            return
    yield sse("[DONE]")


def _said(chunk: ChatChunk) -> bytes:
    return sse(chunk.model_dump_json(exclude_none=False))
