"""What a run's journal stores, and what it does not when its store fails."""

import asyncio
from datetime import UTC, datetime

import pytest

from cadre_executor.domain.journals import Batch, Journal
from cadre_executor.domain.runs import Event, EventType, Usage
from cadre_kit.databases import DatabaseUnavailable
from cadre_kit.errors import CadreError


class Store:
    """Stores batches, unless it is away; tells when it was asked in vain."""

    def __init__(self) -> None:
        self.away = False
        self.batches: list[Batch] = []
        self.stored = asyncio.Event()
        self.failed = asyncio.Event()
        self.journal = Journal(
            store=self.store, usage=Usage(), visits={}, broken=lambda _: self.failed.set()
        )

    async def store(self, batch: Batch) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseUnavailable("the connection broke")
        self.batches.append(batch)
        self.stored.set()


def started() -> Event:
    return Event(type=EventType.RUN_STARTED, time=datetime.now(UTC))


async def test_what_was_taken_is_stored_by_itself_within_moments() -> None:
    store = Store()

    store.journal.emit(started())
    await asyncio.wait_for(store.stored.wait(), 10)

    assert [len(batch.events) for batch in store.batches] == [1]


@pytest.mark.parametrize("in_background", [False, True])
async def test_after_a_failure_nothing_later_is_stored_as_if_what_is_lost_never_was(
    in_background: bool,
) -> None:
    store = Store()
    store.away = True
    store.journal.emit(started())
    if in_background:
        await asyncio.wait_for(store.failed.wait(), 10)
    else:
        with pytest.raises(CadreError):
            await store.journal.flush()
    store.away = False

    store.journal.emit(started())
    with pytest.raises(DatabaseUnavailable):
        await store.journal.flush()
    with pytest.raises(DatabaseUnavailable):
        store.journal.take()

    assert store.batches == []
