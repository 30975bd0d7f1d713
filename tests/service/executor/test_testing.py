"""The tests that files carry, over gRPC: the real engine between written replies, and nothing is kept of them."""

from pathlib import Path

import pytest
from tests.fakes.executor import Neighbours
from tests.fakes.tools import FakeTools
from tests.service.executor.conftest import Executor

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_kit.channels import stream
from cadre_kit.documents import from_json
from cadre_kit.errors import InvalidInput

EXAMPLES = Path(__file__).parents[3] / "examples"
TRIAGE = """
flow: {name: triage}
state:
  fields:
    message: {type: str, required: true}
    mood: {type: str, default: ""}
    reply: {type: str, default: ""}
nodes:
  - id: classify
    prompt: "Classify {state.message}"
    output_schema: {type: object, fields: [{name: mood, type: str, enum: [happy, angry]}]}
    outputs: [mood]
  - {id: apologize, prompt: "Apologize for {state.message}", outputs: [reply]}
  - {id: thank, prompt: "Thank for {state.message}", outputs: [reply]}
edges:
  - {from: START, to: classify}
  - {from: classify, routes: [{condition: "state.mood == 'angry'", to: apologize}, {condition: default, to: thank}]}
  - {from: [apologize, thank], to: END}
"""


async def results_of(
    executor: Executor, source: str, name_contains: str = ""
) -> list[workflows_pb2.TestResult]:
    request = workflows_pb2.TestWorkflowRequest(source=source, name_contains=name_contains)
    answers = stream(
        executor.workflows.TestWorkflow, request, service="executor", timeout_seconds=40.0
    )
    return [answer.result async for answer in answers]


async def result_of(executor: Executor, source: str) -> workflows_pb2.TestResult:
    (result,) = await results_of(executor, source)
    return result


def failures(result: workflows_pb2.TestResult) -> list[str]:
    return [f"{each.code} {each.node}".strip() for each in result.failures]


def one_node(node: str, test: str, fields: str = "text: str") -> str:
    return f"flow: {{name: one}}\nstate: {{fields: {{{fields}}}}}\nnodes:\n  - {node}\ntests:\n  - {test}\n"


async def test_tests_run_the_graph_with_written_replies_and_ask_no_model(
    executor: Executor, near: Neighbours
) -> None:
    results = await results_of(
        executor,
        TRIAGE
        + """tests:
  - name: anger is met with an apology
    inputs: {message: broken}
    replies: {classify: {mood: angry}, apologize: "We are sorry."}
    expect: ["state.mood == 'angry'", "state.reply == 'We are sorry.'"]
  - name: joy is met with thanks
    inputs: {message: fine}
    replies: {classify: {mood: happy}, thank: "Thank you."}
    expect: state.reply == 'Thank you.'
""",
    )

    assert [result.name for result in results] == [
        "anger is met with an apology",
        "joy is met with thanks",
    ]
    assert all(result.passed for result in results)
    assert from_json(results[0].outputs, field="outputs")["reply"] == "We are sorry."
    assert near.llm_proxy.asked == []


@pytest.mark.parametrize("name", ["triage", "review_loop"])
async def test_the_examples_tests_pass(executor: Executor, name: str) -> None:
    results = await results_of(executor, (EXAMPLES / f"{name}.yaml").read_text())

    assert len(results) == 3
    assert [failures(result) for result in results] == [[], [], []]


async def test_what_is_expected_and_does_not_hold_is_shown_with_its_values_and_place(
    executor: Executor,
) -> None:
    source = (
        TRIAGE
        + """tests:
  - name: wrong
    inputs: {message: broken}
    replies: {classify: {mood: angry}, apologize: Sorry}
    expect:
      - state.mood == 'angry'
      - len(state.reply) > 10 and state.mood == 'angry'
"""
    )
    result = await result_of(executor, source)

    (failure,) = result.failures
    assert not result.passed
    assert failure.code == "EXPECTATION_FAILED"
    assert "state.reply is 'Sorry'" in failure.message
    assert failure.path == "tests[0].expect[1]"
    assert source.splitlines()[failure.line - 1].strip().startswith("- len(state.reply)")


async def test_a_call_without_a_reply_fails_the_test_whatever_the_node_makes_of_it(
    executor: Executor,
) -> None:
    source = TRIAGE.replace("outputs: [reply]}", "outputs: [reply], on_error: continue}") + (
        "tests: [{name: silent, inputs: {message: m}, replies: {classify: {mood: angry}}}]"
    )
    result = await result_of(executor, source)

    assert failures(result) == ["REPLY_MISSING apologize"]
    assert "asks its model on visit 1" in result.failures[0].message


async def test_a_list_has_one_reply_a_call_and_no_more(executor: Executor) -> None:
    loop = """
flow: {name: loop}
state: {fields: {good: {type: bool, default: false}, n: {type: int, default: 0, reducer: sum}}}
nodes:
  - {id: judge, prompt: Judge, output_schema: bool, outputs: [good]}
  - {id: count, code: result = 1, outputs: [n]}
edges:
  - {from: START, to: judge}
  - {from: judge, to: count}
  - {from: count, loop: {to: judge, max_iterations: 5, until: state.good}}
tests:
  - name: third time
    replies: {judge: [false, false, true]}
    expect: state.n == 3 and state._loop_iteration_count == 2
  - {name: never, replies: {judge: false}, expect: state.n == 6}
  - {name: runs out, replies: {judge: [false]}}
"""
    third, never, runs_out = await results_of(executor, loop)

    assert third.passed, third.failures
    assert never.passed, never.failures
    assert failures(runs_out) == ["REPLY_MISSING judge"]
    assert "visit 2" in runs_out.failures[0].message


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        ("{mood: sad}", "'sad' is not one of"),
        ("{mood: happy, more: 1}", "Additional properties"),
        ("{}", "'mood' is a required property"),
        ("no document", "no JSON document"),
    ],
)
async def test_replies_are_held_to_the_output_schema(
    executor: Executor, reply: str, wrong: str
) -> None:
    source = f"{TRIAGE}tests: [{{name: t, inputs: {{message: m}}, replies: {{classify: {reply}}}}}]"
    result = await result_of(executor, source)

    assert failures(result) == ["MODEL_OUTPUT_INVALID classify"]
    assert wrong in result.failures[0].message


async def test_failures_can_be_written_and_are_tried_again_without_a_pause(
    executor: Executor,
) -> None:
    node = "{id: ask, prompt: Ask, outputs: [text], retry: {max_attempts: 3, backoff_seconds: 60}}"
    passes = (
        "{name: t, replies: {ask: [{error: RATE_LIMITED}, {error: {code: X, may_pass: true}}, there]},"
        " expect: state.text == 'there'}"
    )
    fails = "{name: t, replies: {ask: {error: PROVIDER_KEY_REFUSED}}, fails: PROVIDER_KEY_REFUSED}"
    does_not = "{name: t, replies: {ask: there}, fails: PROVIDER_KEY_REFUSED}"

    assert (await result_of(executor, one_node(node, passes))).passed
    assert (await result_of(executor, one_node(node, fails))).passed
    result = await result_of(executor, one_node(node, does_not))
    assert failures(result) == ["EXPECTATION_FAILED"]


async def test_a_tool_loop_takes_written_calls_and_results(
    executor: Executor, tools: FakeTools
) -> None:
    node = "{id: ask, prompt: Ask, tools: [web_search, {name: 'mcp:docs/find', on_error: continue}], outputs: [text]}"
    test = """
    name: t
    replies:
      ask:
        - calls:
            - {tool: web_search, arguments: {query: rain}, result: [{title: Rain}]}
            - {tool: 'mcp:docs/find', arguments: {}, error: TOOL_TIMEOUT}
        - It rains.
    expect: state.text == 'It rains.'"""
    source = one_node(node, test) + "config: {mcp_servers: {docs: {}}}\n"

    result = await result_of(executor, source)
    without = await result_of(executor, source.replace(", result: [{title: Rain}]", ""))
    wrong = await result_of(executor, source.replace("{query: rain}", "{quest: rain}"))

    assert result.passed, result.failures
    assert failures(without) == ["REPLY_MISSING ask"]
    assert "calls the tool 'web_search' on visit 1, step 1.1" in without.failures[0].message
    assert wrong.passed, "a model is told that its arguments are wrong, and may go on"
    assert tools.keys == []


async def test_programs_run_in_the_sandbox_unless_their_result_is_written(
    executor: Executor, near: Neighbours
) -> None:
    node = "{id: add, inputs: {a: '{state.n}'}, code: 'result = a + 1', outputs: [n]}"
    fields = "n: {type: int, default: 1}"
    real = one_node(node, "{name: real, expect: state.n == 2}", fields)
    written = one_node(node, "{name: t, replies: {add: 7}, expect: state.n == 7}", fields)

    assert (await result_of(executor, real)).passed
    assert len(near.sandbox.requests) == 1
    assert (await result_of(executor, written)).passed
    assert len(near.sandbox.requests) == 1


async def test_people_workflows_tools_and_memory_are_answered_for(
    executor: Executor, near: Neighbours, tools: FakeTools
) -> None:
    source = """
flow: {name: all}
state: {fields: {page: any, known: any, found: any, saved: any, choice: str, german: str}}
nodes:
  - {id: fetch, tool: http_client, arguments: {url: "https://example.com"}, outputs: [page]}
  - {id: recall, memory: {action: load, key: last}, outputs: [known]}
  - {id: look, memory: {action: search, query: rain}, outputs: [found]}
  - {id: keep, memory: {action: save, key: k, value: "{state.known}"}}
  - {id: again, memory: {action: load, key: k}, outputs: [saved]}
  - {id: check, type: approval, message: "Keep?", choices: [keep, drop], outputs: {choice: choice}}
  - {id: translate, workflow: translation, outputs: {german: text}}
tests:
  - name: t
    replies:
      fetch: {status: 200}
      recall: rainy
      look: [{value: [{key: a, value: b, score: 0.5}]}]
      check: drop
      translate: {text: Regen}
    expect:
      - state.known == 'rainy' and state.saved == 'rainy'
      - state.choice == 'drop' and state.german == 'Regen'
"""
    result = await result_of(executor, source)
    unanswered = await result_of(executor, source.replace("      check: drop\n", ""))

    assert result.passed, result.failures
    outputs = from_json(result.outputs, field="outputs")
    assert outputs["page"] == {"status": 200}
    assert outputs["found"] == [{"key": "a", "value": "b", "score": 0.5}]
    assert failures(unanswered) == ["REPLY_MISSING check"]
    assert near.memory.items == {}
    assert tools.keys == []


async def test_each_item_of_a_for_each_has_its_reply(executor: Executor) -> None:
    node = (
        "{id: ask, for_each: {items: '{state.names}'}, prompt: 'Greet {item}', outputs: {all: .},"
        " on_error: continue}"
    )
    fields = "names: {type: 'list[str]'}, all: {type: list}"
    test = (
        "{name: t, inputs: {names: [a, b, c]}, replies: {ask: [A, {error: X_FAILED}, [C]]},"
        " expect: \"state.all == ['A', null, 'C']\"}"
    )
    result = await result_of(executor, one_node(node, test, fields))

    assert result.passed, result.failures


async def test_nothing_is_kept_of_a_test(executor: Executor, near: Neighbours) -> None:
    source = TRIAGE + (
        "tests: [{name: t, inputs: {message: m}, replies: {classify: {mood: angry}, apologize: S}}]"
    )
    await results_of(executor, source)

    listed = await executor.ask(executor.runs.ListRuns, runs_pb2.ListRunsRequest())
    assert list(listed.runs) == []
    assert near.llm_proxy.asked == []


async def test_tests_are_chosen_by_a_part_of_their_names(executor: Executor) -> None:
    source = one_node(
        "{id: ask, prompt: Ask, outputs: [text]}",
        "{name: Rain falls, replies: {ask: a}}\n  - {name: sun, replies: {ask: b}}",
    )

    assert [r.name for r in await results_of(executor, source, "rain")] == ["Rain falls"]
    with pytest.raises(InvalidInput) as caught:
        await results_of(executor, source, "snow")
    assert caught.value.code == "NO_TESTS"
    assert "Rain falls, sun" in caught.value.resolution


async def test_a_file_that_is_wrong_is_refused_with_its_problems(executor: Executor) -> None:
    source = (
        TRIAGE
        + """tests:
  - name: t
    inputs: {mesage: m}
    replies:
      clasify: {mood: angry}
      apologize: [[a]]
      thank: 3
    expect: [state.moo == 'angry', state.mood > 3]
    fails: not a code
"""
    )
    with pytest.raises(InvalidInput) as caught:
        await results_of(executor, source)

    found = [(problem.code, problem.path) for problem in caught.value.problems]
    assert found == [
        ("MISSING_INPUT", "tests[0].inputs"),
        ("UNKNOWN_STATE_FIELD", "tests[0].inputs.mesage"),
        ("UNKNOWN_NODE", "tests[0].replies.clasify"),
        ("INVALID_REPLY", "tests[0].replies.apologize[0]"),
        ("INVALID_REPLY", "tests[0].replies.thank"),
        ("UNKNOWN_STATE_FIELD", "tests[0].expect[0]"),
        ("TYPE_MISMATCH", "tests[0].expect[1]"),
        ("INVALID_VALUE", "tests[0].fails"),
    ]


async def test_a_remote_agent_need_not_be_there_when_what_it_gives_is_written(
    executor: Executor,
) -> None:
    source = """
flow: {name: asks_agent}
state: {fields: {text: {type: str, default: ""}, count: {type: int, default: 0}}}
nodes:
  - {id: ask, agent: nobody, prompt: Hello, outputs: [text], retry: {max_attempts: 2}}
  - {id: hand, agent: nobody, inputs: {text: "{state.text}"}, outputs: {count: words}}
tests:
  - name: it comes back
    replies: {ask: [{error: {code: AGENT_UNREACHABLE, may_pass: true}}, good day], hand: {words: 2}}
    expect: [state.text == 'good day', state.count == 2]
  - {name: refused, replies: {ask: {error: AGENT_TASK_REJECTED}}, fails: AGENT_TASK_REJECTED}
  - {name: silent, replies: {ask: hello}}
"""
    results = await results_of(executor, source)

    assert [failures(result) for result in results] == [[], [], ["REPLY_MISSING hand"]]
    assert "asks the agent 'nobody'" in results[-1].failures[0].message
