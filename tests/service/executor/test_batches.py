"""Batches on a real Prefect server, whose real worker has them advanced through a real gateway."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.executor import Neighbours
from tests.ports import free_port
from tests.service.executor.conftest import Executor, executor_in, reached
from tests.service.executor.scheduling import Scheduling, ended, set_state
from tests.service.executor.test_runs import ASK

from cadre.executor.v1 import batches_pb2, runs_pb2
from cadre_kit.documents import from_json, to_json
from cadre_kit.errors import Conflict, InvalidInput, NotFound, Unavailable

# The first of them starts Prefect, which takes minutes on a busy machine.
pytestmark = pytest.mark.timeout(600)
DIVIDES = """
flow: {name: divides}
state: {fields: {by: {type: int, required: true}, result: {type: float, default: 0}}}
nodes:
  - {id: divide, code: "result = 1 / inputs['by']", inputs: {by: "{state.by}"}, outputs: [result]}
edges:
  - {from: START, to: divide}
  - {from: divide, to: END}
"""


def rows_of(*inputs: dict[str, Any]) -> list[batches_pb2.BatchInput]:
    return [
        batches_pb2.BatchInput(inputs=to_json(each), line=place)
        for place, each in enumerate(inputs, start=1)
    ]


def words(count: int) -> list[batches_pb2.BatchInput]:
    return rows_of(*({"message": f"m{number}"} for number in range(count)))


async def create(
    executor: Executor, rows: list[batches_pb2.BatchInput], **given: Any
) -> batches_pb2.CreateBatchResponse:
    given = {"workflow": "sample", **given}
    request = batches_pb2.CreateBatchRequest(rows=rows, **given)
    answer: batches_pb2.CreateBatchResponse = await executor.ask(
        executor.batches.CreateBatch, request
    )
    return answer


async def get(executor: Executor, batch_id: str) -> batches_pb2.Batch:
    request = batches_pb2.GetBatchRequest(batch_id=batch_id)
    batch: batches_pb2.Batch = (await executor.ask(executor.batches.GetBatch, request)).batch
    return batch


async def until(
    executor: Executor, batch_id: str, holds: Callable[[batches_pb2.Batch], bool]
) -> batches_pb2.Batch:
    """The batch, once something holds of it."""
    async with asyncio.timeout(120):
        while True:
            batch = await get(executor, batch_id)
            if holds(batch):
                return batch
            await asyncio.sleep(0.2)


async def advance(executor: Executor, batch: batches_pb2.Batch) -> batches_pb2.Batch:
    """As the batch's flow run does, until it has ended or waits."""
    request = batches_pb2.AdvanceBatchRequest(batch_id=batch.id, launch=batch.launches)
    return (await executor.ask(executor.batches.AdvanceBatch, request)).batch  # type: ignore[no-any-return]


async def cancel(executor: Executor, batch_id: str) -> batches_pb2.Batch:
    request = batches_pb2.CancelBatchRequest(batch_id=batch_id)
    return (await executor.ask(executor.batches.CancelBatch, request)).batch  # type: ignore[no-any-return]


async def listed(executor: Executor, batch_id: str) -> list[batches_pb2.BatchRow]:
    request = batches_pb2.ListBatchRowsRequest(batch_id=batch_id, page_size=500)
    return list((await executor.ask(executor.batches.ListBatchRows, request)).rows)


@pytest.fixture
async def executor(
    scheduling: Scheduling, tmp_path: Path, near: Neighbours
) -> AsyncIterator[Executor]:
    async with scheduling.executor(tmp_path, near) as found:
        await found.apply(ASK)
        await found.apply(DIVIDES)
        yield found


@pytest.mark.usefixtures("worker")
async def test_a_worker_elsewhere_runs_every_row_once_and_prefect_shows_how_it_ended(
    executor: Executor, near: Neighbours, scheduling: Scheduling
) -> None:
    good = (await create(executor, words(20), max_concurrent=5, api_key="ci")).batch
    bad = (await create(executor, rows_of({"by": 2}, {"by": 0}), workflow="divides")).batch

    states = await asyncio.gather(
        *(ended(scheduling.prefect_url, batch.flow_run_id) for batch in (good, bad))
    )

    assert states == [("COMPLETED", "Completed"), ("FAILED", "Failed")]
    rows = await listed(executor, good.id)
    said = [from_json(row.run.outputs, field="outputs")["reply"] for row in rows]
    assert said == [f"reply to Say m{number}" for number in range(20)]
    # Prefect may also start what an earlier test's schedule planned.
    asked = Counter(key.partition("/")[0] for key in near.llm_proxy.asked)
    assert {row.run.id: asked[row.run.id] for row in rows} == {row.run.id: 1 for row in rows}
    started = await executor.ask(
        executor.runs.ListRuns, runs_pb2.ListRunsRequest(batch_id=good.id, page_size=100)
    )
    assert len(started.runs) == 20
    assert {(row.run.trigger, row.run.batch_id, row.run.batch_row) for row in rows} == {
        ("batch", good.id, number) for number in range(1, 21)
    }
    assert {row.run.api_key for row in rows} == {"ci"}
    failed = (await listed(executor, bad.id))[1].run
    assert (failed.status, failed.error.code) == (runs_pb2.RUN_STATUS_FAILED, "CODE_FAILED")


@pytest.mark.usefixtures("worker")
async def test_cancelling_its_flow_run_cancels_a_batch(
    executor: Executor, near: Neighbours, scheduling: Scheduling
) -> None:
    near.llm_proxy.gate.clear()
    batch = (await create(executor, words(6), max_concurrent=2)).batch
    await until(executor, batch.id, lambda found: found.rows.running == 2)

    async with httpx.AsyncClient(base_url=f"{scheduling.prefect_url}/api", trust_env=False) as http:
        asked = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        await http.post(f"/flow_runs/{batch.flow_run_id}/set_state", json=asked)

    assert (await ended(scheduling.prefect_url, batch.flow_run_id))[0] == "CANCELLED"
    stopped = runs_pb2.RUN_STATUS_CANCELLED
    found = await until(executor, batch.id, lambda found: found.status == stopped)
    assert (found.rows.pending, found.rows.cancelled) == (4, 2)


async def test_no_more_rows_go_on_at_once_than_may(executor: Executor, near: Neighbours) -> None:
    near.llm_proxy.gate.clear()
    batch = (await create(executor, words(9), max_concurrent=3)).batch
    assert batch.status == runs_pb2.RUN_STATUS_QUEUED

    advancing = asyncio.create_task(advance(executor, batch))
    await reached(lambda: near.llm_proxy.was_asked(3))
    held = await advancing

    assert (held.rows.running, held.rows.pending) == (3, 6)
    assert len(near.llm_proxy.asked) == 3
    near.llm_proxy.gate.set()
    assert (await advance(executor, batch)).rows.succeeded == 9


async def test_the_same_rows_are_the_same_batch_until_it_has_ended(
    executor: Executor, near: Neighbours
) -> None:
    first = await create(executor, words(3))
    again = await create(executor, words(3), max_concurrent=2)
    other = await create(executor, words(4))
    assert (first.created, again.created, other.created) == (True, False, True)
    assert (again.batch.id, again.batch.max_concurrent) == (first.batch.id, 2)
    assert again.batch.launches == 1

    assert (await advance(executor, first.batch)).status == runs_pb2.RUN_STATUS_SUCCEEDED
    after = await create(executor, words(3))
    resumed = await create(executor, words(4), resume=True)

    assert after.batch.id != first.batch.id
    assert resumed.batch.id == other.batch.id
    assert len(near.llm_proxy.asked) == 3


async def test_a_flow_run_whose_worker_is_gone_is_replaced_and_its_rows_are_not_run_again(
    executor: Executor, near: Neighbours, scheduling: Scheduling
) -> None:
    batch = (await create(executor, words(8), max_concurrent=4)).batch
    near.llm_proxy.held_nodes = {"ask"}
    advancing = asyncio.create_task(advance(executor, batch))
    await reached(lambda: near.llm_proxy.was_asked(4))
    await advancing
    await set_state(scheduling.prefect_url, batch.flow_run_id, "CRASHED")

    again = (await create(executor, words(8))).batch
    assert (again.id, again.launches) == (batch.id, 2)
    with pytest.raises(Conflict) as caught:
        await advance(executor, batch)
    near.llm_proxy.held_nodes.clear()
    near.llm_proxy.let_go.set()
    finished = await advance(executor, again)

    assert caught.value.code == "BATCH_TAKEN_OVER"
    assert finished.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert len(set(near.llm_proxy.asked)) == 8


async def test_a_resumed_batch_goes_on_with_what_failed_or_was_cancelled(
    executor: Executor, near: Neighbours
) -> None:
    rows = rows_of({"by": 1}, {"by": 0}, {"by": 4})
    batch = (await create(executor, rows, workflow="divides")).batch
    assert (await advance(executor, batch)).status == runs_pb2.RUN_STATUS_FAILED
    failed = (await listed(executor, batch.id))[1].run.id
    near.llm_proxy.gate.clear()
    stopped = (await create(executor, words(5), max_concurrent=2)).batch
    advancing = asyncio.create_task(advance(executor, stopped))
    await reached(lambda: near.llm_proxy.was_asked(2))
    assert (await cancel(executor, stopped.id)).status == runs_pb2.RUN_STATUS_CANCELLED
    await advancing
    near.llm_proxy.gate.set()

    again = (await create(executor, rows, workflow="divides", resume=True)).batch
    goes_on = (await create(executor, words(5), resume=True)).batch

    assert (again.rows.pending, again.rows.succeeded) == (1, 2)
    assert (await advance(executor, again)).rows.failed == 1
    resumed = await executor.events(failed)
    assert runs_pb2.EVENT_TYPE_RUN_RESUMED in [event.type for event in resumed]
    gone_on = await advance(executor, goes_on)
    assert gone_on.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert (gone_on.rows.succeeded, gone_on.usage.calls) == (5, 5)
    assert [row.row for row in await listed(executor, stopped.id)] == [1, 2, 3, 4, 5]


async def test_a_batch_says_what_all_its_runs_cost_and_that_it_is_not_known_when_one_cost_is_not(
    executor: Executor, near: Neighbours
) -> None:
    batch = (await create(executor, words(3))).batch
    priced = await advance(executor, batch)
    near.llm_proxy.cost_usd = None
    other = await advance(executor, (await create(executor, words(1))).batch)

    assert (batch.usage.calls, batch.usage.cost_usd) == (0, "0")
    assert (priced.usage.calls, priced.usage.cost_usd) == (3, "0.003")
    assert priced.usage == (await get(executor, batch.id)).usage
    assert (other.usage.calls, other.usage.HasField("cost_usd")) == (1, False)


async def test_a_batch_that_is_cancelled_before_a_worker_took_it_leaves_nothing_to_do(
    executor: Executor, scheduling: Scheduling
) -> None:
    batch = (await create(executor, words(5))).batch

    cancelled = await cancel(executor, batch.id)

    assert (cancelled.status, cancelled.rows.pending) == (runs_pb2.RUN_STATUS_CANCELLED, 5)
    assert (await ended(scheduling.prefect_url, batch.flow_run_id))[0] == "CANCELLED"


async def test_rows_that_are_wrong_are_all_named_and_nothing_starts(executor: Executor) -> None:
    rows = rows_of({"by": 1}, {"by": "x"}, {}, {"by": 2, "extra": 1})

    answer = await create(executor, rows, workflow="divides")

    assert not answer.HasField("batch")
    found = [(problem.line, problem.path) for problem in answer.problems]
    assert found == [(2, "rows[1].by"), (3, "rows[2].by"), (4, "rows[3].extra")]
    request = batches_pb2.ListBatchesRequest()
    assert not (await executor.ask(executor.batches.ListBatches, request)).batches


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"rows": []}, "BATCH_INVALID"),
        ({"rows": words(1), "max_concurrent": 201}, "BATCH_INVALID"),
        ({"rows": words(1), "workflow": "nope"}, "WORKFLOW_NOT_FOUND"),
        ({"rows": words(1), "resume": True}, "BATCH_NOT_FOUND"),
    ],
)
async def test_a_batch_that_cannot_be_is_refused(
    executor: Executor, given: dict[str, Any], code: str
) -> None:
    with pytest.raises((InvalidInput, NotFound)) as caught:
        await create(executor, **given)

    assert caught.value.code == code


async def test_without_prefect_nothing_of_a_batch_starts(tmp_path: Path, near: Neighbours) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with executor_in(tmp_path, near, prefect_url=url) as executor:
        await executor.apply(ASK)
        with pytest.raises(Unavailable) as caught:
            await create(executor, words(3))
        batches = await executor.ask(executor.batches.ListBatches, batches_pb2.ListBatchesRequest())
        runs = await executor.ask(executor.runs.ListRuns, runs_pb2.ListRunsRequest())

    assert caught.value.code == "PREFECT_UNAVAILABLE"
    assert not batches.batches
    assert not runs.runs
