"""What any store of memories keeps to when many things are asked at once: reads first, then writes as a whole."""

import json
from typing import Any

import pytest

from cadre_memory.domain.batches import (
    AnswerTooLarge,
    Batches,
    Find,
    Found,
    Get,
    ListNamespaces,
    Operation,
    Result,
)
from cadre_memory.domain.filters import Filter, valid_filter
from cadre_memory.domain.items import FieldInvalid, Item, ItemNotFound, VersionConflict
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.stores import Removal
from cadre_memory.domain.understanding import Understanding

PLACE = ("agent", "ada")


def new(key: str, value: object = "v", **more: Any) -> NewItem:
    more.setdefault("namespace", PLACE)
    return NewItem(key=key, value=json.dumps(value), **more)


async def run(memories: Memories, *operations: Operation, once: str = "") -> list[Result]:
    return list(await Batches(memories=memories).run(operations, idempotency_key=once))


async def find(memories: Memories, **asked: Any) -> list[tuple[str, bool]]:
    """The keys that are found, each with whether it matched the question."""
    asked.setdefault("namespace", PLACE)
    (found,) = await run(memories, Find(**asked))
    assert isinstance(found, list)
    return [(each.item.key, each.score is not None) for each in found if isinstance(each, Found)]


def where(conditions: object) -> Filter:
    return valid_filter(tags=(), metadata="", since=None, before=None, value=json.dumps(conditions))


async def keys(memories: Memories, conditions: object) -> set[str]:
    return {key for key, _ in await find(memories, matching=where(conditions))}


async def test_reads_see_what_was_there_and_the_last_write_to_a_key_counts(
    memories: Memories,
) -> None:
    await run(memories, new("a", 1), new("b", 1))

    results = await run(
        memories,
        new("a", 2),
        Get(namespace=PLACE, key="a"),
        Removal(namespace=PLACE, key="b"),
        new("c", 1),
        new("c", 2),
        Get(namespace=PLACE, key="nothing"),
    )

    values = [each.value if isinstance(each, Item) else each for each in results]
    assert values == ["2", "1", True, None, "2", None]
    assert [item.version for item in results if isinstance(item, Item)] == [2, 1, 1]
    with pytest.raises(ItemNotFound):
        await memories.get(namespace=PLACE, key="b")


async def test_a_batch_with_one_write_that_cannot_be_does_none(memories: Memories) -> None:
    await run(memories, new("kept", 1))

    with pytest.raises(VersionConflict):
        await run(memories, Removal(namespace=PLACE, key="kept"), new("a"), new("b", if_version=3))

    assert [key for key, _ in await find(memories)] == ["kept"]


async def test_a_repeated_batch_changes_nothing(memories: Memories) -> None:
    operations = (new("a", 1), Removal(namespace=PLACE, key="b"))
    await run(memories, new("b"))
    first = await run(memories, *operations, once="x")
    await run(memories, new("a", 2), new("b", 2))

    assert await run(memories, *operations, once="x") == first
    assert (await memories.get(namespace=PLACE, key="b")).version == 1
    assert (await memories.get(namespace=PLACE, key="a")).value == "2"


async def test_all_that_is_below_a_namespace_is_found_in_pages(memories: Memories) -> None:
    places = [("a",), ("a", "b"), ("a", "b", "c"), ("a", "bc"), ("b",)]
    await run(memories, *(new(f"k{n}", namespace=place) for place in places for n in range(3)))

    async def page(offset: int) -> list[tuple[tuple[str, ...], str]]:
        (found,) = await run(memories, Find(namespace=("a", "b"), limit=4, offset=offset))
        assert isinstance(found, list)
        return [(each.item.namespace, each.item.key) for each in found if isinstance(each, Found)]

    assert await page(0) == [*((("a", "b"), f"k{n}") for n in range(3)), (("a", "b", "c"), "k0")]
    assert await page(4) == [(("a", "b", "c"), "k1"), (("a", "b", "c"), "k2")]


async def test_what_does_not_match_a_question_comes_after_what_does(memories: Memories) -> None:
    await run(
        memories,
        new("berlin", "Ada moved to Berlin"),
        new("hidden", "Berlin again", fields=()),
        new("title", {"title": "Berlin", "text": "cheese"}, fields=("title",)),
    )

    found = await find(memories, query="Berlin")

    assert set(found) == {("berlin", True), ("title", True), ("hidden", False)}
    assert found[-1] == ("hidden", False)
    assert await find(memories, query="Berlin", offset=2) == [("hidden", False)]
    assert ("title", True) not in await find(memories, query="cheese")


async def test_parts_that_are_not_searched_stay_so_when_they_are_understood_anew(
    memories: Memories,
) -> None:
    value = {"parts": [{"text": "Lisbon"}, {"text": "Oslo"}], "note": "Berlin"}
    await run(
        memories, new("k", value, fields=("parts[*].text",)), new("hidden", "Oslo", fields=())
    )
    store: Any = memories.store
    store._model = "another"
    await Understanding(store=store, embedder=memories.embedder).refresh()

    async def hits(text: str) -> list[str]:
        found = await memories.search(Query(namespace=PLACE, text=text))
        return [hit.item.key for hit in found if hit.score.text_score]

    assert await hits("Oslo") == await hits("Lisbon") == ["k"]
    assert await hits("Berlin") == []


async def test_conditions_on_fields_of_values(memories: Memories) -> None:
    await run(
        memories,
        new("a", {"n": 1, "who": {"name": "Ada", "age": 36}, "tags": ["x", "y"]}),
        new("b", {"n": 2.5, "who": {"name": "Ben"}, "at": "2025-01-02"}),
        new("c", {"n": "text", "at": "2026-01-02"}),
        new("d", "only a text"),
    )

    assert await keys(memories, {"n": 1}) == {"a"}
    assert await keys(memories, {"n": {"$gte": 1}}) == {"a", "b"}
    assert await keys(memories, {"n": {"$gt": 1, "$lt": 3}}) == {"b"}
    assert await keys(memories, {"who": {"name": "Ada"}}) == {"a"}
    assert await keys(memories, {"who": {"age": {"$lte": 36}}}) == {"a"}
    assert await keys(memories, {"tags": ["x", "y"]}) == {"a"}
    assert await keys(memories, {"tags": ["x"]}) == set()
    assert await keys(memories, {"at": {"$gt": "2025-06-01"}}) == {"c"}
    assert await keys(memories, {"n": {"$ne": 1}, "at": {"$ne": None}}) == {"b", "c"}


@pytest.mark.parametrize(
    "conditions",
    [{"n": {"$near": 1}}, {"$or": []}, {"n": {"$gt": 1, "m": 2}}, [], {"n": "x" * 17_000}],
)
async def test_conditions_that_mean_nothing_are_refused(
    memories: Memories, conditions: object
) -> None:
    with pytest.raises(FieldInvalid) as caught:
        await find(memories, matching=where(conditions))

    assert caught.value.code == "CONDITIONS_INVALID"


async def test_reading_begins_the_time_anew_where_it_is_asked_to(
    memories: Memories, clock: Any
) -> None:
    await run(memories, new("a", "Berlin", ttl_seconds=10), new("b", ttl_seconds=10), new("c"))
    clock.move(6)
    await run(memories, Get(namespace=PLACE, key="a", refresh=True), Get(namespace=PLACE, key="b"))
    clock.move(6)

    assert {key for key, _ in await find(memories)} == {"a", "c"}
    assert [hit.item.key for hit in await memories.search(Query(namespace=PLACE, text="Berlin"))]
    await find(memories, refresh=True)
    clock.move(6)
    assert await memories.sweep() == 1
    assert (await memories.get(namespace=PLACE, key="a")).version == 1
    assert (await memories.get(namespace=PLACE, key="c")).expires is None
    clock.move(4)
    assert [key for key, _ in await find(memories)] == ["c"]


async def test_namespaces_are_listed_by_how_they_begin_and_end(memories: Memories) -> None:
    places = [("r", "a", "x"), ("r", "a", "y", "z"), ("r", "b", "x"), ("r", "c"), ("s", "a", "x")]
    await run(memories, *(new("k", namespace=place) for place in places))

    async def listed(**asked: Any) -> list[Any]:
        (found,) = await run(memories, ListNamespaces(**{"prefix": ("r",), **asked}))
        assert isinstance(found, list)
        return found

    assert await listed() == places[:4]
    assert await listed(suffix=("x",)) == [places[0], places[2]]
    assert await listed(prefix=("r", "*", "y")) == [places[1]]
    assert await listed(max_depth=2) == [("r", "a"), ("r", "b"), ("r", "c")]
    assert await listed(max_depth=2, offset=1, limit=1) == [("r", "b")]
    assert await listed(prefix=("*", "a"), suffix=("x",)) == [places[0], places[4]]


async def test_an_answer_that_is_too_large_is_refused_and_not_cut(memories: Memories) -> None:
    for number in range(9):
        await run(memories, new(f"k{number}", "x" * 1_000_000))

    for operation in (Find(namespace=PLACE, limit=9), Find(namespace=PLACE, query="x", limit=9)):
        with pytest.raises(AnswerTooLarge):
            await run(memories, operation)
    assert len(await find(memories, limit=8)) == 8


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (Find(namespace=()), "NAMESPACE_INVALID"),
        (Find(namespace=PLACE, limit=1_001), "LIMIT_INVALID"),
        (Find(namespace=PLACE, offset=-1), "OFFSET_INVALID"),
        (Get(namespace=PLACE, key=""), "KEY_INVALID"),
        (Removal(namespace=PLACE, key=""), "KEY_INVALID"),
        (ListNamespaces(prefix=()), "NAMESPACE_INVALID"),
        (ListNamespaces(prefix=PLACE, max_depth=17), "MAX_DEPTH_INVALID"),
        (new("k", fields=("a[",)), "SEARCHED_FIELDS_INVALID"),
        (new("k", fields=("a",) * 65), "SEARCHED_FIELDS_INVALID"),
    ],
)
async def test_an_operation_outside_of_its_limits_is_refused(
    memories: Memories, operation: Operation, code: str
) -> None:
    with pytest.raises(FieldInvalid) as caught:
        await run(memories, operation)

    assert caught.value.code == code
