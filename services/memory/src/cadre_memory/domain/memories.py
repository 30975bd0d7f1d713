"""What can be done with memories."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cadre_kit.documents import from_json_text
from cadre_memory.domain.items import (
    FieldInvalid,
    Item,
    ItemNotFound,
    expiry,
    valid_key,
    valid_key_prefix,
    valid_namespace,
    valid_value,
)
from cadre_memory.domain.pages import key_before, page_token
from cadre_memory.domain.ranking import Mode, Score, ranked
from cadre_memory.domain.stores import Draft, Embedder, Once, Question, Store, Vector
from cadre_memory.domain.texts import text_of, words_of

PAGE_SIZE = 500
DEFAULT_PAGE_SIZE = 100
TOP_K = 200
DEFAULT_TOP_K = 10
QUERY_CHARACTERS = 10_000
ANSWER_BYTES = 8 * 1024 * 1024
"""Values of one answer, in all: half of what a message may have."""

_CANDIDATES = 200
_SWEPT_AT_ONCE = 500
_ANSWERS_KEPT = timedelta(days=7)

Clock = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A page of items; `next_page_token` is empty on the last one."""

    items: tuple[Item, ...]
    next_page_token: str


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An item that was found."""

    item: Item
    score: Score


@dataclass(frozen=True, kw_only=True)
class Memories:
    """The use cases. Each raises FieldInvalid for what is outside of a limit, and what its store raises."""

    store: Store
    embedder: Embedder
    clock: Clock

    async def put(
        self,
        *,
        namespace: tuple[str, ...],
        key: str,
        value: str,
        ttl_seconds: float,
        idempotency_key: str,
    ) -> Item:
        """Stores a JSON document, in place of one that is there. Raises NotJson."""
        now = self.clock()
        namespace, key, value = valid_namespace(namespace), valid_key(key), valid_value(value)
        expires = expiry(ttl_seconds, now=now)
        once = _once(idempotency_key, "put", *namespace, key, value, str(ttl_seconds))
        text, vector = await asyncio.to_thread(self._understand, value)
        draft = Draft(
            namespace=namespace, key=key, value=value, text=text, vector=vector, expires=expires
        )
        return await self.store.put(draft, now=now, once=once)

    async def get(self, *, namespace: tuple[str, ...], key: str) -> Item:
        """The item. Raises ItemNotFound."""
        namespace, key = valid_namespace(namespace), valid_key(key)
        item = await self.store.get(namespace, key, now=self.clock())
        if item is None:
            raise ItemNotFound(namespace, key)
        return item

    async def delete(self, *, namespace: tuple[str, ...], key: str, idempotency_key: str) -> bool:
        """Removes the item, and says whether there was one."""
        namespace, key = valid_namespace(namespace), valid_key(key)
        once = _once(idempotency_key, "delete", *namespace, key)
        return await self.store.delete(namespace, key, now=self.clock(), once=once)

    async def list(
        self, *, namespace: tuple[str, ...], key_prefix: str, page_size: int, token: str
    ) -> Listing:
        """The items of one namespace by key; a page is shorter where values are large."""
        namespace, key_prefix = valid_namespace(namespace), valid_key_prefix(key_prefix)
        limit = _within("page_size", page_size, most=PAGE_SIZE, default=DEFAULT_PAGE_SIZE)
        page = await self.store.page(
            namespace,
            key_prefix=key_prefix,
            after=key_before(token, namespace, key_prefix),
            limit=limit,
            max_bytes=ANSWER_BYTES,
            now=self.clock(),
        )
        following = (
            page_token(namespace, key_prefix, last_key=page.items[-1].key) if page.more else ""
        )
        return Listing(items=page.items, next_page_token=following)

    async def search(
        self, *, namespace: tuple[str, ...], query: str, top_k: int, mode: Mode
    ) -> tuple[Hit, ...]:
        """What matches best in the namespace and all below it, best first; fewer where values are large."""
        now = self.clock()
        namespace, query = valid_namespace(namespace), _valid_query(query)
        limit = _within("top_k", top_k, most=TOP_K, default=DEFAULT_TOP_K)
        words = words_of(query)
        # Words that say nothing would draw the meaning of every question to the same place.
        meaning = (
            None
            if mode is Mode.TEXT
            else await asyncio.to_thread(self.embedder.embed, " ".join(words) or query)
        )
        question = Question(
            namespace=namespace,
            words=() if mode is Mode.VECTOR else words,
            vector=meaning,
            limit=_CANDIDATES,
        )
        scores = ranked(await self.store.candidates(question, now=now), mode=mode)[:limit]
        items = await self.store.items(
            [score.item_id for score in scores], max_bytes=ANSWER_BYTES, now=now
        )
        return tuple(
            Hit(item=items[score.item_id], score=score)
            for score in scores
            if score.item_id in items
        )

    async def sweep(self) -> int:
        """Really removes what expired, and answers kept for repeats that are a week old; says how many items."""
        now, removed = self.clock(), 0
        while True:
            swept = await self.store.sweep(
                now=now, answers_before=now - _ANSWERS_KEPT, limit=_SWEPT_AT_ONCE
            )
            removed += swept
            if swept < _SWEPT_AT_ONCE:
                return removed

    def _understand(self, value: str) -> tuple[str, Vector | None]:
        text = text_of(from_json_text(value, field="value"))
        return text, self.embedder.embed(text)


def _once(idempotency_key: str, *request: str) -> Once | None:
    if not idempotency_key:
        return None
    digest = hashlib.sha256()
    for part in request:
        content = part.encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return Once(key=idempotency_key, digest=digest.digest())


def _valid_query(query: str) -> str:
    if not query.strip() or len(query) > QUERY_CHARACTERS:
        raise FieldInvalid(
            "query",
            f"query has {len(query)} characters; 1 to {QUERY_CHARACTERS}, not all of them spaces, are allowed",
            code="QUERY_INVALID",
        )
    return query


def _within(field: str, value: int, *, most: int, default: int) -> int:
    if not 0 <= value <= most:
        raise FieldInvalid(
            field,
            f"{field} is {value}; 1 to {most} are allowed, or 0 for {default}",
            code=f"{field.upper()}_INVALID",
        )
    return value or default
