"""What is read of memory in Redis: items by key and place, conversations, namespaces, and what is searched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from cadre_memory.adapters.paths import after_prefix, namespace_of, path_of, scope_of
from cadre_memory.adapters.redis_connections import RedisClient, redis_errors
from cadre_memory.adapters.redis_records import (
    CHANGES,
    MODELS,
    NAMESPACES,
    SEQUENCE,
    WHERE,
    Row,
    digests_of,
    entries_of,
    entry_of,
    ids_of,
    keys_of,
    meanings_of,
    place_of,
    rows_of,
    turns_of,
    understood_by,
    values_of,
    versions_of,
)
from cadre_memory.domain.entries import Entry
from cadre_memory.domain.filters import ALL, Filter
from cadre_memory.domain.items import Item, Page
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import Changes, Stale, micros

_AT_ONCE = 500
# Values may be of a mebibyte each.
_VALUES_AT_ONCE = 50
_DIGEST_BYTES = 32

Place = tuple[str, str]
Found = tuple[str, str, Row]


class RedisReads:
    """The part of a Store that reads. What one command answers is of one moment; a listing may see later ones too."""

    def __init__(self, redis: RedisClient, *, model: str) -> None:
        self._redis = redis
        self._model = model

    async def get(
        self, namespace: Namespace, key: str, *, version: int, now: datetime
    ) -> Item | None:
        """As Store says."""
        path = path_of(namespace)
        with redis_errors():
            row, value = await self._row_and_value(path, key)
            if row is None or value is None or not row.in_force(micros(now)):
                return None
            if version in (0, row.version):
                return row.item(path, key, value)
            named = [str(version), f"{version}:value"]
            earlier = await self._redis.hmget(versions_of(row.item_id), named)
        if earlier[0] is None or earlier[1] is None:
            return None
        # It expires when the newest does.
        return Row.read(earlier[0])._replace(expires=row.expires).item(path, key, earlier[1])

    async def _row_and_value(self, path: str, key: str) -> tuple[Row | None, bytes | None]:
        pipe = self._redis.pipeline()
        pipe.hget(rows_of(path), key)
        pipe.hget(values_of(path), key)
        row, value = await pipe.execute()
        return None if row is None else Row.read(row), value

    async def page(
        self,
        namespace: Namespace,
        *,
        key_prefix: str,
        matching: Filter,
        after: str,
        limit: int,
        max_bytes: int,
        now: datetime,
    ) -> Page:
        """As Store says."""
        path, beyond = path_of(namespace), after_prefix(key_prefix)
        first = f"({after}" if after and after >= key_prefix else f"[{key_prefix}"
        last = "+" if beyond is None else f"({beyond}"
        with redis_errors():
            keys = self._walked(keys_of(path), first, last)
            places = ([(path, key) for key in block] async for block in keys)
            found = self._passing_of(places, matching, now=now)
            cut, more = await self._cut(found, offset=0, limit=limit, max_bytes=max_bytes)
            return Page(items=tuple(await self._items(cut, now=now)), more=more)

    async def below(
        self,
        namespace: Namespace,
        matching: Filter,
        *,
        offset: int,
        limit: int,
        max_bytes: int,
        now: datetime,
    ) -> Sequence[Item]:
        """As Store says."""
        with redis_errors():
            found = self._passing(namespace, matching, now=now)
            cut, _ = await self._cut(found, offset=offset, limit=limit, max_bytes=max_bytes)
            return await self._items(cut, now=now)

    async def messages(
        self,
        namespace: Namespace,
        *,
        first: int,
        before: int,
        limit: int,
        max_bytes: int,
        now: datetime,
    ) -> Sequence[Item]:
        """As Store says."""
        path = path_of(namespace)

        async def places() -> AsyncIterator[list[Place]]:
            start, turns = 0, turns_of(path)
            while keys := await self._redis.zrevrangebyscore(
                turns, f"({before}", first, start=start, num=limit
            ):
                yield [(path, key.decode()) for key in keys]
                start += len(keys)

        with redis_errors():
            found = self._passing_of(places(), ALL, now=now)
            cut, _ = await self._cut(found, offset=0, limit=limit, max_bytes=max_bytes)
            return await self._items(cut, now=now)

    async def namespaces(
        self, above: Namespace, *, after: Namespace, limit: int, now: datetime
    ) -> Sequence[Namespace]:
        """As Store says."""
        found: list[Namespace] = []
        with redis_errors():
            async for paths in self._paths(above, after=path_of(after) if after else ""):
                for path in await self._holding(paths, now=now):
                    found.append(namespace_of(path))
                    if len(found) == limit:
                        return found
        return found

    async def _holding(self, paths: Sequence[str], *, now: datetime) -> list[str]:
        """Those of the namespaces in which something has not expired."""
        pipe = self._redis.pipeline(transaction=False)
        for path in paths:
            pipe.zrange(keys_of(path), 0, 0)
        firsts = await pipe.execute()
        for path, keys in zip(paths, firsts, strict=True):
            pipe.hmget(rows_of(path), keys or [""])
        rows = await pipe.execute()
        return [
            path
            for path, (row,) in zip(paths, rows, strict=True)
            if (row and Row.read(row).in_force(micros(now))) or await self._holds(path, now=now)
        ]

    async def _holds(self, path: str, *, now: datetime) -> bool:
        places = ([(path, k) for k in keys] async for keys in self._walked(keys_of(path), "-", "+"))
        async for _ in self._passing_of(places, ALL, now=now):
            return True
        return False

    async def matching(
        self, namespace: Namespace, matching: Filter, *, now: datetime
    ) -> Sequence[int]:
        """As Store says."""
        with redis_errors():
            found = self._passing(namespace, matching, now=now)
            return [row.item_id async for _, _, row in found]

    async def items(self, ids: Sequence[int], *, max_bytes: int, now: datetime) -> dict[int, Item]:
        """As Store says."""
        if not ids:
            return {}

        async def places() -> AsyncIterator[list[Place]]:
            where = await self._redis.hmget(WHERE, [str(each) for each in ids])
            yield [place_of(each) for each in where if each is not None]

        with redis_errors():
            found = self._passing_of(places(), ALL, now=now)
            cut, _ = await self._cut(found, offset=0, limit=len(ids), max_bytes=max_bytes)
            items = await self._items(cut, now=now)
        by_place = {(path_of(item.namespace), item.key): item for item in items}
        return {
            row.item_id: by_place[path, key] for path, key, row in cut if (path, key) in by_place
        }

    async def count(self, namespace: Namespace, *, limit: int) -> int:
        """As Store says."""
        counted = 0
        with redis_errors():
            async for paths in self._paths(namespace):
                counted += sum(await self._sizes(paths))
                if counted >= limit:
                    break
        return min(counted, limit)

    async def _sizes(self, paths: Sequence[str]) -> list[int]:
        pipe = self._redis.pipeline(transaction=False)
        for path in paths:
            pipe.zcard(keys_of(path))
        return [int(size) for size in await pipe.execute()]

    async def entries(
        self, namespace: Namespace, *, after: tuple[Namespace, int], limit: int
    ) -> tuple[Sequence[Entry], tuple[Namespace, int]]:
        """As Store says."""
        found: list[Entry] = []
        place = after
        with redis_errors():
            if after[0]:
                found += await self._entries(path_of(after[0]), after=after[1], limit=limit)
            async for paths in self._paths(namespace, after=path_of(after[0]) if after[0] else ""):
                for path in paths:
                    if len(found) == limit:
                        break
                    own = await self._entries(path, after=0, limit=limit - len(found))
                    found += own
                    place = (namespace_of(path), own[-1].item_id) if own else place
        if found and place == after:
            place = (after[0], found[-1].item_id)
        return found, place

    async def _entries(self, path: str, *, after: int, limit: int) -> list[Entry]:
        ids = await self._redis.zrangebyscore(ids_of(path), f"({after}", "+inf", 0, limit)
        kept = await self._redis.hmget(entries_of(path), ids) if ids else []
        return [
            entry_of(int(item_id), text, model=self._model)
            for item_id, text in zip(ids, kept, strict=True)
            if text is not None
        ]

    async def changes(self, namespace: Namespace, *, since: int) -> Changes | None:
        """As Store says."""
        first, beyond = scope_of(namespace)
        with redis_errors():
            pipe = self._redis.pipeline()
            pipe.get(SEQUENCE)
            pipe.xrange(CHANGES, count=1)
            pipe.xrange(CHANGES, min=f"{since + 1}-0")
            sequence, oldest, newer = await pipe.execute()
            last = int(sequence or 0)
            if last <= since:
                return Changes(entries=(), removed=(), last=since)
            if not oldest or int(oldest[0][0].partition(b"-")[0]) > since + 1:
                return None
            changed = {
                int(said[b"id"]): path
                for _, said in newer
                if first <= (path := said[b"path"].decode()) < beyond
            }
            entries = await self._entries_now(changed)
        removed = changed.keys() - {entry.item_id for entry in entries}
        return Changes(entries=entries, removed=list(removed), last=last)

    async def _entries_now(self, paths: dict[int, str]) -> list[Entry]:
        pipe = self._redis.pipeline(transaction=False)
        for item_id, path in paths.items():
            pipe.hget(entries_of(path), str(item_id))
        kept = await pipe.execute() if paths else []
        return [
            entry_of(item_id, text, model=self._model)
            for item_id, text in zip(paths, kept, strict=True)
            if text is not None
        ]

    async def last_change(self) -> int:
        """As Store says."""
        with redis_errors():
            return int(await self._redis.get(SEQUENCE) or 0)

    async def stale(self, *, limit: int) -> Sequence[Stale]:
        """As Store says."""
        found: list[Stale] = []
        with redis_errors():
            for model in sorted(await self._redis.smembers(MODELS)):
                if model.decode() != self._model and len(found) < limit:
                    found += await self._understood_by(model.decode(), limit=limit - len(found))
        return found

    async def _understood_by(self, model: str, *, limit: int) -> list[Stale]:
        ids = await self._redis.srandmember(understood_by(model), min(limit, _VALUES_AT_ONCE))
        where = await self._redis.hmget(WHERE, ids) if ids else []
        found: list[Stale] = []
        for place in where:
            path, key = place_of(place) if place is not None else ("", "")
            row, value = await self._row_and_value(path, key)
            if row is not None and value is not None:
                found.append(Stale(item_id=row.item_id, item=row.item(path, key, value)))
        return found

    async def meanings(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """As Store says."""
        if not digests:
            return {}
        with redis_errors():
            ids = await self._redis.hmget(digests_of(self._model), list(digests))
            having = [(d, int(i)) for d, i in zip(digests, ids, strict=True) if i is not None]
            pipe = self._redis.pipeline(transaction=False)
            for _, item_id in having:
                pipe.hget(meanings_of(item_id), self._model)
            kept = await pipe.execute() if having else []
        return {
            digest: text[_DIGEST_BYTES:]
            for (digest, _), text in zip(having, kept, strict=True)
            if text is not None and text[:_DIGEST_BYTES] == digest
        }

    def _passing(
        self, namespace: Namespace, matching: Filter, *, now: datetime
    ) -> AsyncIterator[Found]:
        """What passes in a namespace and below it, by namespace and key."""

        async def places() -> AsyncIterator[list[Place]]:
            async for paths in self._paths(namespace):
                for path in paths:
                    async for keys in self._walked(keys_of(path), "-", "+"):
                        yield [(path, key) for key in keys]

        return self._passing_of(places(), matching, now=now)

    async def _passing_of(
        self, places: AsyncIterator[list[Place]], matching: Filter, *, now: datetime
    ) -> AsyncIterator[Found]:
        async for block in places:
            step = _VALUES_AT_ONCE if matching.needs_value else len(block) or 1
            for start in range(0, len(block), step):
                some = block[start : start + step]
                rows = await self._hashes(rows_of, some)
                values = (
                    await self._hashes(values_of, some)
                    if matching.needs_value
                    else [b""] * len(some)
                )
                for (path, key), text, value in zip(some, rows, values, strict=True):
                    row = None if text is None or value is None else Row.read(text)
                    if row is None or value is None or not row.in_force(micros(now)):
                        continue
                    if matching.empty or matching.passes(row.item(path, key, value)):
                        yield path, key, row

    async def _cut(
        self, found: AsyncIterator[Found], *, offset: int, limit: int, max_bytes: int
    ) -> tuple[list[Found], bool]:
        """What an answer has room for, at least one of them, and whether there is more."""
        cut: list[Found] = []
        waiting: list[Found] = []
        async for each in found:
            if offset:
                offset -= 1
                continue
            waiting.append(each)
            if len(cut) + len(waiting) > limit:
                break
        for each, size in zip(waiting, await self._lengths(waiting), strict=True):
            max_bytes -= size
            if len(cut) == limit or (max_bytes < 0 and cut):
                return cut, True
            cut.append(each)
        return cut, False

    async def _lengths(self, found: Sequence[Found]) -> list[int]:
        pipe = self._redis.pipeline(transaction=False)
        for path, key, _ in found:
            pipe.hstrlen(values_of(path), key)
        return [int(size) for size in await pipe.execute()]

    async def _items(self, found: Sequence[Found], *, now: datetime) -> list[Item]:
        """The items as they are now, each with the value that its row is of."""
        pipe = self._redis.pipeline()
        for path, key, _ in found:
            pipe.hget(rows_of(path), key)
            pipe.hget(values_of(path), key)
        kept = iter(await pipe.execute())
        pairs = zip(found, kept, kept, strict=True)
        read = ((p, k, Row.read(row), value) for (p, k, _), row, value in pairs if row and value)
        return [row.item(p, k, value) for p, k, row, value in read if row.in_force(micros(now))]

    async def _hashes(
        self, name_of: Callable[[str], str], places: Sequence[Place]
    ) -> list[bytes | None]:
        """A field of each place's hash, asked for by runs of one namespace."""
        pipe = self._redis.pipeline(transaction=False)
        for path, run in groupby(places, key=itemgetter(0)):
            pipe.hmget(name_of(path), [key for _, key in run])
        return [each for run in await pipe.execute() for each in run]

    async def _paths(self, above: Namespace, *, after: str = "") -> AsyncIterator[list[str]]:
        """The namespaces at and below one, in order, after one."""
        first, beyond = scope_of(above)
        begin = f"({after}" if after >= first and after else f"[{first}"
        async for paths in self._walked(NAMESPACES, begin, f"({beyond}"):
            yield paths

    async def _walked(self, name: str, first: str, last: str) -> AsyncIterator[list[str]]:
        """A sorted set's members by their bytes, between two of them, some at a time."""
        while members := await self._redis.zrangebylex(name, first, last, 0, _AT_ONCE):
            block = [member.decode() for member in members]
            yield block
            first = f"({block[-1]}"
