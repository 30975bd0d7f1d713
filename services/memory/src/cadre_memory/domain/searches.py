"""Indexes of the namespaces that were asked for lately, kept true to the store, and what is found in them."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from cadre_memory.domain.entries import Entry
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.index import USUAL_WIDTH, NamespaceIndex, bytes_a_row
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.ranking import Question, Score, candidate_ids, ranked
from cadre_memory.domain.stores import Store, micros

_BLOCK = 16_384
_NAMESPACES = 4_096
_FEW = 2_048

Result = TypeVar("Result")


@dataclass(kw_only=True)
class _Held:
    """The index of a namespace and all below it, as of a change. One search at a time uses it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    index: NamespaceIndex | None = None
    seen: int = 0
    counted_bytes: int = 0


class Searches:
    """Finds what matches in a namespace and below it. Holds indexes up to `held_bytes` in all."""

    def __init__(self, store: Store, *, held_bytes: int) -> None:
        self._store = store
        self._held_bytes = held_bytes
        self._held: OrderedDict[Namespace, _Held] = OrderedDict()
        self._bytes = 0
        self._width = USUAL_WIDTH

    @property
    def bytes_held(self) -> int:
        """Memory that the indexes take."""
        return self._bytes

    async def best(
        self,
        namespace: Namespace,
        question: Question,
        *,
        matching: Filter,
        limit: int,
        now: datetime,
    ) -> Sequence[Score]:
        """The best `limit` matches that pass the filter, best first."""
        passing = (
            None if matching.empty else await self._store.matching(namespace, matching, now=now)
        )
        async with self._reserved(namespace) as held:
            index = await self._current(namespace, held)
            if index is None:
                index = await self._of_the_best(namespace, question, passing=passing, now=now)
            rank = partial(_ranked, index, question, passing=passing, limit=limit, now=micros(now))
            return await _done(rank, rows=len(index))

    @asynccontextmanager
    async def _reserved(self, namespace: Namespace) -> AsyncIterator[_Held]:
        held = self._held.setdefault(namespace, _Held())
        self._held.move_to_end(namespace)
        async with held.lock:
            yield held
            self._account(namespace, held)

    def _account(self, namespace: Namespace, held: _Held) -> None:
        # Another search may have pushed it out meanwhile.
        if self._held.get(namespace) is held:
            now = 0 if held.index is None else held.index.bytes_held
            self._bytes += now - held.counted_bytes
            held.counted_bytes = now
        while self._held and (self._bytes > self._held_bytes or len(self._held) > _NAMESPACES):
            _, oldest = self._held.popitem(last=False)
            self._bytes -= oldest.counted_bytes

    async def _current(self, namespace: Namespace, held: _Held) -> NamespaceIndex | None:
        """The index as the store is now; None for a namespace that is too large to be held."""
        if held.index is not None:
            changes = await self._store.changes(namespace, since=held.seen)
            if changes is not None:
                held.seen = changes.last
                if changes.entries or changes.removed:
                    renew = partial(held.index.replace, changes.removed, changes.entries)
                    await _done(renew, rows=len(held.index) + len(changes.entries))
                return held.index
        held.index = None
        if await self._fits(namespace, width=self._width):
            await self._load(namespace, held)
        return held.index

    async def _fits(self, namespace: Namespace, *, width: int) -> bool:
        most = self._held_bytes // bytes_a_row(width)
        return await self._store.count(namespace, limit=most + 1) <= most

    async def _load(self, namespace: Namespace, held: _Held) -> None:
        # What changes while the blocks are read is in the log after this, and comes with the next search.
        seen = await self._store.last_change()
        index = NamespaceIndex()
        async for block in self._blocks(namespace):
            await asyncio.to_thread(index.replace, (), block)
            if index.width > self._width:
                self._width = index.width
                if not await self._fits(namespace, width=index.width):
                    return
        held.index, held.seen = index, seen

    async def _of_the_best(
        self,
        namespace: Namespace,
        question: Question,
        *,
        passing: Sequence[int] | None,
        now: datetime,
    ) -> NamespaceIndex:
        """An index of only the best of each block, for a namespace too large to be held."""
        index = NamespaceIndex()
        async for block in self._blocks(namespace):
            best = await asyncio.to_thread(
                _best_of, block, question, passing=passing, now=micros(now)
            )
            index.replace((), best)
        return index

    async def _blocks(self, namespace: Namespace) -> AsyncIterator[Sequence[Entry]]:
        place: tuple[Namespace, int] = ((), 0)
        while True:
            block, place = await self._store.entries(namespace, after=place, limit=_BLOCK)
            if block:
                yield block
            if len(block) < _BLOCK:
                return


async def _done(work: Callable[[], Result], *, rows: int) -> Result:
    """Does work on an index: a small one's is done sooner than another thread has begun to."""
    return work() if rows <= _FEW else await asyncio.to_thread(work)


def _ranked(
    index: NamespaceIndex,
    question: Question,
    *,
    passing: Sequence[int] | None,
    limit: int,
    now: int,
) -> Sequence[Score]:
    there = index.there(now=now)
    if passing is not None:
        there = there & index.rows_with(passing)
    return ranked(index, question, there=there, limit=limit)


def _best_of(
    block: Sequence[Entry], question: Question, *, passing: Sequence[int] | None, now: int
) -> Sequence[Entry]:
    index = NamespaceIndex()
    index.replace((), block)
    there = index.there(now=now)
    if passing is not None:
        there = there & index.rows_with(passing)
    kept = candidate_ids(index, question, there=there)
    return [entry for entry in block if entry.item_id in kept]
