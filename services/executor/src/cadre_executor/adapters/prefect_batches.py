"""Batches as flow runs of a Prefect server."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cadre_executor.adapters.prefect_api import POOL, TAG, PrefectApi
from cadre_executor.domain.runs import RunStatus

__all__ = ["PrefectLauncher"]

_FLOW = "run-batch"
_DEPLOYMENT = "batches"
_ENTRYPOINT = "cadre_executor.flows.run_batch"
_FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_UNTAKEN = frozenset({"SCHEDULED", "PENDING"})
_OF_SCHEDULES = "run-workflow"
_AT_ONCE = 200
_ENDS = {
    RunStatus.SUCCEEDED: ("COMPLETED", "Completed"),
    RunStatus.FAILED: ("FAILED", "Failed"),
    RunStatus.CANCELLED: ("CANCELLED", "Cancelled"),
}


class PrefectLauncher:
    """Hands batches to the workers of the pool, as flow runs of one deployment."""

    def __init__(self, api: PrefectApi) -> None:
        self._api = api
        self._deployment_id = ""

    async def prepare(self) -> None:
        """Makes the deployment, unless it is there."""
        await self._api.make_pool()
        deployment = {
            "name": _DEPLOYMENT,
            "flow_id": await self._api.make_flow(_FLOW),
            "entrypoint": _ENTRYPOINT,
            "work_pool_name": POOL,
            "tags": [TAG],
        }
        stored = await self._api.ask("POST", "/deployments/", deployment)
        self._deployment_id = stored["id"]

    async def launch(self, batch_id: str, launch: int) -> str:
        """The flow run of a batch; asked for again, it is the same."""
        asked = {
            "name": f"batch {batch_id}",
            "parameters": {"batch_id": batch_id, "launch": launch},
            "idempotency_key": f"{batch_id}/{launch}",
            "tags": [TAG],
        }
        path = f"/deployments/{self._deployment_id}/create_flow_run"
        flow_run = await self._api.ask("POST", path, asked)
        return str(flow_run["id"])

    async def is_alive(self, flow_run_id: str) -> bool:
        """Whether the flow run is there and in no final state."""
        found = await self._api.ask("GET", f"/flow_runs/{flow_run_id}", missing=True)
        return found is not None and found["state_type"] not in _FINAL

    async def give_up(self, flow_run_id: str) -> None:
        """Cancels a flow run that no worker has taken; says of one whose worker is gone that it crashed."""
        found = await self._api.ask("GET", f"/flow_runs/{flow_run_id}", missing=True)
        if found is None or found["state_type"] in _FINAL:
            return
        state = {"type": "CANCELLED", "name": "Cancelled"}
        if found["state_type"] not in _UNTAKEN:
            state = {"type": "CRASHED", "name": "Crashed", "message": "its worker is gone"}
        path = f"/flow_runs/{flow_run_id}/set_state"
        await self._api.ask("POST", path, {"state": state, "force": True})

    async def put_back(self, *, before: datetime) -> None:
        """Lets workers take flow runs, of schedules too, that one took before a time and never began: Prefect leaves
        them pending for ever when a worker is killed meanwhile."""
        for found in await self._in_state("PENDING", [_FLOW, _OF_SCHEDULES]):
            if datetime.fromisoformat(found["state"]["timestamp"]) > before:
                continue
            state = {
                "type": "SCHEDULED",
                "name": "Scheduled",
                "message": "its worker is gone",
                "state_details": {"scheduled_time": datetime.now(UTC).isoformat()},
            }
            # It stays as it is should it have begun meanwhile.
            await self._api.ask("POST", f"/flow_runs/{found['id']}/set_state", {"state": state})

    async def under_way(self) -> Sequence[str]:
        """The flow runs of schedules that run."""
        return [str(found["id"]) for found in await self._in_state("RUNNING", [_OF_SCHEDULES])]

    async def tell_end(self, flow_run_id: str, status: RunStatus) -> None:
        """Puts a flow run into the final state of its run."""
        kind, name = _ENDS[status]
        state = {"type": kind, "name": name, "message": "told by the executor: its worker is gone"}
        path = f"/flow_runs/{flow_run_id}/set_state"
        await self._api.ask("POST", path, {"state": state, "force": True})

    async def _in_state(self, state: str, flows: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        asked = {
            "flows": {"name": {"any_": flows}},
            "flow_runs": {"state": {"type": {"any_": [state]}}},
            "limit": _AT_ONCE,
        }
        found: Sequence[Mapping[str, Any]] = await self._api.ask("POST", "/flow_runs/filter", asked)
        return found
