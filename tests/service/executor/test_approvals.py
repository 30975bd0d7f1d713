"""Runs that wait for people: what they ask, who answers, and what they survive."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor, executor_in, names, outputs, reached

from cadre.executor.v1 import runs_pb2
from cadre_kit.errors import Conflict, FailedPrecondition, InvalidInput

HEAD = 'schema_version: "1.0"\nflow: {name: sample}\n'
WAITING = runs_pb2.RUN_STATUS_WAITING


def approval(more: str = "") -> str:
    return (
        HEAD
        + f"""
state:
  fields:
    draft: {{type: str, default: ""}}
    verdict: {{type: dict, default: {{}}}}
    done: {{type: int, default: 0}}
nodes:
  - {{id: write, prompt: a letter, outputs: [draft]}}
  - {{id: review, type: approval, message: "Send {{state.draft}}?", outputs: [verdict]{more}}}
  - {{id: send, code: "result = 1", outputs: [done]}}
edges:
  - {{from: START, to: write}}
  - {{from: write, to: review}}
  - {{from: review, to: send}}
  - {{from: send, to: END}}
"""
    )


TWO = (
    HEAD
    + """
state:
  fields:
    a: {type: dict, default: {}}
    b: {type: dict, default: {}}
    c: {type: str, default: ""}
    joined: {type: int, default: 0, reducer: sum}
nodes:
  - {id: first, type: approval, message: "First?", outputs: [a]}
  - {id: second, type: approval, message: "Second?", choices: [yes, no], outputs: [b]}
  - {id: other, prompt: other, outputs: [c]}
  - {id: join, code: "result = 1", outputs: [joined]}
edges:
  - {from: START, to: [first, second, other]}
  - {from: [first, second, other], to: join}
  - {from: join, to: END}
"""
)
LOOP = (
    HEAD
    + """
state: {fields: {verdict: {type: dict, default: {}}, tries: {type: int, default: 0, reducer: sum}}}
nodes:
  - {id: work, code: "result = 1", outputs: [tries]}
  - {id: review, type: approval, message: "Try {state.tries} good?", outputs: [verdict]}
edges:
  - {from: START, to: work}
  - {from: work, to: review}
  - {from: review, loop: {to: work, max_iterations: 5, until: "state.verdict.choice == 'approve'", exit_to: END}}
"""
)


async def waiting(executor: Executor, run_id: str) -> runs_pb2.Run:
    """The run, once it waits."""
    until = time.monotonic() + 20
    while (run := await executor.get(run_id)).status != WAITING:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    return run


async def answer(executor: Executor, run_id: str, choice: str, **more: Any) -> runs_pb2.Run:
    request = runs_pb2.AnswerRunRequest(run_id=run_id, choice=choice, **more)
    response: runs_pb2.AnswerRunResponse = await executor.ask(executor.runs.AnswerRun, request)
    return response.run


async def ended(executor: Executor, run_id: str) -> tuple[runs_pb2.Run, list[str]]:
    events = await executor.events(run_id)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    return await executor.get(run_id), names(events)


async def test_a_run_waits_with_its_question_and_goes_on_with_the_answer(
    executor: Executor,
) -> None:
    run = await waiting(executor, (await executor.start(approval())).id)
    (question,) = run.questions

    await answer(executor, run.id, "approve", comment="fine", answered_by="ada")
    done, events = await ended(executor, run.id)

    assert question.message == "Send reply to a letter?"
    assert list(question.choices) == ["approve", "reject"]
    assert outputs(done)["verdict"] == {"choice": "approve", "comment": "fine", "by": "ada"}
    assert not done.questions
    assert events[4:] == [
        "node_started review",
        "node_waiting review",
        "node_answered review",
        "node_succeeded review",
        "node_started send",
        "node_succeeded send",
        "run_succeeded",
    ]


async def test_other_branches_go_on_first_and_the_join_runs_once(executor: Executor) -> None:
    run = await waiting(executor, (await executor.start(TWO)).id)
    assert {q.node for q in run.questions} == {"first", "second"}

    await answer(executor, run.id, "approve", node="first")
    half = await waiting(executor, run.id)
    await answer(executor, run.id, "no")
    done, events = await ended(executor, run.id)

    assert [q.node for q in half.questions] == ["second"]
    assert (outputs(done)["c"], outputs(done)["joined"]) == ("reply to other", 1)
    assert events.count("node_succeeded other") == 1
    assert events.count("node_waiting first") == 1


async def test_an_answer_to_several_questions_has_to_name_its_node(executor: Executor) -> None:
    run = await waiting(executor, (await executor.start(TWO)).id)

    with pytest.raises(InvalidInput) as caught:
        await answer(executor, run.id, "approve")

    assert caught.value.code == "UNKNOWN_QUESTION"
    assert "first" in caught.value.message


async def test_the_first_answer_counts_the_same_is_accepted_and_another_is_refused(
    executor: Executor,
) -> None:
    run = await waiting(executor, (await executor.start(approval())).id)
    choices = ["approve", "reject"] * 5

    answers = await asyncio.gather(
        *(answer(executor, run.id, choice) for choice in choices), return_exceptions=True
    )
    done, events = await ended(executor, run.id)

    won = outputs(done)["verdict"]["choice"]
    for choice, given in zip(choices, answers, strict=True):
        assert isinstance(given, runs_pb2.Run if choice == won else Conflict)
    assert events.count("node_answered review") == 1
    assert (await answer(executor, run.id, won)).status == runs_pb2.RUN_STATUS_SUCCEEDED


async def test_an_answer_that_is_no_choice_is_refused(executor: Executor) -> None:
    run = await waiting(executor, (await executor.start(approval())).id)

    for wrong in ("maybe", ""):
        with pytest.raises(InvalidInput, match="approve, reject"):
            await answer(executor, run.id, wrong)

    assert (await executor.get(run.id)).status == WAITING


async def test_a_run_that_does_not_wait_takes_no_answer(executor: Executor) -> None:
    run = await waiting(executor, (await executor.start(approval())).id)
    with pytest.raises(FailedPrecondition) as caught:
        await answer(executor, run.id, "approve", node="write")
    await executor.cancel(run.id)

    with pytest.raises(FailedPrecondition) as late:
        await answer(executor, run.id, "approve")

    assert caught.value.code == late.value.code == "RUN_NOT_WAITING"


async def test_each_visit_in_a_loop_asks_its_own_question(executor: Executor) -> None:
    run = await waiting(executor, (await executor.start(LOOP)).id)
    assert run.questions[0].message == "Try 1 good?"
    await answer(executor, run.id, "reject", iteration=1)
    again = await waiting(executor, run.id)

    repeated = await answer(executor, run.id, "reject", iteration=1)
    await answer(executor, run.id, "approve", iteration=2)
    done, events = await ended(executor, run.id)

    assert (again.questions[0].iteration, again.questions[0].message) == (2, "Try 2 good?")
    assert repeated.status == WAITING
    assert outputs(done)["tries"] == 2
    assert events.count("node_waiting review") == 2


async def test_a_waiting_run_survives_restarts(tmp_path: Path, near: Neighbours) -> None:
    async with executor_in(tmp_path, near) as executor:
        run = await waiting(executor, (await executor.start(approval())).id)
    async with executor_in(tmp_path, near) as executor:
        assert [q.node for q in (await executor.get(run.id)).questions] == ["review"]
        await answer(executor, run.id, "approve")
        done, events = await ended(executor, run.id)

    assert done.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert "run_resumed" not in events
    assert near.llm_proxy.nodes == ["write"]


async def test_a_waiting_run_can_be_cancelled(executor: Executor) -> None:
    run = await waiting(executor, (await executor.start(approval())).id)

    cancelled = await executor.cancel(run.id)

    assert cancelled.status == runs_pb2.RUN_STATUS_CANCELLED
    assert not cancelled.questions
    assert names(await executor.events(run.id))[-1] == "run_cancelled"


async def test_a_deadline_answers_with_its_choice(executor: Executor) -> None:
    source = approval(", timeout: 0.4, on_timeout: reject")
    run = await executor.start(source)

    done, events = await ended(executor, run.id)

    assert outputs(done)["verdict"] == {"choice": "reject", "comment": "", "by": "timeout"}
    assert events.count("node_answered review") == 1


async def test_a_deadline_without_a_choice_fails_the_node(executor: Executor) -> None:
    run = await executor.start(approval(", timeout: 0.4"))

    done, events = await ended(executor, run.id)

    assert (done.error.code, done.error.node) == ("APPROVAL_TIMEOUT", "review")
    assert events[-2:] == ["node_failed review", "run_failed"]


async def test_a_deadline_that_went_by_while_nothing_ran_counts_within_two_seconds_of_the_start(
    tmp_path: Path, near: Neighbours
) -> None:
    async with executor_in(tmp_path, near) as executor:
        source = approval(", timeout: 1.0, on_timeout: approve")
        run = await waiting(executor, (await executor.start(source)).id)
    deadline = run.questions[0].deadline.ToDatetime(UTC)
    await reached(lambda: datetime.now(UTC) > deadline)

    async with executor_in(tmp_path, near) as executor:
        began = time.monotonic()
        await executor.until(run.id, lambda e: e.type == runs_pb2.EVENT_TYPE_NODE_ANSWERED)
        assert time.monotonic() - began < 2.0


async def test_the_wait_does_not_count_for_the_runs_time_limit(executor: Executor) -> None:
    source = approval() + "config: {execution: {timeout: 2}}\n"
    run = await waiting(executor, (await executor.start(source)).id)
    asked = (await executor.events_so_far(run.id))[-1].time.ToDatetime(UTC)
    await reached(lambda: (datetime.now(UTC) - asked).total_seconds() > 2.2)

    await answer(executor, run.id, "approve")
    done, _ = await ended(executor, run.id)

    assert done.status == runs_pb2.RUN_STATUS_SUCCEEDED
