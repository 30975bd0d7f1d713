"""Models, asked through the llm-proxy, which meters them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.protobuf import json_format

from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc
from cadre.memory.v1 import memory_pb2
from cadre_kit.channels import call
from cadre_kit.documents import to_json
from cadre_kit.errors import CadreError
from cadre_memory.domain.models import Ask, Asker, ReplyUnusable

if TYPE_CHECKING:
    from cadre.llm_proxy.v1.llm_pb2_grpc import LlmServiceAsyncStub

__all__ = ["LlmProxyModels"]

_SERVICE = "llm-proxy"
_SECONDS = 120.0
# A model that is at work, whose reply is of no use: nothing that will pass, as when it is away, nor hopeless.
_UNUSABLE = ("MODEL_OUTPUT_INVALID", "MODEL_OUTPUT_TRUNCATED")
# So that the llm-proxy's own error arrives.
_GRACE_SECONDS = 5.0


class LlmProxyModels:
    """Models behind the llm-proxy at a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: LlmServiceAsyncStub = llm_pb2_grpc.LlmServiceStub(channel)

    async def reply(self, ask: Ask, *, asker: Asker) -> str:
        """As Models says."""
        request = _request(ask, asker)
        try:
            answer = await call(
                self._stub.Complete,
                request,
                service=_SERVICE,
                timeout_seconds=_SECONDS + _GRACE_SECONDS,
                idempotency_key=ask.key,
            )
        except CadreError as error:
            if error.code in _UNUSABLE:
                raise ReplyUnusable(error.message, code=error.code) from error
            raise
        if answer.reply.finish_reason == llm_pb2.FINISH_REASON_LENGTH and ask.schema is not None:
            raise ReplyUnusable("the model's reply was cut off")
        if not answer.reply.content.strip():
            raise ReplyUnusable("the model's reply is empty")
        return answer.reply.content


def _request(ask: Ask, asker: Asker) -> llm_pb2.CompleteRequest:
    choice = json_format.Parse(
        asker.choice or "{}", memory_pb2.Upkeep(), ignore_unknown_fields=True
    )
    request = llm_pb2.CompleteRequest(
        options=_options(choice.model, ask),
        fallbacks=[_options(each, ask) for each in choice.fallbacks],
        messages=[
            llm_pb2.Message(role=llm_pb2.ROLE_SYSTEM, content=ask.system),
            llm_pb2.Message(role=llm_pb2.ROLE_USER, content=ask.prompt),
        ],
        attribution=choice.attribution,
        timeout_seconds=_SECONDS,
    )
    if ask.schema is not None:
        request.output_schema.CopyFrom(to_json(ask.schema))
    return request


def _options(chosen: llm_pb2.ModelOptions, ask: Ask) -> llm_pb2.ModelOptions:
    """The model that was chosen; how long its reply may be is for what is asked."""
    options = llm_pb2.ModelOptions()
    options.CopyFrom(chosen)
    options.max_tokens = ask.max_tokens
    options.ClearField("stop")
    return options
