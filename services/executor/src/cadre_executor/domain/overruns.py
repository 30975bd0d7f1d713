"""What a run asks a person when a budget that says `pause` is used up: its file's own, or one that it shares."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from cadre_executor.domain.answers import Asked
from cadre_executor.domain.peers import RunBudget
from cadre_executor.domain.runs import Question, RaisedBudget
from cadre_executor.domain.workflows import Budget, OnExceed
from cadre_kit.errors import CadreError, InvalidInput, LimitExceeded

__all__ = [
    "CONTINUE",
    "RAISE",
    "STOP",
    "Budgets",
    "StoppedByPerson",
    "asks_for_more",
    "effective",
    "is_exceeded",
    "pauses",
    "raised_budget",
]

RAISE = "raise"
CONTINUE = "continue"
STOP = "stop"
_EXCEEDED = "BUDGET_EXCEEDED"


class StoppedByPerson(LimitExceeded):
    """A person stopped the run whose budget was used up."""

    code = _EXCEEDED

    def __init__(self, asked: Asked) -> None:
        by = asked.answer.by if asked.answer is not None else ""
        super().__init__(
            f"the budget was used up, and {by or 'a person'} stopped the run",
            resolution=_way_on(asked.question),
            metadata={"node": asked.question.node},
        )


class BudgetInvalid(InvalidInput):
    """A budget cannot be raised to that."""

    code = "BUDGET_INVALID"


@dataclass(kw_only=True)
class Budgets:
    """The budgets that hold for a run, its own and that of the run at the top, as they were when last read: a person
    may raise them while it goes on."""

    read: Callable[[], Awaitable[tuple[RunBudget, ...]]]
    known: tuple[RunBudget, ...] = ()

    async def have_changed(self) -> bool:
        """Reads them anew; whether they are others now."""
        before, self.known = self.known, await self.read()
        return self.known != before


def is_exceeded(error: CadreError) -> bool:
    """Whether a budget refused the call."""
    return error.code == _EXCEEDED


def pauses(error: CadreError) -> bool:
    """Whether a budget refused a call and lets the run wait rather than fail."""
    said = error.metadata.get("on_exceed")
    return is_exceeded(error) and said == OnExceed.PAUSE.value


def asks_for_more(
    node: str, iteration: int, error: CadreError, *, run_id: str, budgets: Iterable[RunBudget]
) -> Question:
    """What to do about the budget that refused: one of `budgets`, or one that is set for more than the run."""
    refused = error.metadata.get("budget")
    own = next((each for each in budgets if refused == f"run:{each.run_id}"), None)
    if own is None:
        return _of_shared(node, iteration, error.metadata, run_id)
    return _of_own(node, iteration, error.metadata, own)


def _of_own(node: str, iteration: int, said: Mapping[str, str], own: RunBudget) -> Question:
    """Whether the budget may be doubled, as often as the call needs, or the run is to stop."""
    usd, tokens, times = own.budget.usd, own.budget.tokens, _times(said)
    raises = RaisedBudget(
        run_id=own.run_id,
        usd=None if usd is None else usd * times,
        tokens=None if tokens is None else tokens * times,
    )
    return Question(
        node=node,
        iteration=iteration,
        message=f"The run's budget of {_standing(said)}. Raise the budget to {raises.in_words}, or stop the run?",
        choices=(RAISE, STOP),
        asked_time=datetime.now(UTC),
        raises=raises,
    )


def _times(said: Mapping[str, str]) -> int:
    """How often as much a budget is to be, so that the refused call fits into it."""
    times = 2
    for unit in ("usd", "tokens"):
        amounts = [
            Decimal(said.get(f"{name}_{unit}", 0)) for name in ("limit", "left", "worst_case")
        ]
        limit, left, worst_case = amounts
        while 0 < limit * times < limit - left + worst_case:
            times *= 2
    return times


def _of_shared(node: str, iteration: int, said: Mapping[str, str], run_id: str) -> Question:
    """Whether the run may try again, which it does by itself when the budget begins anew, or is to stop. It is not the
    run's to raise."""
    name, resets = said.get("budget", ""), _reset_time(said)
    anew = (
        "" if resets is None else f" It begins anew at {said['resets']}, and the run goes on then."
    )
    return Question(
        node=node,
        iteration=iteration,
        message=f"The budget {name!r} of {_standing(said)}.{anew} Continue once it was raised "
        f"(`cadre budgets set {name}`), or stop the run?",
        choices=(CONTINUE, STOP),
        asked_time=datetime.now(UTC),
        deadline=resets,
        on_timeout="" if resets is None else CONTINUE,
        raises=RaisedBudget(run_id=run_id),
    )


def _standing(said: Mapping[str, str]) -> str:
    limit, left, worst = (said.get(name) for name in ("limit", "left", "worst_case"))
    return f"{limit} has {left} left, and the next call may use {worst}"


def _reset_time(said: Mapping[str, str]) -> datetime | None:
    try:
        return datetime.fromisoformat(said.get("resets", ""))
    except ValueError:
        return None


def _way_on(question: Question) -> str:
    if question.raises is not None and question.raises.has_amount:
        return "Go on with more: `cadre runs resume RUN --usd 2.00`, or --tokens."
    return "Raise the budget with `cadre budgets set`, and go on: `cadre runs resume RUN`."


def effective(budget: Budget, raised: RaisedBudget | None) -> Budget:
    """What a run may spend: by its file, unless a person raised it."""
    if raised is None:
        return budget
    return Budget(
        usd=budget.usd if raised.usd is None else raised.usd,
        tokens=budget.tokens if raised.tokens is None else raised.tokens,
        on_exceed=budget.on_exceed,
    )


def raised_budget(run_id: str, *, usd: str, tokens: int) -> RaisedBudget | None:
    """What a person raises a run's budget to; None when nothing is said. Raises BudgetInvalid."""
    if not usd and not tokens:
        return None
    try:
        amount = Decimal(usd) if usd else None
    except ArithmeticError as exc:
        raise _invalid(usd) from exc
    if (amount is not None and not (amount.is_finite() and amount > 0)) or tokens < 0:
        raise _invalid(usd or str(tokens))
    return RaisedBudget(run_id=run_id, usd=amount, tokens=tokens or None)


def _invalid(said: str) -> BudgetInvalid:
    return BudgetInvalid(
        f"{said[:50]!r} is no budget",
        resolution="Give US dollars above 0, such as 2.00, or a number of tokens.",
    )
