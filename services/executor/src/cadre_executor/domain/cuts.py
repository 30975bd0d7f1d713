"""What events show of values that may be long."""

from typing import Any

from cadre_kit.documents import json_text

__all__ = ["shown", "shown_outputs"]

_LONGEST_SHOWN = 4_000
_LONGEST_OUTPUTS = 256 * 1024


def shown(value: Any, *, longest: int = _LONGEST_SHOWN) -> Any:
    """The value; the beginning of its text, and how much is left out, when that is over `longest` characters."""
    text = value if isinstance(value, str) else json_text(value)
    if len(text) <= longest:
        return value
    return f"{text[:longest]}... ({len(text) - longest:,} more characters)"


def shown_outputs(writes: dict[str, Any]) -> dict[str, Any]:
    """What a node wrote; of long values the beginning only when all together are over 256 Ki characters."""
    if len(json_text(writes)) <= _LONGEST_OUTPUTS:
        return writes
    return {name: shown(value) for name, value in writes.items()}
