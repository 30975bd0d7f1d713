"""The values in answers of OpenAI's format: what servers send in their place is read as what it must mean."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

from cadre_llm_proxy.domain.calls import FinishReason, Likelihood
from cadre_llm_proxy.domain.prices import Tokens

__all__ = [
    "Unreadable",
    "arguments_of",
    "finish_of",
    "id_of",
    "likelihoods_of",
    "model_of",
    "reasoning_of",
    "service_of",
    "text_of",
    "tokens_of",
    "whole",
]

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "refusal": FinishReason.CONTENT_FILTER,
    # Servers that gave a request up in the middle of its reply.
    "abort": FinishReason.BROKEN,
    "error": FinishReason.BROKEN,
    "malformed_function_call": FinishReason.BROKEN,
}
_LONGEST_NAME = 200
_MOST_TOKENS = 1_000_000_000
_UNLIKELY = -9999.0


class Unreadable(Exception):
    """A document that is not a reply."""


def whole(text: str) -> str:
    """The text with halves of characters, as JSON may escape them, put together, and lone ones replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def text_of(said: object) -> str:
    """A text, whole or, as some send it, in parts. Raises TypeError for what is none."""
    if said is None or isinstance(said, str):
        return said or ""
    if not isinstance(said, list):
        raise TypeError("no text")
    return "".join(text_of(part["text"]) for part in said if part.get("type") == "text")


def finish_of(reason: object, refusal: str) -> FinishReason:
    """Why a reply ended; a refusal is told beside its reason."""
    if refusal:
        return FinishReason.CONTENT_FILTER
    found = _FINISH_REASONS.get(reason) if isinstance(reason, str) else None
    return found or FinishReason.UNKNOWN


def model_of(document: Mapping[str, Any], asked: str) -> str:
    """The model that answered; the one that was asked where none is named."""
    said = document.get("model")
    if not isinstance(said, str) or not 0 < len(said) <= _LONGEST_NAME or not said.isprintable():
        return asked
    return said


def id_of(call: Mapping[str, Any]) -> str:
    """The id of a call of a tool; empty where it has none."""
    said = call.get("id")
    return "" if said is None else str(said)


def arguments_of(function: Mapping[str, Any]) -> str:
    """The text of a call's arguments, which some servers send as the object that it should hold."""
    said = function.get("arguments")
    return json.dumps(said) if isinstance(said, Mapping) else text_of(said)


def reasoning_of(message: Mapping[str, Any]) -> str:
    """What the model thought before it answered."""
    # OpenAI shows none; DeepSeek, vLLM and litellm use the first name, Ollama and OpenRouter the second.
    return text_of(message.get("reasoning_content") or message.get("reasoning"))


def likelihoods_of(choice: Mapping[str, Any]) -> tuple[Likelihood, ...]:
    """How likely the tokens were; nothing where that is not said."""
    said = (choice.get("logprobs") or {}).get("content") or ()
    return tuple(_likelihood(each) for each in said)


def _likelihood(said: Mapping[str, Any]) -> Likelihood:
    number = said["logprob"]
    # Minus infinity, which JSON cannot say; servers send null or NaN for it, and OpenAI this number.
    known = number is not None and isfinite(number)
    return Likelihood(
        token=whole(text_of(said["token"])),
        logprob=float(number) if known else _UNLIKELY,
        others=tuple(_likelihood(each) for each in said.get("top_logprobs") or ()),
    )


def tokens_of(usage: object) -> Tokens | None:
    """What the provider said was used; None when it said nothing, which litellm gives as zeros, or no numbers."""
    if not isinstance(usage, Mapping):
        return None
    sent, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if sent is None or written is None or not (sent or written):
        return None
    of_sent, of_written = (_details(usage, name) for name in ("prompt", "completion"))
    return Tokens(
        input=sent,
        output=written,
        cache_read=_count(of_sent, "cached_tokens") or 0,
        # OpenAI's name for it, and Anthropic's.
        cache_write=_count(of_sent, "cache_write_tokens")
        or _count(of_sent, "cache_creation_tokens")
        or 0,
        reasoning=_count(of_written, "reasoning_tokens") or 0,
    )


def service_of(document: Mapping[str, Any]) -> str:
    """Which of its services the provider gave to a request; empty when it does not say."""
    usage = document.get("usage")
    within = usage.get("service_tier") if isinstance(usage, Mapping) else None
    said = document.get("service_tier") or within
    return said if isinstance(said, str) and len(said) <= _LONGEST_NAME else ""


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    said = usage.get(f"{name}_tokens_details")
    return said if isinstance(said, Mapping) else {}


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    """A count of tokens, 0 when it is not there; None for what is no count."""
    said = usage.get(name) or 0
    if not isinstance(said, int | float) or not 0 <= said <= _MOST_TOKENS or said % 1:
        return None
    return int(said)
