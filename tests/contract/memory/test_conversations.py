"""What any store of memories keeps to, by conversation: order, sessions, limits, and what is found in them."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.entries import Role
from cadre_memory.domain.filters import Filter
from cadre_memory.domain.items import FieldInvalid
from cadre_memory.domain.memories import Hit, Memories, Query
from cadre_memory.domain.messages import Message

CHAT = ("conversation", "c1")
START = datetime(2023, 5, 1, 9, tzinfo=UTC)


def said(
    text: str, name: str = "", *, role: Role = Role.USER, day: float = 0, session: str = ""
) -> Message:
    return Message(
        role=role,
        name=name,
        text=text,
        time=START + timedelta(days=day),
        session=session,
        metadata="",
    )


async def append(
    conversations: Conversations, *messages: Message, once: str = "", to: tuple[str, ...] = CHAT
) -> int:
    return await conversations.append(namespace=to, messages=messages, idempotency_key=once)


async def texts(
    conversations: Conversations, *, limit: int = 0, tokens: int = 0, before: int = 0
) -> tuple[list[str], bool]:
    recent = await conversations.recent(
        namespace=CHAT, limit=limit, max_tokens=tokens, before=before
    )
    return [json.loads(item.value) for item in recent.messages], recent.more


async def search(memories: Memories, text: str, *, top_k: int = 1, window: int = 0) -> list[Hit]:
    query = Query(namespace=("conversation",), text=text, top_k=top_k, window=window)
    return list(await memories.search(query))


async def test_messages_come_back_in_order_from_the_end(conversations: Conversations) -> None:
    assert await append(conversations, said("one"), said("two")) == 0
    assert await append(conversations, said("three")) == 2

    assert await texts(conversations) == (["one", "two", "three"], False)
    assert await texts(conversations, limit=2) == (["two", "three"], True)
    assert await texts(conversations, before=2) == (["one", "two"], False)
    assert await texts(conversations, limit=1, before=1) == (["one"], False)


async def test_as_many_messages_come_as_fit_into_the_tokens(conversations: Conversations) -> None:
    await append(conversations, *(said(f"{n} " + "x" * 398) for n in range(10)))

    assert len((await texts(conversations, tokens=350))[0]) == 3
    assert await texts(conversations, tokens=1) == ([f"9 {'x' * 398}"], True)


async def test_a_repeated_append_adds_nothing(conversations: Conversations) -> None:
    first = await append(conversations, said("one"), once="run/1")
    await append(conversations, said("two"))

    assert await append(conversations, said("one"), once="run/1") == first
    assert await texts(conversations) == (["one", "two"], False)


async def test_many_who_speak_at_once_each_get_a_place(conversations: Conversations) -> None:
    places = await asyncio.gather(*(append(conversations, said(f"m{n}")) for n in range(40)))

    assert sorted(places) == list(range(40))
    assert len((await texts(conversations))[0]) == 40


async def test_sessions_end_by_silence_or_by_name(conversations: Conversations) -> None:
    await append(
        conversations,
        said("a"),
        said("b", day=0.2),
        said("c", day=1),
        said("d", day=1, session="named"),
        said("e", day=1),
    )

    recent = await conversations.recent(namespace=CHAT, limit=0, max_tokens=0, before=0)
    sessions = [item.turn.session for item in recent.messages if item.turn]
    assert sessions[0] == sessions[1] != sessions[2] != sessions[3] == sessions[4] == "named"


async def test_a_message_is_found_with_those_around_it(
    conversations: Conversations, memories: Memories
) -> None:
    lines = ("Hi!", "Any news?", "We adopted a beagle", "How sweet!", "Bye")
    await append(conversations, *(said(line) for line in lines))

    (hit,) = await search(memories, "Who adopted a beagle?", window=1)

    assert hit.item.turn is not None
    assert (hit.item.turn.position, hit.passage) == (2, "We adopted a beagle")
    assert [json.loads(each.value) for each in hit.neighbours] == ["Any news?", "How sweet!"]


async def test_an_answer_is_found_by_the_question_before_it(
    conversations: Conversations, memories: Memories
) -> None:
    chat = ("Which instrument do you play, Ben?", "The cello.", "Nice weather.", "It rains here.")
    await append(conversations, *(said(t, ("Ada", "Ben")[n % 2]) for n, t in enumerate(chat)))
    await append(conversations, said("The harp.", "Ada", day=9), said("Fine.", "Ben", day=9))

    hits = await search(memories, "Which instrument does Ben play?", top_k=2)

    assert "The cello." in [json.loads(hit.item.value) for hit in hits]


async def test_who_said_it_counts(conversations: Conversations, memories: Memories) -> None:
    await append(conversations, said("I moved to Lisbon", "Ada"), said("I moved to Oslo", "Ben"))

    assert json.loads((await search(memories, "Where did Ben move?"))[0].item.value) == (
        "I moved to Oslo"
    )
    assert json.loads((await search(memories, "Where did Ada move?"))[0].item.value) == (
        "I moved to Lisbon"
    )


async def test_when_it_was_said_counts(conversations: Conversations, memories: Memories) -> None:
    for day in (0, 40, 80):
        await append(conversations, said("I ran a race today", "Ada", day=day))

    (hit,) = await search(memories, "Which race did Ada run in June 2023?")

    assert hit.item.turn is not None
    assert hit.item.turn.time.month == 6


async def test_the_time_of_a_message_is_what_filters_go_by(
    conversations: Conversations, memories: Memories
) -> None:
    await append(conversations, said("a race", day=0), said("a race", day=40))

    query = Query(namespace=CHAT, text="race", matching=Filter(since=START + timedelta(days=1)))

    assert [hit.item.key for hit in await memories.search(query)] == ["message/0000000001"]


async def test_conversations_do_not_see_each_other(
    conversations: Conversations, memories: Memories
) -> None:
    await append(conversations, said("a secret about Berlin"), to=("conversation", "c1"))
    await append(conversations, said("nothing here"), to=("conversation", "c10"))

    hits = await memories.search(Query(namespace=("conversation", "c10"), text="Berlin secret"))

    assert "secret" not in "".join(hit.item.value for hit in hits)


async def test_a_deleted_message_is_gone_and_the_others_keep_their_places(
    conversations: Conversations, memories: Memories
) -> None:
    await append(conversations, said("one"), said("two"), said("three"))
    await memories.delete(namespace=CHAT, key="message/0000000001", idempotency_key="")

    assert await texts(conversations) == (["one", "three"], False)
    assert await append(conversations, said("four")) == 3


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([], "MESSAGES_INVALID"),
        ([said("x", "n" * 129)], "MESSAGES_INVALID"),
        ([said("x" * 1_048_575)], "VALUE_TOO_LARGE"),
        ([said("x" * 1_000_000)] * 9, "REQUEST_TOO_LARGE"),
    ],
)
async def test_messages_outside_of_their_limits_are_refused(
    conversations: Conversations, messages: list[Message], code: str
) -> None:
    with pytest.raises(FieldInvalid) as caught:
        await append(conversations, *messages)

    assert caught.value.code == code
