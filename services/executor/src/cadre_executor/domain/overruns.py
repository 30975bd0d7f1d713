"""What a run asks a person when its budget is used up and its file says `on_exceed: pause`."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from cadre_executor.domain.answers import Asked
from cadre_executor.domain.peers import RunBudget
from cadre_executor.domain.runs import Question, RaisedBudget
from cadre_executor.domain.workflows import Budget, OnExceed
from cadre_kit.errors import CadreError, InvalidInput, LimitExceeded

__all__ = [
    "RAISE",
    "Budgets",
    "StoppedByPerson",
    "asks_for_more",
    "effective",
    "is_exceeded",
    "paused_by",
    "raised_budget",
]

RAISE = "raise"
STOP = "stop"
_EXCEEDED = "BUDGET_EXCEEDED"


class StoppedByPerson(LimitExceeded):
    """A person stopped the run whose budget was used up."""

    code = _EXCEEDED

    def __init__(self, asked: Asked) -> None:
        by = asked.answer.by if asked.answer is not None else ""
        super().__init__(
            f"the budget was used up, and {by or 'a person'} stopped the run",
            resolution="Go on with more: `cadre runs resume RUN --usd 2.00`, or --tokens.",
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


def paused_by(error: CadreError, budgets: Iterable[RunBudget]) -> RunBudget | None:
    """The run's own budget, or that of the run at the top, that refused a call and lets the run wait; None for any
    other error."""
    if not is_exceeded(error):
        return None
    refused = error.metadata.get("budget")
    for own in budgets:
        if own.budget.on_exceed is OnExceed.PAUSE and refused == f"run:{own.run_id}":
            return own
    return None


def asks_for_more(node: str, iteration: int, error: CadreError, own: RunBudget) -> Question:
    """Whether the budget may be doubled, or the run is to stop."""
    usd, tokens = own.budget.usd, own.budget.tokens
    raises = RaisedBudget(
        run_id=own.run_id,
        usd=None if usd is None else usd * 2,
        tokens=None if tokens is None else tokens * 2,
    )
    said = error.metadata
    return Question(
        node=node,
        iteration=iteration,
        message=f"The run's budget of {said.get('limit')} has {said.get('left')} left, and the next call may use "
        f"{said.get('worst_case')}. Raise the budget to {raises.in_words}, or stop the run?",
        choices=(RAISE, STOP),
        asked_time=datetime.now(UTC),
        raises=raises,
    )


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
