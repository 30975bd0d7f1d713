"""Runs that are explained and compared from their events."""

from datetime import UTC, datetime
from typing import Any

from cadre_client import Event, Failure, Run, RunStatus, compare, explain

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ANGRY = {
    "condition": "state.mood == 'angry'",
    "values": {"state.mood": "happy"},
    "held": False,
    "to": ["soothe"],
}
HAPPY = {
    "condition": "state.mood == 'happy'",
    "values": {"state.mood": "happy"},
    "held": True,
    "to": ["thank"],
}


def run(**given: Any) -> Run:
    return Run.model_validate(
        {"id": "r1", "workflow": "triage", "version": 1, "status": "succeeded", **given}
    )


def event(type_: str, node: str = "", **given: Any) -> Event:
    place = {"node": node, "iteration": 1, "attempt": 1} if node else {}
    return Event.model_validate({"sequence": 1, "time": NOW, "type": type_, **place, **given})


def test_each_visit_says_which_conditions_held_and_what_they_read() -> None:
    data = {"route": ["thank"], "decisions": [ANGRY, HAPPY], "outputs": {"mood": "happy"}}

    found = explain(
        run(), [event("node_started", "classify"), event("node_succeeded", "classify", data=data)]
    )

    (visit,) = found.visits
    assert (visit.node, visit.outcome, visit.route) == ("classify", "succeeded", ("thank",))
    assert [(one.held, one.to) for one in visit.decisions] == [
        (False, ("soothe",)),
        (True, ("thank",)),
    ]
    assert visit.decisions[0].values == {"state.mood": "happy"}


def test_a_failure_is_summed_up_with_its_node_tries_and_what_to_do() -> None:
    error = Failure(code="CODE_FAILED", message="1 / 0", resolution="Mend it.", node="compute")
    failed = run(status=RunStatus.FAILED, error=error)

    found = explain(failed, [event("node_failed", "compute", attempt=3, error=error)])

    assert "failed in node 'compute'" in found.summary
    assert "1 / 0 (CODE_FAILED). What to do: Mend it." in found.summary
    assert "It was tried 3 times." in found.summary


def test_a_node_that_never_ended_is_unfinished() -> None:
    found = explain(run(status="cancelled"), [event("node_started", "slow")])

    assert [(visit.node, visit.outcome) for visit in found.visits] == [("slow", "unfinished")]
    assert "1 unfinished" in found.summary


def test_only_what_differs_between_two_runs_is_compared() -> None:
    first = event("node_succeeded", "a", data={"route": ["END"], "outputs": {"x": 1, "y": 2}})
    second = event("node_succeeded", "a", data={"route": ["END"], "outputs": {"x": 1, "y": 3}})

    found = compare(
        run(inputs={"message": "hi"}, outputs={"y": 2}),
        [first],
        run(id="r2", inputs={"message": "ho"}, outputs={"y": 3}),
        [second, event("node_skipped", "b")],
    )

    assert [(one.name, one.first, one.second) for one in found.inputs] == [("message", "hi", "ho")]
    assert [one.name for one in found.outputs] == ["y"]
    assert [(one.name, one.first, one.second) for one in found.visits] == [
        ("a#1 y", 2, 3),
        ("b#1 outcome", None, "skipped"),
    ]
    assert found.run == []
