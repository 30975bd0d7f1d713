"""Every resource through the real HTTP API, as the client sees it: what goes in comes out, absent is null."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from cadre.executor.v1 import runs_pb2
from cadre_client import ApiError, Budget, Client, EventType, RunStatus, Severity, TextEdit

FILE = "flow: {name: triage}\n"


@pytest.fixture
def client(running: Any) -> Any:
    with Client(running.url, running.key, timeout_seconds=10) as opened:
        yield opened


async def of(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(call, *args, **kwargs)


async def test_a_file_is_validated_with_its_problems_and_places(client: Client) -> None:
    wrong = await of(client.validate, "nodes: []")
    right = await of(client.validate, FILE)

    assert (wrong.valid, wrong.workflow) == (False, None)
    assert (wrong.problems[0].code, wrong.problems[0].line) == ("FLOW_MISSING", 1)
    assert wrong.problems[0].severity is Severity.ERROR
    assert wrong.problems[0].fix == TextEdit(
        line=1, column=1, end_line=1, end_column=6, text="flow"
    )
    assert right.valid
    assert right.workflow.inputs[1].enum == ["a", 1]
    assert right.workflow.graph.edges[1].source == "a"


async def test_a_file_s_tests_are_told_with_what_failed_and_where(client: Client) -> None:
    report = await of(client.test, FILE)
    first = await of(client.test, FILE, name_contains="first")

    assert (report.passed, [one.name for one in report.tests]) == (False, ["first", "second"])
    assert report.tests[0].outputs == {"mood": "happy"}
    assert (report.tests[1].outputs, report.tests[1].failures[0].line) == (None, 9)
    assert (first.passed, len(first.tests)) == (True, 1)


async def test_a_plan_tells_the_unknown_from_nothing(client: Client) -> None:
    plan = await of(client.plan, FILE)
    known = await of(client.plan, FILE, {"message": "m"})

    assert (plan.cost.max_usd, plan.cost.unknown_reason) == (None, "node ask: who knows")
    assert (known.cost.min_usd, known.cost.max_usd) == (Decimal("0.01"), Decimal("0.25"))
    assert (plan.needs[0].kind, plan.needs[0].missing) == ("model", True)
    assert (plan.nodes[0].max_visits, plan.nodes[0].max_usd) == (3, None)
    assert plan.workflow.graph.nodes


async def test_a_run_is_written_down_as_a_test(client: Client) -> None:
    run = await of(client.start_run, source=FILE, inputs={"message": "m"})

    recorded = await of(client.record, run.id, name="mine", source="a: 1\n")

    assert recorded.test == {"name": "mine", "inputs": {"message": "m"}}
    assert recorded.source == "a: 1\ntests: []\n"


async def test_an_applied_file_is_a_version_of_its_workflow(client: Client) -> None:
    first = await of(client.apply, FILE)
    again = await of(client.apply, FILE)
    second = await of(client.apply, FILE + "# more")

    assert (first.created, again.created, second.workflow.version) == (True, False, 2)
    assert [one.version for one in await of(client.versions, "triage")] == [2, 1]
    assert (await of(client.workflow, "triage", 1)).source == FILE
    assert [one.name for one in await of(client.workflows)] == ["triage"]


async def test_a_file_that_is_not_valid_is_refused_with_every_problem(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        await of(client.apply, "nothing")

    assert (caught.value.status, caught.value.code) == (400, "WORKFLOW_INVALID")
    assert caught.value.problems[0].message == "flow is missing"
    assert caught.value.request_id


async def test_a_deleted_workflow_is_not_there(client: Client) -> None:
    await of(client.apply, FILE)
    await of(client.delete_workflow, "triage")

    with pytest.raises(ApiError, match="no workflow 'triage'") as caught:
        await of(client.workflow, "triage")
    assert caught.value.status == 404


async def test_the_schema_needs_no_key(running: Any) -> None:
    async with httpx.AsyncClient(base_url=running.url) as anybody:
        answer = await anybody.get("/api/v1/schema")

    assert answer.json() == {"type": "object"}


async def test_a_run_is_started_listed_and_cancelled(client: Client) -> None:
    await of(client.apply, FILE)

    started = await of(client.start_run, workflow="triage", inputs={"message": "hi", "n": 2**60})
    listed = await of(client.runs, workflow="triage", status="running")
    cancelled = await of(client.cancel, started.id)

    assert (started.workflow, started.version, started.trigger) == ("triage", 1, "api")
    assert started.inputs == {"message": "hi", "n": 2**60}
    assert [run.id for run in listed] == [started.id]
    assert cancelled.status is RunStatus.CANCELLED
    assert (await of(client.run, started.id)).outputs is None


async def test_a_run_of_a_file_names_where_it_is(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/v1/runs", json={"source": FILE})

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/runs/{answer.json()['id']}"
    assert (answer.json()["version"], answer.json()["started_time"]) == (0, None)


async def test_the_same_idempotency_key_is_the_same_run(client: Client, running: Any) -> None:
    start = {"source": FILE, "idempotency_key": "mine"}
    first = await of(client.start_run, **start)
    second = await of(client.start_run, **start)

    assert first.id == second.id
    assert len(running.executor.runs) == 1
    with pytest.raises(ApiError) as caught:
        await of(client.start_run, source=FILE + "#", idempotency_key="mine")
    assert caught.value.status == 409


async def test_wrong_inputs_are_refused_by_name(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        await of(client.start_run, source=FILE, inputs={"unknown_field": 1})

    assert caught.value.problems[0].path == "unknown_field"


async def test_a_run_is_watched_to_its_end(client: Client, running: Any) -> None:
    run = await of(client.start_run, source=FILE)
    await running.executor.happen(run.id, runs_pb2.EVENT_TYPE_NODE_STARTED, node="a", iteration=1)
    await running.executor.happen(run.id, runs_pb2.EVENT_TYPE_RUN_SUCCEEDED, duration_ms=7)

    events = await of(lambda: list(client.watch(run.id)))

    assert [event.sequence for event in events] == [1, 2, 3]
    assert (events[1].type, events[1].node) == (EventType.NODE_STARTED, "a")
    assert (events[2].duration_ms, events[2].data) == (7, None)


async def test_models_say_whether_and_why_not(client: Client) -> None:
    known = await of(client.models)
    usable, other = known.models
    (group,) = known.groups

    assert (usable.id, usable.default, usable.available) == ("embedded/smol", True, True)
    assert (other.available, other.unavailable_reason) == (False, "no key")
    assert (usable.abilities, other.abilities) == (("json_schema",), ())
    assert str(other.input_usd_per_million) == "0.15"
    (deployment,) = group.deployments
    assert (group.name, deployment.id, deployment.waiting) == ("fast", "openai/gpt", 2)
    assert (deployment.concurrent, deployment.tokens_per_minute) == (8, None)
    assert deployment.cooling_seconds == 12.5


async def test_usage_is_grouped_by_the_dimensions_asked_for(client: Client, running: Any) -> None:
    report = await of(client.usage, ("model", "day"), workflow="triage")

    assert report.groups[0].keys == {
        "model": "usage_dimension_model",
        "day": "usage_dimension_day",
    }
    assert (str(report.total.cost_usd), report.groups[0].failed_calls) == ("0.000450", 1)
    assert running.llm_proxy.queried[0].workflow == "triage"


async def test_what_nobody_knows_is_told_apart_from_what_was_spent(client: Client) -> None:
    report = await of(client.usage, ("model",))

    assert report.total_details == report.groups[0].details
    assert str(report.total_details.known_usd) == "0.000450"
    assert (report.total_details.uncertain_calls, str(report.total_details.uncertain_usd)) == (
        1,
        "0.25",
    )
    assert report.total_details.unbounded_calls == 3


async def test_calls_are_listed_page_by_page(client: Client) -> None:
    found = await of(client.calls, run_id="r1", limit=2)

    assert [(call.id, call.run_id, call.status) for call in found] == [
        ("call1", "r1", "uncertain")
    ] * 2
    assert (str(found[0].reserved_usd), found[0].cost_usd, found[0].input_tokens) == (
        "0.25",
        None,
        None,
    )


async def test_a_budget_is_set_listed_and_removed(client: Client, running: Any) -> None:
    budget = Budget(
        name="b",
        scope="workflow",
        subject="triage",
        period="day",
        usd=Decimal("2.50"),
        on_exceed="pause",
    )

    made = await of(client.set_budget, budget)
    listed = await of(client.budgets)
    await of(client.delete_budget, "b")

    assert made == listed[0]
    assert made.budget == budget
    assert (str(made.uses[0].used_usd), made.uses[0].left_usd) == ("0.000450", None)
    assert await of(client.budgets) == []
    with pytest.raises(ApiError) as caught:
        await of(client.delete_budget, "b")
    assert (caught.value.status, caught.value.code) == (404, "BUDGET_NOT_FOUND")


@pytest.mark.parametrize(
    "wrong", [{"usd": "1e3"}, {"usd": 1.5}, {"tokens": 0}, {"period": "year"}, {"colour": "red"}]
)
async def test_a_budget_that_cannot_be_is_refused(wrong: dict[str, Any], running: Any) -> None:
    body = {"name": "b", "period": "day", "tokens": 1, **wrong}
    headers = {"Authorization": f"Bearer {running.key}"}

    async with httpx.AsyncClient(base_url=running.url, headers=headers) as http:
        answer = await http.post("/api/v1/budgets", json=body)

    assert answer.status_code == 400
    assert answer.json()["problems"][0]["path"] == next(iter(wrong))


async def test_a_schedule_is_made_paused_resumed_and_removed(client: Client) -> None:
    await of(client.apply, FILE)

    address = "https://example.com/cadre"
    made = await of(
        client.create_schedule,
        "triage",
        "*/5 * * * *",
        inputs={"message": "x"},
        notify=address,
    )
    paused = await of(client.pause_schedule, "triage")
    resumed = await of(client.resume_schedule, "triage")
    listed = await of(client.schedules)
    await of(client.delete_schedule, "triage")

    assert (made.name, made.timezone, made.inputs) == ("triage", "UTC", {"message": "x"})
    assert [one.notify for one in (made, *listed)] == [address, address]
    assert (paused.paused, paused.next_time, resumed.paused) == (True, None, False)
    assert [one.cron for one in listed] == ["*/5 * * * *"]
    assert await of(client.schedules) == []


async def test_a_memory_is_kept_found_and_removed(client: Client) -> None:
    place = ["workflow", "tri/age"]

    stored = await of(client.put_memory, place, "k", {"text": "a parcel"}, ttl_seconds=60)
    hits = await of(client.search_memories, place, "parcel", mode="text")
    listed = await of(client.list_memories, place, "k")

    assert stored == await of(client.get_memory, place, "k")
    assert (stored.version, stored.value, stored.expires_time) == (1, {"text": "a parcel"}, None)
    (hit,) = hits.hits
    assert (hit.score, hit.text_score, hit.vector_score) == (0.5, 0.25, -0.5)
    assert hits.without_meaning == ""
    assert [item.key for item in listed] == ["k"]
    assert await of(client.delete_memory, place, "k") is True
    assert await of(client.delete_memory, place, "k") is False


async def test_memories_are_listed_and_forgotten_by_their_tags(client: Client) -> None:
    place = ["user", "ada"]
    await of(client.put_memory, place, "plain", "x")
    tagged = await of(
        client.put_memory, place, "k", "x", tags=["draft"], metadata={"n": 1}, if_version=0
    )

    assert (tagged.tags, tagged.metadata) == (["draft"], {"n": 1})
    assert [item.key for item in await of(client.list_memories, place, tags=["draft"])] == ["k"]
    assert await of(client.forget_memories, ["user"], tags=["draft"]) == 1
    assert [item.key for item in await of(client.list_memories, place)] == ["plain"]


async def test_a_completion_is_asked_for_with_a_schema(client: Client, running: Any) -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    reply = await of(client.complete, messages, schema={"type": "object"}, temperature=0.5)

    assert reply.parsed == {"said": "hi"}
    assert (reply.model, str(reply.usage.cost_usd)) == ("embedded/smol", "0.000450")
    asked = running.llm_proxy.asked[0]
    assert (asked.options.temperature, asked.options.HasField("max_tokens")) == (0.5, False)
    assert [message.content for message in asked.messages] == ["be brief", "hi"]


async def test_a_waiting_run_shows_its_question_and_takes_an_answer(
    client: Client, running: Any
) -> None:
    run = await of(client.start_run, source=FILE, inputs={"message": "x"})
    await running.executor.ask(run.id, "review")
    waiting = await of(client.run, run.id)

    answered = await of(
        client.answer, run.id, "yes", node="review", iteration=1, comment="go", answered_by="ada"
    )
    event = running.executor.events[run.id][-1]

    assert waiting.status is RunStatus.WAITING
    assert (waiting.questions[0].message, waiting.questions[0].deadline) == ("Send it?", None)
    assert (answered.status, answered.questions) == (RunStatus.RUNNING, [])
    assert '"choice":"yes","comment":"go","by":"ada","iteration":1' in event.data.text
    with pytest.raises(ApiError) as caught:
        await of(client.answer, run.id, "yes")
    assert caught.value.code == "RUN_NOT_WAITING"


async def test_a_failed_run_is_resumed_and_watched_on(client: Client, running: Any) -> None:
    run = await of(client.start_run, source=FILE, inputs={"message": "x"})
    await running.executor.happen(run.id, runs_pb2.EVENT_TYPE_RUN_FAILED)
    resumed = await of(client.resume, run.id)
    await running.executor.happen(run.id, runs_pb2.EVENT_TYPE_RUN_SUCCEEDED)

    seen = [event.type for event in await of(list, client.watch(run.id))]

    assert resumed.status is RunStatus.QUEUED
    assert seen[1:] == [
        EventType.RUN_FAILED,
        EventType.RUN_RESUMED,
        EventType.RUN_SUCCEEDED,
    ]


async def test_a_run_is_forked_from_one_of_its_checkpoints(client: Client) -> None:
    run = await of(client.start_run, source=FILE, inputs={"message": "x"})

    (checkpoint,) = await of(client.checkpoints, run.id)
    forked = await of(
        client.fork, run.id, checkpoint=checkpoint.id, state={"x": 2}, idempotency_key="k"
    )
    again = await of(client.fork, run.id, idempotency_key="k")

    assert (checkpoint.nodes, checkpoint.next_nodes, checkpoint.state) == (["a"], ["b"], {"x": 1})
    assert (forked.forked_from_run_id, forked.inputs, again.id) == (run.id, {"x": 2}, forked.id)


async def test_remote_agents_are_registered_kept_alive_and_removed(
    http: httpx.AsyncClient,
) -> None:
    body = {"name": "echo", "url": "https://a.example", "ttl_seconds": 60}
    made = await http.post("/api/v1/agents", json=body)
    again = await http.post("/api/v1/agents", json=body)
    alive = await http.post("/api/v1/agents/echo/heartbeat")
    listed = (await http.get("/api/v1/agents")).json()["agents"]
    both = await http.post("/api/v1/agents", json={**body, "card": {}})
    gone = await http.delete("/api/v1/agents/echo")
    missing = await http.get("/api/v1/agents/echo")

    assert [made.status_code, again.status_code, alive.status_code] == [201, 200, 200]
    assert made.headers["location"] == "/api/v1/agents/echo"
    assert (listed[0]["health"], listed[0]["skills"][0]["id"]) == ("healthy", "echo")
    assert both.json()["code"] == "INVALID_REQUEST"
    assert (gone.status_code, missing.json()["code"]) == (204, "AGENT_NOT_FOUND")


async def test_a_run_names_the_schedule_that_started_it(client: Client) -> None:
    await of(client.apply, FILE)

    run = await of(client.start_run, workflow="triage", inputs={}, schedule="nightly")
    await of(client.start_run, workflow="triage", inputs={})

    assert (run.schedule, run.trigger) == ("nightly", "schedule")
    assert [one.id for one in await of(client.runs, schedule="nightly")] == [run.id]


async def test_a_search_is_narrowed_asked_at_a_time_and_brings_neighbours(
    client: Client, running: Any
) -> None:
    talk = ["conversation", "c1"]
    await of(client.append_messages, talk, [{"text": "Where to?"}, {"text": "Berlin."}])

    answer = await of(
        client.search_memories,
        talk,
        "Where",
        window=1,
        asked=datetime(2023, 4, 1, tzinfo=UTC),
        metadata={"kind": "fact"},
    )

    (hit,) = answer.hits
    assert hit.message is not None
    assert (hit.message.text, [m.text for m in hit.neighbours]) == ("Where to?", ["Berlin."])
    asked = running.memory.requests["search"]
    assert asked.asked_time.ToJsonString() == "2023-04-01T00:00:00Z"
    assert asked.filter.metadata.text == '{"kind":"fact"}'


async def test_a_conversation_is_added_to_read_listed_and_removed(
    client: Client, running: Any
) -> None:
    talk = ["user", "ada", "c1"]
    said = {"role": "assistant", "name": "Cadre", "text": "Hello", "time": "2023-04-01T09:00:00Z"}
    assert await of(client.append_messages, talk, [{"text": "Hi"}]) == 0
    added = await of(
        client.append_messages, talk, [said], learn=True, summary_tokens=500, model="openai/mini"
    )

    upkeep = running.memory.requests["append"].upkeep
    assert (added, upkeep.learn, upkeep.summary_tokens) == (1, True, 500)
    assert (upkeep.model.provider, upkeep.model.model) == ("openai", "mini")
    read = await of(client.messages, talk, limit=1, max_tokens=50, with_summary=True)
    (message,) = read.messages
    assert (message.role, message.name, message.text, message.position) == (
        "assistant",
        "Cadre",
        "Hello",
        1,
    )
    assert read.more
    assert read.summary is not None
    assert (read.summary.text, read.summary.last_position) == ("They met.", 3)
    (found,) = await of(client.conversations, ["user"])
    assert (found.namespace, found.newest.text) == (talk, "Hello")
    assert await of(client.memory_namespaces, ["user"]) == [talk]
    assert await of(client.delete_conversation, talk) == 1
    assert await of(client.conversations, ["user"]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": []},
        {"messages": [{"text": "x", "role": "robot"}]},
        {"messages": [{"text": "x"}], "summary_tokens": 99},
        {"messages": [{"text": "x", "time": "2023-04-01T09:00:00"}]},
        {"messages": [{"text": "x"}], "learns": True},
    ],
)
async def test_messages_that_are_none_are_refused(http: Any, wrong: dict[str, Any]) -> None:
    answer = await http.post("/api/v1/conversations/messages", json={"namespace": ["c"], **wrong})

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
