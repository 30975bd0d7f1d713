"""What runs that are steps of others ask: seen and answered at the run at the top."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fakes.executor import Neighbours
from tests.fakes.tools import FakeTools
from tests.platform import eventually_async
from tests.service.executor.conftest import Executor, executor_in, names, outputs
from tests.service.executor.test_approvals import answer, waiting

from cadre.executor.v1 import runs_pb2
from cadre_kit.errors import CadreError, FailedPrecondition, InvalidInput

ASKING = """
flow: {name: asking}
state: {fields: {word: {type: str, required: true}, reply: {type: str, default: ""}}}
nodes:
  - {id: ask, type: approval, message: "Say {state.word}?", choices: [yes, no], outputs: {reply: choice}}
"""
TOP = """
flow: {name: NAME}
state: {fields: {word: {type: str, required: true}, reply: {type: TYPE}}}
nodes:
  - {id: call, workflow: CALLED, inputs: {word: "{WORD}"}, outputs: {reply: reply}EXTRA}
"""
LOOP = """
flow: {name: looping}
state:
  fields:
    word: {type: str, required: true}
    reply: {type: str, default: ""}
    tries: {type: int, default: 0, reducer: sum}
nodes:
  - {id: call, workflow: asking, inputs: {word: "{state.word}"}, outputs: {reply: reply}}
  - {id: next, code: "result = 1", outputs: [tries]}
edges:
  - {from: START, to: call}
  - {from: call, to: next}
  - {from: next, loop: {to: call, max_iterations: 4, until: "state.reply == 'yes'", exit_to: END}}
"""
BESIDE = """
flow: {name: beside}
state: {fields: {word: {type: str, required: true}, reply: {type: str, default: ""}, said: {type: str, default: ""}}}
nodes:
  - {id: call, workflow: asking, inputs: {word: "{state.word}"}, outputs: {reply: reply}}
  - {id: talk, prompt: hi, outputs: [said]}
edges:
  - {from: START, to: [call, talk]}
  - {from: [call, talk], to: END}
"""


def calling(
    called: str,
    *,
    name: str = "top",
    type_: str = 'str, default: ""',
    word: str = "state.word",
    extra: str = "",
) -> str:
    said = {"NAME": name, "CALLED": called, "TYPE": type_, "WORD": word, "EXTRA": extra}
    source = TOP
    for mark, text in said.items():
        source = source.replace(mark, text)
    return source


EACH = calling(
    "asking",
    type_="list, default: []",
    word="letter",
    extra=', for_each: {items: ["a", "b", "c"], as: letter}',
)


def places(questions: Sequence[runs_pb2.Question]) -> list[str]:
    return sorted(question.node for question in questions)


async def asking(executor: Executor, run_id: str, *nodes: str) -> runs_pb2.Run:
    """The run at the top, once exactly these ask."""

    async def do_ask() -> bool:
        return places((await executor.get(run_id)).questions) == list(nodes)

    await eventually_async(do_ask)
    return await executor.get(run_id)


async def test_what_a_step_asks_is_asked_and_answered_at_the_top(executor: Executor) -> None:
    await executor.apply(ASKING)
    run = await waiting(executor, (await executor.start(calling("asking"), word="x")).id)
    (question,) = run.questions

    await answer(executor, run.id, "yes")
    events = await executor.events(run.id)

    assert (question.node, question.message) == ("call/ask", "Say x?")
    assert (await executor.get(question.run_id)).parent_run_id == run.id
    assert [name for name in names(events) if name.endswith("call")] == [
        "node_started call",
        "node_waiting call",
        "node_answered call",
        "node_succeeded call",
    ]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert outputs(await executor.get(run.id))["reply"] == "yes"


async def test_what_is_asked_two_deep_reaches_every_run_above(executor: Executor) -> None:
    await executor.apply(ASKING)
    await executor.apply(calling("asking", name="between"))
    run = await waiting(executor, (await executor.start(calling("between"), word="x")).id)

    await answer(executor, run.id, "no", node="call/call/ask", iteration=1)
    events = names(await executor.events(run.id))

    assert places(run.questions) == ["call/call/ask"]
    assert ("node_waiting call" in events, "node_answered call" in events) == (True, True)
    assert outputs(await executor.get(run.id))["reply"] == "no"


async def test_a_run_whose_step_asks_does_not_wait_while_another_branch_goes_on(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply(ASKING)
    near.llm_proxy.held_nodes = {"talk"}
    run = await executor.start(BESIDE, word="x")
    await asking(executor, run.id, "call/ask")
    status = (await executor.get(run.id)).status

    near.llm_proxy.let_go.set()
    await waiting(executor, run.id)
    await answer(executor, run.id, "yes")
    await executor.events(run.id)

    assert status == runs_pb2.RUN_STATUS_RUNNING
    assert outputs(await executor.get(run.id))["said"] == "reply to hi"


async def test_each_item_of_a_list_asks_for_itself(executor: Executor) -> None:
    await executor.apply(ASKING)
    run = await executor.start(EACH, word="x")
    await asking(executor, run.id, "call.1/ask", "call.2/ask", "call.3/ask")

    with pytest.raises(InvalidInput) as caught:
        await answer(executor, run.id, "yes")
    await answer(executor, run.id, "no", node="call.2/ask")
    left = await asking(executor, run.id, "call.1/ask", "call.3/ask")
    for question in left.questions:
        await answer(executor, run.id, "yes", node=question.node)
    await executor.events(run.id)

    assert (caught.value.code, "call.3/ask" in caught.value.message) == ("UNKNOWN_QUESTION", True)
    assert outputs(await executor.get(run.id))["reply"] == ["yes", "no", "yes"]


async def test_a_repeated_answer_is_not_taken_for_one_to_the_next_visit(executor: Executor) -> None:
    await executor.apply(ASKING)
    run = await executor.start(LOOP, word="x")
    await asking(executor, run.id, "call/ask")
    await answer(executor, run.id, "no", node="call/ask")
    await asking(executor, run.id, "call@2/ask")

    await answer(executor, run.id, "no", node="call/ask")
    with pytest.raises(CadreError) as caught:
        await answer(executor, run.id, "yes", node="call/ask")
    await answer(executor, run.id, "yes")
    await executor.events(run.id)
    await answer(executor, run.id, "yes", node="call@2/ask")

    assert caught.value.code == "ALREADY_ANSWERED"
    assert outputs(await executor.get(run.id))["tries"] == 2


async def test_what_a_step_asked_is_asked_once_over_a_restart(
    tmp_path: Path, near: Neighbours, tools: FakeTools
) -> None:
    async with executor_in(tmp_path, near, tools=tools) as one:
        await one.apply(ASKING)
        run = await waiting(one, (await one.start(calling("asking"), word="x")).id)
    async with executor_in(tmp_path, near, tools=tools) as two:
        again = await waiting(two, run.id)
        await answer(two, run.id, "yes")
        events = names(await two.events(run.id))

    assert again.questions == run.questions
    assert (events.count("node_waiting call"), events.count("node_answered call")) == (1, 1)


async def test_a_run_that_waits_for_nobody_below_is_not_answered(executor: Executor) -> None:
    await executor.apply(ASKING)
    run = await waiting(executor, (await executor.start(calling("asking"), word="x")).id)

    with pytest.raises(FailedPrecondition) as caught:
        await answer(executor, run.id, "yes", node="call/other")
    await executor.cancel(run.id)
    with pytest.raises(FailedPrecondition):
        await answer(executor, run.id, "yes")

    assert caught.value.code == "RUN_NOT_WAITING"
    assert not (await executor.get(run.id)).questions
