"""What was used, what may be used, and what a request would use: for those who ask, beside those who call models."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from cadre_llm_proxy.domain.budgets import Budget, BudgetStatus, checked
from cadre_llm_proxy.domain.calls import CompletionRequest, Options, Target
from cadre_llm_proxy.domain.entries import KeptReply
from cadre_llm_proxy.domain.estimates import Estimate, Tokenizer, bound_of, estimate_of
from cadre_llm_proxy.domain.facts import BudgetInvalid, BudgetNotFound
from cadre_llm_proxy.domain.usage import (
    CallPage,
    CallQuery,
    Sums,
    UsageLedger,
    UsageQuery,
    list_calls,
    query_usage,
)

__all__ = ["Accounts", "AccountsLedger"]


class AccountsLedger(UsageLedger, Protocol):
    """The ledger, with its budgets."""

    async def put_budget(self, budget: Budget) -> BudgetStatus:
        """Stores a budget in place of the one of its name; what was spent in its present period counts at once."""
        ...

    async def delete_budget(self, name: str) -> bool:
        """Removes a budget; says whether there was one."""
        ...

    async def kept_replies(self, run_id: str, *, limit: int, after: str) -> tuple[KeptReply, ...]:
        """Replies to a run's calls that are kept, the oldest first, after that of a call."""
        ...

    async def budgets(self) -> tuple[BudgetStatus, ...]:
        """All budgets by name."""
        ...

    async def tokens_per_second(self, provider: str, model: str) -> float | None:
        """How fast a model wrote in its last calls; None when it did not."""
        ...


class Accounts:
    """Answers from the ledger. `settled` returns when all calls that were answered are in it; `estimated` has the model
    that is meant, and why it cannot be asked."""

    def __init__(
        self,
        *,
        ledger: AccountsLedger,
        settled: Callable[[], Awaitable[None]],
        tokenizer: Tokenizer,
        target_of: Callable[[Options], Awaitable[Target]],
        estimated: Callable[[Options], tuple[Target, str]],
    ) -> None:
        self._estimated = estimated
        self._ledger = ledger
        self._settled = settled
        self._tokenizer = tokenizer
        self._target_of = target_of

    async def usage(self, query: UsageQuery) -> Sums:
        """Sums of entries."""
        await self._settled()
        return await query_usage(self._ledger, query)

    async def calls(self, query: CallQuery) -> CallPage:
        """One page of entries."""
        await self._settled()
        return await list_calls(self._ledger, query)

    async def replies(self, run_id: str, *, limit: int, after: str) -> tuple[KeptReply, ...]:
        """Replies to a run's calls that are kept, the oldest first, after that of a call."""
        await self._settled()
        return await self._ledger.kept_replies(run_id, limit=limit, after=after)

    async def estimate(self, request: CompletionRequest, *, more_tokens: int = 0) -> Estimate:
        """What a request with `more_tokens` input tokens than it shows would cost. Raises what is wrong with it."""
        target, unavailable = self._estimated(request.options)
        bound = await bound_of(target, request, request.messages, tokenizer=self._tokenizer)
        bound = replace(bound, input_tokens=bound.input_tokens + more_tokens)
        speed = await self._ledger.tokens_per_second(target.provider, target.model)
        found = estimate_of(target, request, bound)
        return replace(found, unavailable=unavailable, tokens_per_second=speed)

    async def set_budget(self, budget: Budget) -> BudgetStatus:
        """Stores a budget. Raises BudgetInvalid, and what is wrong with the model that it downgrades to."""
        checked(budget)
        if budget.downgrade_to:
            provider, _, model = budget.downgrade_to.partition("/")
            target = await self._target_of(Options(provider=provider, model=model))
            if budget.usd is not None and target.price is None:
                raise _unpriced(budget)
        return await self._ledger.put_budget(budget)

    async def budgets(self) -> tuple[BudgetStatus, ...]:
        """All budgets by name, each with what its present periods used."""
        await self._settled()
        return await self._ledger.budgets()

    async def delete_budget(self, name: str) -> None:
        """Removes a budget. Raises BudgetNotFound."""
        if not await self._ledger.delete_budget(name):
            raise BudgetNotFound(
                f"there is no budget {name!r}",
                resolution="List them with `cadre budgets list`.",
                metadata={"name": name},
            )


def _unpriced(budget: Budget) -> BudgetInvalid:
    return BudgetInvalid(
        f"downgrade_to must be a model of known price for a budget in US dollars: {budget.downgrade_to} has none",
        resolution="Name another model, or say its price in the file that CADRE_PRICES_FILE names.",
        metadata={"field": "downgrade_to", "model": budget.downgrade_to},
    )
