"""A run's budget goes with each of its model calls, and with those of the runs that are steps of it."""

from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor
from tests.service.executor.test_children import INNER, calling

from cadre.llm_proxy.v1 import llm_pb2

OUTER_BUDGET = "config: {budget: {usd: 0.50, tokens: 2000}}\n"
INNER_BUDGET = "config: {budget: {tokens: 300}}\n"


def budgets_of(near: Neighbours) -> list[llm_pb2.RunBudget]:
    """What came with the only call."""
    (asked,) = near.llm_proxy.requests.values()
    return list(asked.attribution.run_budgets)


async def test_a_run_without_a_budget_sends_none(executor: Executor, near: Neighbours) -> None:
    await executor.finish(INNER, word="hello")

    assert budgets_of(near) == []


async def test_a_run_sends_its_budget(executor: Executor, near: Neighbours) -> None:
    run, _ = await executor.finish(INNER + INNER_BUDGET, word="hello")

    assert budgets_of(near) == [llm_pb2.RunBudget(run_id=run.id, tokens=300)]


async def test_a_run_that_is_a_step_sends_its_own_budget_and_that_of_the_run_at_the_top(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply(INNER + INNER_BUDGET)

    run, _ = await executor.finish(calling() + OUTER_BUDGET, message="hello")

    own, top = budgets_of(near)
    assert own == llm_pb2.RunBudget(run_id=own.run_id, tokens=300)
    assert own.run_id != run.id
    assert top == llm_pb2.RunBudget(run_id=run.id, usd="0.5", tokens=2000)
