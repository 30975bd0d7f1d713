"""One write to Redis: read what is there, collect what changes, and do all of it if nothing else was written since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cadre_memory.adapters.paths import path_of
from cadre_memory.adapters.redis_records import (
    ANSWERS,
    CHANGES,
    EXPIRING,
    MODELS,
    NAMESPACES,
    SEQUENCE,
    WHERE,
    Row,
    answer_to,
    digests_of,
    entries_of,
    entry_text,
    ids_of,
    keys_of,
    meanings_of,
    placed,
    row_of,
    rows_of,
    turns_of,
    understood_by,
    values_of,
    versions_of,
)
from cadre_memory.domain.entries import Entry
from cadre_memory.domain.items import VERSIONS, VersionConflict
from cadre_memory.domain.stores import Draft, Once, Refreshed

CHANGES_KEPT = 10_000
ANSWERS_KEPT = 100_000

APPLY = """
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then
  return 0
end
local function keep(values, key, versions, number)
  redis.call('HSET', versions, number, redis.call('HGET', values, key))
end
local function forget(meanings, kept)
  local all = redis.call('HGETALL', meanings)
  for i = 1, #all, 2 do
    local digest = string.sub(all[i + 1], 1, 32)
    if digest ~= kept then
      redis.call('HDEL', meanings, all[i])
      redis.call('HDEL', string.gsub(meanings, 'meanings:.*', 'digests:') .. all[i], digest)
    end
  end
end
local function vanish(namespaces, path, keys)
  if redis.call('EXISTS', keys) == 0 then redis.call('ZREM', namespaces, path) end
end
local own = {KEEP = keep, FORGET = forget, VANISH = vanish}
local at = 2
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  local named = own[ARGV[at + 1]]
  if named then
    named(unpack(ARGV, at + 2, last))
  else
    redis.call(unpack(ARGV, at + 1, last))
  end
  at = last + 1
end
return 1
"""
"""Does commands, each of them preceded by its number of parts, if the sequence is still the one that was read.

Of its own are KEEP (a value among the versions), FORGET (an item's meanings, but those of one digest) and VANISH (a
namespace that holds nothing any more).
"""


@dataclass(kw_only=True)
class Writing:
    """What changes in one write. `rows` are those that it needs to know, as they were when the sequence was read."""

    sequence: int
    rows: dict[tuple[str, str], Row | None]
    now: int
    commands: list[tuple[str | bytes | int, ...]] = field(default_factory=list)

    def store(self, draft: Draft, *, model: str) -> list[int | None]:
        """Stores a draft; its version, created, updated and expires. Raises VersionConflict."""
        path, key = path_of(draft.namespace), draft.key
        row = self.rows.get((path, key))
        if row is not None and not row.in_force(self.now):
            self._remove(path, key, row)
            row = None
        found = 0 if row is None else row.version
        if draft.if_version is not None and draft.if_version != found:
            raise VersionConflict(key, expected=draft.if_version, found=found)
        number = self._changed(path, None if row is None else row.item_id)
        new = row_of(
            draft,
            item_id=number if row is None else row.item_id,
            version=found + 1,
            created=self.now if row is None else row.created,
            now=self.now,
            model=model,
        )
        if row is None:
            self._place(path, key, new)
        else:
            self._keep(path, key, row)
        self._do("HSET", values_of(path), key, draft.value)
        self._put(path, key, new, draft.entry, before=row)
        return [new.version, new.created, new.updated, new.expires]

    def remove(self, path: str, key: str) -> bool:
        """Removes an item, and says whether it was there."""
        row = self.rows.get((path, key))
        if row is None:
            return False
        self._remove(path, key, row)
        return row.in_force(self.now)

    def touch(self, path: str, key: str, entry: Entry) -> None:
        """Begins the time anew that an item is there for, if it is, and has one."""
        row = self.rows.get((path, key))
        if row is not None and row.ttl is not None and row.in_force(self.now):
            self._changed(path, row.item_id)
            self._put(path, key, row._replace(expires=self.now + row.ttl), entry, before=row)

    def refresh(self, refreshed: Refreshed, *, model: str) -> None:
        """Puts an entry in the place of a stale one, unless the item changed since."""
        stale = refreshed.stale
        path, key = path_of(stale.item.namespace), stale.item.key
        row = self.rows.get((path, key))
        if row is None or (row.item_id, row.version) != (stale.item_id, stale.item.version):
            return
        self._changed(path, row.item_id)
        self._put(path, key, row._replace(model=model), refreshed.entry, before=row)
        if refreshed.digest and refreshed.entry.embedding is not None:
            self._keep_meaning(row.item_id, refreshed.digest, refreshed.entry.embedding, model)

    def remember(self, once: Once | None, answer: Sequence[object]) -> None:
        """Keeps an answer for repeats of its request."""
        if once is not None:
            kept = json.dumps([once.digest.hex(), answer])
            self._do("SET", answer_to(once.key), kept)
            self._do("ZADD", ANSWERS, self.now, once.key)

    def forget_answers(self, idempotency_keys: Iterable[str]) -> None:
        """Drops what requests were answered."""
        for key in idempotency_keys:
            self._do("DEL", answer_to(key))
            self._do("ZREM", ANSWERS, key)

    def _place(self, path: str, key: str, row: Row) -> None:
        self._do("ZADD", NAMESPACES, 0, path)
        self._do("ZADD", keys_of(path), 0, key)
        self._do("ZADD", ids_of(path), row.item_id, row.item_id)
        self._do("HSET", WHERE, row.item_id, placed(path, key))
        if row.turn is not None:
            self._do("ZADD", turns_of(path), row.turn[0], key)

    def _keep(self, path: str, key: str, row: Row) -> None:
        versions, oldest = versions_of(row.item_id), row.version + 1 - VERSIONS
        self._do("HSET", versions, row.version, row.text())
        self._do("KEEP", values_of(path), key, versions, f"{row.version}:value")
        self._do("HDEL", versions, oldest, f"{oldest}:value")

    def _put(self, path: str, key: str, row: Row, entry: Entry, *, before: Row | None) -> None:
        self._do("HSET", rows_of(path), key, row.text())
        kept = entry_text(entry, expires=row.expires, model=row.model)
        self._do("HSET", entries_of(path), row.item_id, kept)
        if row.expires is not None:
            self._do("ZADD", EXPIRING, row.expires, row.item_id)
        elif before is not None and before.expires is not None:
            self._do("ZREM", EXPIRING, row.item_id)
        if before is None or before.model != row.model:
            self._understood(row, before)
        self.rows[path, key] = row

    def _understood(self, row: Row, before: Row | None) -> None:
        if before is not None:
            self._do("SREM", understood_by(before.model), row.item_id)
        self._do("SADD", understood_by(row.model), row.item_id)
        self._do("SADD", MODELS, row.model)

    def _remove(self, path: str, key: str, row: Row) -> None:
        self._changed(path, row.item_id)
        for own in (rows_of(path), values_of(path)):
            self._do("HDEL", own, key)
        self._do("HDEL", entries_of(path), row.item_id)
        self._do("HDEL", WHERE, row.item_id)
        for own, member in ((keys_of(path), key), (turns_of(path), key), (EXPIRING, row.item_id)):
            self._do("ZREM", own, member)
        self._do("ZREM", ids_of(path), row.item_id)
        self._do("SREM", understood_by(row.model), row.item_id)
        self._do("DEL", versions_of(row.item_id))
        self._do("FORGET", meanings_of(row.item_id))
        self._do("VANISH", NAMESPACES, path, keys_of(path))
        self.rows[path, key] = None

    def _keep_meaning(self, item_id: int, digest: bytes, embedding: bytes, model: str) -> None:
        self._do("FORGET", meanings_of(item_id), digest)
        self._do("HSET", meanings_of(item_id), model, digest + embedding)
        self._do("HSET", digests_of(model), digest, item_id)

    def _changed(self, path: str, item_id: int | None) -> int:
        self.sequence += 1
        changed = self.sequence if item_id is None else item_id
        self._do("SET", SEQUENCE, self.sequence)
        said = ("id", changed, "path", path)
        self._do("XADD", CHANGES, "MAXLEN", CHANGES_KEPT, f"{self.sequence}-0", *said)
        return self.sequence

    def _do(self, *parts: str | bytes | int) -> None:
        self.commands.append(parts)
