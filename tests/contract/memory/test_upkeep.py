"""What any store of memories keeps to of the work that a model does: done once, as often as it takes, and bounded."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.contract.memory.conftest import Clock

from cadre_kit.errors import CadreError, InvalidInput, Unavailable
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.entries import Role
from cadre_memory.domain.facts import Action, Lesson
from cadre_memory.domain.filters import ALL as _ALL
from cadre_memory.domain.items import FieldInvalid, Item
from cadre_memory.domain.learning import Learner
from cadre_memory.domain.memories import Memories, NewItem, Query
from cadre_memory.domain.messages import Message
from cadre_memory.domain.models import Ask, Asker, ReplyUnusable
from cadre_memory.domain.summaries import SUMMARY_KEY
from cadre_memory.domain.summarizing import Summarizer
from cadre_memory.domain.upkeeps import Upkeep, Upkeeps
from cadre_memory.domain.work import WORK, Claim, Job, Kind, Queue, Worker

CHAT = ("user", "ada")
FACTS = (*CHAT, "facts")
ASKER = Asker(workflow="triage", run_id="r1", node="answer")
LEARN = Upkeep(asker=ASKER, learn=True)
Answer = Callable[[Ask], str]


class FakeModels:
    """Answers as told, and keeps each reply by its key as the llm-proxy does; `paid` are the questions it answered."""

    def __init__(self) -> None:
        self.answer: Answer = lambda ask: facts() if ask.schema else "They talked."
        self.replies: dict[str, tuple[Ask, str]] = {}
        self.paid: list[Ask] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def reply(self, ask: Ask, *, asker: Asker) -> str:
        assert asker == ASKER
        if ask.key not in self.replies:
            self.paid.append(ask)
            self.replies[ask.key] = (ask, self.answer(ask))
        question, reply = self.replies[ask.key]
        assert question == ask
        await self.gate.wait()
        return reply


def facts(*found: dict[str, Any]) -> str:
    defaults = {"action": "add", "known": 0, "since": "", "until": ""}
    return json.dumps({"facts": [{**defaults, **fact} for fact in found]})


def said(text: str, *, day: int = 0) -> Message:
    time = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return Message(role=Role.USER, name="Ada", text=text, time=time, session="", metadata="")


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()


@pytest.fixture
def queue(memories: Memories) -> Queue:
    return Queue(memories=memories, pause=timedelta(0))


@pytest.fixture
def upkeeps(conversations: Conversations, queue: Queue) -> Upkeeps:
    return Upkeeps(conversations=conversations, queue=queue)


@asynccontextmanager
async def working(queue: Queue, models: FakeModels) -> AsyncIterator[None]:
    """A worker, killed at the end of the block: what it had begun stays as it is."""
    learner = Learner(memories=queue.memories, models=models)
    summarizer = Summarizer(memories=queue.memories, models=models)
    worker = Worker(queue, {Kind.LEARN: learner, Kind.SUMMARIZE: summarizer})
    task = asyncio.create_task(worker.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


async def all_done(queue: Queue, models: FakeModels) -> None:
    async def none_waits() -> bool:
        return not await queue.waiting()

    async with working(queue, models):
        await until(none_waits)


async def append(upkeeps: Upkeeps, *texts: str, upkeep: Upkeep = LEARN, day: int = 0) -> None:
    await upkeeps.append(
        namespace=CHAT,
        messages=[said(text, day=day) for text in texts],
        upkeep=upkeep,
        idempotency_key="",
    )


async def items(memories: Memories, namespace: tuple[str, ...], prefix: str = "") -> list[Item]:
    listing = await memories.list(namespace=namespace, key_prefix=prefix, page_size=0, token="")
    return list(listing.items)


async def found(memories: Memories, question: str, asked: str) -> list[str]:
    moment = datetime.fromisoformat(asked).replace(tzinfo=UTC)
    hits = await memories.search(Query(namespace=FACTS, text=question, asked=moment))
    return [json.loads(hit.item.value) for hit in hits]


async def test_a_fact_that_replaces_another_leaves_both_answerable_by_date(
    upkeeps: Upkeeps, queue: Queue, memories: Memories, models: FakeModels
) -> None:
    models.answer = lambda _: facts({"fact": "Ada lives in Paris."})
    await append(upkeeps, "I live in Paris")
    await all_done(queue, models)
    berlin = {"fact": "Ada lives in Berlin.", "action": "supersede", "known": 1}
    models.answer = lambda _: facts({**berlin, "since": "2023-05-01"})
    await append(upkeeps, "I moved to Berlin in May", day=160)
    await all_done(queue, models)

    assert "1. Ada lives in Paris. (since 2023-01-01)" in models.paid[-1].prompt
    where = "Where does Ada live?"
    assert await found(memories, where, "2023-04-01") == ["Ada lives in Paris."]
    assert await found(memories, where, "2023-07-01") == ["Ada lives in Berlin."]
    assert await found(memories, where, "2022-07-01") == []
    new, old = sorted(await items(memories, FACTS), key=lambda item: item.version)
    assert (new.version, old.version) == (1, 2)
    assert (
        json.loads(new.metadata).items()
        >= {
            "run_id": "r1",
            "workflow": "triage",
            "node": "answer",
            "conversation": "user/ada",
            "first_position": 1,
            "last_position": 1,
        }.items()
    )
    assert await items(memories, WORK) == []


async def test_more_is_ranked_where_the_best_hold_no_more(memories: Memories) -> None:
    for number in range(30):
        metadata = {"valid_to": "2023-01-01T00:00:00+00:00"} if number < 25 else {}
        await memories.put(
            NewItem(
                namespace=FACTS,
                key=str(number),
                value=json.dumps("Ada's city " + "and something else " * (number // 25)),
                metadata=json.dumps(metadata),
            ),
            idempotency_key="",
        )

    hits = await memories.search(Query(namespace=FACTS, text="Ada's city?", top_k=3))

    assert {hit.item.key for hit in hits} < {str(number) for number in range(25, 30)}
    assert len(hits) == 3


async def test_work_that_was_killed_while_it_asked_is_taken_up_and_paid_once(
    upkeeps: Upkeeps, queue: Queue, memories: Memories, models: FakeModels, clock: Clock
) -> None:
    models.answer = lambda _: facts({"fact": "Ada plays the cello."})
    models.gate.clear()
    await append(upkeeps, "I play the cello")
    async with working(queue, models):
        await until(_true_when(lambda: bool(models.paid)))

    models.gate.set()
    assert len(await queue.waiting()) == 1
    clock.move(16)
    await all_done(queue, models)

    assert len(models.paid) == 1
    assert [item.version for item in await items(memories, FACTS)] == [1]


async def test_work_that_was_killed_after_its_reply_goes_on_from_that(
    upkeeps: Upkeeps, queue: Queue, memories: Memories, models: FakeModels
) -> None:
    await append(upkeeps, "I play the cello")
    (item,) = await queue.waiting()
    lesson = Lesson(text="Ada plays the cello.", action=Action.ADD)
    left = replace(Job.of(item.value), made=json.dumps([lesson.document]))
    for _ in range(2):
        # As a kill leaves it: once before the facts were stored, once after.
        await memories.put(
            NewItem(namespace=WORK, key=left.key, value=left.document, metadata=item.metadata),
            idempotency_key="",
        )
        await all_done(queue, models)

    assert models.paid == []
    assert [item.version for item in await items(memories, FACTS)] == [1]


async def test_all_that_is_appended_is_learned_from_in_its_order_a_day_at_a_time(
    upkeeps: Upkeeps, queue: Queue, models: FakeModels, clock: Clock
) -> None:
    told = [
        said(f"day {day}, message {n} " + "x" * 1_900, day=day) for day in (0, 1) for n in range(4)
    ]
    for _ in range(2):
        await upkeeps.append(namespace=CHAT, messages=told, upkeep=LEARN, idempotency_key="run/1")
        clock.move(1)
        await upkeeps.append(
            namespace=CHAT, messages=[said("the end", day=2)], upkeep=LEARN, idempotency_key="run/2"
        )

    await all_done(queue, models)

    asked = [re.findall(r"day \d, message \d|the end", ask.prompt) for ask in models.paid]
    first, second = ([f"day {day}, message {n}" for n in range(4)] for day in (0, 1))
    assert asked[-1] == ["the end"]
    assert sorted(asked[:-1]) == [first[:3], first[3:], second[:3], second[3:]]
    assert ["Conversation of Sunday, 2023-01-01:" in ask.prompt for ask in models.paid].count(
        True
    ) == 2


def _true_when(condition: Callable[[], bool]) -> Callable[[], Any]:
    async def holds() -> bool:
        return condition()

    return holds


async def test_a_repeated_append_is_learned_from_once(
    upkeeps: Upkeeps, queue: Queue, models: FakeModels, clock: Clock
) -> None:
    for _ in range(3):
        first = await upkeeps.append(
            namespace=CHAT, messages=[said("I ski")], upkeep=LEARN, idempotency_key="run/1"
        )
        assert first == 0
        clock.move(60)
        await all_done(queue, models)

    assert len(models.paid) == 1


@pytest.mark.parametrize(
    ("error", "tries", "code"),
    [
        (
            Unavailable("the llm-proxy is away", code="SERVICE_UNAVAILABLE"),
            8,
            "SERVICE_UNAVAILABLE",
        ),
        (ReplyUnusable("the model's reply was cut off"), 3, "REPLY_UNUSABLE"),
        (InvalidInput("no such model", code="UNKNOWN_MODEL"), 1, "UNKNOWN_MODEL"),
    ],
)
async def test_what_fails_is_tried_a_few_times_and_then_says_why(
    error: CadreError,
    tries: int,
    code: str,
    upkeeps: Upkeeps,
    queue: Queue,
    memories: Memories,
    models: FakeModels,
) -> None:
    asked: list[str] = []

    def refuse(ask: Ask) -> str:
        asked.append(ask.key)
        raise error

    models.answer = refuse
    await append(upkeeps, "I play the cello")
    await all_done(queue, models)

    assert len(set(asked)) == tries
    (failed,) = await items(memories, WORK)
    assert (
        json.loads(failed.metadata).items()
        >= {
            "state": "failed",
            "code": code,
            "reason": error.message,
            "run_id": "r1",
        }.items()
    )
    assert failed.key.startswith("failed/learn/")
    assert failed.version == 1
    assert failed.expires is not None
    assert [json.loads(item.value) for item in await items(memories, CHAT)] == ["I play the cello"]


async def test_what_was_forgotten_meanwhile_is_not_learned(
    upkeeps: Upkeeps, queue: Queue, memories: Memories, models: FakeModels
) -> None:
    models.answer = lambda _: facts({"fact": "Ada plays the cello."})
    models.gate.clear()
    await append(upkeeps, "I play the cello")
    async with working(queue, models):
        await until(_true_when(lambda: bool(models.paid)))
        await memories.store.forget(CHAT, _ALL, limit=10, now=memories.clock())
        models.gate.set()
        await until(_none_waiting(queue))

    assert await items(memories, FACTS) == []


async def test_the_older_part_is_summarized_and_the_messages_stay(
    upkeeps: Upkeeps,
    queue: Queue,
    memories: Memories,
    conversations: Conversations,
    models: FakeModels,
) -> None:
    upkeep = Upkeep(asker=ASKER, summary_tokens=200)
    for turn in range(12):
        await append(upkeeps, f"turn {turn} " + "x" * 100, upkeep=upkeep)
        await all_done(queue, models)

    (summary,) = await items(memories, CHAT, SUMMARY_KEY)
    assert json.loads(summary.value) == "They talked."
    assert json.loads(summary.metadata)["last_position"] >= 6
    assert len(await items(memories, CHAT, "message/")) == 12
    assert "Summary so far:\nnone" in models.paid[0].prompt
    assert "Summary so far:\nThey talked." in models.paid[1].prompt
    assert "turn 0 " in models.paid[0].prompt
    assert "turn 0 " not in models.paid[1].prompt
    recent = await conversations.recent(
        namespace=CHAT, limit=0, max_tokens=80, before=0, with_summary=True
    )
    assert recent.summary is not None
    assert recent.summary.text == "They talked."
    assert len(recent.messages) == 2
    assert recent.more
    whole = await conversations.recent(
        namespace=CHAT, limit=0, max_tokens=0, before=0, with_summary=True
    )
    assert whole.summary is None
    assert len(whole.messages) == 12


async def test_a_conversation_is_summarized_by_one_at_a_time(
    upkeeps: Upkeeps, queue: Queue, models: FakeModels
) -> None:
    upkeep = Upkeep(asker=ASKER, summary_tokens=100)
    models.gate.clear()
    async with working(queue, models):
        await append(upkeeps, *("x" * 400 for _ in range(4)), upkeep=upkeep)
        await until(_true_when(lambda: bool(models.paid)))
        for _ in range(5):
            await append(upkeeps, "y" * 400, upkeep=upkeep)
        assert (len(models.paid), len(await queue.waiting())) == (1, 1)
        models.gate.set()
        await until(_none_waiting(queue))

    assert len(models.paid) <= 4


async def test_what_is_said_while_the_summarizing_ends_is_summarized_too(
    upkeeps: Upkeeps, memories: Memories, models: FakeModels
) -> None:
    upkeep = Upkeep(asker=ASKER, summary_tokens=100)

    class Ending(Queue):
        async def finish(self, claim: Claim) -> None:
            if not await items(memories, CHAT, SUMMARY_KEY):
                await append(upkeeps, *(f"{n} " + "word " * 50 for n in range(8)), upkeep=upkeep)
            await super().finish(claim)

    async def summarized() -> bool:
        found = await items(memories, CHAT, SUMMARY_KEY)
        return bool(found) and json.loads(found[0].metadata)["last_position"] == 7

    await append(upkeeps, "Hello", upkeep=upkeep)
    async with working(Ending(memories=memories, pause=timedelta(0)), models):
        await until(summarized)


async def test_nothing_is_made_of_a_conversation_unless_it_is_asked_for(
    upkeeps: Upkeeps, queue: Queue, memories: Memories
) -> None:
    await upkeeps.append(namespace=CHAT, messages=[said("x")], upkeep=None, idempotency_key="")

    assert await items(memories, WORK) == []


async def test_limits_of_upkeep_are_checked_before_anything_is_stored(
    upkeeps: Upkeeps, memories: Memories
) -> None:
    with pytest.raises(FieldInvalid):
        await append(upkeeps, "x", upkeep=Upkeep(asker=ASKER, summary_tokens=99))
    with pytest.raises(FieldInvalid):
        await upkeeps.append(
            namespace=("x",) * 16, messages=[said("x")], upkeep=LEARN, idempotency_key=""
        )

    assert await items(memories, CHAT) == []


async def test_rubbish_among_the_work_is_removed(
    queue: Queue, memories: Memories, models: FakeModels
) -> None:
    job = Job(id="x", kind=Kind.LEARN, namespace=CHAT, asker=ASKER)
    for number, value in enumerate(("1", "{}", '{"kind": "learn"}', '"x"', job.document)):
        new = NewItem(namespace=WORK, key=f"k{number}", value=value, metadata='{"state":"waiting"}')
        await memories.put(new, idempotency_key="")

    await all_done(queue, models)

    assert await items(memories, WORK) == []


def _none_waiting(queue: Queue) -> Callable[[], Any]:
    async def holds() -> bool:
        return not await queue.waiting()

    return holds
