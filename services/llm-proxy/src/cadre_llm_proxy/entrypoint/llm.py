"""LlmService: convert, call, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc

from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc
from cadre_kit.interceptor import idempotency_key
from cadre_llm_proxy.domain.calls import Delta
from cadre_llm_proxy.domain.completions import Completions
from cadre_llm_proxy.domain.embedding import Embedding
from cadre_llm_proxy.domain.metering import Unanswered
from cadre_llm_proxy.entrypoint.messages import (
    completion_request,
    embed_request,
    embed_response,
    failed_call_message,
    group_message,
    model_message,
    reply_message,
)

__all__ = ["LlmServicer"]


class LlmServicer(llm_pb2_grpc.LlmServiceServicer):
    """Serves LlmService."""

    def __init__(self, completions: Completions, embedding: Embedding) -> None:
        self._completions = completions
        self._embedding = embedding

    async def Complete(
        self,
        request: llm_pb2.CompleteRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> llm_pb2.CompleteResponse:
        """The whole reply."""
        with _failing_with_its_use():
            reply = await self._completions.complete(
                completion_request(request), key=idempotency_key(context)
            )
        return llm_pb2.CompleteResponse(reply=reply_message(reply))

    async def StreamComplete(
        self,
        request: llm_pb2.StreamCompleteRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[llm_pb2.StreamCompleteResponse]:
        """The reply as it is written."""
        parts = self._completions.stream(
            completion_request(request.request), key=idempotency_key(context)
        )
        with _failing_with_its_use():
            async with aclosing(parts):
                async for part in parts:
                    if isinstance(part, Delta):
                        if part.reasoning:
                            yield llm_pb2.StreamCompleteResponse(reasoning_delta=part.reasoning)
                        if part.text:
                            yield llm_pb2.StreamCompleteResponse(delta=part.text)
                    else:
                        yield llm_pb2.StreamCompleteResponse(reply=reply_message(part))

    async def Embed(
        self,
        request: llm_pb2.EmbedRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> llm_pb2.EmbedResponse:
        """Vectors of texts."""
        return embed_response(await self._embedding.embed(embed_request(request)))

    async def ListModels(
        self,
        request: llm_pb2.ListModelsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> llm_pb2.ListModelsResponse:
        """All models."""
        listed = self._completions.list_models()
        groups = self._completions.list_groups()
        return llm_pb2.ListModelsResponse(
            models=[model_message(model) for model in listed],
            groups=[group_message(*group) for group in groups],
        )


@contextmanager
def _failing_with_its_use() -> Iterator[None]:
    try:
        yield
    except Unanswered as failed:
        failed.error.details = (failed_call_message(failed),)
        raise failed.error from failed
