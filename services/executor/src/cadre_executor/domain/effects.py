"""What was done within a visit that has not ended: each model reply, tool result, item and child run by itself.

A visit that is repeated after a crash takes what is recorded and does only the rest. A record is stored before anything
that depends on it begins, in one transaction with whatever else is ready then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cadre_executor.domain.runs import Usage

__all__ = ["Effect"]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One thing done: `key` names the step within its run, `document` is what it gave, as JSON."""

    key: str
    document: Mapping[str, Any]
    usage: Usage = field(default_factory=Usage)
