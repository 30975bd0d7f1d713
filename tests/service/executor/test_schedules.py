"""Schedules on a real Prefect server, whose real worker starts runs in the real executor."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast

import httpx
import pytest
from tests.fakes.executor import Neighbours
from tests.platform import Platform
from tests.ports import free_port
from tests.service.executor.conftest import Executor, executor_in
from tests.service.executor.scheduling import Scheduling, ended
from tests.service.executor.test_runs import ASK

from cadre.executor.v1 import runs_pb2, schedules_pb2
from cadre_executor.adapters.prefect import PrefectScheduler
from cadre_executor.adapters.prefect_api import PrefectApi
from cadre_executor.adapters.prefect_batches import PrefectLauncher
from cadre_kit.documents import from_json, to_json
from cadre_kit.errors import CadreError, NotFound, Unavailable

pytestmark = pytest.mark.timeout(300)
FAILS = ASK.replace("name: sample", "name: fails").replace(
    'prompt: "Say {state.message}"', 'code: "1 / 0"'
)


@pytest.fixture
async def executor(
    scheduling: Scheduling, tmp_path: Path, near: Neighbours
) -> AsyncIterator[Executor]:
    async with scheduling.executor(tmp_path, near) as found:
        await found.apply(ASK)
        await found.apply(FAILS)
        yield found


@pytest.fixture
def server(scheduling: Scheduling) -> str:
    return scheduling.prefect_url


async def create(executor: Executor, **given: Any) -> schedules_pb2.Schedule:
    given = {
        "workflow": "sample",
        "cron": "0 9 * * 1",
        "inputs": to_json({"message": "hi"}),
        **given,
    }
    request = schedules_pb2.CreateScheduleRequest(**given)
    answer = await executor.ask(executor.schedules.CreateSchedule, request)
    return answer.schedule  # type: ignore[no-any-return]


async def listed(executor: Executor) -> dict[str, schedules_pb2.Schedule]:
    request = schedules_pb2.ListSchedulesRequest()
    answer = await executor.ask(executor.schedules.ListSchedules, request)
    return {schedule.name: schedule for schedule in answer.schedules}


async def trigger(server: str, name: str, *, due: datetime | None = None) -> str:
    """Lets Prefect start a flow run of a schedule that was due then, or now; the flow run's id."""
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": (due or now()).isoformat()}}
    prefect = PrefectApi(server)
    found = await prefect.ask("GET", f"/deployments/name/run-workflow/{name}")
    path = f"/deployments/{found['id']}/create_flow_run"
    started = await prefect.ask("POST", path, {"state": state})
    await prefect.close()
    return str(started["id"])


async def deliveries(gateway: Platform, source: str) -> list[dict[str, Any]]:
    """What the gateway has to tell somebody of that source."""
    key = {"Authorization": f"Bearer {gateway.api_key}"}
    url = f"{gateway.gateway_url}/api/v1/deliveries"
    async with httpx.AsyncClient(timeout=20, trust_env=False, headers=key) as http:
        return (await http.get(url, params={"source": source})).json()["deliveries"]  # type: ignore[no-any-return]


async def under_way(executor: Executor, workflow: str) -> str:
    """The id of a workflow's run, once it runs."""
    request = runs_pb2.ListRunsRequest(workflow=workflow, status=runs_pb2.RUN_STATUS_RUNNING)
    async with asyncio.timeout(100):
        while True:
            page = await executor.ask(executor.runs.ListRuns, request)
            if page.runs:
                return str(page.runs[0].id)
            await asyncio.sleep(0.3)


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_schedule_is_stored_changed_paused_and_removed(executor: Executor) -> None:
    created = await create(executor, name="weekly", timezone="Europe/Berlin")
    assert (created.workflow, created.cron, created.timezone) == (
        "sample",
        "0 9 * * 1",
        "Europe/Berlin",
    )
    assert created.HasField("next_time")

    changed = await create(executor, name="weekly", cron="*/5 * * * *")
    assert (await listed(executor))["weekly"] == changed
    assert changed.cron == "*/5 * * * *"

    request = schedules_pb2.PauseScheduleRequest(name="weekly")
    paused = (await executor.ask(executor.schedules.PauseSchedule, request)).schedule
    assert paused.paused
    assert not paused.HasField("next_time")
    again = schedules_pb2.UnpauseScheduleRequest(name="weekly")
    assert not (await executor.ask(executor.schedules.UnpauseSchedule, again)).schedule.paused

    delete = schedules_pb2.DeleteScheduleRequest(name="weekly")
    await executor.ask(executor.schedules.DeleteSchedule, delete)
    assert "weekly" not in await listed(executor)
    with pytest.raises(NotFound) as caught:
        await executor.ask(executor.schedules.DeleteSchedule, delete)
    assert caught.value.code == "SCHEDULE_NOT_FOUND"


@pytest.mark.parametrize(
    "clock",
    [{"interval_seconds": 90.0}, {"rrule": "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=18"}],
    ids=["interval", "rrule"],
)
async def test_other_clocks_are_stored_with_all_that_is_said(
    executor: Executor, clock: dict[str, Any]
) -> None:
    said = {**clock, "max_concurrent": 2, "catch_up": schedules_pb2.CATCH_UP_LATEST}

    created = await create(executor, name="other", cron="", **said)

    assert (await listed(executor))["other"] == created
    assert {name: getattr(created, name) for name in said} == said
    assert created.next_time.ToDatetime(UTC) > now()


@pytest.mark.usefixtures("worker")
async def test_a_due_schedule_starts_a_run_waits_for_its_end_and_has_it_told(
    executor: Executor, server: str, scheduling: Scheduling
) -> None:
    await create(executor, name="now", notify="http://10.0.0.1/told")

    flow_run = await trigger(server, "now")

    assert await ended(server, flow_run) == ("COMPLETED", "Completed")

    page = await executor.ask(executor.runs.ListRuns, runs_pb2.ListRunsRequest())
    run = await executor.get(page.runs[0].id)
    assert (run.trigger, run.schedule) == ("schedule", "now")
    assert run.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert from_json(run.inputs, field="inputs") == {"message": "hi"}
    told = await deliveries(scheduling.gateway, "api/sample")
    assert [each["run_id"] for each in told] == [run.id]


@pytest.mark.usefixtures("worker")
async def test_a_flow_run_fails_when_its_run_does(executor: Executor, server: str) -> None:
    await create(executor, name="doomed", workflow="fails")

    flow_run = await trigger(server, "doomed")

    assert await ended(server, flow_run) == ("FAILED", "Failed")


@pytest.mark.usefixtures("worker")
async def test_a_cancelled_run_ends_its_flow_run_as_cancelled(
    executor: Executor, server: str, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    await create(executor, name="stopped")
    flow_run = await trigger(server, "stopped")
    run_id = await under_way(executor, "sample")

    await executor.cancel(run_id)

    assert await ended(server, flow_run) == ("CANCELLED", "Cancelled")


@pytest.mark.usefixtures("worker")
async def test_cancelling_a_flow_run_cancels_its_run(
    executor: Executor, server: str, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    await create(executor, name="called-off")
    flow_run = await trigger(server, "called-off")
    run_id = await under_way(executor, "sample")

    async with httpx.AsyncClient(base_url=f"{server}/api", trust_env=False) as http:
        asked = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        await http.post(f"/flow_runs/{flow_run}/set_state", json=asked)

    assert (await ended(server, flow_run))[0] == "CANCELLED"
    # A process of its own cancels the run, and has to load Prefect first.
    async with asyncio.timeout(120):
        while (await executor.get(run_id)).status != runs_pb2.RUN_STATUS_CANCELLED:  # noqa: ASYNC110 - its process sets no event
            await asyncio.sleep(0.3)
    assert (await executor.events(run_id))[-1].type == runs_pb2.EVENT_TYPE_RUN_CANCELLED


@pytest.mark.usefixtures("worker")
async def test_a_time_that_passed_long_ago_is_left_out(executor: Executor, server: str) -> None:
    await create(executor, name="late", workflow="sample")
    flow_run = await trigger(server, "late", due=now() - timedelta(hours=1))

    assert await ended(server, flow_run) == ("COMPLETED", "Missed")
    page = await executor.ask(executor.runs.ListRuns, runs_pb2.ListRunsRequest())
    assert list(page.runs) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"cron": "61 * * * *"}, "CRON_INVALID"),
        ({"cron": "@hourly"}, "CRON_INVALID"),
        ({"cron": "* * * * * *"}, "CRON_INVALID"),
        ({"cron": ""}, "SCHEDULE_CLOCK_INVALID"),
        ({"interval_seconds": 60}, "SCHEDULE_CLOCK_INVALID"),
        ({"cron": "", "interval_seconds": 1}, "INTERVAL_INVALID"),
        ({"cron": "", "rrule": "FREQ=MINUTELY"}, "RRULE_INVALID"),
        ({"cron": "", "rrule": "FREQ=YEARLY;COUNT=1"}, "SCHEDULE_NEVER_DUE"),
        ({"max_concurrent": -1}, "MAX_CONCURRENT_INVALID"),
        ({"notify": "ftp://example.com"}, "NOTIFY_INVALID"),
        ({"notify": "https://" + "a" * 2000}, "NOTIFY_INVALID"),
        ({"timezone": "Mars/Olympus"}, "TIMEZONE_UNKNOWN"),
        ({"timezone": "../../etc/passwd"}, "TIMEZONE_UNKNOWN"),
        ({"workflow": "nope"}, "WORKFLOW_NOT_FOUND"),
        ({"inputs": to_json({"mesage": "x"})}, "INPUTS_REFUSED"),
        ({"name": "a/b"}, "SCHEDULE_NAME_INVALID"),
    ],
)
async def test_a_wrong_schedule_is_refused_with_its_reason(
    executor: Executor, wrong: dict[str, Any], code: str
) -> None:
    with pytest.raises(CadreError) as caught:
        await create(executor, **wrong)

    assert caught.value.code == code


async def test_without_prefect_schedules_are_unavailable_and_the_rest_works(
    tmp_path: Path, near: Neighbours
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with executor_in(tmp_path, near, prefect_url=url) as executor:
        await executor.apply(ASK)
        with pytest.raises(Unavailable) as caught:
            await create(executor)
        run, _ = await executor.finish(ASK, message="x")

    assert caught.value.code == "PREFECT_UNAVAILABLE"
    assert "cadre status" in caught.value.resolution
    assert run.status == runs_pb2.RUN_STATUS_SUCCEEDED


async def test_prefect_plans_the_runs_of_a_schedule_by_its_clock(
    executor: Executor, server: str
) -> None:
    await create(executor, name="often", cron="*/5 * * * *")

    async with httpx.AsyncClient(base_url=f"{server}/api", trust_env=False) as http:
        found = (await http.get("/deployments/name/run-workflow/often")).json()
        only = {"deployments": {"id": {"any_": [found["id"]]}}}
        planned: list[Any] = []
        deadline = time.monotonic() + 90
        while not planned:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
            planned = (await http.post("/flow_runs/filter", json=only)).json()

    assert all(run["state_name"] == "Scheduled" for run in planned)


class _Busy(BaseHTTPRequestHandler):
    """A Prefect whose database is locked for the first two requests."""

    def do_POST(self) -> None:
        server = cast("_BusyServer", self.server)
        server.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"[]" if server.asked > 2 else b"{}"
        self.send_response(200 if server.asked > 2 else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


class _BusyServer(ThreadingHTTPServer):
    asked = 0


async def test_a_prefect_that_is_busy_for_a_moment_is_asked_again() -> None:
    with _BusyServer(("127.0.0.1", 0), _Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prefect = PrefectApi(f"http://127.0.0.1:{server.server_port}")

        found = await PrefectScheduler(prefect).list()

        await prefect.close()
        server.shutdown()
    assert found == []
    assert server.asked == 3


class _BusyWhenDone(BaseHTTPRequestHandler):
    """A Prefect that deletes a deployment, and says that it is busy."""

    def do_GET(self) -> None:
        self._answer(200, b'{"id": "d"}')

    def do_DELETE(self) -> None:
        server = cast("_BusyServer", self.server)
        server.asked += 1
        self._answer(503 if server.asked == 1 else 404, b"{}")

    def log_message(self, format: str, *args: object) -> None:
        return

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


async def test_a_schedule_that_the_first_request_deleted_is_deleted() -> None:
    with _BusyServer(("127.0.0.1", 0), _BusyWhenDone) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prefect = PrefectApi(f"http://127.0.0.1:{server.server_port}")

        await PrefectScheduler(prefect).delete("nightly")

        await prefect.close()
        server.shutdown()
    assert server.asked == 2


class _TakenFlowRuns(BaseHTTPRequestHandler):
    """A Prefect with two flow runs that workers took, one of them long ago."""

    def do_POST(self) -> None:
        server = cast("_TakenServer", self.server)
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found: list[dict[str, Any]] = []
        if self.path.endswith("/filter"):
            found = [{"id": name, "state": {"timestamp": at}} for name, at in server.taken.items()]
        else:
            server.changed[self.path] = given["state"]["type"]
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


class _TakenServer(ThreadingHTTPServer):
    taken: ClassVar = {"old": "2026-01-01T10:00:00Z", "new": "2026-01-01T10:05:00Z"}
    changed: ClassVar[dict[str, str]] = {}


async def test_a_flow_run_that_a_killed_worker_never_began_is_given_to_another() -> None:
    with _TakenServer(("127.0.0.1", 0), _TakenFlowRuns) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prefect = PrefectApi(f"http://127.0.0.1:{server.server_port}")

        await PrefectLauncher(prefect).put_back(before=datetime(2026, 1, 1, 10, 3, tzinfo=UTC))

        await prefect.close()
        server.shutdown()
    assert server.changed == {"/api/flow_runs/old/set_state": "SCHEDULED"}
