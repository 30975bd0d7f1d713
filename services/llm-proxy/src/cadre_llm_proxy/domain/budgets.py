"""Budgets: whose calls they bound, how often they begin anew, and whether a call's worst case still fits."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum

from cadre_kit.errors import CadreError
from cadre_llm_proxy.domain.calls import Attribution, BudgetWarning
from cadre_llm_proxy.domain.entries import Amount, Bound
from cadre_llm_proxy.domain.facts import (
    BudgetExceeded,
    BudgetInvalid,
    BudgetNeedsMaxTokens,
    BudgetNeedsPrice,
)
from cadre_llm_proxy.domain.prices import difference

__all__ = [
    "Account",
    "Budget",
    "BudgetStatus",
    "OnExceed",
    "Period",
    "Scope",
    "Use",
    "accounts_of",
    "checked",
    "is_nearly_used",
    "period_now",
    "refusal",
    "warning",
]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_MODEL = re.compile(r"[a-z0-9_-]+/\S+")
_LONGEST_SUBJECT = 200


class Scope(Enum):
    """Whose calls a budget bounds."""

    PLATFORM = "platform"
    WORKFLOW = "workflow"
    KEY = "key"
    RUN = "run"


class Period(Enum):
    """How often a budget begins anew. Days, weeks (from Monday) and months are those of UTC."""

    RUN = "run"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class OnExceed(Enum):
    """What happens to a call that could pass a budget."""

    FAIL = "fail"
    PAUSE = "pause"
    DOWNGRADE = "downgrade"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A bound of what calls may use, in US dollars, tokens or both; None is no bound.

    From `warn_percent` of a limit on it is nearly used up. `downgrade_to` is a model as PROVIDER/MODEL.
    """

    name: str
    scope: Scope
    period: Period
    subject: str = ""
    usd: Decimal | None = None
    tokens: int | None = None
    warn_percent: int = 80
    on_exceed: OnExceed = OnExceed.FAIL
    downgrade_to: str = ""

    def covers(self, who: Attribution) -> bool:
        """Whether it bounds calls made for them."""
        match self.scope:
            case Scope.PLATFORM:
                return True
            case Scope.WORKFLOW:
                return who.workflow == self.subject
            case Scope.KEY:
                return who.api_key == self.subject
            case Scope.RUN:
                return self.subject in (who.run_id, who.root_run_id)

    def period_of(self, who: Attribution, time: datetime) -> str:
        """The period that a call belongs to; empty when it belongs to none."""
        if self.scope is Scope.RUN:
            return self.subject
        return who.root_run_id if self.period is Period.RUN else period_now(self.period, time)

    def reset_time(self, period: str) -> datetime | None:
        """When the period after begins; None for runs."""
        match self.period:
            case Period.RUN:
                return None
            case Period.DAY:
                return _midnight(period) + timedelta(days=1)
            case Period.WEEK:
                return _midnight(period) + timedelta(days=7)
            case Period.MONTH:
                return (_midnight(f"{period}-01") + timedelta(days=31)).replace(day=1)


@dataclass(frozen=True, kw_only=True)
class Account:
    """One period of one budget."""

    budget: Budget
    period: str

    @property
    def key(self) -> tuple[str, str]:
        """What it is kept under."""
        return self.budget.name, self.period


@dataclass(frozen=True, kw_only=True)
class Use:
    """What one period of a budget used, the worst case of what is under way or uncertain included."""

    period: str
    used: Amount
    warned: bool


@dataclass(frozen=True, kw_only=True)
class BudgetStatus:
    """A budget, and what its present periods used."""

    budget: Budget
    uses: tuple[Use, ...]


def period_now(period: Period, time: datetime) -> str:
    """The day, week or month of a time."""
    day = time.astimezone(UTC).date()
    if period is Period.WEEK:
        day -= timedelta(days=day.weekday())
    return f"{day:%Y-%m}" if period is Period.MONTH else day.isoformat()


def checked(budget: Budget) -> Budget:
    """The budget. Raises BudgetInvalid for one that cannot be."""
    _require(bool(_NAME.fullmatch(budget.name)), "name", "letters, digits, '_', '-' and '.'")
    has_subject = 0 < len(budget.subject) <= _LONGEST_SUBJECT
    if budget.scope is Scope.PLATFORM:
        _require(not budget.subject, "subject", "empty for the platform")
    else:
        _require(has_subject, "subject", f"the name of the {budget.scope.value} that is bounded")
    if budget.scope is Scope.RUN:
        _require(budget.period is Period.RUN, "period", "run, for the budget of a run")
    _require(budget.usd is not None or budget.tokens is not None, "usd", "given, or else tokens")
    _require(budget.usd is None or _is_amount(budget.usd), "usd", "a decimal above 0")
    _require(budget.tokens is None or budget.tokens >= 1, "tokens", "1 or more")
    _require(1 <= budget.warn_percent <= 100, "warn_percent", "1 to 100")
    if budget.on_exceed is OnExceed.DOWNGRADE:
        _require(bool(_MODEL.fullmatch(budget.downgrade_to)), "downgrade_to", "PROVIDER/MODEL")
    else:
        _require(not budget.downgrade_to, "downgrade_to", "empty unless on_exceed is downgrade")
    return budget


def accounts_of(budgets: Iterable[Budget], who: Attribution, time: datetime) -> tuple[Account, ...]:
    """The periods of stored budgets, and of the runs' own, that a call counts in."""
    covering = [*(b for b in budgets if b.covers(who)), *_of_runs(who)]
    found = [Account(budget=each, period=each.period_of(who, time)) for each in covering]
    return tuple(account for account in found if account.period)


def refusal(used: Iterable[tuple[Account, Amount]], bound: Bound, model: str) -> CadreError | None:
    """Why a call may not be sent; None when its worst case fits into what is left of every account. A refusal for what
    is used up names the cheaper models of all the budgets that refuse."""
    found = [each for account, amount in used if (each := _refusal(account, amount, bound, model))]
    if not found:
        return None
    first = found[0]
    if isinstance(first, BudgetExceeded):
        exceeded = [each for each in found if isinstance(each, BudgetExceeded)]
        first.downgrades = tuple(model for each in exceeded for model in each.downgrades)
    return first


def _refusal(account: Account, used: Amount, bound: Bound, model: str) -> CadreError | None:
    budget = account.budget
    if budget.usd is not None:
        if bound.usd is None:
            return _unpriced(budget, bound, model)
        # What costs nothing is free also where more was spent than there is.
        if bound.usd and (used + Amount(usd=bound.usd, tokens=0)).usd > budget.usd:
            return _exceeded(account, used, bound)
    if budget.tokens is not None:
        if bound.tokens is None:
            return _unbounded(budget, model)
        if used.tokens + bound.tokens > budget.tokens:
            return _exceeded(account, used, bound)
    return None


def is_nearly_used(budget: Budget, used: Amount) -> bool:
    """Whether the share of a limit is used from which it is worth a warning."""
    share = Decimal(budget.warn_percent) / 100
    by_usd = budget.usd is not None and used.usd >= budget.usd * share
    return by_usd or (budget.tokens is not None and used.tokens >= budget.tokens * share)


def warning(account: Account, used: Amount) -> BudgetWarning:
    """That an account is nearly used up."""
    return BudgetWarning(
        budget=account.budget.name,
        period=account.period,
        used_usd=used.usd,
        used_tokens=used.tokens,
        limit_usd=account.budget.usd,
        limit_tokens=account.budget.tokens,
    )


def _of_runs(who: Attribution) -> list[Budget]:
    # No stored budget's name has a colon.
    return [
        Budget(
            name=f"run:{own.run_id}",
            scope=Scope.RUN,
            subject=own.run_id,
            period=Period.RUN,
            usd=own.usd,
            tokens=own.tokens,
            on_exceed=OnExceed.PAUSE if own.pauses else OnExceed.FAIL,
        )
        for own in who.run_budgets
    ]


def _exceeded(account: Account, used: Amount, bound: Bound) -> BudgetExceeded:
    budget, said = account.budget, _said(account, used, bound)
    error = BudgetExceeded(
        f"the budget {budget.name!r} of {said['limit']} has {said['left']} left, "
        f"and this call may use {said['worst_case']}",
        resolution=_way_out(budget, said["resets"]),
        metadata=said,
    )
    error.downgrades = (budget.downgrade_to,) if budget.downgrade_to else ()
    return error


def _said(account: Account, used: Amount, bound: Bound) -> dict[str, str]:
    """What a refusal says, for people and for programs: amounts are also given as bare numbers, one for each limit."""
    budget, reset = account.budget, account.budget.reset_time(account.period)
    numbers: dict[str, str] = {}
    if budget.usd is not None and bound.usd is not None:
        left = max(Decimal(0), difference(budget.usd, used.usd))
        numbers |= _numbers("usd", f"{budget.usd:f}", f"{left:f}", f"{bound.usd:f}")
    if budget.tokens is not None and bound.tokens is not None:
        left_tokens = max(0, budget.tokens - used.tokens)
        numbers |= _numbers("tokens", str(budget.tokens), str(left_tokens), str(bound.tokens))
    return {
        "budget": budget.name,
        "scope": budget.scope.value,
        "subject": budget.subject,
        "period": account.period,
        "on_exceed": budget.on_exceed.value,
        "resets": f"{reset:%Y-%m-%dT%H:%MZ}" if reset else "never",
        **{name: _in_words(numbers, name) for name in ("limit", "left", "worst_case")},
        **numbers,
    }


def _numbers(unit: str, limit: str, left: str, worst_case: str) -> dict[str, str]:
    return {f"limit_{unit}": limit, f"left_{unit}": left, f"worst_case_{unit}": worst_case}


def _in_words(numbers: Mapping[str, str], name: str) -> str:
    """Such as `$0.20 and 300 tokens`."""
    usd, tokens = numbers.get(f"{name}_usd"), numbers.get(f"{name}_tokens")
    words = [f"${usd}"] if usd is not None else []
    return " and ".join([*words, f"{tokens} tokens"] if tokens is not None else words)


def _way_out(budget: Budget, resets: str) -> str:
    smaller = "ask for fewer tokens (max_tokens)"
    if budget.name.startswith("run:"):
        return f"Raise config.budget in the workflow file, or {smaller}."
    wait = "" if resets == "never" else f"It begins anew at {resets}. "
    return f"{wait}Raise it with `cadre budgets set {budget.name}`, or {smaller}."


def _unpriced(budget: Budget, bound: Bound, model: str) -> CadreError:
    if bound.price is not None and bound.tokens is None:
        return _unbounded(budget, model)
    return BudgetNeedsPrice(
        f"nobody knows what {model} costs, and the budget {budget.name!r} is in US dollars",
        resolution="Say its price in the file that CADRE_PRICES_FILE names, or give the budget in tokens.",
        metadata={"model": model, "budget": budget.name},
    )


def _unbounded(budget: Budget, model: str) -> CadreError:
    return BudgetNeedsMaxTokens(
        f"nobody knows how much {model} can write, and the budget {budget.name!r} needs a worst case",
        resolution="Set max_tokens on the node's llm, or max_output_tokens in the file that CADRE_PRICES_FILE names.",
        metadata={"model": model, "budget": budget.name},
    )


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _is_amount(usd: Decimal) -> bool:
    return usd.is_finite() and usd > 0


def _require(holds: bool, field: str, allowed: str) -> None:
    if not holds:
        raise BudgetInvalid(f"{field} must be {allowed}", metadata={"field": field})
