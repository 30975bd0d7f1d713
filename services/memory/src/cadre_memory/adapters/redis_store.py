"""Memory in Redis: what a Store does, by hashes and sorted sets that one script changes together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from cadre_memory.adapters.lanes import WAITING, StoreBusy
from cadre_memory.adapters.paths import path_of
from cadre_memory.adapters.redis_connections import (
    RedisClient,
    RedisEvicts,
    check_server,
    redis_errors,
)
from cadre_memory.adapters.redis_reading import Place, RedisReads
from cadre_memory.adapters.redis_records import (
    ANSWERS,
    EXPIRING,
    SEQUENCE,
    WHERE,
    Row,
    answer_to,
    entries_of,
    entry_of,
    place_of,
    rows_of,
    turns_of,
)
from cadre_memory.adapters.redis_writing import ANSWERS_KEPT, APPLY, Writing
from cadre_memory.adapters.rows import answered
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.items import Item, Turn
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import (
    Change,
    Draft,
    IdempotencyKeyReused,
    Once,
    Refreshed,
    Removal,
    micros,
)

_TRIES = 200

Answer = TypeVar("Answer")


class RedisStore(RedisReads):
    """A Store. One write at a time here; another service's in between makes it begin anew.

    Each sweep looks whether the server was set to throw memories away; from then on writes are refused until it is not.
    What is stored was understood by `model`, unless `understood` says that it will be later.
    """

    def __init__(
        self, redis: RedisClient, *, model: str, understood: bool = True, keeps: bool = True
    ) -> None:
        super().__init__(redis, model=model)
        self._keeps = keeps
        self._writes_model = model if understood else ""
        self._apply = redis.register_script(APPLY)
        self._writing = asyncio.Lock()
        self._waiting = 0
        self._evicts = False

    async def close(self) -> None:
        """As Store says."""
        await self._redis.aclose()

    async def change(
        self, changes: Sequence[Change], *, now: datetime, once: Once | None
    ) -> Sequence[Item | bool]:
        """As Store says."""
        places = [(path_of(each.namespace), each.key) for each in changes]

        async def job(writing: Writing) -> list[list[int | None]]:
            return [self._change(writing, change) for change in changes]

        answers = await self._once(places, job, now=now, once=once)
        return [answered(*each) for each in zip(changes, answers, strict=True)]

    def _change(self, writing: Writing, change: Change) -> list[int | None]:
        match change:
            case Draft():
                return writing.store(change, model=self._writes_model)
            case Removal(namespace=namespace, key=key):
                return [int(writing.remove(path_of(namespace), key))]

    async def append(
        self,
        namespace: Namespace,
        follow: Callable[[Turn | None], Iterable[Draft]],
        *,
        now: datetime,
        once: Once | None,
    ) -> int:
        """As Store says."""

        async def job(writing: Writing) -> list[list[int | None]]:
            last = await self._last_turn(path_of(namespace))
            for draft in follow(last):
                writing.store(draft, model=self._writes_model)
            return [[0 if last is None else last.position + 1]]

        answers = await self._once((), job, now=now, once=once)
        return answers[0][0] or 0

    async def _last_turn(self, path: str) -> Turn | None:
        keys = await self._redis.zrevrange(turns_of(path), 0, 0)
        if not keys:
            return None
        row = await self._redis.hget(rows_of(path), keys[0])
        return None if row is None else Row.read(row).item(path, keys[0].decode(), b"").turn

    async def touch(self, places: Sequence[tuple[Namespace, str]], *, now: datetime) -> None:
        """As Store says."""
        named = [(path_of(namespace), key) for namespace, key in places]

        async def job(writing: Writing) -> None:
            for (path, key), row in list(writing.rows.items()):
                kept = row and await self._redis.hget(entries_of(path), str(row.item_id))
                if row and kept:
                    writing.touch(path, key, entry_of(row.item_id, kept, model=row.model))

        await self._write(named, job, now=now)

    async def forget(
        self, namespace: Namespace, matching: Filter, *, limit: int, now: datetime
    ) -> int:
        """As Store says."""
        found: dict[Place, Row] = {}
        with redis_errors():
            async for path, key, row in self._passing(namespace, matching, now=now):
                found[path, key] = row
                if len(found) == limit:
                    break

        async def job(writing: Writing) -> int:
            for (path, key), row in found.items():
                # What was stored meanwhile is newer than what was to be forgotten, and may not pass any more.
                known = writing.rows[path, key]
                if known and (known.item_id, known.version) == (row.item_id, row.version):
                    writing.remove(path, key)
            return len(found)

        return await self._write(list(found), job, now=now) if found else 0

    async def refresh(self, entries: Sequence[Refreshed]) -> None:
        """As Store says."""
        places = [(path_of(e.stale.item.namespace), e.stale.item.key) for e in entries]

        async def job(writing: Writing) -> None:
            for each in entries:
                writing.refresh(each, model=self._model)

        await self._write(places, job, now=None)

    async def sweep(self, *, now: datetime, answers_before: datetime, limit: int) -> int:
        """As Store says. Raises RedisEvicts."""
        await self._check_server()
        with redis_errors():
            pipe = self._redis.pipeline()
            pipe.zrange(EXPIRING, "-inf", str(micros(now)), byscore=True, offset=0, num=limit)
            pipe.zrange(ANSWERS, "-inf", f"({micros(answers_before)}", byscore=True)
            pipe.zrange(ANSWERS, 0, -ANSWERS_KEPT - 1)
            ids, old, too_many = await pipe.execute()
            where = await self._redis.hmget(WHERE, ids) if ids else []
        places = [place_of(each) for each in where if each is not None]
        answers = [key.decode() for key in {*old, *too_many}]
        if not places and not answers:
            return 0

        async def job(writing: Writing) -> int:
            writing.forget_answers(answers)
            expired = [
                p for p, row in writing.rows.items() if row and not row.in_force(writing.now)
            ]
            for path, key in expired:
                writing.remove(path, key)
            return len(expired)

        return await self._write(places, job, now=now)

    async def _once(
        self,
        places: Sequence[Place],
        job: Callable[[Writing], Awaitable[list[list[int | None]]]],
        *,
        now: datetime,
        once: Once | None,
    ) -> list[list[int | None]]:
        """What the job answers, or was answered before. Raises IdempotencyKeyReused."""

        async def remembered(writing: Writing) -> list[list[int | None]]:
            known = await self._answer(once)
            if known is not None:
                return known
            answers = await job(writing)
            writing.remember(once, answers)
            return answers

        return await self._write(places, remembered, now=now)

    async def _answer(self, once: Once | None) -> list[list[int | None]] | None:
        kept = None if once is None else await self._redis.get(answer_to(once.key))
        if once is None or kept is None:
            return None
        digest, answer = json.loads(kept)
        if digest != once.digest.hex():
            raise IdempotencyKeyReused(once.key)
        return list(answer)

    async def _write(
        self,
        places: Sequence[Place],
        job: Callable[[Writing], Awaitable[Answer]],
        *,
        now: datetime | None,
    ) -> Answer:
        """The answer of a job that was done as a whole; it begins anew when something else was written meanwhile."""
        if self._evicts:
            await self._check_server()
        if self._waiting >= WAITING:
            raise StoreBusy("writes")
        self._waiting += 1
        try:
            async with self._writing:
                return await self._tried(places, job, now=now)
        finally:
            self._waiting -= 1

    async def _check_server(self) -> None:
        try:
            self._keeps = await check_server(self._redis, kept=self._keeps)
        except RedisEvicts:
            self._evicts = True
            raise
        self._evicts = False

    async def _tried(
        self,
        places: Sequence[Place],
        job: Callable[[Writing], Awaitable[Answer]],
        *,
        now: datetime | None,
    ) -> Answer:
        with redis_errors():
            for _ in range(_TRIES):
                writing = await self._begun(places, now=0 if now is None else micros(now))
                before = writing.sequence
                answer = await job(writing)
                if not writing.commands or await self._applied(writing, before):
                    return answer
        raise StoreBusy("writes of other services")

    async def _begun(self, places: Sequence[Place], *, now: int) -> Writing:
        """The rows of the places as of one moment, and the sequence then."""
        pipe = self._redis.pipeline()
        pipe.get(SEQUENCE)
        keys: dict[str, list[str]] = {}
        for path, key in places:
            keys.setdefault(path, []).append(key)
        for path, own in keys.items():
            pipe.hmget(rows_of(path), own)
        sequence, *found = await pipe.execute()
        rows = {
            (path, key): None if row is None else Row.read(row)
            for (path, own), rows in zip(keys.items(), found, strict=True)
            for key, row in zip(own, rows, strict=True)
        }
        return Writing(sequence=int(sequence or 0), rows=rows, now=now)

    async def _applied(self, writing: Writing, before: int) -> bool:
        parts: list[Any] = [before]
        for command in writing.commands:
            parts += (len(command), *command)
        return bool(await self._apply(keys=[SEQUENCE], args=parts))
