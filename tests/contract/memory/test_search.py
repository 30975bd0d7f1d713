"""What any store of memories keeps to, by words and by meaning."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cadre_memory.domain.items import FieldInvalid
from cadre_memory.domain.memories import Hit, Memories, NewItem, Query
from cadre_memory.domain.ranking import Mode

NOTES = {
    "parcel": "The parcel arrived broken",
    "berlin": "Ada moved to Berlin in May",
    "cats": "Cats sleep all day",
    "bill": "The invoice is overdue by a month",
}


async def put(
    memories: Memories, namespace: tuple[str, ...], key: str, value: object, ttl: float = 0
) -> None:
    new = NewItem(namespace=namespace, key=key, value=json.dumps(value), ttl_seconds=ttl)
    await memories.put(new, idempotency_key="")


async def search(
    memories: Memories,
    query: str,
    *,
    namespace: tuple[str, ...] = ("a", "b"),
    mode: Mode = Mode.HYBRID,
    top_k: int = 0,
) -> Sequence[Hit]:
    return await memories.search(Query(namespace=namespace, text=query, top_k=top_k, mode=mode))


@pytest.fixture
async def filled(memories: Memories) -> Memories:
    for key, note in NOTES.items():
        await put(memories, ("a", "b"), key, note)
    return memories


@pytest.mark.parametrize("mode", Mode)
async def test_what_matches_best_comes_first(filled: Memories, mode: Mode) -> None:
    hits = await search(filled, "Where did Ada move to? Berlin?", mode=mode)

    assert hits[0].item.key == "berlin"
    assert 0 < hits[0].score.score <= 1


async def test_words_are_found_whatever_their_ending_and_accents(filled: Memories) -> None:
    await put(filled, ("a", "b"), "cafe", "a quiet café")

    assert [h.item.key for h in await search(filled, "sleeping", mode=Mode.TEXT)] == ["cats"]
    assert [h.item.key for h in await search(filled, "CAFE", mode=Mode.TEXT)] == ["cafe"]


async def test_meaning_is_found_without_a_word_in_common(filled: Memories) -> None:
    hits = await search(filled, "unpaid bill payment", mode=Mode.VECTOR)

    assert hits[0].item.key == "bill"
    assert hits[0].score.vector_score > 0.1
    assert not await search(filled, "unpaid payment", mode=Mode.TEXT)


async def test_names_and_keys_are_searched_with_the_values(filled: Memories) -> None:
    await put(filled, ("a", "b"), "favourite-colour", "blue")
    await put(filled, ("a", "b"), "profile", {"shoe": {"size": 44}})

    assert (await search(filled, "colour", mode=Mode.TEXT))[0].item.key == "favourite-colour"
    assert (await search(filled, "size 44", mode=Mode.TEXT))[0].item.key == "profile"


@pytest.mark.parametrize("mode", Mode)
async def test_a_search_sees_below_its_namespace_and_nowhere_else(
    memories: Memories, mode: Mode
) -> None:
    for namespace in (("a", "b"), ("a", "b", "c"), ("a", "bc"), ("a",), ("a", "b c"), ("b",)):
        await put(memories, namespace, "k", "Ada moved to Berlin")

    hits = await search(memories, "Ada Berlin", mode=mode)
    above = await search(memories, "Ada Berlin", mode=mode, namespace=("a",))

    assert {h.item.namespace for h in hits} == {("a", "b"), ("a", "b", "c")}
    assert len(above) == 5


@pytest.mark.parametrize("mode", Mode)
async def test_what_changed_or_went_is_found_as_it_is_now(filled: Memories, mode: Mode) -> None:
    assert (await search(filled, "Berlin", mode=mode))[0].item.key == "berlin"

    await put(filled, ("a", "b"), "berlin", "Grace likes bananas")
    await filled.delete(namespace=("a", "b"), key="cats", idempotency_key="")
    await put(filled, ("a", "b"), "new", "Linus now lives in Berlin")

    assert (await search(filled, "Berlin", mode=mode))[0].item.key == "new"
    assert (await search(filled, "Grace bananas", mode=mode))[0].item.key == "berlin"
    assert "cats" not in {h.item.key for h in await search(filled, "cats sleep", mode=mode)}


@pytest.mark.parametrize("mode", Mode)
async def test_what_expired_takes_no_place_among_the_hits(
    filled: Memories, clock: Any, mode: Mode
) -> None:
    for number in range(450):
        await put(filled, ("a", "b"), f"old{number}", "Berlin Berlin Berlin", ttl=1)
    await search(filled, "Berlin", mode=mode)
    clock.move(1)

    hits = await search(filled, "Berlin", mode=mode, top_k=1)

    assert [h.item.key for h in hits] == ["berlin"]


async def test_hits_of_large_values_fit_into_one_answer(memories: Memories) -> None:
    for number in range(12):
        await put(memories, ("a", "b"), f"k{number}", "Berlin " + "x" * 1_000_000)

    assert len(await search(memories, "Berlin", top_k=200)) == 8


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=st.text(min_size=1, max_size=200).filter(str.strip))
async def test_any_question_is_text_and_never_syntax(filled: Memories, query: str) -> None:
    query = query.encode("utf-8", "replace").decode()

    for mode in Mode:
        assert len(await search(filled, query, mode=mode)) <= len(NOTES) + 2


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "a OR",
        "body: x",
        "NEAR(a b)",
        "^a",
        "a*",
        "-a",
        "{a",
        "'; DROP TABLE item; --",
        "a\x00b",
    ],
)
async def test_the_syntax_of_full_text_search_is_text(filled: Memories, query: str) -> None:
    await search(filled, query, mode=Mode.TEXT)

    assert len(await search(filled, "broken parcel", mode=Mode.TEXT)) == 1


@pytest.mark.parametrize(
    ("query", "top_k", "code"),
    [
        ("", 1, "QUERY_INVALID"),
        (" \n", 1, "QUERY_INVALID"),
        ("x" * 10_001, 1, "QUERY_INVALID"),
        ("x", 201, "TOP_K_INVALID"),
        ("x", -1, "TOP_K_INVALID"),
    ],
)
async def test_a_question_outside_of_its_limits_is_refused(
    memories: Memories, query: str, top_k: int, code: str
) -> None:
    with pytest.raises(FieldInvalid) as caught:
        await search(memories, query, top_k=top_k)

    assert caught.value.code == code
