"""What workflow nodes do: run another workflow as a step."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cadre_executor.domain.peers import ChildRun
from cadre_executor.domain.results import Result
from cadre_executor.domain.runs import NotFailed, Run, RunStatus, Usage
from cadre_executor.domain.tasks import Means, Task, try_over
from cadre_executor.domain.workflows import WorkflowAction
from cadre_kit.errors import CadreError, LimitExceeded

__all__ = ["ChildFailed", "DepthExceeded", "abandon", "run_child"]

_DEEPEST = 8
_STEP = "1"
_AGAIN = "again"


class ChildFailed(CadreError):
    """The run of a workflow node did not succeed."""

    code = "CHILD_RUN_FAILED"


class DepthExceeded(LimitExceeded):
    """Workflows run each other too deep, as one that runs itself does."""

    code = "RUN_DEPTH_EXCEEDED"


async def run_child(action: WorkflowAction, task: Task) -> Result:
    """The outputs of the run. It is an ordinary run, started once for this try, whose usage counts here too. Raises
    ChildFailed, DepthExceeded, and what is wrong with the workflow or its inputs."""
    ended = task.find(_STEP)
    if ended is None:
        ended = await _ended(action, task)
    task.usage = task.usage + Usage.of(ended["usage"])
    if ended["failure"] is not None:
        raise ChildFailed(
            ended["failure"],
            resolution=f"`cadre runs show {ended['run_id']}` has the details.",
            metadata={"run_id": ended["run_id"], "workflow": action.workflow},
        )
    return Result(value=ended["outputs"])


async def _ended(action: WorkflowAction, task: Task) -> dict[str, Any]:
    children, open_children = task.means.children, task.means.open_children
    before = await _resumed(action, task)
    if before is None:
        # What the run does that it starts is told in the run above it: after what that one says first.
        await task.means.records.store()
        run_id, counted = (await children.start_child(_child(action, task))).id, Usage()
    else:
        run_id, counted = before["run_id"], Usage.of(before["total"])
    open_children[run_id] = task.key(_STEP)
    run = await children.wait_for(run_id)
    del open_children[run_id]
    document = _document(run, counted=counted)
    task.record(_STEP, document, usage=run.usage)
    return document


async def _resumed(action: WorkflowAction, task: Task) -> Mapping[str, Any] | None:
    """The run of the try before, which goes on where it failed: a person lets this run go on, and what that one is to
    do is the same as then. None when it is not, or there is no such run."""
    means, children = task.means, task.means.children
    again = task.find(_AGAIN)
    if again is None:
        failed = means.failed_before.get(task.key(_STEP, tries_before=1))
        if failed is None or not await children.may_go_on(failed["run_id"], _child(action, task)):
            return None
        # An earlier release recorded no total; no run had gone on then.
        again = {"run_id": failed["run_id"], "total": failed.get("total", failed["usage"])}
        # What it used was counted when it failed, and counts as a whole when it ends.
        task.record(_AGAIN, again, usage=Usage() - Usage.of(again["total"]))
        await means.records.store()
    with suppress(NotFailed):
        await children.resume_child(again["run_id"])
    return again


async def abandon(visit: str, means: Means) -> Usage:
    """Ends the runs, and the tasks of remote agents, that a visit waited for when it is over before them; what they
    used."""
    used = Usage()
    begun = (f"{visit}/", f"{visit}.")
    for run_id, key in list(means.open_children.items()):
        if key.startswith(begun):
            del means.open_children[run_id]
            run = await means.children.cancel(run_id)
            means.records.record(key, _document(run, counted=Usage()), usage=run.usage)
            # An item that is done again after this has a try, and so a run, of its own.
            item, attempt, _ = key.rsplit("/", 2)
            means.records.record(try_over(item, int(attempt)), {})
            used = used + run.usage
    await means.delegations.end(means.run_id, begun_with=[f"{means.run_id}/{b}" for b in begun])
    return used


def _child(action: WorkflowAction, task: Task) -> ChildRun:
    means = task.means
    if means.depth >= _DEEPEST:
        raise DepthExceeded(
            f"workflow {action.workflow!r} would run {means.depth + 1} deep; the limit is {_DEEPEST}",
            resolution="Let workflows not run themselves, directly or by others; use a loop instead.",
            metadata={"workflow": action.workflow, "limit": str(_DEEPEST)},
        )
    return ChildRun(
        workflow=action.workflow,
        version=action.version,
        inputs={name: task.scope.inputs[name] for name in task.place.node.inputs},
        key=f"child/{task.call.at(_STEP).key}",
        parent_run_id=means.run_id,
        parent_visit=task.place.visit,
        root_run_id=means.root_run_id,
        depth=means.depth + 1,
        schedule=means.schedule,
        api_key=means.api_key,
    )


def _document(run: Run, *, counted: Usage) -> dict[str, Any]:
    """How a run ended; `counted` is what it had used when it failed before."""
    succeeded = run.status is RunStatus.SUCCEEDED
    return {
        "run_id": run.id,
        "outputs": dict(run.outputs or {}),
        "failure": None if succeeded else _why(run),
        "usage": (run.usage - counted).document,
        "total": run.usage.document,
    }


def _why(run: Run) -> str:
    ended = f"run {run.id} of workflow {run.workflow!r} ended as {run.status.value}"
    if run.error is None:
        return ended
    at = f" at node {run.error.node!r}" if run.error.node else ""
    return f"{ended}{at} with {run.error.code}: {run.error.message}"
