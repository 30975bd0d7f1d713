"""What the API takes and answers about the ledger and its budgets, as OpenAPI shows it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictInt, StringConstraints

from cadre_gateway.entrypoint.documents import Answer, Asked, Text, Usage

__all__ = [
    "Budget",
    "BudgetExceed",
    "BudgetPeriod",
    "BudgetScope",
    "BudgetStatus",
    "BudgetUse",
    "Budgets",
    "Call",
    "CallPage",
    "CallStatus",
    "UsageDetails",
    "UsageDimension",
    "UsageGroup",
    "UsageReport",
]

Usd = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}(\.[0-9]{1,18})?$")]


class UsageDimension(StrEnum):
    """What model calls can be grouped by; days and hours are UTC."""

    WORKFLOW = "workflow"
    RUN = "run"
    NODE = "node"
    MODEL = "model"
    PROVIDER = "provider"
    DAY = "day"
    HOUR = "hour"
    KEY = "key"
    SCHEDULE = "schedule"


class UsageDetails(Answer):
    """Sums of calls beyond what a reply says of itself. Money is US dollars as exact decimals."""

    known_usd: str = Field(description="All known costs; known also where cost_usd is null.")
    cached_input_tokens: int = Field(description="Read from the provider's prompt cache.")
    reasoning_tokens: int = Field(description="Written, but only thought.")
    open_calls: int = Field(description="Calls that are under way.")
    open_usd: str = Field(description="The most that they may cost.")
    uncertain_calls: int = Field(description="Calls of which nobody knows what they used.")
    uncertain_usd: str = Field(description="The most that they may have cost; budgets count it.")
    reused_replies: int = Field(description="Replies that were given again, from key or cache.")
    saved_usd: str = Field(description="What those would have cost again.")
    saved_tokens: int = Field(description="Tokens that those took when they were new.")
    unbounded_calls: int = Field(
        description="Open and uncertain calls whose most nobody knows; it is not in the sums of them."
    )


class UsageGroup(Answer):
    """The calls that share what they are grouped by."""

    keys: dict[str, str] = Field(description="The value of each dimension; empty where unknown.")
    usage: Usage
    failed_calls: int
    details: UsageDetails


class UsageReport(Answer):
    """Sums of model calls, the most expensive group first."""

    groups: list[UsageGroup]
    total: Usage
    total_details: UsageDetails


class CallStatus(StrEnum):
    """How an entry of the ledger stands; replayed and cached ones asked no model."""

    SENT = "sent"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNCERTAIN = "uncertain"
    REPLAYED = "replayed"
    CACHED = "cached"


class Call(Answer):
    """An entry of the ledger: one request to a provider, or one reply that was given again."""

    id: str
    time: datetime
    workflow: str
    version: int
    run_id: str
    root_run_id: str
    node: str
    schedule: str
    api_key: str = Field(
        description="The name of the API key that started the run, or asked itself."
    )
    provider: str
    model: str
    status: CallStatus
    error_code: str
    input_tokens: int | None = Field(description="Null when nobody knows.")
    output_tokens: int | None = Field(description="Null when nobody knows.")
    cached_input_tokens: int
    reasoning_tokens: int
    estimated: bool = Field(description="Whether the tokens were counted here.")
    input_usd_per_million: str | None
    output_usd_per_million: str | None
    cost_usd: str | None = Field(description="Null when the price, or what was used, is unknown.")
    reserved_usd: str | None = Field(description="The most that it could cost.")
    reserved_tokens: int
    latency_ms: int
    first_token_ms: int | None = Field(description="Null without a stream.")
    saved_usd: str | None = Field(description="What a reused reply would have cost again.")
    saved_tokens: int = Field(description="Tokens that a reused reply took when it was new.")


class CallPage(Answer):
    """Entries of the ledger, newest first."""

    calls: list[Call]
    next_page_token: str = Field(description="Names the next page; empty on the last one.")


class BudgetScope(StrEnum):
    """Whose calls a budget bounds."""

    PLATFORM = "platform"
    WORKFLOW = "workflow"
    KEY = "key"
    RUN = "run"


class BudgetPeriod(StrEnum):
    """How often a budget begins anew; days, weeks (from Monday) and months are UTC's."""

    RUN = "run"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class BudgetExceed(StrEnum):
    """What happens to a call that could pass a budget."""

    FAIL = "fail"
    PAUSE = "pause"
    DOWNGRADE = "downgrade"


class Budget(Asked):
    """A bound of what model calls may use. One of usd and tokens is needed."""

    name: Text = Field(min_length=1, max_length=100)
    scope: BudgetScope = BudgetScope.PLATFORM
    subject: Text = Field(
        "", max_length=200, description="The workflow, the key's name or the run; else empty."
    )
    period: BudgetPeriod
    usd: Usd | None = Field(None, description="US dollars as a decimal; null is no bound.")
    tokens: StrictInt | None = Field(
        None, ge=1, le=2**62, description="In and out; null is no bound."
    )
    warn_percent: StrictInt = Field(
        80, ge=1, le=100, description="From here on it is nearly used up."
    )
    on_exceed: BudgetExceed = BudgetExceed.FAIL
    downgrade_to: Text = Field("", max_length=300, description="PROVIDER/MODEL; else empty.")


class BudgetUse(Answer):
    """What one period of a budget used, the worst case of open and uncertain calls included."""

    period: str = Field(description="A day, the first day of a week, a month, or a run's id.")
    used_usd: str
    used_tokens: int
    left_usd: str | None = Field(description="Null without a limit in US dollars.")
    left_tokens: int | None = Field(description="Null without a limit in tokens.")
    reset_time: datetime | None = Field(description="When it begins anew; null for runs.")
    warned: bool = Field(description="Whether warn_percent was reached.")


class BudgetStatus(Answer):
    """A budget and how it stands."""

    budget: Budget
    uses: list[BudgetUse] = Field(description="The present period, or the runs that came last.")


class Budgets(Answer):
    """All budgets by name."""

    budgets: list[BudgetStatus]
