"""Runs that a budget stops which is set for more than one of them, with the real llm-proxy."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes.providers import ProviderServer, openai_reply
from tests.service.executor.conftest import names, outputs
from tests.service.executor.spending import (
    CONFIG,
    EACH,
    TWICE,
    LlmProxy,
    Open,
    answer,
    paused,
    resume,
    waiting,
)

from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import usage_pb2
from cadre_kit.documents import object_from_json
from cadre_kit.errors import CadreError

PAUSE = usage_pb2.BUDGET_EXCEED_PAUSE
MOODY = """
flow: {name: moody}
state: {fields: {message: {type: str, required: true}, mood: {type: str, default: ""}}}
nodes:
  - id: judge
    prompt: "How is {state.message}?"
    output_schema: {type: object, fields: [{name: mood, type: str}]}
    retry: {max_attempts: 2, backoff_seconds: 0}
    outputs: [mood]
edges: [{from: START, to: judge}, {from: judge, to: END}]
"""
# Without a budget of the file's own.
MODEL = CONFIG.split("  budget")[0]


async def test_a_run_waits_for_a_budget_that_it_shares_until_that_was_raised(
    opened: Open, llm_proxy: LlmProxy, provider: ProviderServer
) -> None:
    await llm_proxy.set_budget("shared", tokens=80, on_exceed=PAUSE)
    async with opened() as executor:
        run = await paused(executor, TWICE + MODEL)
    async with opened() as executor:
        (question,) = (await executor.get(run.id)).questions
        await answer(executor, run.id, "continue")
        asked_again = await waiting(executor, run.id)
        calls_before = len(provider.asked)

        await llm_proxy.set_budget("shared", tokens=1000, on_exceed=PAUSE)
        await answer(executor, run.id, "continue")
        events = await executor.events(run.id)
        ended = await executor.get(run.id)

    assert (question.node, list(question.choices)) == ("second", ["continue", "stop"])
    assert "budget 'shared' of 80 tokens has 63 tokens left" in question.message
    assert asked_again.questions[0].message == question.message
    assert (calls_before, len(provider.asked)) == (1, 2)
    assert names(events).count("node_started second") == 1
    assert outputs(ended)["two"] == "hello"


async def test_it_goes_on_by_itself_when_the_budget_begins_anew(
    opened: Open, llm_proxy: LlmProxy, tmp_path: Path
) -> None:
    await llm_proxy.set_budget("shared", tokens=80, on_exceed=PAUSE)
    async with opened() as executor:
        run = await paused(executor, TWICE + MODEL)
        deadline = run.questions[0].deadline.ToDatetime(tzinfo=UTC)
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

        # As at midnight: the day's budget is whole again, and the deadline is over.
        await llm_proxy.set_budget("shared", tokens=1000, on_exceed=PAUSE)
        with closing(sqlite3.connect(tmp_path / "executor.db", isolation_level=None)) as database:
            database.execute("UPDATE questions SET due = 1.0")
        events = await executor.events(run.id)

    assert deadline in (midnight, midnight + timedelta(days=1))
    assert names(events)[-3:] == ["node_answered second", "node_succeeded second", "run_succeeded"]


async def test_resuming_goes_on_with_a_run_that_waits_for_a_shared_budget(
    opened: Open, llm_proxy: LlmProxy, provider: ProviderServer
) -> None:
    await llm_proxy.set_budget("shared", tokens=70, on_exceed=PAUSE)
    async with opened() as executor:
        run = await paused(executor, EACH + MODEL)
        with pytest.raises(CadreError) as caught:
            await resume(executor, run.id, tokens=1000)
        await llm_proxy.set_budget("shared", tokens=1000, on_exceed=PAUSE)
        await resume(executor, run.id)
        await executor.events(run.id)
        ended = await executor.get(run.id)

    assert caught.value.code == "RUN_NOT_FAILED"
    assert outputs(ended)["said"] == ["hello"] * 5
    assert (ended.usage.calls, len(provider.asked)) == (5, 5)


async def test_a_run_that_was_stopped_can_be_resumed_once_there_is_more(
    opened: Open, llm_proxy: LlmProxy
) -> None:
    await llm_proxy.set_budget("shared", tokens=80, on_exceed=PAUSE)
    async with opened() as executor:
        run = await paused(executor, TWICE + MODEL)
        await answer(executor, run.id, "stop")
        before = await executor.events(run.id)
        stopped = await executor.get(run.id)

        await llm_proxy.set_budget("shared", tokens=1000, on_exceed=PAUSE)
        await resume(executor, run.id)
        await executor.events(run.id, after=len(before))
        ended = await executor.get(run.id)

    assert (stopped.error.code, stopped.error.node) == ("BUDGET_EXCEEDED", "second")
    assert "cadre budgets set" in stopped.error.resolution
    assert ended.status == runs_pb2.RUN_STATUS_SUCCEEDED


async def test_a_shared_budget_that_does_not_pause_fails_the_run(
    opened: Open, llm_proxy: LlmProxy
) -> None:
    await llm_proxy.set_budget("shared", tokens=30)
    async with opened() as executor:
        run, _ = await executor.finish(TWICE + MODEL, message="x")

    assert (run.error.code, run.error.node) == ("BUDGET_EXCEEDED", "first")


async def test_a_run_that_brings_a_budget_near_its_limit_says_so_once_in_its_events(
    opened: Open, llm_proxy: LlmProxy
) -> None:
    # Each call uses 17 tokens.
    await llm_proxy.set_budget("shared", tokens=1000, warn_percent=3)
    async with opened() as executor:
        run = await executor.start(TWICE + MODEL, message="x")
        events = await executor.events(run.id)
        _, later = await executor.finish(TWICE + MODEL, message="x")

    (warned,) = [event for event in events if event.type == runs_pb2.EVENT_TYPE_BUDGET_WARNED]
    said = object_from_json(warned.data, field="data")
    assert warned.node == "second"
    assert said["message"] == "the budget 'shared' is nearly used up: 34 of 1000 tokens"
    assert "budget_warned second" not in later


async def test_what_a_failed_call_used_counts_for_the_run_and_warns_of_budgets(
    opened: Open, llm_proxy: LlmProxy, provider: ProviderServer
) -> None:
    await llm_proxy.set_budget("shared", tokens=1000, warn_percent=3)
    # A reply is sent back twice to be mended, in each of the two tries.
    provider.will(openai_reply("no JSON"))
    async with opened() as executor:
        run = await executor.start(MOODY + MODEL, message="x")
        events = await executor.events(run.id)
        failed = await executor.get(run.id)

    told = {event.type: event for event in events}
    tries = [told[runs_pb2.EVENT_TYPE_NODE_RETRIED], told[runs_pb2.EVENT_TYPE_NODE_FAILED]]
    assert failed.error.code == "MODEL_OUTPUT_INVALID"
    assert [each.usage.calls for each in tries] == [3, 3]
    assert failed.usage == await llm_proxy.used()
    assert (failed.usage.calls, failed.usage.output_tokens > 0) == (6, True)
    assert told[runs_pb2.EVENT_TYPE_BUDGET_WARNED].node == "judge"


async def test_a_run_also_warns_of_its_own_budget(opened: Open) -> None:
    own = CONFIG.replace("max_tokens: 50", "max_tokens: 5").replace("80", "104")
    async with opened() as executor:
        run, events = await executor.finish(EACH + own, message="x")

    assert run.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert events.count("budget_warned every") == 1
