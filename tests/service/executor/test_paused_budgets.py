"""Runs whose budget is used up wait for a person, with the real llm-proxy in front of a real provider's server."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.providers import ProviderServer, openai_reply, openai_tool_call
from tests.fakes.tools import FakeTools
from tests.service.executor.conftest import names, outputs
from tests.service.executor.spending import (
    CONFIG,
    EACH,
    TWICE,
    Open,
    answer,
    paused,
    resume,
    waiting,
)

from cadre.executor.v1 import runs_pb2
from cadre_kit.errors import CadreError

TOOLS = """
flow: {name: tools}
state: {fields: {message: {type: str, required: true}, said: {type: str, default: ""}}}
nodes:
  - {id: ask, prompt: "Say {state.message}", outputs: [said], tools: [json_parse]}
edges: [{from: START, to: ask}, {from: ask, to: END}]
"""
OUTER = """
flow: {name: outer}
state: {fields: {message: {type: str, required: true}, said: {type: str, default: ""}}}
nodes:
  - {id: call, workflow: twice, inputs: {message: "{state.message}"}, outputs: {said: two}}
edges: [{from: START, to: call}, {from: call, to: END}]
"""


async def test_a_run_waits_over_a_restart_and_goes_on_with_more(
    opened: Open, provider: ProviderServer
) -> None:
    async with opened() as executor:
        run = await paused(executor, TWICE + CONFIG)
    async with opened() as executor:
        run = await executor.get(run.id)
        (question,) = run.questions
        assert (question.node, list(question.choices)) == ("second", ["raise", "stop"])
        assert "budget of 80 tokens has 63 tokens left" in question.message
        assert "to 160 tokens" in question.message
        assert len(provider.asked) == 1

        await answer(executor, run.id, "raise")
        events = await executor.events(run.id)
        ended = await executor.get(run.id)

    assert names(events)[-1] == "run_succeeded"
    assert names(events).count("node_started second") == 1
    assert (outputs(ended)["two"], ended.usage.calls) == ("hello", 2)
    assert len(provider.asked) == 2


async def test_what_a_person_is_offered_is_enough_for_the_call(
    opened: Open, provider: ProviderServer
) -> None:
    async with opened() as executor:
        run = await paused(executor, TWICE + CONFIG.replace("80", "10"))
        await answer(executor, run.id, "raise")
        again = await waiting(executor, run.id)

    assert "to 80 tokens" in run.questions[0].message
    assert (run.questions[0].node, again.questions[0].node) == ("first", "second")


async def test_stopping_fails_the_run_whatever_the_node_says_and_more_budget_resumes_it(
    opened: Open, provider: ProviderServer
) -> None:
    async with opened() as executor:
        run = await paused(executor, TWICE + CONFIG)
        await answer(executor, run.id, "stop")
        await executor.events(run.id)
        stopped = await executor.get(run.id)

        await resume(executor, run.id, tokens=1000)
        await executor.events(run.id, after=len(await executor.events(run.id)) - 1)
        ended = await executor.get(run.id)

    assert stopped.status == runs_pb2.RUN_STATUS_FAILED
    assert (stopped.error.code, stopped.error.node) == ("BUDGET_EXCEEDED", "second")
    assert "Ada stopped the run" in stopped.error.message
    assert ended.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert len(provider.asked) == 2


async def test_each_item_is_paid_for_once_however_often_the_budget_is_raised(
    opened: Open, provider: ProviderServer
) -> None:
    async with opened() as executor:
        run = await paused(executor, EACH + CONFIG.replace("80", "70"))
        first = run.questions[0].message
        await resume(executor, run.id, tokens=75)
        second = (await waiting(executor, run.id)).questions[0].message
        await answer(executor, run.id, "raise")
        await executor.events(run.id)
        ended = await executor.get(run.id)

    assert ("of 70 tokens" in first, "of 75 tokens" in second) == (True, True)
    assert outputs(ended)["said"] == ["hello"] * 5
    assert (ended.usage.calls, len(provider.asked)) == (5, 5)


async def test_what_a_node_did_before_it_waited_is_not_done_again(
    opened: Open, provider: ProviderServer, tools: FakeTools
) -> None:
    provider.answers = [openai_tool_call("json_parse", '{"text": "1"}'), openai_reply("done")]
    async with opened() as executor:
        run = await paused(executor, TOOLS + CONFIG.replace("80", "230"))
    async with opened() as executor:
        await answer(executor, run.id, "raise")
        await executor.events(run.id)
        ended = await executor.get(run.id)

    assert outputs(ended)["said"] == "done"
    assert len(tools.keys) == 1
    assert len(provider.asked) == 2


async def test_a_run_that_is_a_step_asks_for_the_budget_of_the_run_at_the_top(
    opened: Open, provider: ProviderServer
) -> None:
    async with opened() as executor:
        await executor.apply(TWICE + CONFIG.split("  budget")[0])
        run = await executor.start(OUTER + CONFIG, message="x")
        request = runs_pb2.ListRunsRequest(status=runs_pb2.RUN_STATUS_WAITING)
        while not (found := (await executor.ask(executor.runs.ListRuns, request)).runs):
            pass
        await resume(executor, run.id, tokens=1000)
        await executor.events(run.id)
        ended = await executor.get(run.id)

    assert found[0].parent_run_id == run.id
    assert (outputs(ended)["said"], len(provider.asked)) == ("hello", 2)


@pytest.mark.parametrize("budget", [{"usd": "0"}, {"usd": "much"}, {"tokens": -1}])
async def test_a_budget_that_cannot_be_is_refused(opened: Open, budget: dict[str, Any]) -> None:
    async with opened() as executor:
        run = await paused(executor, TWICE + CONFIG)
        with pytest.raises(CadreError) as caught:
            await resume(executor, run.id, **budget)

    assert caught.value.code == "BUDGET_INVALID"


async def test_a_run_that_waits_for_something_else_is_not_resumed_by_a_budget(
    opened: Open,
) -> None:
    source = TWICE.replace('prompt: "Say {state.message}"', 'type: approval, message: "Go on?"')
    async with opened() as executor:
        run = await paused(
            executor, source.replace("outputs: [one]", "outputs: {one: choice}") + CONFIG
        )
        with pytest.raises(CadreError) as caught:
            await resume(executor, run.id, usd="1.00")

    assert caught.value.code == "RUN_NOT_FAILED"


async def test_a_run_under_way_spends_by_a_budget_that_was_raised_for_another_branch_meanwhile(
    opened: Open, provider: ProviderServer
) -> None:
    held = replace(openai_reply("late"), hold_after=b"late", release=asyncio.Event())
    provider.answers = [held, openai_reply("hello")]
    both = """
flow: {name: both}
state: {fields: {message: {type: str, required: true}, one: {type: list, default: []}, two: {type: list, default: []}}}
nodes:
  - {id: left, workflow: each, inputs: {message: "{state.message}"}, outputs: {one: said}}
  - {id: right, workflow: each, inputs: {message: "{state.message}"}, outputs: {two: said}}
edges: [{from: START, to: [left, right]}, {from: [left, right], to: END}]
"""
    config = CONFIG.replace("80", "150")
    async with opened() as executor:
        await executor.apply(EACH + config.split("  budget")[0])
        run = await executor.start(both + config, message="x")
        request = runs_pb2.ListRunsRequest(status=runs_pb2.RUN_STATUS_WAITING)
        while not (found := (await executor.ask(executor.runs.ListRuns, request)).runs):
            pass
        await answer(executor, found[0].id, "raise")
        await executor.events(found[0].id)
        held.release.set()
        await executor.events(run.id)
        ended = await executor.get(run.id)

    assert ended.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert sorted([*outputs(ended)["one"], *outputs(ended)["two"]]) == ["hello"] * 9 + ["late"]
    assert len(provider.asked) == 10
