"""Plans as proto messages."""

from cadre.executor.v1 import workflows_pb2
from cadre_executor.domain.forecasts import Usd
from cadre_executor.domain.needs import Need, NeedKind
from cadre_executor.domain.planners import Basis, CostRange, DurationRange, PlannedNode, RunPlan
from cadre_executor.entrypoint.messages import workflow_message

__all__ = ["plan_message"]

_KINDS = {
    NeedKind.MODEL: workflows_pb2.NEED_KIND_MODEL,
    NeedKind.TOOL: workflows_pb2.NEED_KIND_TOOL,
    NeedKind.HOST: workflows_pb2.NEED_KIND_HOST,
    NeedKind.SECRET: workflows_pb2.NEED_KIND_SECRET,
    NeedKind.WORKFLOW: workflows_pb2.NEED_KIND_WORKFLOW,
    NeedKind.SERVICE: workflows_pb2.NEED_KIND_SERVICE,
    NeedKind.PERSON: workflows_pb2.NEED_KIND_PERSON,
    NeedKind.AGENT: workflows_pb2.NEED_KIND_AGENT,
}
_BASES = {
    Basis.HISTORY: workflows_pb2.RANGE_BASIS_HISTORY,
    Basis.ESTIMATE: workflows_pb2.RANGE_BASIS_ESTIMATE,
    Basis.LIMIT: workflows_pb2.RANGE_BASIS_LIMIT,
}


def plan_message(plan: RunPlan, source: str) -> workflows_pb2.Plan:
    """A plan."""
    definition = plan.document.definition(source)
    return workflows_pb2.Plan(
        workflow=workflow_message(definition, plan.document.parsed),
        nodes=[_node(planned) for planned in plan.nodes],
        needs=[_need(need) for need in plan.needs],
        cost=_cost(plan.cost),
        duration=_duration(plan.duration),
    )


def _node(planned: PlannedNode) -> workflows_pb2.PlannedNode:
    forecast = planned.forecast
    return workflows_pb2.PlannedNode(
        id=planned.node.id,
        kind=planned.node.kind,
        min_visits=planned.visits.least,
        max_visits=planned.visits.most,
        models=forecast.models,
        max_calls=forecast.max_calls,
        min_usd=_usd(forecast.min_usd),
        max_usd=_usd(forecast.max_usd),
    )


def _need(need: Need) -> workflows_pb2.Need:
    return workflows_pb2.Need(
        kind=_KINDS[need.kind],
        name=need.name,
        nodes=need.nodes,
        missing=bool(need.reason),
        reason=need.reason,
    )


def _cost(cost: CostRange) -> workflows_pb2.CostRange:
    return workflows_pb2.CostRange(
        basis=_BASES[cost.basis],
        min_usd=_usd(cost.min_usd),
        max_usd=_usd(cost.max_usd),
        runs=cost.runs,
        worst_usd=_usd(cost.worst_usd),
        unknown_reason=cost.unknown,
    )


def _duration(duration: DurationRange) -> workflows_pb2.DurationRange:
    return workflows_pb2.DurationRange(
        basis=_BASES[duration.basis],
        min_ms=duration.min_ms,
        max_ms=duration.max_ms,
        runs=duration.runs,
    )


def _usd(amount: Usd) -> str | None:
    return None if amount is None else f"{amount:f}"
