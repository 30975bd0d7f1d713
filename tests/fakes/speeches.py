"""The wire formats of providers, each by every way that it is spoken to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.providers import (
    Answer,
    anthropic_detailed,
    anthropic_error,
    anthropic_reply,
    anthropic_stream,
    anthropic_tool_call,
    gemini_detailed,
    gemini_error,
    gemini_reply,
    gemini_stream,
    gemini_tool_call,
    openai_detailed,
    openai_error,
    openai_reply,
    openai_stream,
    openai_tool_call,
)


@dataclass(frozen=True, kw_only=True)
class Speech:
    """A provider's wire format, and by which of the ways it is spoken to.

    `detailed` is a reply that thought, of whose tokens in 4 were cached. It `refuses` options that the provider lacks.
    """

    straight: bool
    provider: str
    model: str
    path: str
    reply: Callable[..., Answer]
    stream: Callable[..., Answer]
    tool_call: Callable[[str, str], Answer]
    error: Callable[..., Answer]
    detailed: Callable[[str, str], Answer]
    refuses: frozenset[str] = frozenset()


_OPENAI: dict[str, Any] = {
    "model": "gpt-4.1-mini",
    "path": "/v1",
    "reply": openai_reply,
    "stream": openai_stream,
    "tool_call": openai_tool_call,
    "error": openai_error,
    "detailed": openai_detailed,
}
SPEECHES = {
    "openai straight": Speech(straight=True, provider="openai", **_OPENAI),
    "ollama straight": Speech(straight=True, provider="ollama", **_OPENAI),
    "compatible straight": Speech(straight=True, provider="openai_compatible", **_OPENAI),
    "openai through litellm": Speech(straight=False, provider="openai", **_OPENAI),
    "compatible through litellm": Speech(straight=False, provider="openai_compatible", **_OPENAI),
    "anthropic through litellm": Speech(
        straight=False,
        provider="anthropic",
        model="claude-haiku-4-5",
        path="",
        reply=anthropic_reply,
        stream=anthropic_stream,
        tool_call=anthropic_tool_call,
        error=anthropic_error,
        detailed=anthropic_detailed,
        refuses=frozenset({"seed", "top_logprobs"}),
    ),
    "gemini through litellm": Speech(
        straight=False,
        provider="google",
        model="gemini-2.5-flash",
        path="",
        reply=gemini_reply,
        stream=gemini_stream,
        tool_call=gemini_tool_call,
        error=gemini_error,
        detailed=gemini_detailed,
        refuses=frozenset({"top_logprobs"}),
    ),
}
