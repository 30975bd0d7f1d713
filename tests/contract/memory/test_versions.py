"""What any store of memories keeps to, beside keys: versions, conditions, batches, tags, namespaces, forgetting."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cadre_memory.domain.filters import Filter
from cadre_memory.domain.items import VERSIONS, FieldInvalid, Item, ItemNotFound, VersionConflict
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.ranking import Mode
from cadre_memory.domain.stores import Removal

PLACE = ("agent", "ada")


async def put(memories: Memories, key: str, value: object = "v", **more: Any) -> Item:
    more.setdefault("namespace", PLACE)
    new = NewItem(key=key, value=json.dumps(value), **more)
    return await memories.put(new, idempotency_key="")


async def keys(memories: Memories, matching: Filter) -> list[str]:
    page = await memories.list(
        namespace=PLACE, key_prefix="", page_size=0, token="", matching=matching
    )
    return [item.key for item in page.items]


async def test_earlier_versions_can_be_read_until_there_are_too_many(memories: Memories) -> None:
    for number in range(1, VERSIONS + 3):
        await put(memories, "k", number, metadata=json.dumps({"n": number}), tags=(f"t{number}",))

    earlier = await memories.get(namespace=PLACE, key="k", version=5)
    assert (earlier.value, earlier.version, earlier.tags) == ("5", 5, ("t5",))
    assert json.loads(earlier.metadata) == {"n": 5}
    assert (await memories.get(namespace=PLACE, key="k", version=3)).value == "3"
    for gone in (2, VERSIONS + 3):
        with pytest.raises(ItemNotFound):
            await memories.get(namespace=PLACE, key="k", version=gone)


async def test_a_value_is_stored_only_over_the_version_that_was_expected(
    memories: Memories,
) -> None:
    await put(memories, "k", "one", if_version=0)
    await put(memories, "k", "two", if_version=1)

    for stale in (0, 1, 3):
        with pytest.raises(VersionConflict) as caught:
            await put(memories, "k", "three", if_version=stale)
        assert caught.value.metadata == {"key": "k", "expected": str(stale), "found": "2"}
    assert (await memories.get(namespace=PLACE, key="k")).value == '"two"'


async def test_of_many_who_expect_the_same_version_one_wins(memories: Memories) -> None:
    await put(memories, "k", 0)

    outcomes = await asyncio.gather(
        *(put(memories, "k", n, if_version=1) for n in range(1, 33)), return_exceptions=True
    )

    assert sum(isinstance(outcome, Item) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 31


async def test_a_batch_is_stored_as_a_whole_or_not_at_all(memories: Memories) -> None:
    await put(memories, "b")
    fine = [NewItem(namespace=PLACE, key=key, value="1") for key in ("a", "a", "c")]

    assert [i.version for i in await memories.put_all(fine, idempotency_key="x")] == [1, 2, 1]
    assert [i.version for i in await memories.put_all(fine, idempotency_key="x")] == [1, 2, 1]
    bad = [*fine, NewItem(namespace=PLACE, key="b", value="1", if_version=0)]
    with pytest.raises(VersionConflict):
        await memories.put_all(bad, idempotency_key="")
    assert (await memories.get(namespace=PLACE, key="a")).version == 2


async def test_a_large_batch_takes_new_known_expired_and_repeated_keys_in_their_order(
    memories: Memories, clock: Any
) -> None:
    await put(memories, "k7", "known")
    await put(memories, "k60", "expired", ttl_seconds=60)
    clock.move(61)
    puts = [
        NewItem(namespace=PLACE, key=f"k{n}", value=json.dumps(f"harbour {n}")) for n in range(120)
    ]
    changes: list[NewItem | Removal] = [
        *puts,
        puts[3],
        Removal(namespace=PLACE, key="k5"),
        puts[5],
        puts[60],
        puts[5],
    ]

    done = await memories.change_all(changes, idempotency_key="")

    versions = [each if isinstance(each, bool) else each.version for each in done]
    assert versions == [*[1] * 7, 2, *[1] * 112, 2, True, 1, 2, 2]
    assert (await memories.get(namespace=PLACE, key="k7", version=1)).value == '"known"'
    hits = await memories.search(Query(namespace=PLACE, text="harbour", top_k=200))
    assert {hit.item.key for hit in hits} == {each.key for each in puts}
    assert len({hit.score.item_id for hit in hits}) == 120


async def test_what_was_deleted_leaves_no_version_behind(memories: Memories) -> None:
    await put(memories, "k", "secret")
    await put(memories, "k", "harmless")
    await memories.delete(namespace=PLACE, key="k", idempotency_key="")

    assert (await put(memories, "k", "new")).version == 1
    with pytest.raises(ItemNotFound):
        await memories.get(namespace=PLACE, key="k", version=2)


async def test_a_filter_lists_what_has_all_that_it_says(memories: Memories, clock: Any) -> None:
    await put(memories, "plain")
    await put(memories, "red", tags=("red",), metadata='{"n": 1, "deep": {"x": [1]}}')
    clock.move(60)
    await put(memories, "both", tags=("blue", "red", "red"), metadata='{"n": 2}')

    assert await keys(memories, Filter(tags=("red",))) == ["both", "red"]
    assert await keys(memories, Filter(tags=("blue", "red"))) == ["both"]
    assert await keys(memories, Filter(metadata='{"deep": {"x": [1]}}')) == ["red"]
    assert await keys(memories, Filter(metadata='{"n": 2, "m": 1}')) == []
    assert await keys(memories, Filter(since=clock.now)) == ["both"]
    assert await keys(memories, Filter(before=clock.now)) == ["plain", "red"]


@pytest.mark.parametrize("mode", Mode)
async def test_a_filter_comes_before_the_ranking(memories: Memories, mode: Mode) -> None:
    for number in range(300):
        await put(memories, f"k{number}", "Ada moved to Berlin")
    await put(memories, "tagged", "Ada went to Berlin by train", tags=("trip",))

    query = Query(
        namespace=PLACE, text="Ada Berlin", top_k=1, mode=mode, matching=Filter(tags=("trip",))
    )

    assert [hit.item.key for hit in await memories.search(query)] == ["tagged"]


async def test_namespaces_are_listed_while_they_hold_something(
    memories: Memories, clock: Any
) -> None:
    for place in (("a",), ("a", "b"), ("a", "b", "c"), ("a", "bc"), ("b",)):
        await put(memories, "k1", namespace=place)
        await put(memories, "k2", namespace=place)
    await put(memories, "k", namespace=("a", "gone"), ttl_seconds=1)
    clock.move(1)

    first, token = await memories.namespaces(above=("a",), page_size=3, token="")
    rest, end = await memories.namespaces(above=("a",), page_size=3, token=token)

    assert [*first] == [("a",), ("a", "b"), ("a", "b", "c")]
    assert ([*rest], end) == ([("a", "bc")], "")
    with pytest.raises(FieldInvalid):
        await memories.namespaces(above=("b",), page_size=3, token=token)


async def test_forgetting_removes_what_passes_and_nothing_else(memories: Memories) -> None:
    await put(memories, "kept", "Berlin is kept")
    await put(memories, "k", "Berlin one", tags=("old",), namespace=(*PLACE, "below"))
    await put(memories, "k", "Berlin two", tags=("old",), namespace=(*PLACE, "below"))
    await put(memories, "k", "Berlin beside", tags=("old",), namespace=("agent", "adam"))
    berlin = Query(namespace=("agent",), text="Berlin")
    assert len(await memories.search(berlin)) == 3

    old = Filter(tags=("old",))
    assert await memories.forget(namespace=PLACE, matching=old, everything=False) == 1

    assert {hit.item.namespace for hit in await memories.search(berlin)} == {
        PLACE,
        ("agent", "adam"),
    }
    with pytest.raises(ItemNotFound):
        await memories.get(namespace=(*PLACE, "below"), key="k", version=1)


async def test_forgetting_everything_has_to_be_said(memories: Memories) -> None:
    await asyncio.gather(*(put(memories, f"k{n}") for n in range(620)))

    with pytest.raises(FieldInvalid, match="everything is not set"):
        await memories.forget(namespace=PLACE, matching=Filter(), everything=False)
    assert await memories.forget(namespace=PLACE, matching=Filter(), everything=True) == 620
    assert await keys(memories, Filter()) == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"metadata": "[]"}, "METADATA_INVALID"),
        ({"metadata": '{"x": NaN}'}, "NOT_JSON"),
        ({"metadata": json.dumps({"x": "y" * 17_000})}, "METADATA_INVALID"),
        ({"tags": ("",)}, "TAGS_INVALID"),
        ({"tags": tuple(f"t{n}" for n in range(65))}, "TAGS_INVALID"),
        ({"if_version": -1}, "VERSION_INVALID"),
        ({"key": "message/1"}, "KEY_RESERVED"),
    ],
)
async def test_what_is_said_about_a_value_has_limits(
    memories: Memories, more: dict[str, Any], code: str
) -> None:
    new = NewItem(**{"namespace": PLACE, "key": "k", "value": "1", **more})

    with pytest.raises(FieldInvalid if code != "NOT_JSON" else Exception) as caught:
        await memories.put(new, idempotency_key="")

    assert getattr(caught.value, "code", "") == code


async def test_times_of_a_filter_are_told_by_when_something_was_stored_last(
    memories: Memories, clock: Any
) -> None:
    clock.now = datetime(2025, 5, 1, tzinfo=UTC)
    await put(memories, "k", "first")
    clock.now = datetime(2025, 6, 1, tzinfo=UTC)
    await put(memories, "k", "second")

    assert await keys(memories, Filter(before=datetime(2025, 5, 15, tzinfo=UTC))) == []
