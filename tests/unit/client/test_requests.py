"""What the client asks, and what it makes of the answers."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import cadre_client
from cadre_client import ApiError, Client, GatewayUnreachable, RunStatus, Severity


def test_all_names_in_all_are_there() -> None:
    assert sorted(cadre_client.__all__) == cadre_client.__all__
    assert all(hasattr(cadre_client, name) for name in cadre_client.__all__)


def test_a_run_is_started_with_its_inputs_under_a_key_of_its_own(
    gateway: Any, client: Client, documents: Any
) -> None:
    gateway.will_answer(documents.run("queued"), 202)

    run = client.start_run(workflow="w", inputs={"message": "hello"})
    client.start_run(source="flow: {}", idempotency_key="mine")

    first, second = gateway.asked
    assert (first.method, first.path) == ("POST", "/api/v1/runs")
    assert first.body == {"workflow": "w", "version": 0, "inputs": {"message": "hello"}}
    assert len(first.headers["idempotency-key"]) == 36
    assert second.headers["idempotency-key"] == "mine"
    assert second.body == {"source": "flow: {}", "inputs": {}}
    assert run.status is RunStatus.QUEUED


def test_a_start_whose_answer_is_lost_is_asked_again_under_the_same_key(
    gateway: Any, client: Client, documents: Any
) -> None:
    gateway.will_send("half an answ", broken_off=True)
    # So says a gateway that has just come back, whose services have not.
    gateway.will_answer(documents.problem("EXECUTOR_UNAVAILABLE"), 503)
    gateway.will_answer(documents.run("queued"), 202)

    client.start_run(workflow="w", inputs={})

    assert len(gateway.asked) == 3
    assert len({asked.headers["idempotency-key"] for asked in gateway.asked}) == 1


def test_a_gateway_that_ends_while_it_is_asked_by_tls_is_asked_again(
    tls_gateway: tuple[Any, Client], documents: Any
) -> None:
    gateway, client = tls_gateway
    gateway.will_hang_up()
    gateway.will_answer(documents.run("queued"), 202)

    client.start_run(workflow="w", inputs={})

    first, second = gateway.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_gateway_that_hangs_up_by_tls_each_time_is_taken_to_want_a_certificate(
    tls_gateway: tuple[Any, Client],
) -> None:
    gateway, client = tls_gateway
    gateway.will_hang_up()

    with pytest.raises(GatewayUnreachable) as refused:
        client.start_run(workflow="w", inputs={})

    assert "CADRE_GATEWAY_CLIENT_CERT_FILE" in refused.value.resolution
    assert len(gateway.asked) == 2


def test_a_start_that_is_refused_is_not_asked_again(
    gateway: Any, client: Client, documents: Any
) -> None:
    gateway.will_answer(documents.problem("EXECUTOR_UNAVAILABLE"), 503)

    with pytest.raises(ApiError, match="executor_unavailable"):
        client.start_run(workflow="w", inputs={})

    assert len(gateway.asked) == 1


def test_what_may_have_been_done_is_said(gateway: Any, client: Client) -> None:
    gateway.will_send("half an answ", broken_off=True)

    with pytest.raises(GatewayUnreachable, match="may have done") as unknown:
        client.cancel("01R")

    assert unknown.value.was_sent
    assert "cadre runs list" in unknown.value.resolution


def test_money_is_exact_and_written_without_an_exponent(
    gateway: Any, client: Client, documents: Any
) -> None:
    gateway.will_answer(documents.run())

    usage = client.run("01R").usage

    assert usage.cost_usd == Decimal("0.0000001")
    assert json.loads(usage.model_dump_json())["cost_usd"] == "0.0000001"


def test_a_runs_duration_is_from_its_first_step_to_its_end(
    gateway: Any, client: Client, documents: Any
) -> None:
    times = {"started_time": "2026-11-22T14:00:00.250Z", "ended_time": "2026-11-22T14:00:02Z"}
    gateway.will_answer(documents.run("succeeded", **times))

    assert client.run("01R").duration_ms == 1750


def test_lists_are_read_page_by_page_up_to_their_limit(
    gateway: Any, client: Client, documents: Any
) -> None:
    gateway.will_answer({"runs": [documents.run()] * 2, "next_page_token": "more"})
    gateway.will_answer({"runs": [documents.run()], "next_page_token": "and more"})

    runs = client.runs(workflow="w", limit=3)

    assert len(runs) == 3
    assert gateway.asked[0].path == "/api/v1/runs?workflow=w&page_size=3"
    assert gateway.asked[1].path == "/api/v1/runs?workflow=w&page_size=1&page_token=more"


def test_names_are_quoted_in_paths(gateway: Any, client: Client) -> None:
    gateway.will_answer({"versions": []})

    client.versions("a/b?c")

    assert gateway.asked[0].path == "/api/v1/workflows/a%2Fb%3Fc/versions"


def test_an_edge_says_from_and_to_in_json(gateway: Any, client: Client) -> None:
    graph = {"nodes": [], "edges": [{"from": "START", "to": "a", "condition": "", "loop": False}]}
    gateway.will_answer({"name": "w", "version": 1, "graph": graph})

    read = client.workflow("w").graph

    assert read is not None
    assert (read.edges[0].source, read.edges[0].target) == ("START", "a")
    assert json.loads(read.model_dump_json()) == graph


def test_usage_is_asked_for_by_dimension_and_time(gateway: Any, client: Client) -> None:
    group = {"keys": {"model": "m", "day": ""}, "usage": {"input_tokens": 3}, "failed_calls": 1}
    gateway.will_answer({"groups": [group], "total": {"input_tokens": 3}})

    report = client.usage(("model", "day"), start=datetime(2026, 11, 1, tzinfo=UTC))

    assert gateway.asked[0].path == (
        "/api/v1/usage?group_by=model%2Cday&start=2026-11-01T00%3A00%3A00%2B00%3A00"
    )
    assert report.groups[0].keys == {"model": "m", "day": ""}
    assert report.total.cost_usd is None


def test_memories_name_their_namespace_segment_by_segment(gateway: Any, client: Client) -> None:
    gateway.will_answer({"deleted": True})

    assert client.delete_memory(["a", "b c"], "k") is True

    assert gateway.asked[0].path == "/api/v1/memories/item?namespace=a&namespace=b+c&key=k"


CHAT = {
    "model": "embedded/smol",
    "choices": [{"message": {"content": '{"mood":"angry"}'}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "cost_usd": "0"},
}


def test_a_completion_of_a_schema_is_parsed(gateway: Any, client: Client) -> None:
    gateway.will_answer(CHAT)

    reply = client.complete(
        [{"role": "user", "content": "hi"}], schema={"type": "object"}, max_tokens=9
    )

    sent = gateway.asked[0].body
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert (sent["model"], sent["max_completion_tokens"]) == ("default", 9)
    assert reply.parsed == {"mood": "angry"}
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.model) == (
        5,
        7,
        "embedded/smol",
    )


def test_a_refusal_carries_what_why_and_what_to_do(gateway: Any, client: Client) -> None:
    problem = {"code": "BAD", "message": "bad", "path": "nodes[0]", "line": 3, "column": 5}
    refusal = {"code": "WORKFLOW_INVALID", "detail": "it is wrong", "resolution": "mend it"}
    gateway.will_answer({**refusal, "status": 400, "problems": [problem]}, 400)

    with pytest.raises(ApiError) as caught:
        client.apply("x")

    error = caught.value
    assert (error.status, error.code, error.detail) == (400, "WORKFLOW_INVALID", "it is wrong")
    assert (error.resolution, error.request_id) == ("mend it", "req-1")
    assert (error.problems[0].line, error.problems[0].severity) == (3, Severity.ERROR)


def test_a_refusal_in_openais_shape_is_read_too(gateway: Any, client: Client) -> None:
    error = {"message": "no such model", "type": "x", "param": None, "code": "model_not_found"}
    gateway.will_answer({"error": error}, 404)

    with pytest.raises(ApiError, match="no such model") as caught:
        client.complete([{"role": "user", "content": "hi"}])

    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("document", ["text", [], {"a": 1}, {"id": 3}])
@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_of_another_program_is_said_to_be_none_of_ours(
    gateway: Any, client: Client, document: Any, status: int
) -> None:
    gateway.will_answer(document, status)

    with pytest.raises(ApiError) as caught:
        client.run("01R")

    assert caught.value.code == "UNEXPECTED_ANSWER"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1", "http://[", "nonsense"])
def test_an_address_where_nobody_answers_is_named(url: str) -> None:
    with pytest.raises(GatewayUnreachable) as caught:
        Client(url, "k", timeout_seconds=2).status()

    assert url in str(caught.value)
    assert "cadre up" in caught.value.resolution
