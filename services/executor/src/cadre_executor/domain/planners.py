"""Says what a run of a file would need, cost and take. Nothing of the file is executed, and no model is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from cadre_executor.domain.bounds import Visits, visits_of
from cadre_executor.domain.definitions import Document, Library
from cadre_executor.domain.durations import most_seconds
from cadre_executor.domain.forecasts import Estimates, Forecaster, NodeForecast, Usd
from cadre_executor.domain.needs import Need, NeedKind, Needs, merged
from cadre_executor.domain.runs import Run, RunQuery, RunStatus
from cadre_executor.domain.stores import DefinitionStore, RunStore
from cadre_executor.domain.workflows import Node, State, Workflow, WorkflowAction
from cadre_kit.errors import CadreError, InvalidInput

__all__ = ["Basis", "CostRange", "DurationRange", "PlannedNode", "Planner", "RunPlan"]

_RUNS = 100
_DEEPEST = 8


class Basis(Enum):
    """Where a range comes from."""

    HISTORY = "history"
    ESTIMATE = "estimate"
    LIMIT = "limit"


@dataclass(frozen=True, kw_only=True)
class CostRange:
    """What a run would cost. `worst_usd` is the most at all; `unknown` says why `max_usd` is not known."""

    basis: Basis
    min_usd: Usd
    max_usd: Usd
    worst_usd: Usd
    runs: int = 0
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class DurationRange:
    """How long a run would take, without the time that people take to answer."""

    basis: Basis
    min_ms: int
    max_ms: int
    runs: int = 0


@dataclass(frozen=True, kw_only=True)
class PlannedNode:
    """What one node would do."""

    node: Node
    visits: Visits
    forecast: NodeForecast


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run of a file would do."""

    document: Document
    nodes: tuple[PlannedNode, ...]
    needs: tuple[Need, ...]
    cost: CostRange
    duration: DurationRange


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans runs."""

    library: Library
    store: RunStore
    definitions: DefinitionStore
    needs: Needs
    estimates: Estimates

    async def plan(self, source: str, inputs: Mapping[str, Any]) -> RunPlan:
        """The plan of a run with inputs that are known so far. Raises WorkflowInvalid, and InvalidInput for inputs that
        do not fit."""
        document = await self.library.document(source)
        known = self._known(document.workflow, inputs)
        nodes = await self._nodes(document, known, depth=0)
        needs = await self.needs.of(document.workflow, known)
        models = [need for planned in nodes for need in (*_models(planned), *_hosts(planned))]
        history = await self._history(document.workflow, source)
        return RunPlan(
            document=document,
            nodes=tuple(nodes),
            needs=tuple(merged([*models, *needs])),
            cost=_cost(document.workflow, nodes, history),
            duration=_duration(document.workflow, nodes, history),
        )

    def _known(self, workflow: Workflow, inputs: Mapping[str, Any]) -> State:
        """The fields whose value stays what it is known to be: inputs, and defaults that no node writes over."""
        missing = {name for name, field in workflow.fields.items() if field.required} - set(inputs)
        written = {output.field for node in workflow.nodes.values() for output in node.outputs}
        try:
            state = self.library.language.check_inputs(workflow, inputs)
        except InvalidInput as error:
            if not missing or any(problem.path not in missing for problem in error.problems):
                raise
            # Only inputs that are not known yet are missing.
            state = inputs
        fields = workflow.fields
        defaults = {name: field.default for name, field in fields.items() if not field.required}
        return {name: value for name, value in {**defaults, **state}.items() if name not in written}

    async def _nodes(self, document: Document, known: State, *, depth: int) -> list[PlannedNode]:
        workflow = document.workflow
        visits = visits_of(workflow, document.plan)
        forecaster = Forecaster(
            workflow=workflow, visits=visits, known=known, estimates=self.estimates
        )
        forecasts = dict(await forecaster.forecasts())
        for node in workflow.nodes.values():
            most, items = visits[node.id].most, forecaster.items(node)
            if isinstance(node.action, WorkflowAction):
                times = most * items * node.retry.max_attempts
                child = await self._child(node.action, times, depth=depth + 1)
                seconds = most_seconds(node, visits=most, items=items, within=child.max_seconds)
                forecasts[node.id] = replace(child, max_seconds=seconds)
            elif node.id not in forecasts:
                seconds = most_seconds(node, visits=most, items=items)
                forecasts[node.id] = NodeForecast(max_seconds=seconds)
        return [
            PlannedNode(node=node, visits=visits[node.id], forecast=forecasts[node.id])
            for node in workflow.nodes.values()
        ]

    async def _child(self, action: WorkflowAction, times: int, *, depth: int) -> NodeForecast:
        """What the runs of another workflow would cost, as far as it is applied, and how long one of them takes."""
        unknown = NodeForecast(min_usd=Decimal(0), max_usd=None)
        if depth > _DEEPEST:
            return replace(unknown, reason=f"workflows run each other more than {_DEEPEST} deep")
        try:
            definition = await self.definitions.get(action.workflow, action.version)
            document = await self.library.document(definition.source)
        except CadreError as error:
            return replace(unknown, reason=error.message)
        known = self._known(document.workflow, {})
        nodes = await self._nodes(document, known, depth=depth)
        cost = _cost(document.workflow, nodes, ())
        return NodeForecast(
            models=tuple(dict.fromkeys(m for each in nodes for m in each.forecast.models)),
            problems={k: v for each in nodes for k, v in each.forecast.problems.items()},
            max_calls=times * sum(each.forecast.max_calls for each in nodes),
            max_usd=None if cost.worst_usd is None else cost.worst_usd * times,
            reason=cost.unknown,
            hosts=tuple(dict.fromkeys(host for each in nodes for host in each.forecast.hosts)),
            max_seconds=_duration(document.workflow, nodes, ()).max_ms / 1000,
        )

    async def _history(self, workflow: Workflow, source: str) -> tuple[Run, ...]:
        """The last runs of this very file that succeeded, from their start."""
        query = RunQuery(
            limit=_RUNS, workflow=workflow.name, status=RunStatus.SUCCEEDED, source=source
        )
        page = await self.store.list(query)
        return tuple(run for run in page.runs if not run.forked_from)


def _models(planned: PlannedNode) -> list[Need]:
    problems = planned.forecast.problems
    return [
        Need(
            kind=NeedKind.MODEL,
            name=name,
            nodes=(planned.node.id,),
            reason=problems.get(name, ""),
        )
        for name in planned.forecast.models
    ]


def _hosts(planned: PlannedNode) -> list[Need]:
    """Where its models answer."""
    return [
        Need(kind=NeedKind.HOST, name=host, nodes=(planned.node.id,))
        for host in planned.forecast.hosts
        if host
    ]


def _cost(workflow: Workflow, nodes: Sequence[PlannedNode], history: Sequence[Run]) -> CostRange:
    """From history where all costs are known, else from counted tokens; a budget bounds either."""
    worst = _total([each.forecast.max_usd for each in nodes])
    budget = workflow.budget.usd
    if budget is not None:
        worst = budget if worst is None else min(worst, budget)
    costs = [run.usage.cost_usd for run in history]
    known = [cost for cost in costs if cost is not None]
    if known and len(known) == len(costs):
        return CostRange(
            basis=Basis.HISTORY,
            min_usd=min(known),
            max_usd=max(known),
            worst_usd=worst,
            runs=len(known),
        )
    reasons = [
        f"node {each.node.id}: {each.forecast.reason}" for each in nodes if each.forecast.reason
    ]
    least = _total([each.forecast.min_usd for each in nodes])
    return CostRange(
        basis=Basis.ESTIMATE,
        min_usd=least if least is None or worst is None else min(least, worst),
        max_usd=worst,
        worst_usd=worst,
        unknown="; ".join(reasons) if worst is None else "",
    )


def _total(amounts: Sequence[Usd]) -> Usd:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None


def _duration(
    workflow: Workflow, nodes: Sequence[PlannedNode], history: Sequence[Run]
) -> DurationRange:
    """From history, else from tokens and speeds; the run's time limit bounds the latter."""
    taken = [
        (run.ended_time - run.started_time).total_seconds() - run.paused_seconds
        for run in history
        if run.ended_time is not None and run.started_time is not None
    ]
    if not taken:
        return _counted_duration(workflow, nodes)
    return DurationRange(
        basis=Basis.HISTORY,
        min_ms=round(max(0.0, min(taken)) * 1000),
        max_ms=round(max(0.0, *taken, 0.0) * 1000),
        runs=len(taken),
    )


def _counted_duration(workflow: Workflow, nodes: Sequence[PlannedNode]) -> DurationRange:
    limit = workflow.limits.timeout_seconds
    seconds = [each.forecast.max_seconds for each in nodes]
    known = [each for each in seconds if each is not None]
    most = sum(known) if len(known) == len(seconds) else limit
    return DurationRange(
        basis=Basis.ESTIMATE if most < limit else Basis.LIMIT,
        min_ms=round(max((each.forecast.min_seconds for each in nodes), default=0.0) * 1000),
        max_ms=round(min(most, limit) * 1000),
    )
