"""Why replies ended, kept where litellm would say that the model stopped by itself.

Imports litellm: import it where that is wanted.
"""

from functools import cache
from typing import Any

from litellm.litellm_core_utils import core_helpers

__all__ = ["BROKEN", "ENDINGS", "keep_endings"]

BROKEN = "malformed_function_call"
"""Of the few reasons that litellm's types know: what we say for a reply that its provider gave up."""
_UNSAID = "finish_reason_unspecified"

ENDINGS = {
    # Anthropic: cut, however it is called.
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    # Mistral.
    "model_length": "length",
    # Gemini.
    "MALFORMED_FUNCTION_CALL": BROKEN,
    "MALFORMED_RESPONSE": BROKEN,
    "MISSING_THOUGHT_SIGNATURE": BROKEN,
    "TOO_MANY_TOOL_CALLS": BROKEN,
    "UNEXPECTED_TOOL_CALL": BROKEN,
    # Bedrock, Cohere, DeepSeek, vLLM, Z.ai, and several others.
    "malformed_model_output": BROKEN,
    "malformed_tool_use": BROKEN,
    "ERROR": BROKEN,
    "TIMEOUT": BROKEN,
    "insufficient_system_resource": BROKEN,
    "abort": BROKEN,
    "network_error": BROKEN,
    "error": BROKEN,
    # litellm reads its own words again.
    BROKEN: BROKEN,
    _UNSAID: _UNSAID,
    "FINISH_REASON_UNSPECIFIED": _UNSAID,
}
"""The reason that a provider gives, and what is said of it to us."""


class _Endings(dict[str, str]):
    """What a reason means; one that nobody knows is not said to be a good end."""

    def get(self, reason: Any, default: Any = None) -> Any:
        return super().get(reason, default or _UNSAID)


@cache
def keep_endings() -> None:
    """Has litellm read reasons as ENDINGS says."""
    names: Any = core_helpers
    names._FINISH_REASON_MAP = _Endings(names._FINISH_REASON_MAP | ENDINGS)
