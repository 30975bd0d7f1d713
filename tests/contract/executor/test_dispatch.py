"""Batches whose flow runs are gone, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from cadre_executor.adapters.batch_store import SqlBatchStore
from cadre_executor.domain.batches import Batch, Row, RowCounts
from cadre_executor.domain.dispatch import Dispatch
from cadre_executor.domain.runs import Run, RunStatus
from cadre_kit.ids import new_id
from cadre_kit.transactions import Transactions

NOW = datetime.now(UTC)


class FakeLauncher:
    """Notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.running: list[str] = []

    async def prepare(self) -> None:
        self.asked.append("prepare")

    async def launch(self, batch_id: str, launch: int) -> str:
        self.asked.append(f"launch {launch}")
        return f"flow-{launch}"

    async def is_alive(self, flow_run_id: str) -> bool:
        return True

    async def give_up(self, flow_run_id: str) -> None:
        self.asked.append(f"give up {flow_run_id}")

    async def put_back(self, *, before: datetime) -> None:
        assert before < NOW - timedelta(seconds=60)

    async def under_way(self) -> Sequence[str]:
        return self.running

    async def tell_end(self, flow_run_id: str, status: RunStatus) -> None:
        self.asked.append(f"{flow_run_id} {status.value}")


async def driven(store: SqlBatchStore, *, ago: timedelta) -> Batch:
    """A batch for which its flow run asked last so long ago."""
    batch = Batch(
        id=new_id(),
        workflow="w",
        version=1,
        source="flow: w",
        fingerprint="f",
        max_concurrent=2,
        created_time=NOW,
        rows=RowCounts(total=1),
    )
    await store.add(batch, [Row(inputs={})])
    assert await store.launching(batch.id, launches=1)
    await store.launched(batch.id, launches=1, flow_run_id="flow-1")
    return await store.drive(batch.id, launch=1, now=NOW - ago)


async def test_a_batch_whose_flow_run_is_gone_gets_another_by_itself(
    database: Transactions,
) -> None:
    store, launcher = SqlBatchStore(database), FakeLauncher()
    gone = await driven(store, ago=timedelta(seconds=61))
    seen_to = await driven(store, ago=timedelta(seconds=30))
    cancelled = await driven(store, ago=timedelta(seconds=61))
    await store.cancel(cancelled.id)
    dispatch = Dispatch(
        store=store, desk=cast(Any, None), library=cast(Any, None), launcher=launcher
    )

    await dispatch.take_over(NOW)
    await dispatch.take_over(NOW)

    assert launcher.asked == ["prepare", "give up flow-1", "launch 2"]
    again = await store.get(gone.id)
    assert (again.launches, again.flow_run_id, again.driven_time) == (2, "flow-2", None)
    assert (await store.get(seen_to.id)).launches == 1


async def test_of_several_executors_one_hands_a_batch_over(database: Transactions) -> None:
    store, launcher = SqlBatchStore(database), FakeLauncher()
    await driven(store, ago=timedelta(seconds=61))
    several = [
        Dispatch(store=store, desk=cast(Any, None), library=cast(Any, None), launcher=launcher)
        for _ in range(3)
    ]

    await asyncio.gather(*(each.take_over(NOW) for each in several))

    assert launcher.asked.count("launch 2") == 1
    assert "launch 3" not in launcher.asked


class FakeDesk:
    """Knows of two runs: one that ended a minute ago, and one just now."""

    async def of_key(self, key: str) -> Run | None:
        ago = {"schedule/old": 61, "schedule/new": 5}.get(key)
        if ago is None:
            return None
        return Run(
            id=key,
            workflow="w",
            version=1,
            status=RunStatus.FAILED,
            source="",
            inputs={},
            trigger="schedule",
            created_time=NOW,
            ended_time=NOW - timedelta(seconds=ago),
        )


async def test_the_end_of_a_schedules_run_is_told_for_a_flow_run_that_is_gone(
    database: Transactions,
) -> None:
    store, launcher = SqlBatchStore(database), FakeLauncher()
    launcher.running = ["old", "new", "unknown"]
    dispatch = Dispatch(
        store=store, desk=cast(Any, FakeDesk()), library=cast(Any, None), launcher=launcher
    )

    await dispatch.take_over(NOW)

    assert launcher.asked == ["old failed"]
