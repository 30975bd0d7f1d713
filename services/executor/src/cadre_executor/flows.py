"""The Prefect flow behind every schedule: starts a run in the executor and waits for its end.

A flow run ends as its run does, and cancelling either cancels both. A Prefect worker runs it (`prefect worker start
--pool cadre --type process`), in a process of its own.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Completed, Failed

from cadre.executor.v1 import runs_pb2, runs_pb2_grpc
from cadre_executor.adapters.prefect import clock_of
from cadre_executor.domain.timetables import CatchUp, is_missed
from cadre_executor.settings import Settings
from cadre_kit.channels import call, connect, stream
from cadre_kit.documents import to_json
from cadre_kit.errors import Unavailable
from cadre_kit.settings import load_settings

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun

__all__ = ["run_workflow"]

_EXECUTOR = "executor"
_START_SECONDS = 30.0
_CANCEL_SECONDS = 40.0
_RECONNECTIONS = 30
_LAST = (
    runs_pb2.EVENT_TYPE_RUN_SUCCEEDED,
    runs_pb2.EVENT_TYPE_RUN_FAILED,
    runs_pb2.EVENT_TYPE_RUN_CANCELLED,
)


async def cancel_run(flow: "Flow[..., Any]", flow_run: "FlowRun", state: State[Any]) -> None:
    """Cancels the run of a flow run that Prefect cancels."""
    parameters = flow_run.parameters
    async with connect(load_settings(Settings).executor_address) as channel:
        stub = runs_pb2_grpc.RunServiceStub(channel)
        # Known by its key; should it not have been started, it is now, and ends at once.
        run = await _start(
            stub,
            parameters["workflow"],
            parameters.get("inputs") or {},
            flow_run_id=str(flow_run.id),
        )
        request = runs_pb2.CancelRunRequest(run_id=run.id)
        await call(stub.CancelRun, request, service=_EXECUTOR, timeout_seconds=_CANCEL_SECONDS)


@flow(name="run-workflow", log_prints=False, on_cancellation=[cancel_run])
async def run_workflow(
    workflow: str,
    inputs: dict[str, Any] | None = None,
    catch_up: str = CatchUp.SKIP.value,
    clock: dict[str, Any] | None = None,
) -> State[Any]:
    """Starts a run of the workflow's newest version and waits for its end, which is the flow run's.

    The flow run's id is the idempotency key: a flow run that Prefect tries again follows the run it started first.
    `clock` is the schedule as Prefect stores it; with it, a flow run that is too late for `catch_up` starts nothing.
    """
    due = this_run.get_scheduled_start_time()
    if _is_missed(clock, catch_up, due):
        return Completed(
            name="Missed", message=f"Not started: its time was {due:%Y-%m-%d %H:%M} UTC"
        )
    async with connect(load_settings(Settings).executor_address) as channel:
        stub = runs_pb2_grpc.RunServiceStub(channel)
        run = await _start(stub, workflow, inputs or {}, flow_run_id=str(this_run.get_id()))
        get_run_logger().info("started run %s of %s", run.id, workflow)
        last = await _last_event(stub, run.id)
    return _state_of(last, f"run {run.id} of {workflow}")


def _is_missed(clock: Mapping[str, Any] | None, catch_up: str, due: datetime) -> bool:
    found = None if clock is None else clock_of(clock)
    if clock is None or found is None:
        return False
    timezone = clock.get("timezone") or "UTC"
    return is_missed(found, timezone, catch_up=CatchUp(catch_up), due=due, now=datetime.now(UTC))


async def _start(
    stub: "runs_pb2_grpc.RunServiceAsyncStub",
    workflow: str,
    inputs: Mapping[str, Any],
    *,
    flow_run_id: str,
) -> runs_pb2.Run:
    request = runs_pb2.StartRunRequest(
        workflow=workflow, inputs=to_json(inputs), trigger="schedule"
    )
    started = await call(
        stub.StartRun,
        request,
        service=_EXECUTOR,
        timeout_seconds=_START_SECONDS,
        idempotency_key=f"schedule/{flow_run_id}",
    )
    return started.run


def _state_of(last: runs_pb2.Event, what: str) -> State[Any]:
    match last.type:
        case runs_pb2.EVENT_TYPE_RUN_SUCCEEDED:
            return Completed(message=f"{what} succeeded")
        case runs_pb2.EVENT_TYPE_RUN_CANCELLED:
            return Cancelled(message=f"{what} was cancelled")
    return Failed(message=f"{what} failed ({last.error.code}: {last.error.message})")


async def _last_event(stub: "runs_pb2_grpc.RunServiceAsyncStub", run_id: str) -> runs_pb2.Event:
    """Follows the run to its end, across restarts of the executor."""
    after = 0
    reconnections = 0
    while True:
        request = runs_pb2.WatchRunRequest(run_id=run_id, after_sequence=after)
        try:
            async for response in stream(
                stub.WatchRun, request, service=_EXECUTOR, timeout_seconds=None
            ):
                after, reconnections = response.event.sequence, 0
                if response.event.type in _LAST:
                    return response.event
        except Unavailable:
            reconnections += 1
            if reconnections > _RECONNECTIONS:
                raise
