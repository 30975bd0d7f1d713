"""What any store of memories keeps to when it is given what it cannot keep: an error of ours, and all as it was."""

import json
from typing import Any

import numpy as np
import pytest

from cadre_kit.errors import CadreError
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.ranking import Mode
from cadre_memory.domain.stores import Refreshed, Stale, stored_vector
from cadre_memory.domain.understanding import searched_value

PLACE = ("agent", "ada")


async def put(memories: Memories, **said: Any) -> None:
    said = {"namespace": PLACE, "key": "k", "value": '"v"', **said}
    await memories.put(NewItem(**said), idempotency_key="")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"value": json.dumps("x" * 1024 * 1024)}, "VALUE_TOO_LARGE"),
        ({"value": "NaN"}, "NOT_JSON"),
        ({"value": "[1e400"}, "NOT_JSON"),
        ({"value": "[" * 100_000}, "NOT_JSON"),
        ({"value": "[" * 101 + "]" * 101}, "VALUE_TOO_DEEP"),
        ({"metadata": '{"a":' * 300 + "1" + "}" * 300}, "VALUE_TOO_DEEP"),
        ({"value": ""}, "NOT_JSON"),
        ({"namespace": ()}, "NAMESPACE_INVALID"),
        ({"namespace": ("a", "")}, "NAMESPACE_INVALID"),
        ({"namespace": ("a\x1fb",)}, "NAMESPACE_INVALID"),
        ({"namespace": ("a\x00b",)}, "NAMESPACE_INVALID"),
        ({"namespace": ("x" * 129,)}, "NAMESPACE_INVALID"),
        ({"namespace": ("x",) * 17}, "NAMESPACE_INVALID"),
        ({"key": ""}, "KEY_INVALID"),
        ({"key": "ü" * 257}, "KEY_INVALID"),
        ({"key": "a\x00b"}, "KEY_INVALID"),
        ({"ttl_seconds": float("inf")}, "TTL_INVALID"),
        ({"metadata": '{"x": NaN}'}, "NOT_JSON"),
    ],
)
async def test_what_cannot_be_kept_is_refused_and_what_was_stored_stays(
    memories: Memories, said: dict[str, Any], code: str
) -> None:
    await put(memories, value='"Ada moved to Berlin"')

    with pytest.raises(CadreError) as caught:
        await put(memories, **said)

    assert caught.value.code == code
    assert (await memories.get(namespace=PLACE, key="k")).version == 1
    assert len(await memories.search(Query(namespace=("agent",), text="Berlin"))) == 1


async def test_the_deepest_document_is_listed_searched_and_filtered(memories: Memories) -> None:
    deepest = '{"a":' * 100 + '"Berlin"' + "}" * 100
    await put(memories, value=deepest)

    listed = await memories.list(
        namespace=PLACE,
        key_prefix="",
        page_size=0,
        token="",
        matching=Filter(value='{"a": {"$ne": 1}}'),
    )

    assert [item.value for item in listed.items] == [deepest]
    assert len(await memories.search(Query(namespace=PLACE, text="Berlin"))) == 1


async def test_a_version_that_is_not_kept_is_said_to_be_that(memories: Memories) -> None:
    await put(memories)

    with pytest.raises(CadreError, match="version 7 of 'k' is not kept"):
        await memories.get(namespace=PLACE, key="k", version=7)
    with pytest.raises(CadreError, match="version is -1; 0 and up are allowed"):
        await memories.get(namespace=PLACE, key="k", version=-1)


async def test_odd_texts_come_back_as_they_were(memories: Memories) -> None:
    texts = ["\ud800", "a\x00b", "\U0010ffff", "' OR 1=1 --", "*3\r\n$3\r\nDEL\r\n", "{x}:\n"]
    for number, text in enumerate(texts):
        await put(memories, key=f"k{number}", value=json.dumps(text))

    items = [await memories.get(namespace=PLACE, key=f"k{n}") for n in range(len(texts))]

    assert [json.loads(item.value) for item in items] == texts


async def test_a_vector_of_another_size_is_left_out_and_its_words_are_found(
    memories: Memories,
) -> None:
    for key in ("a", "b"):
        await put(memories, key=key, value='"Ada moved to Berlin"')
    found = {hit.item.key: hit for hit in await memories.search(Query(namespace=PLACE, text="Ada"))}
    stale = Stale(item_id=found["b"].score.item_id, item=found["b"].item)
    entry = searched_value("Ada moved to Berlin", None, key="b", said=stale.item.updated).entry
    short = entry._replace(embedding=stored_vector(np.ones(10, np.float32)))
    await memories.store.refresh([Refreshed(stale=stale, entry=short, digest=b"")])

    by_words = await memories.search(Query(namespace=PLACE, text="Berlin", mode=Mode.TEXT))
    by_meaning = await memories.search(Query(namespace=PLACE, text="Berlin", mode=Mode.VECTOR))

    assert {hit.item.key for hit in by_words} == {"a", "b"}
    assert [hit.item.key for hit in by_meaning] == ["a"]
