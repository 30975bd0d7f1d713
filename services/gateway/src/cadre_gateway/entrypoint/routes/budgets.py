"""Budgets: bounds of what model calls may use."""

from typing import Annotated

from fastapi import APIRouter, Path, status

from cadre.llm_proxy.v1 import usage_pb2
from cadre_gateway.entrypoint import usage_conversions as conversions
from cadre_gateway.entrypoint import usage_documents as documents
from cadre_gateway.entrypoint.access import ADMIN, READ
from cadre_gateway.entrypoint.dependencies import TheLlmProxy

__all__ = ["router"]

router = APIRouter(tags=["budgets"])

_Name = Annotated[str, Path(max_length=100, description="The budget's name.")]


@router.get("/api/v1/budgets", dependencies=[READ])
async def list_budgets(llm_proxy: TheLlmProxy) -> documents.Budgets:
    """Lists budgets by name, each with what its present periods used."""
    answer = await llm_proxy.call(llm_proxy.usage.ListBudgets, usage_pb2.ListBudgetsRequest())
    return documents.Budgets(budgets=[conversions.budget_status(one) for one in answer.budgets])


@router.post("/api/v1/budgets", dependencies=[ADMIN])
async def set_budget(asked: documents.Budget, llm_proxy: TheLlmProxy) -> documents.BudgetStatus:
    """Creates a budget, or replaces the one of the same name. What was spent in its present period counts at once."""
    request = usage_pb2.SetBudgetRequest(budget=conversions.budget_message(asked))
    answer = await llm_proxy.call(llm_proxy.usage.SetBudget, request)
    return conversions.budget_status(answer.status)


@router.delete(
    "/api/v1/budgets/{name}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[ADMIN]
)
async def delete_budget(name: _Name, llm_proxy: TheLlmProxy) -> None:
    """Removes a budget."""
    request = usage_pb2.DeleteBudgetRequest(name=name)
    await llm_proxy.call(llm_proxy.usage.DeleteBudget, request)
