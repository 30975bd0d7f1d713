"""Tool nodes, and models that call tools."""

from pathlib import Path

from tests.fakes.executor import Neighbours, calls
from tests.fakes.tools import FakeTools, fails
from tests.service.executor.conftest import Executor, executor_in, names, outputs, reached

from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.documents import from_json

LOOKING = """
flow: {name: looking}
state: {fields: {question: {type: str, required: true}, answer: {type: str, default: ""}}}
nodes:
  - id: answer
    prompt: "{state.question}"
    tools: [json_parse, {name: file_write, on_error: ON_ERROR}]
    max_steps: 4
    outputs: [answer]
edges:
  - {from: START, to: answer}
  - {from: answer, to: END}
"""
CONTINUES = LOOKING.replace("ON_ERROR", "continue")
FAILS = LOOKING.replace("ON_ERROR", "fail")
WRITE = ("file_write", {"path": "a.txt", "content": "hello"})
PARSING = """
flow: {name: parsing}
state: {fields: {text: {type: str, required: true}, found: {type: "list[int]", default: []}}}
nodes:
  - id: parse
    type: tool
    tool: json_parse
    arguments: {text: "{state.text}"}
    outputs: [found]
edges:
  - {from: START, to: parse}
  - {from: parse, to: END}
"""


def after(
    *replies: llm_pb2.Reply, then: str = "done", near: Neighbours
) -> list[llm_pb2.CompleteRequest]:
    """Lets the model give the replies, one a step, and then a final answer; what it is asked."""
    asked: list[llm_pb2.CompleteRequest] = []

    def answer(request: llm_pb2.CompleteRequest) -> str | llm_pb2.Reply:
        asked.append(request)
        return replies[len(asked) - 1] if len(asked) <= len(replies) else then

    near.llm_proxy.answer = answer
    return asked


async def test_a_model_gets_what_its_tools_gave_in_the_order_of_its_calls(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    tools.answers["json_parse"] = lambda arguments: {"text": arguments["text"]}
    wanted = calls(("json_parse", {"text": "1"}), ("json_parse", {"text": "2"}))
    asked = after(wanted, then="the answer", near=near)

    run, events = await executor.finish(CONTINUES, question="what?")

    assert outputs(run)["answer"] == "the answer"
    said = [(m.role, m.content, m.tool_call_id) for m in asked[1].messages]
    assert said == [
        (llm_pb2.ROLE_USER, "what?", ""),
        (llm_pb2.ROLE_ASSISTANT, "", ""),
        (llm_pb2.ROLE_TOOL, '{"text": "1"}', "call-0"),
        (llm_pb2.ROLE_TOOL, '{"text": "2"}', "call-1"),
    ]
    assert [t.name for t in asked[0].tools] == ["json_parse", "file_write"]
    assert events.count("tool_called answer") == events.count("tool_returned answer") == 2
    assert run.usage.calls == 2


async def test_the_tools_of_one_reply_run_side_by_side(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    after(calls(*[("json_parse", {"text": str(n)}) for n in range(12)]), near=near)
    tools.gate.clear()

    run = await executor.start(CONTINUES, question="x")
    await reached(lambda: tools.at_once == 8)
    tools.gate.set()

    assert names(await executor.events(run.id))[-1] == "run_succeeded"
    assert tools.most_at_once == 8


async def test_the_last_step_may_not_call_tools(executor: Executor, near: Neighbours) -> None:
    again = calls(("json_parse", {"text": "1"}))
    asked = after(again, again, again, then="enough", near=near)

    run, _ = await executor.finish(CONTINUES, question="x")

    choices = [request.tool_choice for request in asked]
    assert choices == [llm_pb2.TOOL_CHOICE_UNSPECIFIED] * 3 + [llm_pb2.TOOL_CHOICE_NONE]
    assert outputs(run)["answer"] == "enough"


async def test_a_failure_is_told_to_the_model_where_the_tool_goes_on(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    tools.answers["file_write"] = fails
    asked = after(calls(WRITE), near=near)

    run, _ = await executor.finish(CONTINUES, question="x")

    assert asked[1].messages[-1].content == "Error TOOL_FAILED: the line is dead. Try another one."
    assert outputs(run)["answer"] == "done"


async def test_a_failure_ends_the_node_where_the_tool_does_not_go_on(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    tools.answers["file_write"] = fails
    after(calls(WRITE), near=near)

    run, events = await executor.finish(FAILS, question="x")

    assert (run.error.code, run.error.node) == ("TOOL_FAILED", "answer")
    assert events[-3:] == ["tool_returned answer", "node_failed answer", "run_failed"]
    assert run.usage.calls == 1


async def test_a_model_may_correct_its_arguments_three_times(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    wrong = calls(("file_write", {"path": 1}))
    asked = after(wrong, near=near)

    run, _ = await executor.finish(FAILS, question="x")

    assert "BAD_ARGUMENTS" in asked[1].messages[-1].content
    assert run.status == runs_pb2.RUN_STATUS_SUCCEEDED

    after(calls(*[("file_write", {"path": 1})] * 4), near=near)
    run, _ = await executor.finish(FAILS, question="y")
    assert run.error.code == "BAD_ARGUMENTS"


async def test_a_tool_that_was_not_offered_is_refused(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    asked = after(calls(("shell", {"command": "rm -rf /"})), near=near)

    run, _ = await executor.finish(CONTINUES, question="x")

    assert asked[1].messages[-1].content == "Error UNKNOWN_TOOL: no tool 'shell'"
    assert tools.keys == []
    assert outputs(run)["answer"] == "done"


async def test_a_run_taken_up_midway_repeats_no_reply_and_no_call(
    tmp_path: Path, near: Neighbours, tools: FakeTools
) -> None:
    asked = after(calls(("json_parse", {"text": "1"})), calls(WRITE), near=near)
    near.llm_proxy.held_nodes = set()
    async with executor_in(tmp_path, near, tools=tools) as one:
        tools.answers["file_write"] = lambda _: near.llm_proxy.gate.clear()
        run = await one.start(CONTINUES, question="x")
        await reached(lambda: near.llm_proxy.was_asked(3))
    near.llm_proxy.gate.set()
    async with executor_in(tmp_path, near, tools=tools) as two:
        events = await two.events(run.id)
        ended = await two.get(run.id)

    assert names(events)[-1] == "run_succeeded"
    assert [key.split("/", 1)[1] for key in tools.keys] == ["answer/1/1/1.1", "answer/1/1/2.1"]
    assert len(asked) == ended.usage.calls == 3


async def test_a_call_that_nobody_knows_the_end_of_is_repeated_only_when_that_does_no_harm(
    tmp_path: Path, near: Neighbours, tools: FakeTools
) -> None:
    after(calls(("json_parse", {"text": "1"})), near=near)
    tools.gate.clear()
    async with executor_in(tmp_path, near, tools=tools) as one:
        parses = await one.start(FAILS, question="x")
        await reached(lambda: len(tools.keys) == 1)
        after(calls(("http_client", {})), near=near)
        writes = await one.start(POSTS, question="x")
        await reached(lambda: len(tools.keys) == 2)
    tools.gate.set()
    async with executor_in(tmp_path, near, tools=tools) as two:
        assert names(await two.events(parses.id))[-1] == "run_succeeded"
        assert names(await two.events(writes.id))[-1] == "run_failed"
        assert (await two.get(writes.id)).error.code == "TOOL_RESULT_UNKNOWN"

    assert len(tools.keys) == 3


POSTS = """
flow: {name: posts}
state: {fields: {question: {type: str, required: true}, answer: {type: any, default: ""}}}
nodes:
  - id: answer
    type: tool
    tool: http_client
    arguments: {url: "https://example.com/{state.question}", method: POST}
    outputs: [answer]
edges:
  - {from: START, to: answer}
  - {from: answer, to: END}
"""


async def test_cancelling_a_run_cancels_its_tools(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    after(calls(WRITE), near=near)
    tools.gate.clear()
    run = await executor.start(FAILS, question="x")
    await reached(lambda: tools.at_once == 1)

    cancelled = await executor.cancel(run.id)

    assert cancelled.status == runs_pb2.RUN_STATUS_CANCELLED
    assert tools.cancelled == tools.keys
    assert cancelled.usage.calls == 1


async def test_a_tool_node_calls_its_tool_with_typed_arguments(
    executor: Executor, tools: FakeTools
) -> None:
    tools.answers["json_parse"] = lambda arguments: [1, 2, len(arguments["text"])]

    run, events = await executor.finish(PARSING, text="[1]")

    assert outputs(run)["found"] == [1, 2, 3]
    assert events[2:5] == ["node_started parse", "tool_called parse", "tool_returned parse"]


async def test_an_event_shows_the_beginning_of_a_long_result(
    executor: Executor, tools: FakeTools
) -> None:
    tools.answers["json_parse"] = lambda _: list(range(10_000))

    run = await executor.start(PARSING, text="[1]")
    returned = [
        from_json(event.data, field="data")
        for event in await executor.events(run.id)
        if event.type == runs_pb2.EVENT_TYPE_TOOL_RETURNED
    ]

    assert returned[0]["result"].endswith("more characters)")
    assert len(outputs(await executor.get(run.id))["found"]) == 10_000
