"""Runs name the schedule that started them, and what they use is attributed to it."""

import pytest
from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor
from tests.service.executor.test_children import INNER, calling

from cadre.executor.v1 import runs_pb2
from cadre_kit.documents import to_json
from cadre_kit.errors import InvalidInput

NIGHTLY = "nightly"


async def started(executor: Executor, source: str, *, schedule: str) -> runs_pb2.Run:
    request = runs_pb2.StartRunRequest(
        source=source, inputs=to_json({"message": "hi"}), schedule=schedule
    )
    run: runs_pb2.Run = (await executor.ask(executor.runs.StartRun, request)).run
    await executor.events(run.id)
    return run


async def listed(executor: Executor, **wanted: str) -> list[runs_pb2.Run]:
    request = runs_pb2.ListRunsRequest(**wanted)  # type: ignore[arg-type]  # its fields by name
    return list((await executor.ask(executor.runs.ListRuns, request)).runs)


async def test_a_run_and_its_steps_name_their_schedule_also_to_the_ledger(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply(INNER)

    run = await started(executor, calling(), schedule=NIGHTLY)
    other = await started(executor, calling(), schedule="")

    assert (run.schedule, run.trigger) == (NIGHTLY, "schedule")
    assert (other.schedule, other.trigger) == ("", "api")
    child = next(r for r in await listed(executor, workflow="inner") if r.parent_run_id == run.id)
    assert child.schedule == NIGHTLY
    schedules = [r.attribution.schedule for r in near.llm_proxy.requests.values()]
    assert schedules == [NIGHTLY, ""]


async def test_runs_are_listed_by_their_schedule(executor: Executor) -> None:
    await executor.apply(INNER)
    run = await started(executor, calling(), schedule=NIGHTLY)
    await started(executor, calling(), schedule="hourly")

    found = await listed(executor, schedule=NIGHTLY, workflow="outer")

    assert [each.id for each in found] == [run.id]


async def test_a_fork_was_started_by_a_person_and_names_no_schedule(executor: Executor) -> None:
    await executor.apply(INNER)
    run = await started(executor, calling(), schedule=NIGHTLY)

    request = runs_pb2.ForkRunRequest(run_id=run.id)
    fork = (await executor.ask(executor.runs.ForkRun, request)).run

    assert (fork.trigger, fork.schedule) == ("fork", "")


async def test_a_schedules_name_has_a_limit(executor: Executor) -> None:
    with pytest.raises(InvalidInput):
        await started(executor, calling(), schedule="x" * 101)
