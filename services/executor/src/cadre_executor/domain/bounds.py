"""How often a run visits each node, at least and at most, by the workflow's shape alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cadre_executor.domain.routes import Edge, Plan, edges_of
from cadre_executor.domain.workflows import END, START, Exits, Goto, Workflow

__all__ = ["Visits", "visits_of"]


@dataclass(frozen=True, kw_only=True)
class Visits:
    """How often a node is visited by a run that succeeds; 0 at least when some way leads around it."""

    least: int
    most: int


def visits_of(workflow: Workflow, plan: Plan) -> Mapping[str, Visits]:
    """The bounds of each node: loops multiply within each other, and no node has more visits than a run has steps."""
    forward = [edge for edge in edges_of(workflow) if edge not in plan.back_edges]
    after, before = _following(forward), _following((b, a) for a, b in forward)
    most = dict.fromkeys(workflow.nodes, 1)
    for node, exits in workflow.exits.items():
        if exits.loop is not None:
            body = _reached(exits.loop.to, after) & _reached(node, before)
            for inside in body or most:
                most[inside] *= exits.loop.max_iterations + 1
    for node in plan.unbounded:
        most[node] *= workflow.limits.max_visits
    return {
        node: Visits(
            least=0 if _can_avoid(workflow, node) else 1,
            most=min(most[node], workflow.limits.max_steps),
        )
        for node in workflow.nodes
    }


def _following(edges: Iterable[Edge]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source, target in edges:
        found.setdefault(source, []).append(target)
    return found


def _reached(start: str, following: Mapping[str, Sequence[str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        for target in following.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def _can_avoid(workflow: Workflow, avoided: str) -> bool:
    """Whether a run can end without visiting a node: by choices none of whose branches leads to it."""
    ends = {END}
    nodes = [node for node in (*reversed(list(workflow.nodes)), START) if node != avoided]
    grows = True
    while grows and START not in ends:
        grows = False
        for node in nodes:
            if node not in ends and any(ends.issuperset(way) for way in _ways(workflow, node)):
                ends.add(node)
                grows = True
    return START in ends


def _ways(workflow: Workflow, node: str) -> list[Sequence[str]]:
    """The choices that a node has; all targets of one are visited."""
    exits = workflow.exits.get(node, Exits())
    ways: list[Sequence[str]] = [rule.targets for rule in exits.rules]
    if exits.loop is not None:
        ways += [(exits.loop.to,), exits.loop.exits] if exits.loop.exits else [(exits.loop.to,)]
    if node != START and isinstance(goto := workflow.nodes[node].on_error, Goto):
        ways.append((goto.node,))
    return ways
