"""OpenAI's chat completions and models, answered by the llm-proxy."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from cadre.llm_proxy.v1 import llm_pb2
from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint.access import READ, RUN, TheCaller
from cadre_gateway.entrypoint.chat_documents import (
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatModel,
    ChatModels,
    ChatReply,
    ChatRequest,
    ChatUsage,
    FinishReason,
    ResponseFormat,
)
from cadre_gateway.entrypoint.dependencies import IdempotencyKey, Parts, TheLlmProxy, TheParts
from cadre_gateway.entrypoint.errors import openai_error
from cadre_gateway.entrypoint.streams import EventStream, aclosed, sse, until_disconnected
from cadre_kit.documents import to_json
from cadre_kit.errors import CadreError, Cancelled
from cadre_kit.ids import new_id
from cadre_kit.logs import logger

__all__ = ["router"]

log = logger()
router = APIRouter(tags=["openai"])

# The llm-proxy gives up first, and says why; this is for the answer's way back.
_GRACE_SECONDS = 10.0
# An error that comes this soon can still be the answer's status.
_REFUSAL_SECONDS = 5.0

_ROLES = {
    "system": llm_pb2.ROLE_SYSTEM,
    "developer": llm_pb2.ROLE_SYSTEM,
    "user": llm_pb2.ROLE_USER,
    "assistant": llm_pb2.ROLE_ASSISTANT,
}
# In quotes: only the stubs know the type of a number.
_FINISH_REASONS: "Mapping[llm_pb2.FinishReason.ValueType, FinishReason]" = {
    llm_pb2.FINISH_REASON_UNSPECIFIED: "stop",
    llm_pb2.FINISH_REASON_STOP: "stop",
    llm_pb2.FINISH_REASON_LENGTH: "length",
    llm_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
    llm_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
}
_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ChatCompletion,
        "description": "The reply; with `stream`, server-sent chunks of it, then `[DONE]`.",
    }
}


@router.get("/v1/models", dependencies=[READ])
async def list_openai_models(llm_proxy: TheLlmProxy) -> ChatModels:
    """Lists the models that can be used now, the platform's default first."""
    answer = await llm_proxy.call(llm_proxy.models.ListModels, llm_pb2.ListModelsRequest())
    known = [conversions.model(one) for one in answer.models]
    usable = [
        ChatModel(id=f"{one.provider}/{one.name}", owned_by=one.provider)
        for one in known
        if one.available
    ]
    return ChatModels(data=[ChatModel(id="default", owned_by="cadre"), *usable])


@router.post("/v1/chat/completions", response_model=None, responses=_DOCUMENTED, dependencies=[RUN])
async def complete_chat(
    asked: ChatRequest,
    request: Request,
    parts: TheParts,
    caller: TheCaller,
    key: IdempotencyKey,
) -> ChatCompletion | Response:
    """Asks a model. A caller who leaves stops the model."""
    wanted = _request_of(asked, api_key=caller.name, timeout_seconds=parts.waits.completion_seconds)
    key = key or f"request/{new_id()}"
    if asked.stream:
        return await _streamed(asked, wanted, parts, key=key)
    llm_proxy = parts.services.llm_proxy
    work = asyncio.ensure_future(
        llm_proxy.call(
            llm_proxy.models.Complete,
            wanted,
            idempotency_key=key,
            timeout_seconds=parts.waits.completion_seconds + _GRACE_SECONDS,
        )
    )
    answer = await until_disconnected(request.receive, work)
    if answer is None:
        raise Cancelled("the caller left before the model had answered")
    return _completion(answer.reply)


def _request_of(
    asked: ChatRequest, *, api_key: str, timeout_seconds: float
) -> llm_pb2.CompleteRequest:
    provider, _, name = ("" if asked.model == "default" else asked.model).partition("/")
    options = llm_pb2.ModelOptions(
        provider=provider,
        model=name,
        temperature=asked.temperature,
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        top_p=asked.top_p,
        seed=asked.seed,
        stop=asked.stop,
    )
    messages = [llm_pb2.Message(role=_ROLES[one.role], content=one.text) for one in asked.messages]
    request = llm_pb2.CompleteRequest(
        options=options,
        messages=messages,
        timeout_seconds=timeout_seconds,
        attribution=llm_pb2.Attribution(api_key=api_key),
    )
    schema = _schema_of(asked.response_format)
    if schema is not None:
        request.output_schema.CopyFrom(to_json(schema))
    return request


def _schema_of(wanted: ResponseFormat | None) -> object | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.json_schema is None or wanted.type == "json_object":
        return {"type": "object"}
    return wanted.json_schema.json_schema


def _completion(reply: llm_pb2.Reply) -> ChatCompletion:
    choice = ChatChoice(
        message=ChatReply(content=reply.content),
        finish_reason=_FINISH_REASONS[reply.finish_reason],
    )
    return ChatCompletion(
        id=f"chatcmpl-{reply.call_id}",
        created=int(time.time()),
        model=f"{reply.provider}/{reply.model}",
        choices=[choice],
        usage=_usage(reply),
    )


def _usage(reply: llm_pb2.Reply) -> ChatUsage:
    usage = conversions.usage(reply.usage)
    return ChatUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        cost_usd=usage.cost_usd,
    )


async def _streamed(
    asked: ChatRequest, wanted: llm_pb2.CompleteRequest, parts: Parts, *, key: str
) -> Response:
    llm_proxy = parts.services.llm_proxy
    responses = llm_proxy.stream(
        llm_proxy.models.StreamComplete,
        llm_pb2.StreamCompleteRequest(request=wanted),
        idempotency_key=key,
        timeout_seconds=parts.waits.completion_seconds + _GRACE_SECONDS,
    )
    return EventStream(
        _chunks(
            await _begun(responses),
            _Stream(
                model=asked.model,
                include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
            ),
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


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """What all chunks of a stream share, and whether the usage comes last."""

    model: str
    include_usage: bool

    def chunk(
        self, chunk_id: str, created: int, delta: ChatDelta, reason: FinishReason | None = None
    ) -> bytes:
        choice = ChatChunkChoice(delta=delta, finish_reason=reason)
        return _said(ChatChunk(id=chunk_id, created=created, model=self.model, choices=[choice]))


async def _chunks(responses: _Begun, stream: _Stream) -> AsyncIterator[bytes]:
    chunk_id, created = f"chatcmpl-{new_id()}", int(time.time())
    async with aclosing(responses):
        yield stream.chunk(chunk_id, created, ChatDelta(role="assistant", content=""))
        try:
            async for response in responses:
                if response.HasField("delta"):
                    yield stream.chunk(chunk_id, created, ChatDelta(content=response.delta))
                    continue
                reply = response.reply
                yield stream.chunk(
                    chunk_id, created, ChatDelta(), _FINISH_REASONS[reply.finish_reason]
                )
                if stream.include_usage:
                    yield _said(
                        ChatChunk(
                            id=chunk_id,
                            created=created,
                            model=stream.model,
                            choices=[],
                            usage=_usage(reply),
                        )
                    )
        except CadreError as error:
            log.warning("chat_stream_failed", code=error.code, reason=error.message)
            yield sse(openai_error(error).model_dump_json())
            return
    yield sse("[DONE]")


def _said(chunk: ChatChunk) -> bytes:
    return sse(chunk.model_dump_json())
