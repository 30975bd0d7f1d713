"""Sums and lists of the ledger."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Protocol

from cadre_llm_proxy.domain.calls import Usage
from cadre_llm_proxy.domain.entries import Entry, EntryStatus
from cadre_llm_proxy.domain.prices import sum_of

__all__ = [
    "CallPage",
    "CallQuery",
    "Details",
    "Dimension",
    "Group",
    "Selection",
    "Sums",
    "UsageLedger",
    "UsageQuery",
    "list_calls",
    "query_usage",
]


class Dimension(Enum):
    """What calls can be grouped by."""

    WORKFLOW = "workflow"
    RUN = "run"
    NODE = "node"
    MODEL = "model"
    PROVIDER = "provider"
    DAY = "day"
    HOUR = "hour"
    KEY = "key"
    SCHEDULE = "schedule"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which entries: from `start` on, before `end`, of a workflow, of a run and its steps; None and empty mean any."""

    start: datetime | None = None
    end: datetime | None = None
    workflow: str = ""
    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class UsageQuery:
    """Which calls to add up, and how."""

    selection: Selection = field(default_factory=Selection)
    group_by: tuple[Dimension, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CallQuery:
    """Which entries to list: at most `limit`, those before the id `before`, of one status; empty and None mean any."""

    selection: Selection
    limit: int
    status: EntryStatus | None = None
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class CallPage:
    """Entries, newest first, and whether there are more."""

    entries: tuple[Entry, ...]
    more: bool


@dataclass(frozen=True, kw_only=True)
class Details:
    """What is known of calls beyond their usage: see UsageDetails of the API."""

    known_usd: Decimal = Decimal(0)
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    open_calls: int = 0
    open_usd: Decimal = Decimal(0)
    uncertain_calls: int = 0
    uncertain_usd: Decimal = Decimal(0)
    reused_replies: int = 0
    saved_usd: Decimal = Decimal(0)
    saved_tokens: int = 0
    unbounded_calls: int = 0

    def __add__(self, other: "Details") -> "Details":
        return Details(
            known_usd=sum_of(self.known_usd, other.known_usd),
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            open_calls=self.open_calls + other.open_calls,
            open_usd=sum_of(self.open_usd, other.open_usd),
            uncertain_calls=self.uncertain_calls + other.uncertain_calls,
            uncertain_usd=sum_of(self.uncertain_usd, other.uncertain_usd),
            reused_replies=self.reused_replies + other.reused_replies,
            saved_usd=sum_of(self.saved_usd, other.saved_usd),
            saved_tokens=self.saved_tokens + other.saved_tokens,
            unbounded_calls=self.unbounded_calls + other.unbounded_calls,
        )


@dataclass(frozen=True, kw_only=True)
class Group:
    """The calls that share `keys`, in the order of the query's dimensions."""

    keys: tuple[str, ...]
    usage: Usage
    failed_calls: int
    details: Details


@dataclass(frozen=True, kw_only=True)
class Sums:
    """The groups, the most expensive first, and all calls together."""

    groups: tuple[Group, ...]
    total: Usage
    details: Details


class UsageLedger(Protocol):
    """The ledger, for those who ask what was used."""

    async def groups(self, query: UsageQuery) -> tuple[Group, ...]:
        """One group per combination of the query's dimensions, in no order; one without keys when there are none."""
        ...

    async def entries(self, query: CallQuery) -> tuple[Entry, ...]:
        """Entries, newest first."""
        ...


async def query_usage(ledger: UsageLedger, query: UsageQuery) -> Sums:
    """The sums. The total is that of the groups, to the last digit."""
    groups = await ledger.groups(query)
    total = sum((group.usage for group in groups), start=Usage())
    details = sum((group.details for group in groups), start=Details())
    ordered = sorted(groups, key=_most_expensive_first) if query.group_by else []
    return Sums(groups=tuple(ordered), total=total, details=details)


async def list_calls(ledger: UsageLedger, query: CallQuery) -> CallPage:
    """One page of entries."""
    one_more = CallQuery(
        selection=query.selection,
        limit=query.limit + 1,
        status=query.status,
        before=query.before,
    )
    found = await ledger.entries(one_more)
    return CallPage(entries=found[: query.limit], more=len(found) > query.limit)


def _most_expensive_first(group: Group) -> tuple[bool, object, int, tuple[str, ...]]:
    usage = group.usage
    tokens = usage.input_tokens + usage.output_tokens
    return usage.cost_usd is not None, -(usage.cost_usd or 0), -tokens, group.keys
