"""A run whose store fails in one exact moment is let go of, and taken up again."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor, executor_in, names
from tests.service.executor.test_runs import ASK

from cadre_executor.adapters.result_cache import SqlResultCache
from cadre_executor.adapters.run_store import SqlRunStore
from cadre_executor.domain.journals import Batch
from cadre_executor.domain.runs import Ending
from cadre_executor.domain.stores import Candidate, Claim
from cadre_kit.databases import DatabaseUnavailable
from cadre_kit.transactions import Transactions

LEASE_SECONDS = 1.0


class Trouble:
    """How the stores of an executor fail. `endings`: so often when a run's end is written, before it is or, with
    `written`, after. `late`: the next claim of a run takes so many seconds, and its lease is found to be over before
    the run's first step. `together`: kept results cannot be found while events are being stored, and those are lost
    once `let_go` is set."""

    def __init__(self) -> None:
        self.endings = 0
        self.written = False
        self.late = 0.0
        self.together = False
        self.under_way = asyncio.Event()
        self.let_go = asyncio.Event()

    def runs(self, database: Transactions, *, kept_checkpoints: int) -> SqlRunStore:
        """The store of runs."""
        return _FailingRuns(database, kept_checkpoints=kept_checkpoints, trouble=self)

    def results(self, database: Transactions) -> SqlResultCache:
        """The store of kept results."""
        return _FailingResults(database, trouble=self)


class _FailingRuns(SqlRunStore):
    def __init__(self, database: Transactions, *, kept_checkpoints: int, trouble: Trouble) -> None:
        super().__init__(database, kept_checkpoints=kept_checkpoints)
        self._trouble = trouble

    async def finish(
        self, run_id: str, ending: Ending, batch: Batch | None, *, owner: str | None
    ) -> bool:
        if self._trouble.endings == 0:
            return await super().finish(run_id, ending, batch, owner=owner)
        self._trouble.endings -= 1
        if self._trouble.written:
            await super().finish(run_id, ending, batch, owner=owner)
        raise DatabaseUnavailable("the connection broke")

    async def claim(self, candidate: Candidate, *, owner: str, expires: float) -> Claim | None:
        claim = await super().claim(candidate, owner=owner, expires=expires)
        late, self._trouble.late = self._trouble.late, 0.0
        if late:
            _keep_busy(late)
            # Who guards the leases has its turn exactly after the caller's.
            for _ in range(2):
                await asyncio.sleep(0)
        return claim

    async def commit(self, run_id: str, batch: Batch, *, owner: str, expires: float) -> None:
        if not self._trouble.together or self._trouble.under_way.is_set():
            return await super().commit(run_id, batch, owner=owner, expires=expires)
        self._trouble.under_way.set()
        await self._trouble.let_go.wait()
        raise DatabaseUnavailable("the connection broke")


class _FailingResults(SqlResultCache):
    def __init__(self, database: Transactions, *, trouble: Trouble) -> None:
        super().__init__(database)
        self._trouble = trouble

    async def find(self, digest: str, *, now: float) -> Any | None:
        if not self._trouble.together:
            return await super().find(digest, now=now)
        await self._trouble.under_way.wait()
        self._trouble.together = False
        # The run's task breaks here, and waits for what is still being stored.
        asyncio.get_running_loop().call_later(0.05, self._trouble.let_go.set)
        raise DatabaseUnavailable("the connection broke")


def _keep_busy(seconds: float) -> None:
    """Lets nothing else of the process have a turn."""
    time.sleep(seconds)


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
async def executor(tmp_path: Path, near: Neighbours, trouble: Trouble) -> AsyncIterator[Executor]:
    async with executor_in(
        tmp_path,
        near,
        run_store=trouble.runs,
        result_cache=trouble.results,
        executor_lease_seconds=LEASE_SECONDS,
    ) as found:
        yield found


@pytest.mark.parametrize("written", [False, True])
async def test_a_run_whose_end_could_not_be_written_ends_once(
    executor: Executor, near: Neighbours, trouble: Trouble, written: bool
) -> None:
    trouble.endings, trouble.written = 2, written

    run = await executor.start(ASK, message="x")
    events = names(await executor.events(run.id))

    assert trouble.endings == (1 if written else 0)
    assert events.count("run_succeeded") == events.count("node_succeeded ask") == 1
    assert len(near.llm_proxy.paid) == 1


async def test_a_run_whose_lease_is_over_before_its_first_step_is_taken_up_again(
    executor: Executor, near: Neighbours, trouble: Trouble
) -> None:
    trouble.endings, trouble.late = 1, 1.5 * LEASE_SECONDS

    run = await executor.start(ASK, message="x")
    events = names(await executor.events(run.id))

    assert trouble.late == 0
    assert events[-1] == "run_succeeded"
    assert len(near.llm_proxy.paid) == 1


async def test_a_run_whose_events_are_lost_while_it_breaks_is_taken_up_again(
    executor: Executor, near: Neighbours, trouble: Trouble
) -> None:
    trouble.together = True

    run = await executor.start(
        ASK.replace("outputs: [reply]", "outputs: [reply], cache: {ttl_seconds: 60}"), message="x"
    )
    events = names(await executor.events(run.id))

    assert events[-1] == "run_succeeded"
    assert events.count("node_started ask") == 1
    assert len(near.llm_proxy.paid) == 1
