"""The Prefect flows behind schedules and batches: each sees through the gateway to what it stands for.

A flow run ends as its run, or its batch, does, and cancelling either cancels both. A Prefect worker runs it (`prefect
worker start --pool cadre --type process`), in a process of its own, on any machine: all that it needs is in its
environment, the gateway's address (CADRE_GATEWAY_URL) and a key (CADRE_API_KEY).
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import deployment as this_deployment
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed, Failed

from cadre_client import ApiError, Batch, Client, GatewayUnreachable, Run, RunStatus
from cadre_executor.catching_up import is_left_out, prefect_answering
from cadre_executor.domain.timetables import CatchUp

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun

__all__ = ["run_batch", "run_workflow"]

# The platform, or Prefect, may be stopped, upgraded and started while a flow run waits for it.
_PATIENCE_SECONDS = 3600.0
_PAUSE_SECONDS = 2.0
_PASSING = (429, 502, 503, 504)
_TELL_SECONDS = 10.0

Answer = TypeVar("Answer")


def cancel_run(flow: "Flow[..., Any]", flow_run: "FlowRun", state: State[Any]) -> None:
    """Cancels the run of a flow run that Prefect cancels."""
    with Client.local() as client:
        # Known by its key; should it not have been started, it is now, and ends at once.
        given = _given(flow_run.parameters, flow_run.deployment_id)
        run = _start(client, given, str(flow_run.id))
        _patiently(lambda: client.cancel(run.id))


@flow(name="run-workflow", log_prints=False, on_cancellation=[cancel_run])
def run_workflow(
    workflow: str,
    inputs: dict[str, Any] | None = None,
    catch_up: str = CatchUp.SKIP.value,
    schedule: str = "",
    notify: str = "",
    clock: dict[str, Any] | None = None,
) -> State[Any]:
    """Starts a run of the workflow's newest version and waits for its end, which is the flow run's.

    The flow run's id is the idempotency key: a flow run that Prefect tries again follows the run it started first. One
    that is too late for `catch_up` starts nothing. `schedule` is the deployment's name unless given. `notify` is an
    address that is told how the run ends. `clock` is what deployments of earlier versions say; it has no use.
    """
    # Prefect's own kind of time does not compare with every span of the standard library's.
    due = datetime.fromtimestamp(this_run.get_scheduled_start_time().timestamp(), UTC)
    with prefect_answering(_PATIENCE_SECONDS) as prefect:
        if is_left_out(prefect, CatchUp(catch_up), due):
            message = f"Not started: its time was {due:%Y-%m-%d %H:%M} UTC"
            return Completed(name="Missed", message=message)
    parameters = {
        "workflow": workflow,
        "inputs": inputs,
        "schedule": schedule,
        "notify": notify,
    }
    try:
        with Client.local() as client:
            given = _given(parameters, this_deployment.id)
            run = _start(client, given, str(this_run.get_id()))
            get_run_logger().info("started run %s of %s", run.id, workflow)
            return _told(_state_of_run(_ended(client, run.id)))
    except ApiError as error:
        return _told(_refused(error))


def cancel_batch(flow: "Flow[..., Any]", flow_run: "FlowRun", state: State[Any]) -> None:
    """Cancels the batch of a flow run that Prefect cancels."""
    with Client.local() as client:
        batch_id = str(flow_run.parameters["batch_id"])
        # A batch that another flow run has taken over goes on.
        if _patiently(lambda: client.batch(batch_id)).launches == flow_run.parameters["launch"]:
            _patiently(lambda: client.cancel_batch(batch_id))


@flow(name="run-batch", log_prints=False, on_cancellation=[cancel_batch])
def run_batch(batch_id: str, launch: int) -> State[Any]:
    """Has the rows of a batch started, as many at once as may be, until all have ended. `launch` is how often the batch
    was handed to Prefect by now."""
    told = 0.0
    with Client.local() as client:
        while True:
            try:
                batch = _patiently(lambda: client.advance_batch(batch_id, launch))
            except ApiError as error:
                return _told(_refused(error))
            if batch.status.is_final:
                return _told(_state_of_batch(batch))
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                get_run_logger().info("%s of %s rows ended", batch.rows.ended, batch.rows.total)


def _given(parameters: Mapping[str, Any], deployment_id: UUID | str | None) -> Mapping[str, Any]:
    """What a flow run is given, with its schedule's name."""
    if parameters.get("schedule") or deployment_id is None:
        return parameters
    with get_client(sync_client=True) as prefect:
        return {**parameters, "schedule": prefect.read_deployment(deployment_id).name}


def _start(client: Client, parameters: Mapping[str, Any], flow_run_id: str) -> Run:
    """The run of a flow run, started unless it was."""
    return _patiently(
        lambda: client.start_run(
            workflow=parameters["workflow"],
            inputs=parameters.get("inputs") or {},
            schedule=parameters.get("schedule") or "",
            notify=parameters.get("notify") or "",
            idempotency_key=f"schedule/{flow_run_id}",
        )
    )


def _ended(client: Client, run_id: str) -> Run:
    """Follows the run to its end, across restarts of the platform."""
    while not (run := _patiently(lambda: client.run(run_id))).status.is_final:
        _patiently(lambda: _follow(client, run_id))
    return run


def _follow(client: Client, run_id: str) -> None:
    for _ in client.watch(run_id):
        pass


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """What the gateway answers, once it and the services behind it can be reached. Raises ApiError for other refusals,
    and what is wrong after an hour."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except (GatewayUnreachable, ApiError) as error:
            passing = isinstance(error, GatewayUnreachable) or error.status in _PASSING
            if not passing or time.monotonic() > give_up:
                raise
        time.sleep(_PAUSE_SECONDS)


def _told(state: State[Any]) -> State[Any]:
    """The state, once Prefect can be told: one that is down when a flow run ends would show it as running for ever."""
    with prefect_answering(_PATIENCE_SECONDS):
        return state


def _state_of_run(run: Run) -> State[Any]:
    what = f"run {run.id} of {run.workflow}"
    match run.status:
        case RunStatus.SUCCEEDED:
            return Completed(message=f"{what} succeeded")
        case RunStatus.CANCELLED:
            return Cancelled(message=f"{what} was cancelled")
    why = f"{run.error.code}: {run.error.message}" if run.error else "for an unknown reason"
    return Failed(message=f"{what} failed ({why})")


def _state_of_batch(batch: Batch) -> State[Any]:
    what, rows = f"batch {batch.id} of {batch.workflow}", batch.rows
    match batch.status:
        case RunStatus.SUCCEEDED:
            return Completed(message=f"{what}: all {rows.total} rows succeeded")
        case RunStatus.CANCELLED:
            return Cancelled(message=f"{what} was cancelled; {rows.succeeded} rows had succeeded")
    return Failed(message=f"{what}: {rows.succeeded} of {rows.total} rows succeeded")


def _refused(error: ApiError) -> State[Any]:
    if error.code == "BATCH_TAKEN_OVER":
        return Cancelled(name="Replaced", message=error.detail)
    return Failed(message=f"{error.code}: {error.detail} {error.resolution}".rstrip())
