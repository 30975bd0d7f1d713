"""What Prefect's own commands make of prefect.yaml, and what becomes of schedules when Prefect is down for weeks."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor
from tests.service.executor.scheduling import (
    Prefect,
    Scheduling,
    ended,
    prefect_process,
    set_state,
)
from tests.service.executor.test_runs import ASK
from tests.service.executor.test_schedules import create, listed, trigger, under_way

from cadre.executor.v1 import runs_pb2, schedules_pb2
from cadre_kit.documents import from_json

pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[3]
HELLO = (ROOT / "examples" / "hello.yaml").read_text()
ALONE = ASK.replace("name: sample", "name: alone").replace(
    'prompt: "Say {state.message}"', 'code: "result = 1"'
)
AWAY_WEEKS = 3
AT_ONCE = 6


@pytest.fixture
async def executor(
    scheduling: Scheduling, tmp_path: Path, near: Neighbours
) -> AsyncIterator[Executor]:
    async with scheduling.executor(tmp_path, near) as found:
        await found.apply(ASK)
        yield found


async def prefect(scheduling: Scheduling, home: Path, *arguments: str) -> None:
    """Runs one of Prefect's commands at the root of the repository."""
    address = {"PREFECT_API_URL": f"{scheduling.prefect_url}/api"}
    process = prefect_process(home, "--no-prompt", *arguments, cwd=ROOT, **address)
    status = await asyncio.to_thread(process.wait, 300)
    assert status == 0, (home / "log").read_text()


async def flow_runs(url: str, schedule: str) -> list[dict[str, Any]]:
    """The flow runs of a schedule, by their time."""
    asked = {"deployments": {"name": {"any_": [schedule]}}, "sort": "EXPECTED_START_TIME_ASC"}
    async with httpx.AsyncClient(base_url=f"{url}/api", timeout=60, trust_env=False) as http:
        found: list[dict[str, Any]] = (await http.post("/flow_runs/filter", json=asked)).json()
    return found


async def lived(http: httpx.AsyncClient, deployment: str) -> list[int]:
    """What Prefect answers while a flow run comes and goes, to one who asks each time once."""
    later = (datetime.now(UTC) + timedelta(days=300)).isoformat()
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": later}}
    made = await http.post(f"/deployments/{deployment}/create_flow_run", json={"state": state})
    statuses = [made.status_code]
    for state_type in ("PENDING", "RUNNING", "COMPLETED") if made.is_success else ():
        asked = {"state": {"type": state_type}, "force": True}
        answer = await http.post(f"/flow_runs/{made.json()['id']}/set_state", json=asked)
        statuses.append(answer.status_code)
    return statuses


async def planned(url: str, schedule: str) -> list[str]:
    """The flow runs that Prefect's scheduler planned for a schedule, once it did."""
    async with asyncio.timeout(300):
        while True:
            found = [r for r in await flow_runs(url, schedule) if "auto-scheduled" in r["tags"]]
            if found:
                return [run["id"] for run in found]
            await asyncio.sleep(0.3)


async def runs_of(executor: Executor, schedule: str) -> list[runs_pb2.Run]:
    request = runs_pb2.ListRunsRequest(schedule=schedule)
    return list((await executor.ask(executor.runs.ListRuns, request)).runs)


def let_weeks_pass(server: Prefect, weeks: int) -> None:
    """Moves all that a Prefect that is down had planned into the past, as weeks that pass do."""
    moved = f"-{7 * weeks} days"
    database = sqlite3.connect(server.home / "prefect.db")
    with database:
        database.execute(
            "UPDATE flow_run SET expected_start_time = strftime('%Y-%m-%d %H:%M:%f000', expected_start_time, :moved),"
            " next_scheduled_start_time = strftime('%Y-%m-%d %H:%M:%f000', next_scheduled_start_time, :moved)",
            {"moved": moved},
        )
        database.execute(
            "UPDATE flow_run_state SET state_details = json_set(state_details, '$.scheduled_time',"
            " strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(state_details, '$.scheduled_time'), :moved))"
            " WHERE json_extract(state_details, '$.scheduled_time') IS NOT NULL",
            {"moved": moved},
        )
        database.execute(
            "UPDATE deployment_schedule SET created = strftime('%Y-%m-%d %H:%M:%f000', created, :moved),"
            " updated = strftime('%Y-%m-%d %H:%M:%f000', updated, :moved)",
            {"moved": moved},
        )
    database.close()


@pytest.mark.usefixtures("worker")
async def test_schedules_that_are_kept_in_prefect_yaml_start_runs_that_name_them(
    executor: Executor, scheduling: Scheduling, tmp_path: Path
) -> None:
    await executor.apply(HELLO)
    pool = ("work-pool", "create", "cadre", "--type", "process", "--overwrite")
    await prefect(scheduling, tmp_path, *pool)
    await prefect(scheduling, tmp_path, "deploy", "--all")

    schedule = (await listed(executor))["hello-on-weekdays"]
    flow_run = await trigger(scheduling.prefect_url, "hello-on-weekdays")

    assert (schedule.workflow, schedule.cron) == ("hello", "0 9 * * 1-5")
    assert (schedule.paused, schedule.max_concurrent) == (True, 1)
    assert await ended(scheduling.prefect_url, flow_run) == ("COMPLETED", "Completed")
    (listed_run,) = await runs_of(executor, "hello-on-weekdays")
    run = await executor.get(listed_run.id)
    assert from_json(run.inputs, field="inputs") == {"name": "Ada"}


@pytest.mark.usefixtures("worker")
async def test_prefect_down_delays_schedules_only_and_what_it_missed_is_made_up_for_as_they_say(
    executor: Executor, near: Neighbours, scheduling: Scheduling
) -> None:
    url = scheduling.prefect_url
    near.llm_proxy.gate.clear()
    for name in ("latest", "all"):
        policy = schedules_pb2.CatchUp.Value(f"CATCH_UP_{name.upper()}")
        await create(executor, name=name, cron="0 9 * * 1", catch_up=policy)
    flow_run = await trigger(url, "latest")
    run_id = await under_way(executor, "sample")
    known = {name: await planned(url, name) for name in ("latest", "all")}
    # As a worker does that Prefect, busy as it is, refuses too often.
    await set_state(url, known["all"][0], "CRASHED")

    await asyncio.to_thread(scheduling.prefect.kill)
    alone, _ = await executor.finish(ALONE, message="x")
    near.llm_proxy.gate.set()
    last = (await executor.events(run_id))[-1]
    let_weeks_pass(scheduling.prefect, AWAY_WEEKS)
    await asyncio.to_thread(scheduling.prefect.start)

    assert alone.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert last.type == runs_pb2.EVENT_TYPE_RUN_SUCCEEDED
    assert await ended(url, flow_run) == ("COMPLETED", "Completed")
    states = {name: [(await ended(url, run))[1] for run in known[name]] for name in known}
    # More than that one may crash before they begin, on a machine that is busy.
    began = {name: [s for s in states[name] if s != "Crashed"] for name in known}
    assert began["all"] == ["Completed"] * len(began["all"])
    assert states["latest"][-1] == "Crashed" or began["latest"].count("Completed") == 1
    # One of them is the run that was under way.
    assert len(await runs_of(executor, "latest")) <= 2

    # The next time that it is due, what Prefect had not planned before it went down is made up for, and what crashed.
    now = await trigger(url, "all")
    await ended(url, now)
    made_up = [run for run in await flow_runs(url, "all") if "made-up" in run["tags"]]
    assert len(made_up) == AWAY_WEEKS - len(began["all"])
    assert [(await ended(url, run["id"]))[1] for run in made_up] == ["Completed"] * len(made_up)
    assert len(await runs_of(executor, "all")) == AWAY_WEEKS + 1


async def test_several_that_ask_prefect_at_once_are_all_answered(
    executor: Executor, scheduling: Scheduling
) -> None:
    await create(executor, name="busy", cron="0 9 1 1 *")
    async with httpx.AsyncClient(
        base_url=f"{scheduling.prefect_url}/api", timeout=100, trust_env=False
    ) as http:
        deployment = (await http.get("/deployments/name/run-workflow/busy")).json()["id"]
        rounds = [
            await asyncio.gather(*(lived(http, deployment) for _ in range(AT_ONCE)))
            for _ in range(3)
        ]

    assert rounds == [[[201] * 4] * AT_ONCE] * 3
