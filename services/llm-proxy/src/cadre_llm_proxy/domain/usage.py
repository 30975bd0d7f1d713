"""Sums of the ledger, in groups."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from cadre_llm_proxy.domain.calls import Usage

__all__ = ["Dimension", "Group", "Sums", "UsageLedger", "UsageQuery", "query_usage"]


class Dimension(Enum):
    """What calls can be grouped by."""

    WORKFLOW = "workflow"
    RUN = "run"
    NODE = "node"
    MODEL = "model"
    PROVIDER = "provider"
    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True, kw_only=True)
class UsageQuery:
    """Which calls to add up: from `start` on, before `end`; None and empty mean any."""

    start: datetime | None = None
    end: datetime | None = None
    group_by: tuple[Dimension, ...] = ()
    workflow: str = ""
    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The calls that share `keys`, in the order of the query's dimensions."""

    keys: tuple[str, ...]
    usage: Usage
    failed_calls: int


@dataclass(frozen=True, kw_only=True)
class Sums:
    """The groups, the most expensive first, and all calls together."""

    groups: tuple[Group, ...]
    total: Usage


class UsageLedger(Protocol):
    """The ledger, for those who ask what was used."""

    async def groups(self, query: UsageQuery) -> tuple[Group, ...]:
        """One group per combination of the query's dimensions, in no order; one without keys when there are none."""
        ...


async def query_usage(ledger: UsageLedger, query: UsageQuery) -> Sums:
    """The sums. The total is that of the groups, to the last digit."""
    groups = await ledger.groups(query)
    total = sum((group.usage for group in groups), start=Usage())
    ordered = sorted(groups, key=_most_expensive_first) if query.group_by else []
    return Sums(groups=tuple(ordered), total=total)


def _most_expensive_first(group: Group) -> tuple[bool, object, int, tuple[str, ...]]:
    usage = group.usage
    tokens = usage.input_tokens + usage.output_tokens
    return usage.cost_usd is not None, -(usage.cost_usd or 0), -tokens, group.keys
