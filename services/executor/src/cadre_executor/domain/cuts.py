"""What events show of values that may be long."""

import re
from typing import Any

from cadre_kit.documents import json_text

__all__ = ["is_cut", "shown", "shown_ends", "shown_outputs"]

_LONGEST_SHOWN = 4_000
_LONGEST_OUTPUTS = 256 * 1024
_CUT = re.compile(r"\.\.\. \([0-9,]+ more characters\)\Z")


def shown(value: Any, *, longest: int = _LONGEST_SHOWN) -> Any:
    """The value; the beginning of its text, and how much is left out, when that is over `longest` characters."""
    text = value if isinstance(value, str) else json_text(value)
    if len(text) <= longest:
        return value
    return f"{text[:longest]}... ({len(text) - longest:,} more characters)"


def shown_ends(text: str) -> str:
    """The text; its beginning, its end, and how much is left out between them, when it is over 4,000 characters."""
    half = _LONGEST_SHOWN // 2
    left_out = len(text) - 2 * half
    if left_out <= 0:
        return text
    return f"{text[:half]}\n... {left_out:,} characters left out ...\n{text[-half:]}"


def is_cut(value: Any) -> bool:
    """Whether only the beginning of a value is shown."""
    is_long = isinstance(value, str) and len(value) > _LONGEST_SHOWN
    return is_long and _CUT.search(value) is not None


def shown_outputs(writes: dict[str, Any]) -> dict[str, Any]:
    """What a node wrote; of long values the beginning only when all together are over 256 Ki characters."""
    if len(json_text(writes)) <= _LONGEST_OUTPUTS:
        return writes
    return {name: shown(value) for name, value in writes.items()}
