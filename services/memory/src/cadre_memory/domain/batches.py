"""Many reads and writes in one call: reads see what was there before, then the writes are done as a whole."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from operator import itemgetter
from typing import TypeAlias

from cadre_kit.errors import LimitExceeded
from cadre_memory.domain.filters import ALL, Filter
from cadre_memory.domain.items import (
    LABELS,
    VALUE_BYTES,
    FieldInvalid,
    Item,
    valid_key,
    valid_namespace,
)
from cadre_memory.domain.memories import (
    ANSWER_BYTES,
    DEFAULT_PAGE_SIZE,
    DEFAULT_TOP_K,
    TOP_K,
    Memories,
    NewItem,
    Query,
    within,
)
from cadre_memory.domain.messages import AT_ONCE
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import Removal

MOST_OFFSET = 100_000
_NAMESPACES_AT_ONCE = 500
_ANY = "*"


class AnswerTooLarge(LimitExceeded):
    """What a batch reads is more than one answer may hold."""

    code = "ANSWER_TOO_LARGE"

    def __init__(self) -> None:
        super().__init__(
            f"the values that the batch reads have more than {ANSWER_BYTES} bytes together",
            resolution="Read them in several batches, or find fewer at once.",
            metadata={"limit": str(ANSWER_BYTES)},
        )


@dataclass(frozen=True, kw_only=True)
class Get:
    """Reads a value, and with `refresh` begins the time anew that it is there for."""

    namespace: tuple[str, ...]
    key: str
    refresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Find:
    """Finds values in a namespace and below it: the best first for a question, else by namespace and key."""

    namespace: tuple[str, ...]
    query: str = ""
    matching: Filter = ALL
    limit: int = 0
    offset: int = 0
    refresh: bool = False


@dataclass(frozen=True, kw_only=True)
class ListNamespaces:
    """Lists namespaces by how they begin and end, cut after `max_depth` segments unless that is 0."""

    prefix: tuple[str, ...]
    suffix: tuple[str, ...] = ()
    max_depth: int = 0
    limit: int = 0
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """An item, and how well it matches a question; None when there was none, or it does not match."""

    item: Item
    score: float | None = None


Write: TypeAlias = NewItem | Removal
Operation: TypeAlias = Write | Get | Find | ListNamespaces
Result: TypeAlias = Item | bool | Sequence[Found] | Sequence[Namespace] | None


@dataclass(kw_only=True)
class _Reading:
    """What the reads of one batch found, by bytes that are left and by what is to be there for longer."""

    room: int = ANSWER_BYTES
    touched: set[tuple[Namespace, str]] = field(default_factory=set)

    def take(self, items: Sequence[Item], *, refresh: bool) -> None:
        self.room -= sum(len(item.value.encode()) for item in items)
        if self.room < 0:
            raise AnswerTooLarge
        if refresh:
            self.touched |= {(item.namespace, item.key) for item in items if item.expires}


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Does batches. Raises FieldInvalid for what is outside of a limit, and what storing raises."""

    memories: Memories

    async def run(
        self, operations: Sequence[Operation], *, idempotency_key: str
    ) -> Sequence[Result]:
        """What each operation came to, in their order. Raises AnswerTooLarge."""
        if not 1 <= len(operations) <= AT_ONCE:
            raise FieldInvalid(
                "operations",
                f"operations has {len(operations)} entries; 1 to {AT_ONCE} are allowed",
                code="OPERATIONS_INVALID",
                resolution="Do them in several batches.",
            )
        reading = _Reading()
        results: list[Result] = [await self._read(each, reading) for each in operations]
        if reading.touched:
            now = self.memories.clock()
            await self.memories.store.touch(sorted(reading.touched), now=now)
        last = _last_writes(operations)
        if last:
            writes = [each for _, each in last]
            done = await self.memories.change_all(writes, idempotency_key=idempotency_key)
            for (place, _), result in zip(last, done, strict=True):
                results[place] = result
        return results

    async def _read(self, operation: Operation, reading: _Reading) -> Result:
        match operation:
            case NewItem():
                return None
            case Removal():
                return False
            case Get():
                return await self._get(operation, reading)
            case Find():
                return await self._find(operation, reading)
            case ListNamespaces():
                return await self._namespaces(operation)

    async def _get(self, get: Get, reading: _Reading) -> Item | None:
        namespace, key = valid_namespace(get.namespace), valid_key(get.key)
        now = self.memories.clock()
        item = await self.memories.store.get(namespace, key, version=0, now=now)
        if item is not None:
            reading.take([item], refresh=get.refresh)
        return item

    async def _find(self, find: Find, reading: _Reading) -> Sequence[Found]:
        namespace = valid_namespace(find.namespace)
        limit = within("limit", find.limit, most=AT_ONCE, default=DEFAULT_TOP_K)
        offset = within("offset", find.offset, most=MOST_OFFSET, default=0)
        if find.query:
            found = (await self._best(namespace, find, offset + limit))[offset:]
        else:
            items = await self._all(namespace, find.matching, offset=offset, limit=limit)
            found = [Found(item=item) for item in items]
        reading.take([each.item for each in found], refresh=find.refresh)
        return found

    async def _best(self, namespace: Namespace, find: Find, limit: int) -> list[Found]:
        """The hits, and where they are too few what does not match."""
        query = Query(
            namespace=namespace, text=find.query, top_k=min(limit, TOP_K), matching=find.matching
        )
        hits = await self.memories.search(query)
        best = [Found(item=hit.item, score=hit.score.score) for hit in hits]
        if len(best) == limit:
            return best
        known = {(each.item.namespace, each.item.key) for each in best}
        items = await self._all(namespace, find.matching, offset=0, limit=limit)
        others = [Found(item=i) for i in items if (i.namespace, i.key) not in known]
        return [*best, *others][:limit]

    async def _all(
        self, namespace: Namespace, matching: Filter, *, offset: int, limit: int
    ) -> Sequence[Item]:
        items = await self.memories.store.below(
            namespace,
            matching,
            offset=offset,
            limit=limit,
            # Room for one value too many, so that what does not fit is noticed.
            max_bytes=ANSWER_BYTES + VALUE_BYTES,
            now=self.memories.clock(),
        )
        if sum(len(item.value.encode()) for item in items) > ANSWER_BYTES:
            raise AnswerTooLarge
        return items

    async def _namespaces(self, asked: ListNamespaces) -> Sequence[Namespace]:
        prefix = valid_namespace(asked.prefix)
        suffix = valid_namespace(asked.suffix) if asked.suffix else ()
        limit = within("limit", asked.limit, most=AT_ONCE, default=DEFAULT_PAGE_SIZE)
        offset = within("offset", asked.offset, most=MOST_OFFSET, default=0)
        depth = within("max_depth", asked.max_depth, most=LABELS, default=LABELS)
        found: dict[Namespace, None] = {}
        async for namespace in self._below(tuple(takewhile(lambda label: label != _ANY, prefix))):
            if _fits(namespace, prefix) and _fits(namespace[::-1], suffix[::-1]):
                found[namespace[:depth]] = None
            if len(found) == offset + limit:
                break
        return list(found)[offset:]

    async def _below(self, above: Namespace) -> AsyncIterator[Namespace]:
        after: Namespace = ()
        while found := await self.memories.store.namespaces(
            above, after=after, limit=_NAMESPACES_AT_ONCE, now=self.memories.clock()
        ):
            for namespace in found:
                yield namespace
            after = found[-1]


def _fits(namespace: Namespace, pattern: Namespace) -> bool:
    return len(namespace) >= len(pattern) and all(
        wanted in (_ANY, label) for label, wanted in zip(namespace, pattern, strict=False)
    )


def _last_writes(operations: Sequence[Operation]) -> list[tuple[int, Write]]:
    """The writes and their places; of several to one key the last."""
    writes = (
        (n, each) for n, each in enumerate(operations) if isinstance(each, (NewItem, Removal))
    )
    last = {(each.namespace, each.key): (place, each) for place, each in writes}
    return sorted(last.values(), key=itemgetter(0))
