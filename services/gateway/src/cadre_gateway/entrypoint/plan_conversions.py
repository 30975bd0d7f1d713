"""Protos of tests and plans to the API's documents."""

from __future__ import annotations

from collections.abc import Mapping

from cadre.executor.v1 import workflows_pb2
from cadre_gateway.entrypoint import plan_documents as d
from cadre_gateway.entrypoint.conversions import workflow
from cadre_kit.documents import object_from_json

__all__ = ["plan", "test_result"]

_KINDS: Mapping[workflows_pb2.NeedKind.ValueType, d.NeedKind] = {
    workflows_pb2.NEED_KIND_MODEL: d.NeedKind.MODEL,
    workflows_pb2.NEED_KIND_TOOL: d.NeedKind.TOOL,
    workflows_pb2.NEED_KIND_HOST: d.NeedKind.HOST,
    workflows_pb2.NEED_KIND_SECRET: d.NeedKind.SECRET,
    workflows_pb2.NEED_KIND_WORKFLOW: d.NeedKind.WORKFLOW,
    workflows_pb2.NEED_KIND_SERVICE: d.NeedKind.SERVICE,
    workflows_pb2.NEED_KIND_PERSON: d.NeedKind.PERSON,
    workflows_pb2.NEED_KIND_AGENT: d.NeedKind.AGENT,
}
_BASES: Mapping[workflows_pb2.RangeBasis.ValueType, d.RangeBasis] = {
    workflows_pb2.RANGE_BASIS_HISTORY: d.RangeBasis.HISTORY,
    workflows_pb2.RANGE_BASIS_ESTIMATE: d.RangeBasis.ESTIMATE,
    workflows_pb2.RANGE_BASIS_LIMIT: d.RangeBasis.LIMIT,
}


def test_result(message: workflows_pb2.TestResult) -> d.TestResult:
    """How a test ended."""
    has_outputs = message.HasField("outputs")
    return d.TestResult(
        name=message.name,
        passed=message.passed,
        duration_ms=message.duration_ms,
        failures=[_failure(failure) for failure in message.failures],
        outputs=dict(object_from_json(message.outputs, field="outputs")) if has_outputs else None,
    )


def _failure(message: workflows_pb2.TestFailure) -> d.TestFailure:
    return d.TestFailure(
        code=message.code,
        message=message.message,
        resolution=message.resolution,
        node=message.node,
        path=message.path,
        line=message.line,
        column=message.column,
    )


def plan(message: workflows_pb2.Plan) -> d.Plan:
    """A plan."""
    return d.Plan(
        workflow=workflow(message.workflow),
        nodes=[_node(node) for node in message.nodes],
        needs=[_need(need) for need in message.needs],
        cost=_cost(message.cost),
        duration=_duration(message.duration),
    )


def _node(message: workflows_pb2.PlannedNode) -> d.PlannedNode:
    return d.PlannedNode(
        id=message.id,
        kind=message.kind,
        min_visits=message.min_visits,
        max_visits=message.max_visits,
        models=list(message.models),
        max_calls=message.max_calls,
        min_usd=message.min_usd if message.HasField("min_usd") else None,
        max_usd=message.max_usd if message.HasField("max_usd") else None,
    )


def _need(message: workflows_pb2.Need) -> d.Need:
    return d.Need(
        kind=_KINDS[message.kind],
        name=message.name,
        nodes=list(message.nodes),
        missing=message.missing,
        reason=message.reason,
    )


def _cost(message: workflows_pb2.CostRange) -> d.CostRange:
    return d.CostRange(
        basis=_BASES[message.basis],
        min_usd=message.min_usd if message.HasField("min_usd") else None,
        max_usd=message.max_usd if message.HasField("max_usd") else None,
        runs=message.runs,
        worst_usd=message.worst_usd if message.HasField("worst_usd") else None,
        unknown_reason=message.unknown_reason,
    )


def _duration(message: workflows_pb2.DurationRange) -> d.DurationRange:
    return d.DurationRange(
        basis=_BASES[message.basis],
        min_ms=message.min_ms,
        max_ms=message.max_ms,
        runs=message.runs,
    )
