"""What the executor asks of its stores, held to by SQLite and by PostgreSQL."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cadre_executor.adapters.batch_store import SqlBatchStore
from cadre_executor.adapters.definition_store import SqlDefinitionStore
from cadre_executor.adapters.result_cache import SqlResultCache
from cadre_executor.adapters.run_store import SqlRunStore
from cadre_executor.domain.answers import Answer, AnswerChosen, AnswerRun
from cadre_executor.domain.batches import Batch as RowsBatch
from cadre_executor.domain.batches import Row, RowCounts
from cadre_executor.domain.checkpoints import Checkpoint, CheckpointNotFound, Position
from cadre_executor.domain.definitions import Definition, WorkflowNotFound
from cadre_executor.domain.drivers import ending_of
from cadre_executor.domain.effects import Effect
from cadre_executor.domain.journals import Batch, LeaseLost, VisitWrites
from cadre_executor.domain.runs import (
    Event,
    EventType,
    Failure,
    IdempotencyConflict,
    NotFailed,
    Question,
    Run,
    RunIdTaken,
    RunNotFound,
    RunQuery,
    RunStatus,
    Usage,
)
from cadre_executor.domain.states import no_progress
from cadre_executor.domain.stores import Candidate
from cadre_executor.domain.visits import Step
from cadre_kit.ids import new_id
from cadre_kit.transactions import Transactions

SOON = 1e12


@pytest.fixture
def store(database: Transactions) -> SqlRunStore:
    return SqlRunStore(database, kept_checkpoints=3)


def a_run(**more: Any) -> Run:
    run = Run(
        id=new_id(),
        workflow="w",
        version=1,
        status=RunStatus.QUEUED,
        source="flow: w",
        inputs={"text": "ünicode \u0000 ☃", "n": 2**70},
        trigger="api",
        created_time=datetime.now(UTC),
    )
    return replace(run, **more)


def event(kind: EventType, node: str = "", **more: Any) -> Event:
    return Event(type=kind, time=datetime.now(UTC), node=node, **more)


def position(step: int, **fields: Any) -> Position:
    progress = no_progress()
    progress["visits"] = {"n": step}
    return Position(fields=fields, progress=progress)


def at(step: int, **fields: Any) -> Checkpoint:
    return Checkpoint(position=position(step, **fields), time=datetime.now(UTC), nodes=("n",))


def a_question(node: str = "ask", **more: Any) -> Question:
    question = Question(
        node=node, iteration=1, message="?", choices=("yes", "no"), asked_time=datetime.now(UTC)
    )
    return replace(question, **more)


def yes(run: Run, choice: str = "yes") -> AnswerRun:
    return AnswerRun(run_id=run.id, answer=Answer(choice=choice, time=datetime.now(UTC)))


async def added(store: SqlRunStore, owner: str = "me", key: str = "", **more: Any) -> Run:
    run, _ = await store.add(
        a_run(**more),
        event(EventType.RUN_QUEUED),
        key=key,
        fingerprint="f",
        owner=owner,
        expires=SOON,
    )
    return run


async def commit(store: SqlRunStore, run: Run, owner: str = "me", **batch: Any) -> None:
    await store.commit(run.id, Batch(**batch), owner=owner, expires=SOON)


async def waits(store: SqlRunStore, run: Run, *questions: Question) -> None:
    started = event(EventType.RUN_STARTED)
    batch = Batch(events=[started], questions=questions or (a_question(),))
    visits = {(q.node, q.iteration) for q in batch.questions}
    assert not await store.suspend(run.id, batch, owner="me", expires=SOON, open_visits=visits)


async def failed(store: SqlRunStore, run: Run) -> None:
    ending = ending_of(
        RunStatus.FAILED, since=run.created_time, error=Failure(code="X", message="x", node="n")
    )
    batch = Batch(events=[event(EventType.RUN_STARTED)])
    assert await store.finish(run.id, ending, batch, owner="me")


async def test_a_run_is_kept_as_it_was_given(store: SqlRunStore) -> None:
    run = await added(store, trace_parent="00-a-b-01", forked_from="x")

    found = await store.get(run.id)

    assert found == replace(run, last_sequence=1)
    with pytest.raises(RunNotFound):
        await store.get(new_id())


async def test_of_many_requests_with_one_key_one_run_comes(store: SqlRunStore) -> None:
    runs = await asyncio.gather(*(added(store, key="k", source=str(n)) for n in range(8)))

    assert len({run.id for run in runs}) == 1
    with pytest.raises(IdempotencyConflict):
        await store.add(
            a_run(),
            event(EventType.RUN_QUEUED),
            key="k",
            fingerprint="other",
            owner="",
            expires=0.0,
        )


async def test_events_are_numbered_without_gaps_whoever_stores_them(store: SqlRunStore) -> None:
    runs = [await added(store) for _ in range(3)]

    await asyncio.gather(
        *(
            commit(store, run, events=[event(EventType.NODE_STARTED, "n")] * 2)
            for run in runs
            for _ in range(10)
        )
    )

    for run in runs:
        events = await store.events(run.id, after=0, limit=100)
        assert [e.sequence for e in events] == list(range(1, 22))


async def test_one_of_many_takes_a_run(store: SqlRunStore) -> None:
    run = await added(store, owner="")
    (candidate,) = await store.candidates(owners=[], now=time.time(), limit=5)

    claims = await asyncio.gather(
        *(store.claim(candidate, owner=f"o{n}", expires=SOON) for n in range(8))
    )

    assert sum(claim is not None for claim in claims) == 1
    assert candidate.run_id == run.id
    assert await store.candidates(owners=[], now=time.time(), limit=5) == []


async def test_who_lost_the_lease_stores_nothing(store: SqlRunStore) -> None:
    run = await added(store)
    held = Candidate(run_id=run.id, owner="me", lease_expires=SOON)
    assert await store.claim(held, owner="other", expires=SOON) is not None

    with pytest.raises(LeaseLost):
        await commit(store, run, events=[event(EventType.NODE_STARTED)], checkpoint=at(1))
    ending = ending_of(RunStatus.SUCCEEDED, since=run.created_time)

    assert not await store.finish(run.id, ending, Batch(), owner="me")
    assert len(await store.events(run.id, after=0, limit=9)) == 1
    assert await store.checkpoints(run.id) == []


async def test_a_claim_has_all_that_the_run_goes_on_with(store: SqlRunStore) -> None:
    run = await added(store)
    retried = event(EventType.NODE_RETRIED, "n", iteration=1, attempt=2)
    step = Step(writes={"x": 1}, advance=no_progress(), wake=("z",))
    made = VisitWrites(node="m", iteration=1, step=step)
    usage = Usage(input_tokens=3, known_usd=Decimal("0.10"), calls=1)
    await commit(store, run, events=[event(EventType.RUN_STARTED), retried], checkpoint=at(1, a=1))
    await commit(store, run, writes=[made], questions=[a_question()], usage=usage)
    await store.release([run.id], owner="me")

    (candidate,) = await store.candidates(owners=[], now=time.time(), limit=5)
    claim = await store.claim(candidate, owner="other", expires=SOON)

    assert claim is not None
    assert claim.position == position(1, a=1)
    assert claim.attempts == {("n", 1): 3}
    assert Step.of(claim.made["m", 1]) == step
    assert claim.asked["ask", 1].answer is None
    assert (claim.run.usage, claim.interrupted) == (usage, True)


async def test_the_last_checkpoints_are_kept(store: SqlRunStore) -> None:
    run = await added(store)
    for step in range(1, 6):
        await commit(store, run, checkpoint=at(step, a=step))
    await commit(store, run, checkpoint=at(5, a="again"))

    found = await store.checkpoints(run.id)

    assert [(c.id, c.position.fields["a"]) for c in found] == [("3", 3), ("4", 4), ("5", "again")]
    assert (await store.checkpoint(run.id, "")).id == "5"
    assert (await store.checkpoint(run.id, "4")).nodes == ("n",)
    for gone in ("1", "x", "9" * 40):
        with pytest.raises(CheckpointNotFound):
            await store.checkpoint(run.id, gone)


async def test_a_waiting_run_is_held_by_nobody_and_nobodys_to_take(store: SqlRunStore) -> None:
    run = await added(store)

    await waits(store, run)
    found = await store.get(run.id)

    assert (found.status, [q.node for q in found.questions]) == (RunStatus.WAITING, ["ask"])
    assert not await store.is_held(run.id, now=time.time())
    assert await store.candidates(owners=["me"], now=SOON * 2, limit=5) == []


async def test_an_answer_sends_a_run_on(store: SqlRunStore) -> None:
    run = await added(store)
    await waits(store, run)

    await store.answer(yes(run))
    (candidate,) = await store.candidates(owners=[], now=time.time(), limit=5)
    claim = await store.claim(candidate, owner="other", expires=SOON)

    assert claim is not None
    answer = claim.asked["ask", 1].answer
    assert answer is not None
    assert (answer.choice, claim.interrupted) == ("yes", False)
    events = await store.events(run.id, after=2, limit=9)
    assert [e.type for e in events] == [EventType.NODE_ANSWERED]


async def test_one_answer_of_many_counts(store: SqlRunStore) -> None:
    run = await added(store)
    await waits(store, run)
    choices = ["yes", "no"] * 5

    results = await asyncio.gather(
        *(store.answer(yes(run, choice)) for choice in choices), return_exceptions=True
    )

    refused = {c for c, r in zip(choices, results, strict=True) if isinstance(r, Exception)}
    assert len(refused) == 1
    assert sum(isinstance(r, AnswerChosen) for r in results) == 5
    assert len(await store.events(run.id, after=2, limit=9)) == 1


async def test_a_run_does_not_begin_to_wait_for_what_is_answered(store: SqlRunStore) -> None:
    run = await added(store)
    started = event(EventType.RUN_STARTED)
    await commit(store, run, events=[started], questions=[a_question()])
    await store.answer(yes(run))

    answered = await store.suspend(
        run.id, Batch(), owner="me", expires=SOON, open_visits={("ask", 1)}
    )

    assert list(answered) == [("ask", 1)]
    assert (await store.get(run.id)).status is RunStatus.RUNNING


async def test_a_deadline_that_is_over_is_found_until_it_is_answered(store: SqlRunStore) -> None:
    run, now = await added(store), datetime.now(UTC)
    early = a_question(deadline=now, on_timeout="no")
    late = a_question("late", deadline=now + timedelta(hours=1))
    await waits(store, run, early, late)

    (found,) = await store.overdue(now=time.time() + 1, limit=9)
    await store.answer(found)

    assert (found.node, found.answer.choice, found.answer.by) == ("ask", "no", "timeout")
    assert await store.overdue(now=time.time() + 1, limit=9) == []


async def test_a_failed_run_can_be_sent_on_with_new_tries(store: SqlRunStore) -> None:
    run = await added(store)
    broken = event(EventType.NODE_FAILED, "n", iteration=1, attempt=1)
    await commit(store, run, events=[broken], checkpoint=at(1, a=1))
    await failed(store, run)

    await store.resume(run.id, event(EventType.RUN_RESUMED))
    found = await store.get(run.id)
    (candidate,) = await store.candidates(owners=[], now=time.time(), limit=5)
    claim = await store.claim(candidate, owner="other", expires=SOON)

    assert (found.status, found.error, found.ended_time) == (RunStatus.QUEUED, None, None)
    assert claim is not None
    assert claim.position == position(1, a=1)
    assert claim.attempts == {("n", 1): 2}
    with pytest.raises(NotFailed):
        await store.resume(run.id, event(EventType.RUN_RESUMED))


async def test_runs_are_listed_by_page_workflow_and_status(store: SqlRunStore) -> None:
    runs = [await added(store, workflow=name) for name in "aabbb"]
    await waits(store, runs[4])

    page = await store.list(RunQuery(limit=2))
    rest = await store.list(RunQuery(limit=5, before=page.runs[-1].id))
    waiting = await store.list(RunQuery(limit=5, status=RunStatus.WAITING))

    assert [r.id for r in (*page.runs, *rest.runs)] == [r.id for r in reversed(runs)]
    assert (page.more, rest.more) == (True, False)
    assert [r.id for r in waiting.runs] == [runs[4].id]
    assert len((await store.list(RunQuery(limit=5, workflow="a"))).runs) == 2


async def test_a_run_that_waits_for_its_turn_knows_how_many_come_before_it(
    store: SqlRunStore,
) -> None:
    free = [await added(store, owner="") for _ in range(3)]
    bound = [await added(store, owner="", max_concurrent_runs=1, workflow="b") for _ in range(3)]
    await added(store, owner="me")
    await added(store, owner="", max_concurrent_runs=1, workflow="c")
    last = await added(store, owner="")

    waits = [(await store.get(run.id)).runs_before for run in (*free, *bound, last)]

    assert waits == [0, 1, 2, 0, 1, 2, 3]


async def test_lists_and_batches_say_that_a_run_waits_whose_steps_all_wait(
    store: SqlRunStore, database: Transactions
) -> None:
    batches = SqlBatchStore(database)
    batch = RowsBatch(
        id=new_id(),
        workflow="w",
        version=1,
        source="flow: w",
        fingerprint="f",
        max_concurrent=2,
        created_time=datetime.now(UTC),
        rows=RowCounts(total=2),
    )
    await batches.add(batch, [Row(inputs={}), Row(inputs={})])
    top, other = [await added(store, batch_id=batch.id, batch_row=row) for row in (1, 2)]
    between = await added(store, parent_run_id=top.id)
    steps = [await added(store, parent_run_id=between.id) for _ in range(2)]
    elsewhere = await added(store, parent_run_id=other.id)
    for run in (top, other, between):
        await commit(store, run, events=[event(EventType.RUN_STARTED)])

    await waits(store, steps[0])
    await waits(store, elsewhere)
    one_is_busy = await standing(store)
    await waits(store, steps[1])
    all_wait = await standing(store)
    await commit(store, between, busy_visits=1)
    one_acts = await standing(store)
    await commit(store, between)
    counted = (await batches.get(batch.id)).rows
    rows = await batches.rows(batch.id, after=0, limit=5)
    await store.answer(yes(steps[0]))
    answered = await standing(store)

    some_go_on = {top.id: "running", between.id: "running", other.id: "waiting"}
    assert one_is_busy == one_acts == answered == some_go_on
    assert all_wait == {top.id: "waiting", between.id: "waiting", other.id: "waiting"}
    assert (counted.running, counted.waiting) == (0, 2)
    assert [row.run.status.value for row in rows if row.run] == ["waiting", "waiting"]


async def standing(store: SqlRunStore) -> dict[str, str]:
    """Where runs with steps stand, as lists and the runs themselves say alike."""
    found = {}
    for status in RunStatus:
        for run in (await store.list(RunQuery(limit=50, status=status))).runs:
            assert run.id not in found
            assert run.status is status is (await store.get(run.id)).status
            found[run.id] = status.value
    return {id: found[id] for id in found if await store.open_children(id)}


async def test_leases_are_renewed_of_runs_that_still_are_ours(store: SqlRunStore) -> None:
    mine, lost, over = [await added(store) for _ in range(3)]
    held = Candidate(run_id=lost.id, owner="me", lease_expires=SOON)
    await store.claim(held, owner="other", expires=SOON)
    await failed(store, over)

    ours = await store.renew([mine.id, lost.id, over.id], owner="me", expires=SOON)

    assert ours == {mine.id}
    assert set(await store.owners()) == {"me", "other"}


async def test_versions_that_come_at_once_get_numbers_of_their_own(database: Transactions) -> None:
    store = SqlDefinitionStore(database)

    applied = await asyncio.gather(
        *(store.apply(Definition(name="w", source=f"s{n}")) for n in range(5))
    )

    assert sorted(definition.version for definition, _ in applied) == [1, 2, 3, 4, 5]
    assert [d.version for d in await store.versions("w")] == [5, 4, 3, 2, 1]
    with pytest.raises(WorkflowNotFound):
        await store.get("w", 9)


async def test_what_was_done_within_a_visit_is_kept_until_its_step_has_ended(
    store: SqlRunStore,
) -> None:
    run = await added(store)
    done = [Effect(key=f"n/1.{number}/done", document={"item": "☃\u0000"}) for number in (1, 2)]
    await commit(store, run, effects=done[:1], usage=Usage(calls=1, output_tokens=7))
    await commit(store, run, effects=done[1:], usage=Usage(calls=2, output_tokens=9))

    claim = await store.claim(
        Candidate(run_id=run.id, owner="me", lease_expires=SOON), owner="other", expires=SOON
    )
    assert claim is not None
    assert claim.effects == {effect.key: effect.document for effect in done}
    assert claim.run.usage == Usage(calls=2, output_tokens=9)

    await commit(store, run, owner="other", checkpoint=at(1), forgets=True)
    again = await store.claim(
        Candidate(run_id=run.id, owner="other", lease_expires=SOON), owner="me", expires=SOON
    )
    assert again is not None
    assert again.effects == {}


async def test_the_open_children_of_a_run_are_those_that_have_not_ended(
    store: SqlRunStore,
) -> None:
    parent = await added(store)
    ended, running = [
        await added(store, parent_run_id=parent.id, root_run_id=parent.id, depth=1)
        for _ in range(2)
    ]
    await failed(store, ended)

    assert await store.open_children(parent.id) == [running.id]
    found = await store.get(running.id)
    assert (found.parent_run_id, found.root_run_id, found.depth) == (parent.id, parent.id, 1)


async def test_a_result_is_kept_until_its_time_is_over(database: Transactions) -> None:
    cache = SqlResultCache(database)
    await cache.keep("a", ["old", "text"], now=0.0, expires=10.0)
    await cache.keep("a", ["new", "text"], now=1.0, expires=11.0)

    assert await cache.find("a", now=10.9) == ["new", "text"]
    assert await cache.find("a", now=11.0) is None
    assert await cache.find("b", now=1.0) is None


async def test_a_run_has_the_id_that_it_is_given_once(store: SqlRunStore) -> None:
    run, queued = a_run(), event(EventType.RUN_QUEUED)
    asked: dict[str, Any] = {"fingerprint": "f", "owner": "me", "expires": SOON}

    first, created = await store.add(run, queued, key="k", **asked)
    repeated, repeated_created = await store.add(run, queued, key="k", **asked)

    assert (first.id, created) == (run.id, True)
    assert (repeated.id, repeated_created) == (run.id, False)
    with pytest.raises(RunIdTaken):
        await store.add(run, queued, key="another", **asked)


async def test_the_newest_versions_come_with_their_source_where_it_may_have_triggers(
    database: Transactions,
) -> None:
    shelf = SqlDefinitionStore(database)
    await shelf.apply(Definition(name="a", source="triggers: []"))
    await shelf.apply(Definition(name="a", source="nodes: []"))
    await shelf.apply(Definition(name="b", source="webhook: {}"))
    await shelf.apply(Definition(name="c", source="triggers: [1]"))
    await shelf.delete("c")

    found = [(each.name, each.version, each.source) for each in await shelf.newest()]

    assert found == [("a", 2, ""), ("b", 1, "webhook: {}")]


async def test_the_time_that_runs_below_a_run_waited_counts_at_every_depth(
    store: SqlRunStore,
) -> None:
    top = await added(store)
    step = await added(store, parent_run_id=top.id)
    below = await added(store, parent_run_id=step.id)
    await waits(store, below)
    now = time.time()

    assert await store.paused_below(top.id, now=now + 60) == pytest.approx(60, abs=5)
    assert await store.paused_below(step.id, now=now + 60) == pytest.approx(60, abs=5)
    assert await store.paused_below(below.id, now=now + 60) == 0
