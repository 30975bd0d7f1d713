"""OpenAI's chat format, which most servers speak and litellm takes: requests into it, answers out of it."""

import base64
import json
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cadre_llm_proxy.domain.calls import (
    Answer,
    Ask,
    Delta,
    EmbedAsk,
    Embeddings,
    FinishReason,
    Image,
    Likelihood,
    Message,
    ToolChoice,
    ToolDefinition,
    WrittenCall,
)
from cadre_llm_proxy.domain.prices import Tokens
from cadre_llm_proxy.domain.schemas import is_strict, tightened

__all__ = [
    "Unreadable",
    "WrittenReply",
    "answer_of",
    "body_of",
    "embeddings_body",
    "embeddings_of",
]

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class Unreadable(Exception):
    """A document that is not a reply."""


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
        return Answer(
            content=message.get("content") or "",
            finish_reason=_FINISH_REASONS.get(choice.get("finish_reason"), FinishReason.UNKNOWN),
            model=document.get("model") or ask.target.model,
            tokens=_tokens(document.get("usage")),
            tool_calls=tuple(_written(call) for call in message.get("tool_calls") or ()),
            reasoning=_reasoning(message),
            likelihoods=_likelihoods(choice),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as exc:
        raise Unreadable("no reply in OpenAI's format") from exc


@dataclass(kw_only=True)
class WrittenReply:
    """A reply that is put together from the chunks of a stream."""

    model: str
    ended: bool = False
    _content: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _calls: dict[int, dict[str, str]] = field(default_factory=dict)
    _likelihoods: list[Likelihood] = field(default_factory=list)
    _finish: FinishReason = FinishReason.UNKNOWN
    _tokens: Tokens | None = None

    def add(self, chunk: Mapping[str, Any]) -> tuple[Delta, ...]:
        """Takes a chunk in; what it adds for a reader, if anything. Raises Unreadable."""
        try:
            self.model = chunk.get("model") or self.model
            self._tokens = _tokens(chunk.get("usage")) or self._tokens
            return self._chosen(chunk["choices"][0]) if chunk.get("choices") else ()
        except (KeyError, IndexError, TypeError, AttributeError) as exc:
            raise Unreadable("no chunk in OpenAI's format") from exc

    def answer(self) -> Answer:
        """The whole of it."""
        return Answer(
            content="".join(self._content),
            finish_reason=self._finish,
            model=self.model,
            tokens=self._tokens,
            tool_calls=tuple(WrittenCall(**call) for _, call in sorted(self._calls.items())),
            reasoning="".join(self._reasoning),
            likelihoods=tuple(self._likelihoods),
        )

    def _chosen(self, choice: Mapping[str, Any]) -> tuple[Delta, ...]:
        delta = choice.get("delta") or {}
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        if reason := choice.get("finish_reason"):
            self.ended = True
            self._finish = _FINISH_REASONS.get(reason, FinishReason.UNKNOWN)
        self._likelihoods += _likelihoods(choice)
        text, thought = delta.get("content") or "", _reasoning(delta)
        self._content.append(text)
        self._reasoning.append(thought)
        return (Delta(text=text, reasoning=thought),) if text or thought else ()

    def _add_call(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index")
        call = self._calls.setdefault(
            len(self._calls) if index is None else index, {"id": "", "name": "", "arguments": ""}
        )
        function = piece.get("function") or {}
        call["id"] = call["id"] or piece.get("id") or ""
        call["name"] += function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""


def _written(call: Mapping[str, Any]) -> WrittenCall:
    function = call["function"]
    return WrittenCall(
        id=call.get("id") or "", name=function["name"], arguments=function.get("arguments") or ""
    )


def _reasoning(message: Mapping[str, Any]) -> str:
    # OpenAI shows none; DeepSeek, vLLM and litellm use the first name, Ollama and OpenRouter the second.
    return message.get("reasoning_content") or message.get("reasoning") or ""


def _likelihoods(choice: Mapping[str, Any]) -> tuple[Likelihood, ...]:
    said = (choice.get("logprobs") or {}).get("content") or ()
    return tuple(_likelihood(each) for each in said)


def _likelihood(said: Mapping[str, Any]) -> Likelihood:
    return Likelihood(
        token=said["token"],
        logprob=float(said["logprob"]),
        others=tuple(_likelihood(each) for each in said.get("top_logprobs") or ()),
    )


def embeddings_body(ask: EmbedAsk) -> dict[str, Any]:
    """The body of a request for embeddings."""
    dimensions = {} if ask.dimensions is None else {"dimensions": ask.dimensions}
    return {"input": list(ask.texts), "encoding_format": "float", **dimensions}


def embeddings_of(document: Mapping[str, Any], ask: EmbedAsk) -> Embeddings:
    """The vectors, in the order of the texts. Raises Unreadable."""
    try:
        found = sorted(document["data"], key=lambda each: each["index"])
        vectors = tuple(array("f", each["embedding"]) for each in found)
        model = document.get("model") or ask.target.model
        tokens = _tokens(document.get("usage"))
    except (KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise Unreadable("no embeddings in OpenAI's format") from exc
    if len(vectors) != len(ask.texts) or len({len(vector) for vector in vectors}) > 1:
        raise Unreadable("not one vector for each text")
    if sys.byteorder != "little":
        for vector in vectors:
            vector.byteswap()
    return Embeddings(vectors=tuple(v.tobytes() for v in vectors), model=model, tokens=tokens)


def _tokens(usage: Mapping[str, Any] | None) -> Tokens | None:
    """What the provider said was used; None when it said nothing, which litellm gives as zeros."""
    if not usage or not (usage.get("prompt_tokens") or usage.get("completion_tokens")):
        return None
    details = usage.get("prompt_tokens_details") or {}
    written = usage.get("completion_tokens_details") or {}
    return Tokens(
        input=usage.get("prompt_tokens") or 0,
        output=usage.get("completion_tokens") or 0,
        cache_read=details.get("cached_tokens") or 0,
        cache_write=details.get("cache_creation_tokens") or 0,
        reasoning=written.get("reasoning_tokens") or 0,
    )
