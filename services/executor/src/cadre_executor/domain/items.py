"""A node's for_each: its action once for each item, a bounded number side by side, the results in the items' order.

What an item gave is recorded by itself, so a visit that is repeated does only the items that are left; those records
are stored in groups, for no item waits for another.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cadre_executor.domain.children import abandon
from cadre_executor.domain.concurrency import side_by_side
from cadre_executor.domain.overruns import pauses
from cadre_executor.domain.runs import EventType, Usage
from cadre_executor.domain.states import item_of
from cadre_executor.domain.tasks import Means, Place
from cadre_executor.domain.tries import Tried, first_attempt, timed_out, try_often
from cadre_executor.domain.workflows import ForEach, OnError, Scope, State
from cadre_kit.errors import CadreError, InvalidInput, LimitExceeded, StoreFailed

__all__ = ["MOST_ITEMS", "Items", "ItemsNotAList", "TooManyItems", "items_of"]

MOST_ITEMS = 10_000
_DONE = "done"

Item = list[Any]


class ItemsNotAList(InvalidInput):
    """What a for_each goes through is no list."""

    code = "FOR_EACH_NOT_A_LIST"


class TooManyItems(LimitExceeded):
    """A for_each has more items than it may."""

    code = "TOO_MANY_ITEMS"


def items_of(each: ForEach, scope: Scope) -> list[Any]:
    """The items. Raises ItemsNotAList and TooManyItems."""
    items = each.items.resolve(scope)
    if not isinstance(items, list):
        raise ItemsNotAList(
            f"for_each goes through a list, and this is {_word(items)}",
            resolution="Let `items` be one lone reference to a list, such as {state.names}.",
        )
    if len(items) > MOST_ITEMS:
        raise TooManyItems(
            f"for_each has {len(items):,} items; the limit is {MOST_ITEMS:,}",
            resolution="Split the list over several runs.",
            metadata={"items": str(len(items)), "limit": str(MOST_ITEMS)},
        )
    return items


@dataclass(kw_only=True)
class Items:
    """The items of one visit. `usage` is what those that ended used; `paused` is why no further one begins."""

    place: Place
    each: ForEach
    state: State
    means: Means
    usage: Usage = field(default_factory=Usage)
    paused: CadreError | None = None

    async def all(self, items: Sequence[Any]) -> list[Item | None]:
        """What each item gave, as `item_of` says; None for one whose failure the node passes over. Raises the first
        failure otherwise, naming the item; that a budget is used up, once the items under way have ended."""
        node = self.place.node
        jobs = [self._job(item, number) for number, item in enumerate(items, start=1)]
        try:
            async with asyncio.timeout(node.timeout_seconds):
                given = await side_by_side(jobs, limit=self.each.max_concurrency)
        except TimeoutError as exc:
            self.usage = self.usage + await abandon(self.place.visit, self.means)
            raise timed_out(node) from exc
        except StoreFailed:
            raise
        except CadreError:
            self.usage = self.usage + await abandon(self.place.visit, self.means)
            raise
        if self.paused is not None:
            raise self.paused
        return given

    def _job(self, item: Any, number: int) -> Callable[[], Coroutine[Any, Any, Item | None]]:
        async def job() -> Item | None:
            return await self._one(item, replace(self.place, item=number))

        return job

    async def _one(self, item: Any, place: Place) -> Item | None:
        records = self.means.records
        done = records.find(f"{place.visit}/{_DONE}")
        if done is not None:
            self.usage = self.usage + Usage.of(done["usage"])
            given: Item | None = done["item"]
            return given
        if self.paused is not None:
            return None
        started = time.monotonic()
        tried = await self._try(item, replace(place, attempt=first_attempt(place, records)))
        if tried.error is not None and pauses(tried.error):
            self.paused = tried.error
            return None
        self.usage = self.usage + tried.usage
        self._tell(tried, started)
        if tried.error is not None and place.node.on_error is not OnError.CONTINUE:
            raise _named(tried.error, place)
        given = tried.accepted
        records.record(f"{place.visit}/{_DONE}", {"item": given, "usage": tried.usage.document})
        return given

    async def _try(self, item: Any, place: Place) -> Tried[Item]:
        try:
            scope = self._scope(item, place)
        except CadreError as error:
            return Tried(place=place, error=error)
        return await try_often(
            place, scope, lambda result: item_of(place.node, result), means=self.means
        )

    def _scope(self, item: Any, place: Place) -> Scope:
        """What one item is done with: itself, its place from 0, and the node's inputs."""
        name = self.each.item_name
        own = {name: item, f"{name}_index": place.item - 1}
        outer = Scope(state=self.state, inputs=own)
        inputs = {name: given.resolve(outer) for name, given in place.node.inputs.items()}
        return Scope(state=self.state, inputs={**own, **inputs})

    def _tell(self, tried: Tried[Item], started: float) -> None:
        kind = EventType.NODE_SUCCEEDED if tried.error is None else EventType.NODE_FAILED
        event = tried.place.event(
            kind,
            tried.told,
            usage=tried.usage if tried.usage.calls else None,
            error=tried.error,
            duration_ms=round((time.monotonic() - started) * 1000),
        )
        self.means.journal.emit(event)


class _ItemFailed(CadreError):
    """An item failed, and the node with it."""


def _named(error: CadreError, place: Place) -> CadreError:
    return _ItemFailed(
        f"item {place.item}: {error.message}",
        code=error.code,
        resolution=error.resolution,
        metadata={**error.metadata, "item": str(place.item)},
    )


def _word(value: object) -> str:
    return "null" if value is None else f"a value of type {type(value).__name__}"
