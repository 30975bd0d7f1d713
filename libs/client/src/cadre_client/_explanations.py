"""Why a run went the way it went, and how two runs differ: from their stored events, without a model."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import Field

from cadre_client._models import Answer, Event, EventType, Failure, Run, RunStatus, Usage

__all__ = ["Comparison", "Decision", "Difference", "Explanation", "Visit", "compare", "explain"]

_ENDINGS = {
    EventType.NODE_SUCCEEDED: "succeeded",
    EventType.NODE_FAILED: "failed",
    EventType.NODE_SKIPPED: "skipped",
}


class Decision(Answer):
    """A condition that a visit looked at: what it read, whether it held, and where it leads.

    `held` is None when it could not be computed; `error` then says why.
    """

    condition: str
    to: tuple[str, ...] = ()
    values: Mapping[str, Any] = Field(default_factory=dict)
    held: bool | None = None
    error: str = ""


class Visit(Answer):
    """One visit of a node. `outcome` is succeeded, failed, skipped or unfinished; `route` is where the run went then.

    `loop` counts how often its loop was taken by then; None without a loop.
    """

    node: str
    iteration: int
    outcome: str = "unfinished"
    attempts: int = 1
    duration_ms: int | None = None
    route: tuple[str, ...] = ()
    loop: int | None = None
    decisions: tuple[Decision, ...] = ()
    outputs: Mapping[str, Any] = Field(default_factory=dict)
    usage: Usage | None = None
    error: Failure | None = None


class Explanation(Answer):
    """A run's visits in the order in which they ended, and what there is to say about the whole."""

    run_id: str
    workflow: str
    status: RunStatus
    summary: str
    visits: list[Visit]


class Difference(Answer):
    """Something that is not the same in two runs; None where one of them has none."""

    name: str
    first: Any = None
    second: Any = None


class Comparison(Answer):
    """How two runs differ. `visits` compares each visit's outcome, route, error and outputs, named
    `node#iteration outcome` and so on."""

    first: str
    second: str
    run: list[Difference]
    inputs: list[Difference]
    visits: list[Difference]
    outputs: list[Difference]


def explain(run: Run, events: Iterable[Event]) -> Explanation:
    """What happened at each node of a run, and why it went on from there."""
    visits = _visits(events)
    return Explanation(
        run_id=run.id,
        workflow=run.workflow,
        status=run.status,
        summary=_summary(run, visits),
        visits=visits,
    )


def compare(
    first: Run, first_events: Iterable[Event], second: Run, second_events: Iterable[Event]
) -> Comparison:
    """How two runs differ."""
    return Comparison(
        first=first.id,
        second=second.id,
        run=_differences(_figures(first), _figures(second)),
        inputs=_differences(first.inputs or {}, second.inputs or {}),
        visits=_differences(_results(first_events), _results(second_events)),
        outputs=_differences(first.outputs or {}, second.outputs or {}),
    )


def _visits(events: Iterable[Event]) -> list[Visit]:
    open_: dict[tuple[str, int], int] = {}
    ended: list[Visit] = []
    for event in events:
        place = (event.node, event.iteration)
        if event.item or not event.node:
            continue
        if event.type in _ENDINGS:
            open_.pop(place, None)
            ended.append(_visit(event))
        elif event.attempt:
            open_[place] = event.attempt
    unfinished = [Visit(node=n, iteration=i, attempts=a) for (n, i), a in open_.items()]
    return ended + unfinished


def _visit(event: Event) -> Visit:
    data = event.data or {}
    return Visit.model_validate(
        {
            "node": event.node,
            "iteration": event.iteration,
            "outcome": _ENDINGS[event.type],
            "attempts": event.attempt,
            "duration_ms": event.duration_ms,
            "route": data.get("route", []),
            "loop": data.get("loop"),
            "decisions": data.get("decisions", []),
            "outputs": data.get("outputs", {}),
            "usage": event.usage,
            "error": event.error,
        }
    )


def _summary(run: Run, visits: list[Visit]) -> str:
    parts = [_ending(run)]
    parts += [f"Node {question.node!r} asks: {question.message}" for question in run.questions]
    if run.error is not None and run.error.node:
        failed = [v for v in visits if v.node == run.error.node and v.outcome == "failed"]
        if failed and failed[-1].attempts > 1:
            parts.append(f"It was tried {failed[-1].attempts} times.")
    done = Counter(visit.outcome for visit in visits)
    counted = ", ".join(f"{number} {outcome}" for outcome, number in sorted(done.items()))
    if counted:
        parts.append(f"Visits of nodes: {counted}.")
    if run.usage.calls:
        cost = "at an unknown price" if run.usage.cost_usd is None else f"for ${run.usage.cost_usd}"
        calls = "1 model call" if run.usage.calls == 1 else f"{run.usage.calls} model calls"
        parts.append(f"It made {calls} {cost}.")
    return " ".join(parts)


def _ending(run: Run) -> str:
    took = "" if run.duration_ms is None else f" after {run.duration_ms / 1000:.1f} s"
    if run.error is None:
        return f"The run {run.status.value if run.status.is_final else 'is ' + run.status.value}{took}."
    where = f" in node {run.error.node!r}" if run.error.node else ""
    what = f"The run failed{where}{took}: {run.error.message} ({run.error.code})."
    return f"{what} What to do: {run.error.resolution}" if run.error.resolution else what


def _figures(run: Run) -> dict[str, Any]:
    cost = run.usage.cost_usd
    return {
        "workflow": run.workflow,
        "version": run.version,
        "status": run.status.value,
        "error": run.error.code if run.error else None,
        "duration_ms": run.duration_ms,
        "input_tokens": run.usage.input_tokens,
        "output_tokens": run.usage.output_tokens,
        "cost_usd": None if cost is None else str(Decimal(cost)),
    }


def _results(events: Iterable[Event]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for visit in _visits(events):
        place = f"{visit.node}#{visit.iteration}"
        found[f"{place} outcome"] = visit.outcome
        found[f"{place} route"] = ", ".join(visit.route) or None
        found[f"{place} error"] = visit.error.code if visit.error else None
        found.update((f"{place} {name}", value) for name, value in visit.outputs.items())
    return found


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    names = dict.fromkeys([*first, *second])
    return [
        Difference(name=name, first=first.get(name), second=second.get(name))
        for name in names
        if first.get(name) != second.get(name)
    ]
