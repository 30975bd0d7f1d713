"""OpenAI's chat format, which most servers speak and litellm takes: requests into it, answers out of it."""

import base64
import json
import sys
from array import array
from collections.abc import Mapping
from math import isfinite
from typing import Any

from cadre_llm_proxy.adapters.openai_values import (
    Unreadable,
    arguments_of,
    finish_of,
    id_of,
    likelihoods_of,
    model_of,
    reasoning_of,
    service_of,
    text_of,
    tokens_of,
    whole,
)
from cadre_llm_proxy.domain.calls import (
    Answer,
    Ask,
    EmbedAsk,
    Embeddings,
    Image,
    Message,
    ToolChoice,
    ToolDefinition,
    WrittenCall,
)
from cadre_llm_proxy.domain.schemas import is_strict, tightened

__all__ = [
    "answer_of",
    "body_of",
    "embeddings_body",
    "embeddings_of",
]


def body_of(ask: Ask) -> dict[str, Any]:
    """The request's body, without what is asked of the transport (stream)."""
    options = ask.options
    said = {
        "temperature": options.temperature,
        # Models that think before they answer count both, and know only the newer name.
        "max_completion_tokens" if _thinks(ask) else "max_tokens": options.max_tokens,
        "top_p": options.top_p,
        "seed": options.seed,
        "stop": list(options.stop) or None,
        "logprobs": None if options.top_logprobs is None else True,
        "top_logprobs": options.top_logprobs,
        "tools": [_tool(tool) for tool in ask.tools] or None,
        "tool_choice": ask.tool_choice.value
        if ask.tools and ask.tool_choice is not ToolChoice.AUTO
        else None,
        "response_format": None if ask.output_schema is None else _structured(ask.output_schema),
    }
    return {
        **ask.options.params,
        "messages": [_message(message) for message in ask.messages],
        **{name: value for name, value in said.items() if value is not None},
    }


def _thinks(ask: Ask) -> bool:
    return ask.target.provider == "openai" and ask.target.abilities.reasoning


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.images:
        said["content"] = _seen(message)
    if message.tool_calls:
        said["content"] = message.content or None
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        said["tool_call_id"] = message.tool_call_id
    return said


def _seen(message: Message) -> list[dict[str, Any]]:
    text = [{"type": "text", "text": message.content}] if message.content else []
    images = [
        {"type": "image_url", "image_url": {"url": _address(each)}} for each in message.images
    ]
    return [*text, *images]


def _address(image: Image) -> str:
    if image.url:
        return image.url
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


def _structured(schema: Mapping[str, Any]) -> dict[str, Any]:
    closed = tightened(schema)
    named = {"name": "reply", "schema": closed, "strict": is_strict(closed)}
    return {"type": "json_schema", "json_schema": named}


def answer_of(document: Mapping[str, Any], ask: Ask) -> Answer:
    """A whole reply. Raises Unreadable."""
    try:
        choice = document["choices"][0]
        message = choice["message"]
        content, refusal = text_of(message.get("content")), text_of(message.get("refusal"))
        return Answer(
            content=whole(content or refusal),
            finish_reason=finish_of(choice.get("finish_reason"), refusal),
            model=model_of(document, ask.target.model),
            tokens=tokens_of(document.get("usage")),
            tool_calls=tuple(_written(call) for call in message.get("tool_calls") or ()),
            reasoning=whole(reasoning_of(message)),
            likelihoods=likelihoods_of(choice),
            service=service_of(document),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as exc:
        raise Unreadable("no reply in OpenAI's format") from exc


def _written(call: Mapping[str, Any]) -> WrittenCall:
    function = call["function"]
    return WrittenCall(
        id=id_of(call), name=text_of(function["name"]), arguments=whole(arguments_of(function))
    )


def embeddings_body(ask: EmbedAsk) -> dict[str, Any]:
    """The body of a request for embeddings."""
    dimensions = {} if ask.dimensions is None else {"dimensions": ask.dimensions}
    return {"input": list(ask.texts), "encoding_format": "float", **dimensions}


def embeddings_of(document: Mapping[str, Any], ask: EmbedAsk) -> Embeddings:
    """The vectors, in the order of the texts. Raises Unreadable."""
    try:
        found = {each["index"]: array("f", each["embedding"]) for each in document["data"]}
        vectors = tuple(found[index] for index in range(len(ask.texts)))
        model = model_of(document, ask.target.model)
        tokens = tokens_of(document.get("usage"))
    except (KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise Unreadable("no embeddings in OpenAI's format") from exc
    if len(found) != len(vectors) or len({len(vector) for vector in vectors}) != 1:
        raise Unreadable("not one vector for each text")
    if not vectors[0] or not all(isfinite(sum(vector)) for vector in vectors):
        raise Unreadable("a vector of what are no numbers")
    if sys.byteorder != "little":
        for vector in vectors:
            vector.byteswap()
    return Embeddings(vectors=tuple(v.tobytes() for v in vectors), model=model, tokens=tokens)
