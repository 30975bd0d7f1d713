"""What a container said of a program's end, as the domain takes it; none of it is to be trusted."""

import time
from collections.abc import Mapping
from typing import Any

from cadre_sandbox.adapters.collected import Collected
from cadre_sandbox.domain.executions import Ending, Usage

__all__ = ["ending_of"]

_KILLED = -9


def ending_of(
    collected: Collected, facts: Mapping[str, Any], *, killed: str, began: float
) -> Ending:
    """How the program ended that began then, by the monotonic clock; `killed` as in Ending."""
    said = facts.get("said")
    return collected.ending(
        said={} if killed == "frames" else said if isinstance(said, dict) else None,
        killed=killed,
        status=_number(facts.get("status"), _KILLED),
        usage=Usage(
            wall_ms=round((time.monotonic() - began) * 1000),
            cpu_ms=_number(facts.get("cpu_ms")),
            peak_memory_bytes=_number(facts.get("peak_memory_bytes")),
        ),
    )


def _number(value: object, default: int = 0) -> int:
    return value if type(value) is int and abs(value) < 1 << 62 else default
