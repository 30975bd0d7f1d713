"""What memory wants from whatever stores it, and from whatever knows the meaning of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cadre_kit.errors import Conflict
from cadre_memory.domain.items import Item, Namespace, Page
from cadre_memory.domain.ranking import Candidate

DIMENSIONS = 256

Vector: TypeAlias = npt.NDArray[np.float32]
"""The meaning of a text: DIMENSIONS numbers, of length 1."""


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
    """What to store: the value, what it says in words, and what it means (None when it says nothing)."""

    namespace: Namespace
    key: str
    value: str
    text: str
    vector: Vector | None
    expires: datetime | None


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to look for in a namespace and all below it: words, a meaning, or both."""

    namespace: Namespace
    words: tuple[str, ...]
    vector: Vector | None
    limit: int


class Embedder(Protocol):
    """Knows the meaning of texts. Blocks for as long as a text is long; any thread may ask."""

    def embed(self, text: str) -> Vector | None:
        """The meaning of a text; None for one that has none. Raises Internal when the model is not there."""
        ...


class Store(Protocol):
    """Keeps items. An item whose `expires` is not after `now` is not there, whether or not it was swept.

    Every method raises Unavailable or DataLost when the store fails. What `put` and `delete` answered stays done,
    whatever is killed.
    """

    async def put(self, draft: Draft, *, now: datetime, once: Once | None) -> Item:
        """Stores a draft as the next version, or answers what `once` was answered. Raises IdempotencyKeyReused."""
        ...

    async def get(self, namespace: Namespace, key: str, *, now: datetime) -> Item | None:
        """The item."""
        ...

    async def delete(
        self, namespace: Namespace, key: str, *, now: datetime, once: Once | None
    ) -> bool:
        """Removes the item, and says whether there was one. Raises IdempotencyKeyReused."""
        ...

    async def page(
        self,
        namespace: Namespace,
        *,
        key_prefix: str,
        after: str,
        limit: int,
        max_bytes: int,
        now: datetime,
    ) -> Page:
        """The items of one namespace by key, after a key; ends early, but not before one item, at `max_bytes`."""
        ...

    async def candidates(self, question: Question, *, now: datetime) -> Sequence[Candidate]:
        """The best `limit` by words and the best `limit` by meaning, in no order."""
        ...

    async def items(self, ids: Sequence[int], *, max_bytes: int, now: datetime) -> dict[int, Item]:
        """Those of the items that are there, in order until `max_bytes` are full."""
        ...

    async def sweep(self, *, now: datetime, answers_before: datetime, limit: int) -> int:
        """Really removes up to `limit` expired items, and old answers; says how many items."""
        ...
