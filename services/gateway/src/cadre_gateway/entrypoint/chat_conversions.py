"""OpenAI's chat and embeddings to the llm-proxy's messages, and back."""

import base64
import binascii
import json
import struct
import time
from collections.abc import Mapping, Sequence

from cadre.llm_proxy.v1 import llm_pb2
from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint.chat_documents import (
    CalledFunction,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatMessage,
    ChatReply,
    ChatRequest,
    ChatToolCall,
    ChatToolCallDelta,
    ChatUsage,
    ChosenTool,
    Embedding,
    EmbeddingRequest,
    Embeddings,
    EmbeddingUsage,
    FinishReason,
    Likelihoods,
    OtherToken,
    ResponseFormat,
    TokenLikelihood,
)
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_kit.documents import to_json

__all__ = [
    "FINISH_REASONS",
    "Chunks",
    "completion",
    "embedding_request",
    "embeddings",
    "request_of",
]

_ROLES = {
    "system": llm_pb2.ROLE_SYSTEM,
    "developer": llm_pb2.ROLE_SYSTEM,
    "user": llm_pb2.ROLE_USER,
    "assistant": llm_pb2.ROLE_ASSISTANT,
    "tool": llm_pb2.ROLE_TOOL,
}
_TOOL_CHOICES = {
    None: llm_pb2.TOOL_CHOICE_AUTO,
    "auto": llm_pb2.TOOL_CHOICE_AUTO,
    "none": llm_pb2.TOOL_CHOICE_NONE,
    "required": llm_pb2.TOOL_CHOICE_REQUIRED,
}
# In quotes: only the stubs know the type of a number.
FINISH_REASONS: "Mapping[llm_pb2.FinishReason.ValueType, FinishReason]" = {
    llm_pb2.FINISH_REASON_UNSPECIFIED: "stop",
    llm_pb2.FINISH_REASON_STOP: "stop",
    llm_pb2.FINISH_REASON_LENGTH: "length",
    llm_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
    llm_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
}
# Options that have no field of their own on the way to a provider.
_PARAMS = (
    "reasoning_effort",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "parallel_tool_calls",
)
_DATA = "data:"
_BASE64 = ";base64"


def request_of(
    asked: ChatRequest, *, provider: str, model: str, api_key: str, timeout_seconds: float
) -> llm_pb2.CompleteRequest:
    """What the llm-proxy is asked for a key. Raises InvalidRequest."""
    options = llm_pb2.ModelOptions(
        provider=provider,
        model=model,
        temperature=asked.temperature,
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        top_p=asked.top_p,
        seed=asked.seed,
        stop=asked.stop,
        top_logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
    )
    params = {name: value for name in _PARAMS if (value := getattr(asked, name)) is not None}
    if params:
        options.params.CopyFrom(to_json(params))
    tools, choice = _tools(asked)
    request = llm_pb2.CompleteRequest(
        options=options,
        messages=[_message(one, place) for place, one in enumerate(asked.messages)],
        tools=tools,
        tool_choice=choice,
        timeout_seconds=timeout_seconds,
        attribution=llm_pb2.Attribution(api_key=api_key),
    )
    schema = _schema_of(asked.response_format)
    if schema is not None:
        request.output_schema.CopyFrom(to_json(schema))
    return request


def _message(one: ChatMessage, place: int) -> llm_pb2.Message:
    calls = [
        llm_pb2.ToolCall(
            id=call.id,
            name=call.function.name,
            arguments=to_json(json.loads(call.function.arguments)),
        )
        for call in one.tool_calls or ()
    ]
    images = [_image(url, f"messages[{place}]") for url in one.images]
    return llm_pb2.Message(
        role=_ROLES[one.role],
        content=one.text,
        tool_calls=calls,
        tool_call_id=one.tool_call_id or "",
        images=images,
    )


def _image(url: str, where: str) -> llm_pb2.Image:
    if not url.startswith(_DATA):
        return llm_pb2.Image(url=url)
    about, comma, data = url.removeprefix(_DATA).partition(",")
    try:
        if not comma or not about.endswith(_BASE64):
            raise ValueError
        content = base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error) as exc:
        raise InvalidRequest(
            f"{where} has an image whose data cannot be read",
            resolution="Send data:MEDIA_TYPE;base64,DATA, or an https address.",
        ) from exc
    return llm_pb2.Image(data=content, media_type=about.removesuffix(_BASE64))


def _tools(
    asked: ChatRequest,
) -> "tuple[list[llm_pb2.ToolDefinition], llm_pb2.ToolChoice.ValueType]":
    functions = [tool.function for tool in asked.tools or ()]
    if isinstance(asked.tool_choice, ChosenTool):
        # One tool that must be called is the only one that may be.
        chosen = asked.tool_choice.function.name
        functions = [one for one in functions if one.name == chosen]
        if not functions:
            raise InvalidRequest(f"tool_choice names {chosen!r}, which is none of the tools")
        choice = llm_pb2.TOOL_CHOICE_REQUIRED
    else:
        choice = _TOOL_CHOICES[asked.tool_choice]
    tools = [
        llm_pb2.ToolDefinition(
            name=one.name, description=one.description, parameters=to_json(one.parameters)
        )
        for one in functions
    ]
    return tools, choice if tools else llm_pb2.TOOL_CHOICE_UNSPECIFIED


def _schema_of(wanted: ResponseFormat | None) -> object | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.json_schema is None or wanted.type == "json_object":
        return {"type": "object"}
    return wanted.json_schema.json_schema


def completion(reply: llm_pb2.Reply, *, model: str) -> ChatCompletion:
    """A whole reply."""
    calls = [_call(one) for one in reply.tool_calls]
    message = ChatReply(
        content=None if calls and not reply.content else reply.content,
        tool_calls=calls or None,
        reasoning_content=reply.reasoning or None,
    )
    choice = ChatChoice(
        message=message,
        finish_reason=FINISH_REASONS[reply.finish_reason],
        logprobs=_likelihoods(reply.likelihoods),
    )
    return ChatCompletion(
        id=f"chatcmpl-{reply.call_id}",
        created=int(time.time()),
        model=model,
        choices=[choice],
        usage=_usage(reply),
    )


class Chunks:
    """The parts of one streamed reply, as documents."""

    def __init__(self, *, chunk_id: str, model: str) -> None:
        self._id = f"chatcmpl-{chunk_id}"
        self._created = int(time.time())
        self._model = model

    def more(self, delta: ChatDelta) -> ChatChunk:
        """More of the reply."""
        return self._chunk([ChatChunkChoice(delta=delta)])

    def ends(self, reply: llm_pb2.Reply) -> list[ChatChunk]:
        """The tools that the reply calls, then why it ended."""
        calls = [
            ChatToolCallDelta(index=place, **_call(one).model_dump())
            for place, one in enumerate(reply.tool_calls)
        ]
        last = ChatChunkChoice(
            delta=ChatDelta(),
            finish_reason=FINISH_REASONS[reply.finish_reason],
            logprobs=_likelihoods(reply.likelihoods),
        )
        return [
            *(self.more(ChatDelta(tool_calls=[call])) for call in calls),
            self._chunk([last]),
        ]

    def usage(self, reply: llm_pb2.Reply) -> ChatChunk:
        """What the reply used; comes last."""
        return self._chunk([], usage=_usage(reply))

    def _chunk(self, choices: list[ChatChunkChoice], usage: ChatUsage | None = None) -> ChatChunk:
        return ChatChunk(
            id=self._id, created=self._created, model=self._model, choices=choices, usage=usage
        )


def _call(call: llm_pb2.ToolCall) -> ChatToolCall:
    function = CalledFunction(name=call.name, arguments=call.arguments.text)
    return ChatToolCall(id=call.id, function=function)


def _likelihoods(tokens: Sequence[llm_pb2.Likelihood]) -> Likelihoods | None:
    if not tokens:
        return None
    content = [
        TokenLikelihood(
            **_token(one).model_dump(), top_logprobs=[_token(other) for other in one.others]
        )
        for one in tokens
    ]
    return Likelihoods(content=content)


def _token(one: llm_pb2.Likelihood) -> OtherToken:
    return OtherToken(token=one.token, logprob=one.logprob, bytes=list(one.token.encode()))


def _usage(reply: llm_pb2.Reply) -> ChatUsage:
    usage = conversions.usage(reply.usage)
    return ChatUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        cost_usd=usage.cost_usd,
    )


def embedding_request(
    asked: EmbeddingRequest, *, provider: str, model: str, api_key: str, timeout_seconds: float
) -> llm_pb2.EmbedRequest:
    """What the llm-proxy is asked for a key."""
    return llm_pb2.EmbedRequest(
        provider=provider,
        model=model,
        texts=asked.input,
        dimensions=asked.dimensions or 0,
        timeout_seconds=timeout_seconds,
        attribution=llm_pb2.Attribution(api_key=api_key),
    )


def embeddings(answer: llm_pb2.EmbedResponse, asked: EmbeddingRequest) -> Embeddings:
    """The vectors, as the caller wants them written."""
    usage = conversions.usage(answer.usage)
    as_text = asked.encoding_format == "base64"
    data = [
        Embedding(
            index=place,
            embedding=base64.b64encode(vector).decode() if as_text else _numbers(vector),
        )
        for place, vector in enumerate(answer.vectors)
    ]
    return Embeddings(
        data=data,
        model=f"{answer.provider}/{answer.model}",
        usage=EmbeddingUsage(
            prompt_tokens=usage.input_tokens,
            total_tokens=usage.input_tokens,
            cost_usd=usage.cost_usd,
        ),
    )


def _numbers(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))
