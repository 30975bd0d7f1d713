"""Runs over gRPC: what they do, how they fail, and what watchers see."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor, executor_in, names, outputs, reached

from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_kit.documents import from_json, to_json
from cadre_kit.errors import (
    CadreError,
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unavailable,
)

HEAD = 'schema_version: "1.0"\nflow: {name: sample}\n'
ASK = (
    HEAD
    + """
state: {fields: {message: {type: str, required: true}, reply: {type: str, default: ""}}}
nodes:
  - {id: ask, prompt: "Say {state.message}", outputs: [reply]}
edges: [{from: START, to: ask}, {from: ask, to: END}]
"""
)
TRIAGE = (
    HEAD
    + """
state:
  fields:
    message: {type: str, required: true}
    mood: {type: str, default: ""}
    reply: {type: str, default: ""}
nodes:
  - id: classify
    prompt: "{state.message}"
    output_schema: {type: object, fields: [{name: mood, type: str, enum: [happy, angry]}]}
    outputs: [mood]
  - {id: thank, prompt: thanks, outputs: [reply]}
  - {id: calm, prompt: calm, outputs: [reply]}
edges:
  - {from: START, to: classify}
  - from: classify
    routes: [{condition: "state.mood == 'happy'", to: thank}, {condition: default, to: calm}]
  - {from: [thank, calm], to: END}
"""
)
LOOP = (
    HEAD
    + """
state: {fields: {count: {type: int, default: 0, reducer: sum}}}
nodes:
  - {id: add, code: "result = 1", outputs: [count]}
edges:
  - {from: START, to: add}
  - {from: add, loop: {to: add, max_iterations: 10, until: "state.count >= 3", exit_to: END}}
"""
)


def code_node(code: str, more: str = "") -> str:
    return (
        HEAD
        + f"""
state: {{fields: {{value: {{type: any, default: null}}, other: {{type: any, default: null}}}}}}
nodes:
  - {{id: work, code: "{code}", outputs: [value]{more}}}
  - {{id: rescue, code: "result = 'rescued'", outputs: [other]}}
edges:
  - {{from: START, to: work}}
  - {{from: work, to: rescue}}
  - {{from: rescue, to: END}}
"""
    )


async def test_a_run_asks_the_model_and_ends_with_its_outputs_usage_and_cost(
    executor: Executor, near: Neighbours
) -> None:
    run, events = await executor.finish(ASK, message="hello")

    assert outputs(run) == {"message": "hello", "reply": "reply to Say hello"}
    assert (run.usage.input_tokens, run.usage.calls, run.usage.cost_usd) == (10, 1, "0.001")
    assert events == [
        "run_queued",
        "run_started",
        "node_started ask",
        "node_succeeded ask",
        "run_succeeded",
    ]
    assert near.llm_proxy.asked == [f"{run.id}/ask/1/1/1"]


async def test_the_cost_is_unknown_when_the_price_of_a_call_is(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.cost_usd = None

    run, _ = await executor.finish(ASK, message="hello")

    assert not run.usage.HasField("cost_usd")
    assert run.usage.unpriced_calls == 1


@pytest.mark.parametrize(("mood", "reply"), [("happy", "thank"), ("angry", "calm")])
async def test_a_branch_follows_the_models_answer(
    executor: Executor, near: Neighbours, mood: str, reply: str
) -> None:
    near.llm_proxy.answer = lambda request: (
        f'{{"mood": "{mood}"}}' if request.HasField("output_schema") else "done"
    )

    run, events = await executor.finish(TRIAGE, message="?")

    assert outputs(run)["mood"] == mood
    assert [e for e in events if e.startswith("node_succeeded")][1:] == [f"node_succeeded {reply}"]


async def test_a_loop_goes_on_until_its_condition_holds(executor: Executor) -> None:
    run, events = await executor.finish(LOOP)

    assert outputs(run) == {"count": 3}
    assert events.count("node_succeeded add") == 3


async def test_a_reply_that_does_not_fit_fails_the_node_with_its_usage(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.answer = lambda request: '{"mood": "purple"}'

    run, events = await executor.finish(TRIAGE, message="?")

    assert (run.error.code, run.error.node) == ("MODEL_OUTPUT_INVALID", "classify")
    assert run.usage.calls == 1
    assert events[-2:] == ["node_failed classify", "run_failed"]


async def test_a_retry_asks_anew_and_counts_both_calls(
    executor: Executor, near: Neighbours
) -> None:
    replies = iter(['{"mood": "purple"}', '{"mood": "happy"}', "done"])
    near.llm_proxy.answer = lambda request: next(replies)
    source = TRIAGE.replace(
        "outputs: [mood]", "outputs: [mood]\n    retry: {max_attempts: 2, backoff_seconds: 0.01}"
    )

    run, events = await executor.finish(source, message="?")

    assert run.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert "node_retried classify" in events
    assert run.usage.calls == 3
    assert near.llm_proxy.asked[:2] == [f"{run.id}/classify/1/{n}/1" for n in (1, 2)]


async def test_a_retry_waits_as_long_as_the_provider_says(
    executor: Executor, near: Neighbours
) -> None:
    refusals = [
        LimitExceeded("no more", code="RATE_LIMITED", metadata={"retry_after_seconds": "0.25"})
    ]

    def answer(request: llm_pb2.CompleteRequest) -> str:
        if refusals:
            raise refusals.pop()
        return '{"mood": "happy"}'

    near.llm_proxy.answer = answer
    source = TRIAGE.replace(
        "outputs: [mood]", "outputs: [mood]\n    retry: {max_attempts: 2, backoff_seconds: 0.01}"
    )

    run = await executor.start(source, message="?")
    events = await executor.events(run.id)

    (retried,) = [e for e in events if e.type == runs_pb2.EVENT_TYPE_NODE_RETRIED]
    assert from_json(retried.data, field="data")["delay_seconds"] == 0.25


async def test_a_retry_may_name_a_kind_of_errors(executor: Executor, near: Neighbours) -> None:
    failures = [Unavailable("openai failed", code="PROVIDER_FAILED")]

    def answer(request: llm_pb2.CompleteRequest) -> str:
        if failures:
            raise failures.pop()
        return '{"mood": "happy"}'

    near.llm_proxy.answer = answer
    retry = "retry: {max_attempts: 2, backoff_seconds: 0.01, on: [UNAVAILABLE]}"
    source = TRIAGE.replace("outputs: [mood]", f"outputs: [mood]\n    {retry}")

    run, events = await executor.finish(source, message="?")

    assert run.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert "node_retried classify" in events


async def test_a_pause_that_the_file_makes_longer_than_a_minute_is_kept(executor: Executor) -> None:
    retry = ", retry: {max_attempts: 3, backoff_seconds: 90, on: [CODE_FAILED]}"
    run = await executor.start(code_node("1 / 0", retry))
    retried: list[runs_pb2.Event] = []

    def is_retried(event: runs_pb2.Event) -> bool:
        retried.append(event)
        return event.type == runs_pb2.EVENT_TYPE_NODE_RETRIED

    await executor.until(run.id, is_retried)

    assert from_json(retried[-1].data, field="data")["delay_seconds"] == 90
    await executor.cancel(run.id)


@pytest.mark.parametrize(
    ("code", "error"),
    [("1 / 0", "CODE_FAILED"), ("# BLOCKED", "CODE_BLOCKED"), ("# LIMIT", "CODE_LIMIT")],
)
async def test_a_program_that_does_not_succeed_fails_its_node_with_its_own_lines(
    executor: Executor, code: str, error: str
) -> None:
    run, _ = await executor.finish(code_node(code))

    assert (run.error.code, run.error.node) == (error, "work")
    assert "line 1" in run.error.message


async def test_a_failed_node_is_passed_over_when_it_says_continue(executor: Executor) -> None:
    run, events = await executor.finish(code_node("1 / 0", ", on_error: continue"))

    assert outputs(run) == {"value": None, "other": "rescued"}
    assert "node_failed work" in events


async def test_a_failed_node_sends_the_run_where_it_says(executor: Executor) -> None:
    run, events = await executor.finish(code_node("1 / 0", ', on_error: "goto:rescue"'))

    assert run.status == runs_pb2.RUN_STATUS_SUCCEEDED
    assert "node_succeeded rescue" in events


async def test_events_keep_which_conditions_were_looked_at_and_what_they_saw(
    executor: Executor,
) -> None:
    async def decided(source: str, node: str) -> list[Any]:
        run = await executor.start(source)
        ended = [e for e in await executor.events(run.id) if e.node == node and e.HasField("data")]
        return from_json(ended[-1].data, field="data")["decisions"]  # type: ignore[no-any-return]

    assert await decided(LOOP, "add") == [
        {
            "condition": "state.count >= 3",
            "to": ["END"],
            "held": True,
            "values": {"state.count": 3},
        }
    ]
    skipped = code_node("result = 1", ', when: "state.other == 1"')
    assert await decided(skipped, "work") == [
        {
            "condition": "state.other == 1",
            "to": ["work"],
            "held": False,
            "values": {"state.other": None},
        }
    ]


async def test_a_node_is_skipped_when_its_condition_does_not_hold(executor: Executor) -> None:
    run, events = await executor.finish(code_node("result = 1", ', when: "state.other == 1"'))

    assert outputs(run)["value"] is None
    assert "node_skipped work" in events
    assert "node_started work" not in events


async def test_a_node_past_its_timeout_fails_and_its_call_is_cancelled(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    source = ASK.replace("outputs: [reply]", "outputs: [reply], timeout: 0.2")

    run, _ = await executor.finish(source, message="hello")

    assert run.error.code in ("NODE_TIMEOUT", "SERVICE_TIMEOUT")
    assert run.error.node == "ask"


async def test_a_run_past_its_timeout_fails(executor: Executor, near: Neighbours) -> None:
    near.llm_proxy.gate.clear()

    run, _ = await executor.finish(ASK + "config: {execution: {timeout: 0.3}}", message="hello")

    assert run.error.code == "RUN_TIMEOUT"


async def test_a_cycle_without_a_loop_ends_at_its_limit_naming_the_node(
    executor: Executor,
) -> None:
    source = LOOP.replace(
        '{from: add, loop: {to: add, max_iterations: 10, until: "state.count >= 3", exit_to: END}}',
        '{from: add, routes: [{condition: "state.count < 0", to: END}, {condition: default, to: add}]}',
    )

    run, events = await executor.finish(source)

    assert (run.error.code, run.error.node) == ("LOOP_LIMIT_REACHED", "add")
    assert events.count("node_succeeded add") == 10


async def test_memory_is_saved_loaded_and_searched(executor: Executor, near: Neighbours) -> None:
    source = (
        HEAD
        + """
state: {fields: {name: {type: str, required: true}, old: {type: any, default: null}, hits: {type: list, default: []}}}
nodes:
  - {id: load, memory: {action: load, key: name}, outputs: [old]}
  - {id: save, memory: {action: save, key: name, value: "{state.name}"}}
  - {id: search, memory: {action: search, query: "{state.name}"}, outputs: [hits]}
edges: [{from: START, to: load}, {from: load, to: save}, {from: save, to: search}, {from: search, to: END}]
"""
    )
    await executor.finish(source, name="Ada")

    run, _ = await executor.finish(source, name="Ada Lovelace")

    assert outputs(run)["old"] == "Ada"
    assert [hit["value"] for hit in outputs(run)["hits"]] == ["Ada Lovelace"]


async def test_a_repeated_key_gives_the_first_run_and_never_another(executor: Executor) -> None:
    first = await executor.start(ASK, key="k", message="one")
    again = await executor.start(ASK, key="k", message="one")

    assert again.id == first.id
    with pytest.raises(Conflict) as caught:
        await executor.start(ASK, key="k", message="two")
    assert caught.value.code == "IDEMPOTENCY_KEY_REUSED"


async def test_many_starts_with_one_key_are_one_run(executor: Executor, near: Neighbours) -> None:
    runs = await asyncio.gather(*(executor.start(ASK, key="k", message="one") for _ in range(20)))

    assert len({run.id for run in runs}) == 1
    await executor.events(runs[0].id)
    assert len(near.llm_proxy.asked) == 1


async def test_watchers_see_every_event_once_from_wherever_they_begin(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    run = await executor.start(ASK, message="one")
    watching = [asyncio.create_task(executor.events(run.id, after)) for after in (0, 1, 2)]
    await executor.until(run.id, lambda e: e.type == runs_pb2.EVENT_TYPE_NODE_STARTED)
    near.llm_proxy.gate.set()

    seen = [[e.sequence for e in await task] for task in watching]

    assert seen == [[1, 2, 3, 4, 5], [2, 3, 4, 5], [3, 4, 5]]
    assert [e.sequence for e in await executor.events(run.id, after=4)] == [5]
    assert await executor.events(run.id, after=5) == []
    assert await executor.events(run.id, after=99) == []


async def test_a_cancelled_run_stops_its_call_and_starts_nothing_more(
    executor: Executor, near: Neighbours
) -> None:
    near.llm_proxy.gate.clear()
    run = await executor.start(TRIAGE, message="one")
    await executor.until(run.id, lambda e: e.type == runs_pb2.EVENT_TYPE_NODE_STARTED)
    await reached(lambda: bool(near.llm_proxy.asked))

    cancelled = await executor.cancel(run.id)
    near.llm_proxy.gate.set()

    assert cancelled.status == runs_pb2.RUN_STATUS_CANCELLED
    await reached(lambda: bool(near.llm_proxy.cancelled))
    assert names(await executor.events(run.id))[-1] == "run_cancelled"
    assert near.llm_proxy.nodes == ["classify"]
    assert await executor.cancel(run.id) == await executor.get(run.id)


async def test_cancelling_a_finished_run_changes_nothing(executor: Executor) -> None:
    run, _ = await executor.finish(ASK, message="one")

    assert await executor.cancel(run.id) == run


async def test_runs_are_listed_newest_first_in_pages(executor: Executor) -> None:
    started = [(await executor.finish(ASK, message=str(n)))[0].id for n in range(3)]
    first = await executor.ask(executor.runs.ListRuns, runs_pb2.ListRunsRequest(page_size=2))
    request = runs_pb2.ListRunsRequest(page_size=2, page_token=first.next_page_token)
    second = await executor.ask(executor.runs.ListRuns, request)

    assert [run.id for run in [*first.runs, *second.runs]] == started[::-1]
    assert second.next_page_token == ""
    assert not first.runs[0].HasField("inputs")


async def test_runs_are_listed_by_workflow_and_status(executor: Executor) -> None:
    await executor.finish(ASK, message="one")

    async def count(**only: Any) -> int:
        found = await executor.ask(executor.runs.ListRuns, runs_pb2.ListRunsRequest(**only))
        return len(found.runs)

    assert await count(workflow="sample", status=runs_pb2.RUN_STATUS_SUCCEEDED) == 1
    assert await count(workflow="other") == 0
    assert await count(status=runs_pb2.RUN_STATUS_FAILED) == 0


async def refused(executor: Executor, method: Any, request: Any) -> CadreError:
    with pytest.raises(CadreError) as caught:
        await executor.ask(method, request)
    return caught.value


async def test_rubbish_is_refused_with_its_reason(executor: Executor) -> None:
    runs = executor.runs
    start = runs_pb2.StartRunRequest
    cases: list[tuple[Any, Any, str]] = [
        (runs.GetRun, runs_pb2.GetRunRequest(run_id="nope"), "RUN_NOT_FOUND"),
        (runs.CancelRun, runs_pb2.CancelRunRequest(run_id=""), "RUN_NOT_FOUND"),
        (runs.ListRuns, runs_pb2.ListRunsRequest(page_token="%%%"), "BAD_PAGE_TOKEN"),
        (runs.ListRuns, runs_pb2.ListRunsRequest(page_size=-1), "BAD_PAGE_SIZE"),
        (runs.ListRuns, runs_pb2.ListRunsRequest(status=99), "UNKNOWN_RUN_STATUS"),  # type: ignore[arg-type]
        (runs.StartRun, start(), "BAD_REQUEST"),
        (runs.StartRun, start(workflow="nope"), "WORKFLOW_NOT_FOUND"),
        (runs.StartRun, start(source="nodes: ["), "WORKFLOW_INVALID"),
        (runs.StartRun, start(source=ASK, inputs=to_json([1])), "NOT_JSON"),
        (runs.StartRun, start(source=ASK), "INPUTS_REFUSED"),
        (runs.StartRun, start(source=ASK, trigger="x" * 51), "BAD_REQUEST"),
    ]

    for method, request, code in cases:
        assert (await refused(executor, method, request)).code == code


async def test_an_invalid_file_is_refused_with_every_problem_and_runs_nothing(
    executor: Executor, near: Neighbours
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await executor.start(ASK.replace("state.message", "state.mesage"), message="x")

    assert caught.value.problems[0].line > 0
    assert near.llm_proxy.asked == []


async def test_a_service_that_cannot_be_reached_is_named_on_the_run(
    executor: Executor, near: Neighbours
) -> None:
    def fail(request: llm_pb2.CompleteRequest) -> str:
        raise LimitExceeded("the budget is used up", code="BUDGET_EXCEEDED", resolution="Raise it.")

    near.llm_proxy.answer = fail

    run, _ = await executor.finish(ASK, message="x")

    assert (run.error.code, run.error.node) == ("BUDGET_EXCEEDED", "ask")
    assert run.error.resolution == "Raise it."


async def test_the_source_and_inputs_of_a_run_are_kept(executor: Executor) -> None:
    run, _ = await executor.finish(ASK, message="x")

    assert run.source == ASK
    assert from_json(run.inputs, field="inputs") == {"message": "x"}
    assert run.trigger == "api"


async def test_events_of_an_unknown_run_are_not_found(executor: Executor) -> None:
    with pytest.raises(NotFound):
        await executor.events("01ARZ3NDEKTSV4RRFFQ69G5FAV")


async def test_a_visit_counter_can_be_read_by_templates(executor: Executor) -> None:
    source = LOOP.replace("result = 1", "result = 1").replace(
        "state.count >= 3", "state._loop_iteration_add >= 2"
    )

    run, _ = await executor.finish(source)

    assert outputs(run) == {"count": 3}


async def test_a_value_that_looks_like_the_engines_own_is_only_a_value(
    executor: Executor,
) -> None:
    source = (
        HEAD
        + """
state: {fields: {found: {type: "list[any]", default: [1], reducer: append}}}
nodes: [{id: work, code: "result = {'__overwrite__': [9]}", outputs: [found]}]
edges: [{from: START, to: work}, {from: work, to: END}]
"""
    )

    run, _ = await executor.finish(source)

    assert outputs(run) == {"found": [1, {"__overwrite__": [9]}]}


async def test_the_trace_of_the_caller_goes_through_the_run_to_the_services(
    executor: Executor, near: Neighbours
) -> None:
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    request = runs_pb2.StartRunRequest(source=ASK, inputs=to_json({"message": "x"}))

    answer = await executor.runs.StartRun(request, timeout=10, metadata=[("traceparent", parent)])
    await executor.events(answer.run.id)

    assert answer.run.trace_id == "ab" * 16
    assert near.llm_proxy.metadata[0]["traceparent"].split("-")[1] == "ab" * 16


async def test_a_state_that_grows_too_large_ends_the_run_naming_its_largest_field(
    tmp_path: Path, near: Neighbours
) -> None:
    source = code_node("result = 'x' * 3000")
    async with executor_in(tmp_path, near, executor_max_state_bytes=2000) as executor:
        run, events = await executor.finish(source)

    assert run.error.code == "STATE_TOO_LARGE"
    assert "'value'" in run.error.message
    assert events[-1] == "run_failed"
