"""The Prefect flow behind every schedule: starts a run in the executor and waits for its end.

Run by a Prefect worker (`prefect worker start --pool cadre --type process`), in a process of its own.
"""

from typing import Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from cadre.executor.v1 import runs_pb2, runs_pb2_grpc
from cadre_executor.settings import Settings
from cadre_kit.channels import call, connect, stream
from cadre_kit.documents import to_json
from cadre_kit.errors import Unavailable
from cadre_kit.settings import load_settings

__all__ = ["ScheduledRunFailed", "run_workflow"]

_EXECUTOR = "executor"
_START_SECONDS = 30.0
_RECONNECTIONS = 30
_LAST = (
    runs_pb2.EVENT_TYPE_RUN_SUCCEEDED,
    runs_pb2.EVENT_TYPE_RUN_FAILED,
    runs_pb2.EVENT_TYPE_RUN_CANCELLED,
)


class ScheduledRunFailed(Exception):
    """The run that the schedule started did not succeed."""


@flow(name="run-workflow", log_prints=False)
async def run_workflow(workflow: str, inputs: dict[str, Any] | None = None) -> str:
    """Starts a run of the workflow's newest version and waits for its end; returns the run's id.

    The flow run's id is the idempotency key: a flow run that Prefect tries again follows the run it started first.
    """
    log = get_run_logger()
    address = load_settings(Settings).executor_address
    async with connect(address) as channel:
        stub = runs_pb2_grpc.RunServiceStub(channel)
        request = runs_pb2.StartRunRequest(
            workflow=workflow, inputs=to_json(inputs or {}), trigger="schedule"
        )
        started = await call(
            stub.StartRun,
            request,
            service=_EXECUTOR,
            timeout_seconds=_START_SECONDS,
            idempotency_key=f"schedule/{flow_run.get_id()}",
        )
        log.info("started run %s of %s", started.run.id, workflow)
        last = await _last_event(stub, started.run.id)
    if last.type != runs_pb2.EVENT_TYPE_RUN_SUCCEEDED:
        reason = (
            f"{last.error.code}: {last.error.message}" if last.HasField("error") else "cancelled"
        )
        raise ScheduledRunFailed(f"run {started.run.id} of {workflow} did not succeed ({reason})")
    return started.run.id


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
