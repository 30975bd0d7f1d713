"""What can be done with memories."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cadre_kit.documents import from_json_text
from cadre_kit.errors import CadreError
from cadre_memory.domain.entries import Entry, Searched
from cadre_memory.domain.filters import ALL, Filter
from cadre_memory.domain.items import (
    FieldInvalid,
    Item,
    ItemNotFound,
    expiry,
    valid_document,
    valid_fields,
    valid_key,
    valid_key_prefix,
    valid_metadata,
    valid_namespace,
    valid_own_key,
    valid_tags,
    valid_together,
    valid_value,
)
from cadre_memory.domain.messages import AT_ONCE, END
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.pages import (
    key_before,
    namespace_before,
    namespaces_token,
    page_token,
)
from cadre_memory.domain.ranking import Mode, Question, Score
from cadre_memory.domain.searches import Searches
from cadre_memory.domain.stores import (
    Change,
    Draft,
    Embedder,
    Once,
    Removal,
    Store,
)
from cadre_memory.domain.texts import (
    at_once_if_short,
    passage_of,
    searched_text,
    terms_of,
    words_of,
)
from cadre_memory.domain.understanding import searched_value
from cadre_memory.domain.validity import asked_about, holds

PAGE_SIZE = 500
DEFAULT_PAGE_SIZE = 100
TOP_K = 200
DEFAULT_TOP_K = 10
WINDOW = 10
QUERY_CHARACTERS = 10_000
_MOST_RANKED = 2_000
"""Items that are looked at for those that hold when they are asked about."""

ANSWER_BYTES = 8 * 1024 * 1024
"""Values of one answer, in all: half of what a message may have."""

_AT_ONCE = 500
_ANSWERS_KEPT = timedelta(days=7)

Clock = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A page of items; `next_page_token` is empty on the last one."""

    items: tuple[Item, ...]
    next_page_token: str


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """A value to store, as a caller gave it: documents as JSON text."""

    namespace: tuple[str, ...]
    key: str
    value: str
    ttl_seconds: float = 0.0
    metadata: str = ""
    tags: tuple[str, ...] = ()
    if_version: int | None = None
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to find, as a caller asked: `window` neighbours on each side, and `asked` when, None for now."""

    namespace: tuple[str, ...]
    text: str
    top_k: int = 0
    mode: Mode = Mode.HYBRID
    matching: Filter = ALL
    window: int = 0
    asked: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An item that was found, the part of it that matches, and the messages around it."""

    item: Item
    score: Score
    passage: str
    neighbours: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a search found; `without_meaning` says by which error only words counted, and is empty when all did."""

    hits: tuple[Hit, ...]
    without_meaning: str


@dataclass(frozen=True, kw_only=True)
class Memories:
    """The use cases. Each raises FieldInvalid for what is outside of a limit, and what its store raises."""

    store: Store
    searches: Searches
    embedder: Embedder
    clock: Clock

    async def put(self, new: NewItem, *, idempotency_key: str) -> Item:
        """Stores a JSON document, in place of one that is there. Raises NotJson and VersionConflict."""
        (item,) = await self.put_all([new], idempotency_key=idempotency_key)
        return item

    async def put_all(self, new: Sequence[NewItem], *, idempotency_key: str) -> Sequence[Item]:
        """Stores documents, all or none. Raises NotJson and VersionConflict."""
        if not 1 <= len(new) <= AT_ONCE:
            raise FieldInvalid(
                "puts",
                f"puts has {len(new)} entries; 1 to {AT_ONCE} are allowed",
                code="PUTS_INVALID",
                resolution="Store them in several calls.",
            )
        stored = await self.change_all(new, idempotency_key=idempotency_key)
        return [item for item in stored if isinstance(item, Item)]

    async def change_all(
        self, changes: Sequence[NewItem | Removal], *, idempotency_key: str
    ) -> Sequence[Item | bool]:
        """Stores documents and removes items, all or none; a removal says whether there was something.

        Raises NotJson and VersionConflict.
        """
        valid_together("puts", (each.value for each in changes if isinstance(each, NewItem)))
        now = self.clock()
        said = (part for each in changes for part in _identity(each))
        once = once_of(idempotency_key, "put", said)
        drafts = await at_once_if_short(
            lambda: self._understood(changes, now=now),
            texts=[each.value for each in changes if isinstance(each, NewItem)],
        )
        return await self.store.change(drafts, now=now, once=once)

    def _understood(self, changes: Sequence[NewItem | Removal], *, now: datetime) -> list[Change]:
        """The changes with what is searched of them, all meanings at once. Raises FieldInvalid and NotJson."""
        for each in changes:
            _check(each)
        new = [each for each in changes if isinstance(each, NewItem)]
        searched = [_searched(each, said=now) for each in new]
        meanings = self.embedder.embed([each.text for each in searched])
        drafts = iter(
            [
                _draft(each, known.entry.meaning(vector), now=now)
                for each, known, vector in zip(new, searched, meanings, strict=True)
            ]
        )
        return [next(drafts) if isinstance(each, NewItem) else each for each in changes]

    async def get(self, *, namespace: tuple[str, ...], key: str, version: int = 0) -> Item:
        """The item, as it is or as of a version. Raises ItemNotFound."""
        namespace, key = valid_namespace(namespace), valid_key(key)
        if version < 0:
            raise _version_invalid("version", version)
        item = await self.store.get(namespace, key, version=version, now=self.clock())
        if item is None:
            raise ItemNotFound(namespace, key, version=version)
        return item

    async def delete(self, *, namespace: tuple[str, ...], key: str, idempotency_key: str) -> bool:
        """Removes the item and its versions, and says whether there was one."""
        namespace, key = valid_namespace(namespace), valid_key(key)
        once = once_of(idempotency_key, "delete", (*namespace, key))
        removal = Removal(namespace=namespace, key=key)
        (deleted,) = await self.store.change([removal], now=self.clock(), once=once)
        return bool(deleted)

    async def list(
        self,
        *,
        namespace: tuple[str, ...],
        key_prefix: str,
        page_size: int,
        token: str,
        matching: Filter | None = None,
    ) -> Listing:
        """The items of one namespace by key; a page is shorter where values are large."""
        namespace, key_prefix = valid_namespace(namespace), valid_key_prefix(key_prefix)
        limit = within("page_size", page_size, most=PAGE_SIZE, default=DEFAULT_PAGE_SIZE)
        page = await self.store.page(
            namespace,
            key_prefix=key_prefix,
            matching=matching or ALL,
            after=key_before(token, namespace, key_prefix),
            limit=limit,
            max_bytes=ANSWER_BYTES,
            now=self.clock(),
        )
        following = (
            page_token(namespace, key_prefix, last_key=page.items[-1].key) if page.more else ""
        )
        return Listing(items=page.items, next_page_token=following)

    async def namespaces(
        self, *, above: tuple[str, ...], page_size: int, token: str
    ) -> tuple[Sequence[Namespace], str]:
        """The namespaces at and below one that hold something, and the next page's token."""
        above = valid_namespace(above)
        limit = within("page_size", page_size, most=PAGE_SIZE, default=DEFAULT_PAGE_SIZE)
        found = await self.store.namespaces(
            above, after=namespace_before(token, above), limit=limit + 1, now=self.clock()
        )
        more = len(found) > limit
        return found[:limit], namespaces_token(above, last=found[limit - 1]) if more else ""

    async def newest(self, namespace: Namespace) -> Item | None:
        """The newest message of a conversation; None when the namespace is none."""
        found = await self.store.messages(
            namespace, first=0, before=END, limit=1, max_bytes=1, now=self.clock()
        )
        return found[0] if found else None

    async def search(self, query: Query) -> tuple[Hit, ...]:
        """What matches best in the namespace and all below it, best first; fewer where values are large."""
        return (await self.answer(query)).hits

    async def answer(self, query: Query) -> Answer:
        """What `search` finds, and why it went by words alone if it did. Raises what the embedder does, where only
        meanings were asked for."""
        now = self.clock()
        namespace, text = valid_namespace(query.namespace), _valid_query(query.text)
        limit = within("top_k", query.top_k, most=TOP_K, default=DEFAULT_TOP_K)
        within("window", query.window, most=WINDOW, default=0)
        question, failure = await self._question(text, mode=query.mode, asked=query.asked or now)
        scores, items = await self._best(namespace, question, query.matching, limit=limit, now=now)
        room = _Room(left=ANSWER_BYTES - sum(len(each.value.encode()) for each in items.values()))
        hits = [
            Hit(
                item=items[score.item_id],
                score=score,
                passage=_passage(items[score.item_id], question),
                neighbours=await self._neighbours(items[score.item_id], query.window, room),
            )
            for score in scores
        ]
        return Answer(hits=tuple(hits), without_meaning=failure)

    async def _best(
        self,
        namespace: Namespace,
        question: Question,
        matching: Filter,
        *,
        limit: int,
        now: datetime,
    ) -> tuple[Sequence[Score], Mapping[int, Item]]:
        """The best matches that hold when they are asked about. More are ranked only where some of the best do not."""
        times, wanted = asked_about(question.text, asked=question.asked), limit
        while True:
            scores = await self.searches.best(
                namespace, question, matching=matching, limit=wanted, now=now
            )
            ids = [score.item_id for score in scores]
            items = await self.store.items(ids, max_bytes=ANSWER_BYTES, now=now)
            kept = [
                s for s in scores if s.item_id in items and holds(items[s.item_id].metadata, times)
            ]
            no_more = len(items) < wanted or wanted >= _MOST_RANKED
            if len(kept) >= limit or no_more:
                return kept[:limit], {s.item_id: items[s.item_id] for s in kept[:limit]}
            wanted = min(2 * wanted + limit, _MOST_RANKED)

    async def forget(
        self, *, namespace: tuple[str, ...], matching: Filter, everything: bool
    ) -> int:
        """Really removes what passes the filter in the namespace and below it; says how many items."""
        namespace = valid_namespace(namespace)
        if matching.empty and not everything:
            raise FieldInvalid(
                "everything",
                "filter is empty, and everything is not set",
                code="FORGET_UNLIMITED",
                resolution="Say by the filter what to forget, or set everything to forget all of the namespace.",
            )
        now, forgotten = self.clock(), 0
        while True:
            # In steps, so that others can write between them.
            removed = await self.store.forget(namespace, matching, limit=_AT_ONCE, now=now)
            forgotten += removed
            if removed < _AT_ONCE:
                return forgotten

    async def sweep(self) -> int:
        """Really removes what expired, and answers kept for repeats that are a week old; says how many items."""
        now, removed = self.clock(), 0
        while True:
            swept = await self.store.sweep(
                now=now, answers_before=now - _ANSWERS_KEPT, limit=_AT_ONCE
            )
            removed += swept
            if swept < _AT_ONCE:
                return removed

    async def _question(self, text: str, *, mode: Mode, asked: datetime) -> tuple[Question, str]:
        """The question, and the code of the error with which its meaning could not be told."""
        meaning, failure = None, ""
        if mode is not Mode.TEXT:
            try:
                meaning = await self.embedder.question(text, words_of(text))
            except CadreError as error:
                if mode is Mode.VECTOR or not self.embedder.costs:
                    raise
                failure = error.code
        terms = terms_of(text)
        return Question(text=text, terms=terms, vector=meaning, mode=mode, asked=asked), failure

    async def _neighbours(self, item: Item, window: int, room: "_Room") -> tuple[Item, ...]:
        if item.turn is None or not window or room.left <= 0:
            return ()
        place = item.turn.position
        found = await self.store.messages(
            item.namespace,
            first=max(0, place - window),
            before=place + window + 1,
            limit=2 * window + 1,
            max_bytes=room.left,
            now=self.clock(),
        )
        around = [each for each in reversed(found) if each.turn and each.turn.position != place]
        room.left -= sum(len(each.value.encode()) for each in around)
        return tuple(around)


@dataclass(kw_only=True)
class _Room:
    """Bytes that an answer may still take."""

    left: int


def _check(change: NewItem | Removal) -> None:
    """Raises FieldInvalid for what is outside of a limit, but for what `_draft` looks at."""
    valid_namespace(change.namespace)
    if isinstance(change, Removal):
        valid_key(change.key)
        return
    valid_own_key(change.key)
    valid_value(change.value)
    valid_fields(change.fields)
    if change.if_version is not None and change.if_version < 0:
        raise _version_invalid("if_version", change.if_version)


def _version_invalid(field: str, version: int) -> FieldInvalid:
    return FieldInvalid(
        field, f"{field} is {version}; 0 and up are allowed", code="VERSION_INVALID"
    )


def _searched(new: NewItem, *, said: datetime) -> Searched:
    value = valid_document(new.value, field="value")
    return searched_value(value, new.fields, key=new.key, said=said)


def _draft(new: NewItem, entry: Entry, *, now: datetime) -> Draft:
    return Draft(
        namespace=new.namespace,
        key=new.key,
        value=new.value,
        metadata=valid_metadata(new.metadata),
        tags=valid_tags(new.tags),
        expires=expiry(new.ttl_seconds, now=now),
        ttl=timedelta(seconds=new.ttl_seconds) if new.ttl_seconds else None,
        if_version=new.if_version,
        turn=None,
        entry=entry,
        fields=new.fields,
    )


def _passage(item: Item, question: Question) -> str:
    text = searched_text(from_json_text(item.value, field="value"), item.fields)
    return passage_of(text, frozenset(question.terms))


def _identity(new: NewItem | Removal) -> Sequence[str]:
    """What tells a request from others."""
    if isinstance(new, Removal):
        return ["remove", *new.namespace, new.key]
    parts = [*new.namespace, new.key, new.value, str(new.ttl_seconds)]
    if new.metadata or new.tags or new.if_version is not None:
        parts += [new.metadata, *new.tags, str(new.if_version)]
    if new.fields is not None:
        parts += ["fields", *new.fields]
    return parts


def once_of(idempotency_key: str, kind: str, said: Iterable[str]) -> Once | None:
    """Names a request by its idempotency key and all that it says; None without a key."""
    if not idempotency_key:
        return None
    digest = hashlib.sha256()
    for part in (kind, *said):
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


def within(field: str, value: int, *, most: int, default: int) -> int:
    """A number of a request, 0 standing for its default. Raises FieldInvalid."""
    if not 0 <= value <= most:
        allowed = (
            f"1 to {most} are allowed, or 0 for {default}"
            if default
            else f"0 to {most} are allowed"
        )
        raise FieldInvalid(field, f"{field} is {value}; {allowed}", code=f"{field.upper()}_INVALID")
    return value or default
