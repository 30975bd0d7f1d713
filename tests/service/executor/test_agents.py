"""Agent nodes against remote agents on loopback, through the gRPC API."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from tests.fakes.a2a_agents import HTTP_JSON, JSONRPC, RemoteAgent, card_document, remote_agent
from tests.fakes.executor import Neighbours
from tests.fakes.website import website
from tests.service.executor.conftest import Executor, executor_in, outputs, reached

from cadre.executor.v1 import agents_pb2, agents_pb2_grpc, runs_pb2, workflows_pb2
from cadre_kit.documents import from_json, to_json
from cadre_kit.errors import CadreError

ASKING = """
flow: {name: asking}
state:
  fields:
    text: {type: str, required: true}
    reply: {type: str, default: ""}
nodes:
  - {id: ask, agent: Echo-agent, prompt: "{state.text}", outputs: [reply]%s}
"""
DATA = """
flow: {name: handing}
state:
  fields:
    text: {type: str, required: true}
    german: {type: str, default: ""}
nodes:
  - {id: ask, agent: Echo-agent, inputs: {text: "{state.text}"}, outputs: {german: text}}
"""


@pytest.fixture
async def executor(tmp_path: Path, near: Neighbours) -> AsyncIterator[Executor]:
    async with executor_in(tmp_path, near, allowed_addresses="127.0.0.1") as found:
        yield found


@pytest.fixture(params=[JSONRPC, HTTP_JSON])
async def agent(request: Any, executor: Executor) -> AsyncIterator[RemoteAgent]:
    async with remote_agent(request.param) as found:
        await register(executor, card_url=found.url)
        yield found


@pytest.fixture
async def echo(executor: Executor) -> AsyncIterator[RemoteAgent]:
    async with remote_agent() as found:
        await register(executor, card_url=found.url)
        yield found


def agents_of(executor: Executor) -> Any:
    return agents_pb2_grpc.AgentServiceStub(executor.channel)


async def register(executor: Executor, **fields: Any) -> agents_pb2.Agent:
    if "card" in fields:
        fields["card"] = to_json(fields["card"])
    request = agents_pb2.RegisterAgentRequest(**fields)
    answer = await executor.ask(agents_of(executor).RegisterAgent, request)
    found: agents_pb2.Agent = answer.agent
    return found


async def waiting(executor: Executor, run_id: str, message: str = "") -> runs_pb2.Run:
    """The run once it waits for an answer."""
    for _ in range(400):
        run = await executor.get(run_id)
        if run.status == runs_pb2.RUN_STATUS_WAITING and message in run.questions[0].message:
            return run
        await asyncio.sleep(0.05)
    raise AssertionError(f"the run does not wait: {run}")


async def answer(executor: Executor, run_id: str, text: str) -> None:
    request = runs_pb2.AnswerRunRequest(run_id=run_id, choice=text)
    await executor.ask(executor.runs.AnswerRun, request)


async def ended(executor: Executor, run_id: str) -> runs_pb2.Run:
    await executor.events(run_id)
    return await executor.get(run_id)


async def test_a_prompt_goes_as_text_and_the_reply_into_the_outputs(
    executor: Executor, agent: RemoteAgent
) -> None:
    run, events = await executor.finish(ASKING % "", text="hello")

    assert outputs(run)["reply"] == "echo: hello"
    assert events.count("agent_task ask") >= 1
    assert agent.messages == [f"{run.id}/ask/1/1/1"]


async def test_without_a_prompt_the_inputs_go_as_data_and_parts_come_back(
    executor: Executor, agent: RemoteAgent
) -> None:
    run, _ = await executor.finish(DATA, text="hello")

    assert outputs(run)["german"] == "hello"


async def test_an_answer_without_a_task_is_the_result(
    executor: Executor, echo: RemoteAgent
) -> None:
    run, _ = await executor.finish(ASKING % "", text="MESSAGE please")

    assert outputs(run)["reply"] == "at once"


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("FAIL", "AGENT_TASK_FAILED", "out of paper"),
        ("REJECT", "AGENT_TASK_REJECTED", "not my work"),
        ("LOGIN", "AGENT_AUTH_REQUIRED", "sign in first"),
    ],
)
async def test_a_task_that_does_not_succeed_fails_the_node_with_what_the_agent_says(
    executor: Executor, echo: RemoteAgent, text: str, code: str, part: str
) -> None:
    run, _ = await executor.finish(ASKING % "", text=text)

    assert run.error.code == code
    assert part in run.error.message


async def test_what_the_agent_asks_a_person_answers_in_words(
    executor: Executor, agent: RemoteAgent
) -> None:
    run = await executor.start(ASKING % "", text="ASK TWICE")
    question = (await waiting(executor, run.id)).questions[0]
    await answer(executor, run.id, "red")
    second = (await waiting(executor, run.id, "other")).questions[0]
    await answer(executor, run.id, "blue")
    run = await ended(executor, run.id)

    assert (question.message, list(question.choices)) == ("Which colour?", [])
    assert second.message == "Which other colour?"
    assert outputs(run)["reply"] == "echo: blue"
    assert len(agent.messages) == len(set(agent.messages)) == 3


async def test_a_person_whose_answer_the_agent_does_not_take_is_asked_again(
    executor: Executor,
) -> None:
    async with remote_agent(HTTP_JSON) as agent:
        await register(executor, card_url=agent.url)
        run = await executor.start(ASKING % "", text="ASK")
        await waiting(executor, run.id)
        agent.refuses = "no such colour"
        await answer(executor, run.id, "rde")
        again = (await waiting(executor, run.id, "no such colour")).questions[0]
        await answer(executor, run.id, "red")
        run = await ended(executor, run.id)

    assert again.message.endswith("Which colour?")
    assert outputs(run)["reply"] == "echo: red"


async def test_an_empty_answer_is_refused(executor: Executor, echo: RemoteAgent) -> None:
    run = await executor.start(ASKING % "", text="ASK")
    await waiting(executor, run.id)

    with pytest.raises(CadreError) as caught:
        await answer(executor, run.id, " ")

    assert caught.value.code == "UNKNOWN_CHOICE"


async def test_an_agent_that_asks_in_a_list_fails_the_node(
    executor: Executor, echo: RemoteAgent
) -> None:
    source = ASKING.replace('prompt: "{state.text}"', 'for_each: {items: [ASK]}, prompt: "{item}"')
    source = source.replace("reply: {type: str", 'reply: {type: "list[str]"').replace('""', "[]")
    run, _ = await executor.finish(source % "", text="x")

    assert run.error.code == "AGENT_INPUT_REQUIRED"


async def test_cancelling_the_run_cancels_the_task(executor: Executor, agent: RemoteAgent) -> None:
    run = await executor.start(ASKING % "", text="WAIT")
    await executor.until(run.id, lambda event: event.type == runs_pb2.EVENT_TYPE_AGENT_TASK)
    await asyncio.wait_for(agent.working.wait(), 20)
    await executor.cancel(run.id)

    await reached(lambda: len(agent.cancelled) == 1)


async def test_cancelling_a_run_that_waits_for_a_person_cancels_the_task(
    executor: Executor, echo: RemoteAgent
) -> None:
    run = await executor.start(ASKING % "", text="ASK")
    await waiting(executor, run.id)
    await executor.cancel(run.id)

    await reached(lambda: len(echo.cancelled) == 1)


async def test_a_node_whose_time_is_over_cancels_the_task(
    executor: Executor, echo: RemoteAgent
) -> None:
    run, _ = await executor.finish(ASKING % ", timeout: 1", text="WAIT")

    assert run.error.code == "NODE_TIMEOUT"
    await reached(lambda: len(echo.cancelled) == 1)


async def test_a_restarted_executor_goes_on_with_the_task_that_it_began(
    tmp_path: Path, near: Neighbours
) -> None:
    async with remote_agent() as agent:
        async with executor_in(tmp_path, near, allowed_addresses="127.0.0.1") as first:
            await register(first, card_url=agent.url)
            run = await first.start(ASKING % "", text="WAIT")
            await asyncio.wait_for(agent.working.wait(), 20)
            await first.until(run.id, lambda e: e.type == runs_pb2.EVENT_TYPE_AGENT_TASK)
        agent.let_go.set()
        async with executor_in(tmp_path, near, allowed_addresses="127.0.0.1") as second:
            run = await ended(second, run.id)

    assert outputs(run)["reply"] == "echo: WAIT"
    assert len(agent.messages) == 1
    assert agent.cancelled == []


async def test_an_agent_that_nobody_registered_is_noted_and_fails_the_node(
    executor: Executor, echo: RemoteAgent
) -> None:
    source = (ASKING % "").replace("Echo-agent", "Eco-agent")
    run, _ = await executor.finish(source, text="hello")

    assert run.error.code == "AGENT_NOT_FOUND"
    assert "Did you mean 'Echo-agent'?" in run.error.resolution


async def test_an_agent_at_a_private_address_is_not_called(
    tmp_path: Path, near: Neighbours
) -> None:
    async with executor_in(tmp_path, near) as executor, remote_agent() as agent:
        with pytest.raises(CadreError) as by_address:
            await register(executor, card_url=agent.url)
        await register(executor, card=card_document(agent.url), ttl_seconds=60)
        run, _ = await executor.finish(ASKING % "", text="hello")

    assert by_address.value.code == run.error.code == "ADDRESS_REFUSED"
    assert agent.headers == []


async def test_a_secret_is_sent_as_the_card_says(tmp_path: Path, near: Neighbours) -> None:
    variables = {"AGENT_ECHO": "s3cret"}
    async with remote_agent(token="s3cret") as agent:
        async with executor_in(
            tmp_path, near, allowed_addresses="127.0.0.1", variables=variables
        ) as executor:
            found = await register(executor, card_url=agent.url, secret="AGENT_ECHO")
            run, _ = await executor.finish(ASKING % "", text="hello")

    assert found.secret == "AGENT_ECHO"
    assert outputs(run)["reply"] == "echo: hello"
    assert agent.headers[-1]["a2a-version"] == "1.0"


async def test_a_message_whose_answer_was_lost_is_not_sent_again(
    tmp_path: Path, near: Neighbours
) -> None:
    async with (
        executor_in(
            tmp_path, near, allowed_addresses="127.0.0.1", executor_patience_seconds=30
        ) as executor,
        remote_agent(HTTP_JSON) as agent,
    ):
        agent.cut_off = 1
        await register(executor, card_url=agent.url)
        run, _ = await executor.finish(ASKING % "", text="hello")

    assert outputs(run)["reply"] == "echo: hello"
    assert len(agent.messages) == 1


async def test_of_an_agent_that_lists_no_tasks_nobody_knows_whether_a_message_came(
    tmp_path: Path, near: Neighbours
) -> None:
    async with (
        executor_in(
            tmp_path, near, allowed_addresses="127.0.0.1", executor_patience_seconds=30
        ) as executor,
        remote_agent(HTTP_JSON) as agent,
    ):
        agent.cut_off, agent.lists = 1, False
        await register(executor, card_url=agent.url)
        run, _ = await executor.finish(ASKING % "", text="hello")

    assert run.error.code == "AGENT_RESULT_UNKNOWN"
    assert len(agent.messages) == 1


async def test_an_agent_that_does_not_answer_fails_the_node(executor: Executor) -> None:
    async with remote_agent() as agent:
        await register(executor, card_url=agent.url)
    run, _ = await executor.finish(ASKING % "", text="hello")

    assert run.error.code == "AGENT_UNREACHABLE"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"jsonrpc": "2.0", "id": 1, "result": {"task": {"id": "t"}}}, "AGENT_ANSWER_INVALID"),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, "AGENT_ANSWER_INVALID"),
        (
            {"jsonrpc": "2.0", "id": 1, "error": {"code": -32009, "message": "0.3 only"}},
            "AGENT_REFUSED",
        ),
    ],
)
async def test_rubbish_and_refusals_of_an_agent_are_said(
    executor: Executor, answer: object, code: str
) -> None:
    async with website() as site:
        site.json("/a2a", answer)
        await register(executor, card=card_document(f"{site.url}/a2a"), ttl_seconds=60)
        run, _ = await executor.finish(ASKING % "", text="hello")

    assert run.error.code == code


async def test_a_message_is_not_sent_on_to_another_address(executor: Executor) -> None:
    async with website() as site:
        site.redirect("/a2a", f"{site.url}/elsewhere", status=307)
        await register(executor, card=card_document(f"{site.url}/a2a"), ttl_seconds=60)
        run, _ = await executor.finish(ASKING % "", text="hello")

    assert run.error.code == "AGENT_REFUSED"
    assert [asked.path for asked in site.asked] == ["/a2a"]


async def test_validating_notes_an_agent_that_is_not_there(executor: Executor) -> None:
    request = workflows_pb2.ApplyWorkflowRequest(source=ASKING % "")
    applied = await executor.ask(executor.workflows.ApplyWorkflow, request)

    (note,) = applied.notes
    assert (note.code, note.path) == ("AGENT_NOT_FOUND", "nodes[0].agent")
    assert ASKING.splitlines()[note.line - 1][note.column - 1 :].startswith("Echo-agent")


async def test_what_was_answered_is_in_the_events(executor: Executor, echo: RemoteAgent) -> None:
    run = await executor.start(ASKING % "", text="hello")
    events = await executor.events(run.id)
    tasks = [
        from_json(e.data, field="data") for e in events if e.type == runs_pb2.EVENT_TYPE_AGENT_TASK
    ]

    assert tasks[-1]["agent"] == "Echo-agent"
    assert tasks[-1]["state"] == "completed"


async def test_the_trace_has_a_client_span_that_the_agent_can_go_on_with(
    spans: InMemorySpanExporter, executor: Executor, echo: RemoteAgent
) -> None:
    await executor.finish(ASKING % "", text="PROMPT")

    (span,) = [s for s in spans.get_finished_spans() if s.name == "invoke_agent Echo-agent"]
    said = dict(span.attributes or {})
    assert span.kind is SpanKind.CLIENT
    assert (said["gen_ai.operation.name"], said["gen_ai.agent.name"]) == (
        "invoke_agent",
        "Echo-agent",
    )
    assert "PROMPT" not in str(said)
    assert span.context is not None
    trace_id = f"{span.context.trace_id:032x}"
    assert any(trace_id in headers.get("traceparent", "") for headers in echo.headers)
