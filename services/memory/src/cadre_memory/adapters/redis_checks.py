"""Whether what is searched, the versions and the rows of memories in Redis agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from cadre_memory.adapters.checks import Finding
from cadre_memory.adapters.redis_connections import RedisClient, redis_errors
from cadre_memory.adapters.redis_records import (
    EXPIRING,
    NAMESPACES,
    WHERE,
    Row,
    entries_of,
    entry_of,
    ids_of,
    keys_of,
    placed,
    rows_of,
    turns_of,
    understood_by,
    values_of,
    versions_of,
)

_AT_ONCE = 500


async def redis_contradictions(redis: RedisClient) -> list[Finding]:
    """All that does not agree; nothing when all is well. For a database that nobody writes to meanwhile."""
    found: Counter[str] = Counter()
    try:
        with redis_errors():
            known: set[int] = set()
            async for path in _paths(redis):
                known |= await _check_namespace(redis, path, found)
            await _check_strangers(redis, known, found)
    finally:
        await redis.aclose()
    return [Finding(what=what, rows=rows) for what, rows in sorted(found.items()) if rows]


async def _paths(redis: RedisClient) -> AsyncIterator[str]:
    first = "-"
    while paths := await redis.zrangebylex(NAMESPACES, first, "+", 0, _AT_ONCE):
        for path in paths:
            yield path.decode()
        first = f"({paths[-1].decode()}"


async def _check_namespace(redis: RedisClient, path: str, found: Counter[str]) -> set[int]:
    ids: set[int] = set()
    keys: set[bytes] = set()
    async for key, text in redis.hscan_iter(rows_of(path), count=_AT_ONCE):
        if key not in keys:
            keys.add(key)
            row = Row.read(text)
            ids.add(row.item_id)
            await _check_item(redis, path, key.decode(), row, found)
    found["keys that are listed but not stored, or the reverse"] += len(
        keys ^ set(await redis.zrange(keys_of(path), 0, -1))
    )
    found["items that are not stored but counted, or the reverse"] += len(
        ids ^ {int(each) for each in await redis.zrange(ids_of(path), 0, -1)}
    )
    entries = {int(each) for each in await redis.hkeys(entries_of(path))}
    found["items that are not searched"] += len(ids - entries)
    found["entries of items that are not there"] += len(entries - ids)
    return ids


async def _check_item(
    redis: RedisClient, path: str, key: str, row: Row, found: Counter[str]
) -> None:
    pipe = redis.pipeline()
    pipe.hget(WHERE, str(row.item_id))
    pipe.hexists(values_of(path), key)
    pipe.hget(entries_of(path), str(row.item_id))
    pipe.zscore(EXPIRING, str(row.item_id))
    pipe.zscore(turns_of(path), key)
    pipe.sismember(understood_by(row.model), str(row.item_id))
    pipe.hkeys(versions_of(row.item_id))
    where, valued, entry, expires, position, understood, versions = await pipe.execute()
    found["items without a value"] += not valued
    found["items whose place is not known"] += where != placed(path, key).encode()
    found["items whose model is not known"] += not understood
    same = None if expires is None else int(expires)
    found["entries that expire at another time than their items"] += same != row.expires or (
        entry is not None and entry_of(0, entry, model="").expires != row.expires
    )
    turn = None if row.turn is None else row.turn[0]
    found["messages at another place of their conversation"] += turn != position
    numbers = {int(name.partition(b":")[0]) for name in versions}
    found["versions of items that are not there, or newer than them"] += any(
        each >= row.version for each in numbers
    )


async def _check_strangers(redis: RedisClient, known: set[int], found: Counter[str]) -> None:
    async for item_id, _ in redis.hscan_iter(WHERE, count=_AT_ONCE):
        found["places of items that are not there"] += int(item_id) not in known
    async for name in redis.scan_iter(match=f"{versions_of(0)[:-1]}*", count=_AT_ONCE):
        item_id = int(name.rpartition(b":")[2])
        found["versions of items that are not there, or newer than them"] += item_id not in known
