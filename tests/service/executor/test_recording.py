"""Runs written down as tests, over gRPC: what was recorded passes at once, without a model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.a2a_agents import remote_agent
from tests.fakes.executor import Neighbours, calls
from tests.fakes.tools import FakeTools, fails
from tests.service.executor.conftest import Executor, executor_in, outputs
from tests.service.executor.test_agents import answer, register, waiting
from tests.service.executor.test_testing import TRIAGE, results_of

from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.documents import from_json
from cadre_kit.errors import CadreError, FailedPrecondition, LimitExceeded


async def recorded(executor: Executor, run_id: str, name: str = "") -> Any:
    request = runs_pb2.RecordRunRequest(run_id=run_id, name=name)
    answer = await executor.ask(executor.runs.RecordRun, request)
    return from_json(answer.test, field="test")


async def recorded_and_tested(
    executor: Executor, near: Neighbours, source: str, **inputs: Any
) -> Any:
    """Runs a file, and writes the run down; what was written passes as a test of the file, and no model is asked."""
    run, _ = await executor.finish(source, **inputs)
    asked = len(near.llm_proxy.asked)
    test = await recorded(executor, run.id, "recorded")
    (result,) = await results_of(executor, f"{source}\ntests: {json.dumps([test])}\n")

    assert result.passed, result.failures
    assert len(near.llm_proxy.asked) == asked
    if run.status == runs_pb2.RUN_STATUS_SUCCEEDED:
        assert from_json(result.outputs, field="outputs") == outputs(run)
    return test


async def test_a_run_is_written_down_with_its_replies_and_its_end(
    executor: Executor, near: Neighbours
) -> None:
    test = await recorded_and_tested(executor, near, TRIAGE, message="It's broken")

    assert test == {
        "name": "recorded",
        "inputs": {"message": "It's broken"},
        "replies": {"classify": {"mood": "happy"}, "thank": "reply to Thank for It's broken"},
        "expect": ["state.mood == 'happy'", "state.reply == 'reply to Thank for It\\'s broken'"],
    }


async def test_loops_lists_and_programs_are_repeated(executor: Executor, near: Neighbours) -> None:
    source = """
flow: {name: loop}
state:
  fields:
    names: {type: "list[str]"}
    all: {type: "list[str]"}
    tags: {type: "list[str]"}
    n: {type: int, default: 0, reducer: sum}
    long: {type: str, default: ""}
nodes:
  - {id: greet, for_each: {items: "{state.names}"}, prompt: "Greet {item}", outputs: {all: .}}
  - {id: tag, prompt: "Tag", output_schema: "list[str]", outputs: [tags]}
  - {id: tell, prompt: "Tell {state.tags}", outputs: [long]}
  - {id: count, code: result = 1, outputs: [n]}
edges:
  - {from: START, to: greet}
  - {from: greet, to: tag}
  - {from: tag, to: tell}
  - {from: tell, to: count}
  - {from: count, loop: {to: tag, max_iterations: 2}}
"""
    said = iter(["one", "two", "x" * 300])

    def answer(request: llm_pb2.CompleteRequest) -> str:
        match request.attribution.node:
            case "greet":
                return f"Hello {request.messages[-1].content[-1]}"
            case "tag":
                return json.dumps({"value": ["a", "b\n"]})
        return next(said)

    near.llm_proxy.answer = answer
    test = await recorded_and_tested(executor, near, source, names=["x", "y"])

    assert test["replies"]["greet"] == ["Hello x", "Hello y"]
    assert test["replies"]["tag"] == [{"value": ["a", "b\n"]}] * 3
    assert "count" not in test["replies"]
    assert "state.tags == ['a', 'b\\n']" in test["expect"]
    assert "len(state.long) == 300" in test["expect"]


async def test_a_program_that_gives_something_else_each_time_has_its_result_written(
    executor: Executor, near: Neighbours
) -> None:
    source = """
flow: {name: random}
state: {fields: {n: int}}
nodes: [{id: draw, code: "import random; result = random.getrandbits(64)", outputs: [n]}]
"""
    test = await recorded_and_tested(executor, near, source)

    assert test["expect"] == [f"state.n == {test['replies']['draw']}"]


async def test_tool_loops_are_written_with_their_calls_and_what_tools_gave(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    source = """
flow: {name: tools}
state: {fields: {text: str, page: any}}
nodes:
  - id: ask
    prompt: Ask
    tools: [{name: web_search, on_error: continue}, {name: web_scrape, on_error: continue}]
    outputs: [text]
  - {id: fetch, tool: json_parse, arguments: {text: "[1, 2]"}, outputs: [page]}
"""
    replies: Iterator[str | llm_pb2.Reply] = iter(
        [
            calls(("web_search", {"query": "rain"}), ("web_scrape", {"url": "https://a.example"})),
            "It rains",
        ]
    )
    near.llm_proxy.answer = lambda request: next(replies)
    tools.answers = {
        "web_search": lambda _: ["wet"],
        "web_scrape": fails,
        "json_parse": lambda _: [1, 2],
    }

    test = await recorded_and_tested(executor, near, source)

    first, last = test["replies"]["ask"]
    assert first["calls"][0] == {
        "tool": "web_search",
        "arguments": {"query": "rain"},
        "result": ["wet"],
    }
    assert first["calls"][1]["error"]["code"] == "TOOL_FAILED"
    assert last == "It rains"
    assert test["replies"]["fetch"] == {"value": [1, 2]}


async def test_tries_that_failed_and_runs_that_failed_are_repeated(
    executor: Executor, near: Neighbours
) -> None:
    source = """
flow: {name: fails}
state: {fields: {text: str}}
nodes:
  - {id: ask, prompt: Ask, outputs: [text], retry: {max_attempts: 3, backoff_seconds: 0.01}}
  - {id: then, prompt: Then, outputs: [text]}
"""

    def answer(request: llm_pb2.CompleteRequest) -> str:
        attempts = len([node for node in near.llm_proxy.nodes if node == "ask"])
        if request.attribution.node == "ask" and attempts == 1:
            raise LimitExceeded("slower", code="RATE_LIMITED")
        if request.attribution.node == "then":
            raise FailedPrecondition("no key", code="PROVIDER_KEY_MISSING")
        return "there"

    near.llm_proxy.answer = answer
    test = await recorded_and_tested(executor, near, source)

    assert test["replies"]["ask"][0]["error"]["code"] == "RATE_LIMITED"
    assert test["replies"]["ask"][1] == "there"
    assert test["fails"] == "PROVIDER_KEY_MISSING"
    assert "expect" not in test


async def test_answers_memory_and_runs_of_other_workflows_are_written(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply("""
flow: {name: shout}
state: {fields: {text: str, loud: str}}
nodes: [{id: up, inputs: {text: "{state.text}"}, code: result = text.upper(), outputs: [loud]}]
""")
    source = """
flow: {name: asks}
state: {fields: {choice: str, known: {type: any, default: nothing}, loud: str}}
nodes:
  - {id: keep, memory: {action: save, key: k, value: rain}}
  - {id: recall, memory: {action: load, key: k}, outputs: [known]}
  - {id: check, type: approval, message: "Keep?", outputs: {choice: choice}}
  - {id: shout, workflow: shout, inputs: {text: "{state.known}"}, outputs: {loud: loud}}
"""
    run = await executor.start(source)
    await executor.until(run.id, lambda event: event.type == runs_pb2.EVENT_TYPE_NODE_WAITING)
    answer = runs_pb2.AnswerRunRequest(run_id=run.id, choice="approve")
    await executor.ask(executor.runs.AnswerRun, answer)
    await executor.events(run.id)

    test = await recorded(executor, run.id)
    (result,) = await results_of(executor, f"{source}\ntests: {json.dumps([test])}\n")

    assert test["replies"] == {"recall": "rain", "check": "approve", "shout": {"loud": "RAIN"}}
    assert result.passed, result.failures


async def test_what_cannot_be_repeated_is_refused_with_its_reason(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    going = await executor.start(TRIAGE, message="m")
    with pytest.raises(CadreError) as not_ended:
        await recorded(executor, going.id)
    near.llm_proxy.gate.set()
    await executor.events(going.id)
    near.llm_proxy.paid.clear()
    with pytest.raises(CadreError) as forgotten:
        await recorded(executor, going.id)

    assert (not_ended.value.code, "has not ended" in not_ended.value.message) == (
        "RUN_NOT_RECORDABLE",
        True,
    )
    assert "no reply for it" in forgotten.value.message


async def test_what_remote_agents_gave_or_failed_with_is_written_also_where_they_asked_a_person(
    tmp_path: Path, near: Neighbours
) -> None:
    source = """
flow: {name: asks_agents}
state: {fields: {text: str, part: str, said: {type: str, default: nothing}}}
nodes:
  - {id: tell, agent: Echo-agent, prompt: "ASK", outputs: [text]}
  - {id: hand, agent: Echo-agent, inputs: {text: "{state.text}"}, outputs: {part: text}}
  - {id: fail, agent: Echo-agent, prompt: "FAIL", outputs: [said], on_error: continue}
"""
    async with (
        executor_in(tmp_path, near, allowed_addresses="127.0.0.1") as executor,
        remote_agent() as agent,
    ):
        await register(executor, card_url=agent.url)
        run = await executor.start(source)
        await waiting(executor, run.id)
        await answer(executor, run.id, "blue")
        events = await executor.events(run.id)
        asked = list(agent.messages)
        test = await recorded(executor, run.id)
        (result,) = await results_of(executor, f"{source}\ntests: {json.dumps([test])}\n")

    assert events[-1].type == runs_pb2.EVENT_TYPE_RUN_SUCCEEDED
    replies = test["replies"]
    assert "blue" in replies["tell"]
    assert replies["hand"] == {"text": replies["tell"]}
    assert replies["fail"]["error"]["code"] == "AGENT_TASK_FAILED"
    assert result.passed, result.failures
    assert agent.messages == asked
