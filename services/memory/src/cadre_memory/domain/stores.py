"""What memory wants from whatever stores it, and from whatever knows the meaning of texts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cadre_kit.errors import Conflict, InvalidInput
from cadre_memory.domain.entries import Entry
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.items import Item, Page, Turn
from cadre_memory.domain.namespaces import Namespace

Vector: TypeAlias = npt.NDArray[np.float32]
"""The meaning of a text, of length 1; as many numbers as its model gives."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class IdempotencyKeyReused(Conflict):
    """An idempotency key came again, with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the idempotency key {key!r} was used for another request",
            resolution="Give each request a key of its own, and repeat a request unchanged.",
            metadata={"idempotency_key": key},
        )


@dataclass(frozen=True, kw_only=True)
class Once:
    """Names a request, so that repeating it changes nothing; `digest` tells it from others under the same key."""

    key: str
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What to store: the value, what is said about it, and what of it is searched (its `item_id` is not known yet).

    With `ttl`, `expires` may begin anew when it is read; `fields` are the parts that are searched, None for all.
    """

    namespace: Namespace
    key: str
    value: str
    metadata: str
    tags: tuple[str, ...]
    expires: datetime | None
    if_version: int | None
    turn: Turn | None
    entry: Entry
    ttl: timedelta | None = None
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What to remove, in the course of other changes."""

    namespace: Namespace
    key: str


Change: TypeAlias = Draft | Removal


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What happened in a range since a change: entries as they are now, and those that went."""

    entries: Sequence[Entry]
    removed: Sequence[int]
    last: int


@dataclass(frozen=True, kw_only=True)
class Stale:
    """An item whose entry was made by another model, or by none yet."""

    item_id: int
    item: Item


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The entry to put in the place of a stale one; `digest` names the text whose meaning is kept, and may be empty."""

    stale: Stale
    entry: Entry
    digest: bytes


class TextRefused(InvalidInput):
    """The model does not take a text, or one of several."""

    code = "TEXT_REFUSED"


class Embedder(Protocol):
    """Knows the meaning of texts."""

    @property
    def model(self) -> str:
        """Names the vectors: those of different names cannot be compared."""
        ...

    @property
    def costs(self) -> bool:
        """Whether asking takes money and time: then texts are understood after they were stored, and each once."""
        ...

    def embed(self, texts: Sequence[str]) -> Sequence[bytes | None]:
        """The meanings of texts, as they are stored; None for one that has none, or is understood later.

        Blocks for as long as the texts are long; any thread may ask. Raises Internal when the model is not there.
        """
        ...

    async def understand(self, texts: Sequence[str]) -> Sequence[bytes | None]:
        """The meanings of texts, as they are stored; None for one that has none. Raises TextRefused, and what else the
        model says."""
        ...

    async def question(self, text: str, words: Sequence[str]) -> Vector | None:
        """The meaning of a question, whose telling words are given. Raises what the model says."""
        ...


class Store(Protocol):
    """Keeps items. An item whose `expires` is not after `now` is not there, whether or not it was swept.

    Every method raises Unavailable or DataLost when the store fails. What writes answered stays done, whatever is
    killed. A write is done as a whole or not at all.
    """

    async def close(self) -> None:
        """Ends what is under way, and lets the database go."""
        ...

    async def change(
        self, changes: Sequence[Change], *, now: datetime, once: Once | None
    ) -> Sequence[Item | bool]:
        """Stores each draft as the next version, and removes items with their versions, in the order given; or answers
        what `once` was answered.

        A removal's answer is whether there was something. Raises VersionConflict and IdempotencyKeyReused.
        """
        ...

    async def touch(self, places: Sequence[tuple[Namespace, str]], *, now: datetime) -> None:
        """Begins the time anew that items are there for, of those of them that are there and have one."""
        ...

    async def append(
        self,
        namespace: Namespace,
        follow: Callable[[Turn | None], Iterable[Draft]],
        *,
        now: datetime,
        once: Once | None,
    ) -> int:
        """Stores the messages that follow the last one of a conversation, and answers the first one's position.

        Raises IdempotencyKeyReused.
        """
        ...

    async def get(
        self, namespace: Namespace, key: str, *, version: int, now: datetime
    ) -> Item | None:
        """The item as of a version; 0 is the newest."""
        ...

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
        """The items of one namespace by key, after a key; ends early, but not before one item, at `max_bytes`."""
        ...

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
        """The items that pass, of a namespace (() for all) and below it, by namespace and key; cut as `page` is."""
        ...

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
        """The messages from one position to before another, newest first, until `max_bytes` are full."""
        ...

    async def namespaces(
        self, above: Namespace, *, after: Namespace, limit: int, now: datetime
    ) -> Sequence[Namespace]:
        """The namespaces at and below one that hold something, in order, after one."""
        ...

    async def matching(
        self, namespace: Namespace, matching: Filter, *, now: datetime
    ) -> Sequence[int]:
        """The ids of the items of a namespace, and below it, that pass a filter."""
        ...

    async def items(self, ids: Sequence[int], *, max_bytes: int, now: datetime) -> dict[int, Item]:
        """Those of the items that are there, in order until `max_bytes` are full."""
        ...

    async def count(self, namespace: Namespace, *, limit: int) -> int:
        """How many items are in a namespace and below it, expired ones included; counts to `limit`."""
        ...

    async def entries(
        self, namespace: Namespace, *, after: tuple[Namespace, int], limit: int
    ) -> tuple[Sequence[Entry], tuple[Namespace, int]]:
        """Some entries of a namespace and below it, after a place, and the place of the last of them.

        The first place is ((), 0). Vectors of other models are left out.
        """
        ...

    async def changes(self, namespace: Namespace, *, since: int) -> Changes | None:
        """What happened in a namespace and below it since a change; None when that is not known any more."""
        ...

    async def last_change(self) -> int:
        """The number of the newest change."""
        ...

    async def forget(
        self, namespace: Namespace, matching: Filter, *, limit: int, now: datetime
    ) -> int:
        """Really removes up to `limit` items of a namespace and below it that pass a filter; says how many."""
        ...

    async def stale(self, *, limit: int) -> Sequence[Stale]:
        """Some items whose entries are not by the model that the store was opened for."""
        ...

    async def meanings(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """The embeddings, by the model of this store, of those texts that some item still has."""
        ...

    async def refresh(self, entries: Sequence[Refreshed]) -> None:
        """Replaces the entries of items that are as they were when they were found stale."""
        ...

    async def sweep(self, *, now: datetime, answers_before: datetime, limit: int) -> int:
        """Really removes up to `limit` expired items, and old answers; says how many items."""
        ...


def stored_vector(vector: Vector | None) -> bytes | None:
    """A vector as it is kept: half precision, which the embeddings' own table has too."""
    return None if vector is None else stored_vectors(vector)[0]


def stored_vectors(vectors: Vector) -> list[bytes]:
    """Vectors, a row each, as they are kept."""
    halves = vectors.astype("<f2")
    content, width = halves.tobytes(), halves.shape[-1] * halves.itemsize
    return [content[start : start + width] for start in range(0, len(content), width)]


def ttl_micros(draft: Draft) -> int | None:
    """Microseconds that a draft is there for; None for ever."""
    return None if draft.ttl is None else draft.ttl // _MICROSECOND


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(microseconds: int) -> datetime:
    """The moment so many microseconds after 1970 began."""
    return _EPOCH + timedelta(microseconds=microseconds)
