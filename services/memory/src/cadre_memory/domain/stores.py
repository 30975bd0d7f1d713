"""What memory wants from whatever stores it, and from whatever knows the meaning of texts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cadre_kit.errors import Conflict
from cadre_memory.domain.entries import Entry
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.items import Item, Page, Turn
from cadre_memory.domain.namespaces import Namespace

DIMENSIONS = 256

Vector: TypeAlias = npt.NDArray[np.float32]
"""The meaning of a text: DIMENSIONS numbers, of length 1."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    """What to store: the value, what is said about it, and what of it is searched (its `item_id` is not known yet)."""

    namespace: Namespace
    key: str
    value: str
    metadata: str
    tags: tuple[str, ...]
    expires: datetime | None
    if_version: int | None
    turn: Turn | None
    entry: Entry


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


class Embedder(Protocol):
    """Knows the meaning of texts. Blocks for as long as a text is long; any thread may ask."""

    @property
    def model(self) -> str:
        """Names the vectors: those of different names cannot be compared."""
        ...

    def embed(self, text: str) -> Vector | None:
        """The meaning of a text; None for one that has none. Raises Internal when the model is not there."""
        ...


class Store(Protocol):
    """Keeps items. An item whose `expires` is not after `now` is not there, whether or not it was swept.

    Every method raises Unavailable or DataLost when the store fails. What writes answered stays done, whatever is
    killed. A write is done as a whole or not at all.
    """

    async def put(
        self, drafts: Sequence[Draft], *, now: datetime, once: Once | None
    ) -> Sequence[Item]:
        """Stores each draft as the next version, or answers what `once` was answered.

        Raises VersionConflict and IdempotencyKeyReused.
        """
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

    async def delete(
        self, namespace: Namespace, key: str, *, now: datetime, once: Once | None
    ) -> bool:
        """Removes the item and its versions, and says whether there was one. Raises IdempotencyKeyReused."""
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

    async def refresh(self, entries: Sequence[tuple[Stale, Entry]]) -> None:
        """Replaces the entries of items that are as they were when they were found stale."""
        ...

    async def sweep(self, *, now: datetime, answers_before: datetime, limit: int) -> int:
        """Really removes up to `limit` expired items, and old answers; says how many items."""
        ...


def stored_vector(vector: Vector | None) -> bytes | None:
    """A vector as it is kept: half precision, which the embeddings' own table has too."""
    return None if vector is None else vector.astype("<f2").tobytes()


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(microseconds: int) -> datetime:
    """The moment so many microseconds after 1970 began."""
    return _EPOCH + timedelta(microseconds=microseconds)
