"""What any store of memories keeps to, by key: versions, expiry, pages, repeats, and many callers at once."""

import asyncio
import json
from typing import Any

import pytest

from cadre_memory.domain.items import FieldInvalid, Item, ItemNotFound
from cadre_memory.domain.memories import Memories, NewItem
from cadre_memory.domain.stores import IdempotencyKeyReused

PLACE = ("agent", "ada")


async def put(
    memories: Memories,
    key: str,
    value: object = "v",
    *,
    ttl: float = 0,
    once: str = "",
    **more: Any,
) -> Item:
    more.setdefault("namespace", PLACE)
    new = NewItem(key=key, value=json.dumps(value), ttl_seconds=ttl, **more)
    return await memories.put(new, idempotency_key=once)


async def keys(memories: Memories, prefix: str = "", size: int = 0) -> list[list[str]]:
    pages, token = [], ""
    while True:
        page = await memories.list(namespace=PLACE, key_prefix=prefix, page_size=size, token=token)
        pages.append([item.key for item in page.items])
        token = page.next_page_token
        if not token:
            return pages


async def test_a_value_stored_again_is_the_next_version(memories: Memories, clock: Any) -> None:
    first = await put(memories, "k", 1)
    clock.move(5)
    second = await put(memories, "k", {"n": 9007199254740993})

    assert (first.version, second.version) == (1, 2)
    assert (second.created, second.updated) == (first.created, clock.now)
    assert await memories.get(namespace=PLACE, key="k") == second
    assert second.value == '{"n": 9007199254740993}'


async def test_what_expired_is_nowhere_and_counts_from_one_again(
    memories: Memories, clock: Any
) -> None:
    await put(memories, "k", "mango", ttl=2.5)
    clock.move(2.5)

    with pytest.raises(ItemNotFound):
        await memories.get(namespace=PLACE, key="k")
    assert await keys(memories) == [[]]
    assert not await memories.delete(namespace=PLACE, key="k", idempotency_key="")

    await put(memories, "k", "mango", ttl=1)
    clock.move(1)
    assert (await put(memories, "k", "mango")).version == 1


async def test_deleting_says_whether_there_was_something(memories: Memories) -> None:
    await put(memories, "k")

    assert await memories.delete(namespace=PLACE, key="k", idempotency_key="")
    assert not await memories.delete(namespace=PLACE, key="k", idempotency_key="")
    with pytest.raises(ItemNotFound) as caught:
        await memories.get(namespace=PLACE, key="k")
    assert caught.value.metadata == {"namespace": "agent/ada", "key": "k"}


async def test_a_repeated_request_is_answered_as_before_and_changes_nothing(
    memories: Memories, clock: Any
) -> None:
    first = await put(memories, "k", "one", once="run/1")
    await put(memories, "k", "two")
    clock.move(1)

    assert await put(memories, "k", "one", once="run/1") == first
    assert json.loads((await memories.get(namespace=PLACE, key="k")).value) == "two"
    with pytest.raises(IdempotencyKeyReused):
        await put(memories, "k", "three", once="run/1")


async def test_a_repeated_delete_leaves_what_was_stored_since(memories: Memories) -> None:
    await put(memories, "k")
    assert await memories.delete(namespace=PLACE, key="k", idempotency_key="d")
    await put(memories, "k")

    assert await memories.delete(namespace=PLACE, key="k", idempotency_key="d")
    assert (await memories.get(namespace=PLACE, key="k")).version == 1


async def test_answers_for_repeats_are_kept_for_a_week(memories: Memories, clock: Any) -> None:
    await put(memories, "k", once="run/1")
    clock.move(6 * 24 * 3600)
    await memories.sweep()
    assert (await put(memories, "k", once="run/1")).version == 1

    clock.move(2 * 24 * 3600)
    await memories.sweep()
    assert (await put(memories, "k", once="run/1")).version == 2


async def test_a_listing_comes_by_key_in_pages(memories: Memories) -> None:
    for key in ("b", "a", "ü", "aa", "ab", "\U0010ffff", "c\x01"):
        await put(memories, key)
    await put(memories, "below", namespace=(*PLACE, "below"))

    assert await keys(memories, size=3) == [["a", "aa", "ab"], ["b", "c\x01", "ü"], ["\U0010ffff"]]
    assert await keys(memories, prefix="a", size=2) == [["a", "aa"], ["ab"]]
    assert await keys(memories, prefix="\U0010ffff") == [["\U0010ffff"]]
    assert await keys(memories, prefix="nothing") == [[]]


async def test_a_page_of_large_values_is_cut_short_and_goes_on(memories: Memories) -> None:
    large = "x" * 1_000_000
    for number in range(20):
        await put(memories, f"{number:02}", large)

    assert [len(page) for page in await keys(memories)] == [8, 8, 4]


@pytest.mark.parametrize("size", [-1, 501])
async def test_a_page_size_outside_of_its_limits_is_refused(memories: Memories, size: int) -> None:
    with pytest.raises(FieldInvalid) as caught:
        await memories.list(namespace=PLACE, key_prefix="", page_size=size, token="")

    assert caught.value.code == "PAGE_SIZE_INVALID"


async def test_many_callers_at_once_lose_nothing(memories: Memories) -> None:
    await asyncio.gather(*(put(memories, f"k{n % 10}", n) for n in range(200)))

    items = [await memories.get(namespace=PLACE, key=f"k{n}") for n in range(10)]
    assert [item.version for item in items] == [20] * 10


async def test_sweeping_removes_what_expired_and_nothing_else(
    memories: Memories, clock: Any
) -> None:
    for first in (0, 550):
        numbers = range(first, first + 550)
        await asyncio.gather(*(put(memories, f"k{n}", ttl=1 + n % 2) for n in numbers))
    clock.move(1)

    assert await memories.sweep() == 550
    assert await memories.sweep() == 0
    assert sum(len(page) for page in await keys(memories)) == 550
