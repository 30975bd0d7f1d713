"""A run's events reach the program once each and in order, whatever happens to the connection."""

from typing import Any

import pytest

from cadre_client import ApiError, Client, EventType, GatewayUnreachable


def test_events_are_read_to_the_last(gateway: Any, client: Client, documents: Any) -> None:
    text = {"text": "line\u2028separator \x85 and ünïcödé"}
    gateway.will_stream(
        documents.event(1, "run_queued"),
        documents.event(2, "node_succeeded", node="a", data=text),
        documents.event(3, "run_succeeded"),
    )

    events = list(client.watch("01R"))

    assert [event.sequence for event in events] == [1, 2, 3]
    assert events[1].data == text
    assert events[2].type is EventType.RUN_SUCCEEDED
    assert len(gateway.asked) == 1


def test_a_broken_connection_is_made_again_after_the_last_event(
    gateway: Any, client: Client, documents: Any
) -> None:
    gateway.will_stream(documents.event(5), documents.event(6), broken_off=True)
    gateway.will_answer({"code": "SERVICE_UNAVAILABLE", "detail": "restarting"}, 503)
    gateway.will_stream(documents.event(6), documents.event(7, "run_failed"))

    events = list(client.watch("01R", after=4))

    assert [event.sequence for event in events] == [5, 6, 7]
    assert [asked.headers["last-event-id"] for asked in gateway.asked] == ["4", "6", "6"]


def test_a_stream_that_ends_early_goes_on(gateway: Any, client: Client, documents: Any) -> None:
    gateway.will_stream(documents.event(1))
    gateway.will_answer(documents.run("running"))
    gateway.will_stream(documents.event(2, "run_cancelled"))

    assert [event.sequence for event in client.watch("01R")] == [1, 2]


def test_watching_after_the_last_event_ends_at_once(
    gateway: Any, client: Client, documents: Any
) -> None:
    gateway.will_send("")
    gateway.will_answer(documents.run("succeeded"))
    gateway.will_send("")

    assert list(client.watch("01R", after=9)) == []


def test_an_event_that_is_cut_off_is_sent_again(
    gateway: Any, client: Client, documents: Any
) -> None:
    whole = documents.sse(documents.event(1)) + documents.sse(documents.event(2))
    gateway.will_send(whole[:-30], broken_off=True)
    gateway.will_stream(documents.event(2), documents.event(3, "run_succeeded"))

    assert [event.sequence for event in client.watch("01R")] == [1, 2, 3]


def test_a_problem_in_the_stream_is_raised(gateway: Any, client: Client, documents: Any) -> None:
    problem = '{"status":404,"code":"RUN_NOT_FOUND","detail":"gone","problems":null}'
    gateway.will_send(documents.sse(documents.event(1)), f"event: problem\ndata: {problem}\n\n")

    watched = client.watch("01R")

    assert next(watched).sequence == 1
    with pytest.raises(ApiError, match="gone"):
        next(watched)


def test_a_run_that_is_not_there_is_refused_at_once(gateway: Any, client: Client) -> None:
    gateway.will_answer({"code": "RUN_NOT_FOUND", "detail": "no run '01R'"}, 404)

    with pytest.raises(ApiError, match="no run '01R'"):
        list(client.watch("01R"))

    assert len(gateway.asked) == 1


def test_a_gateway_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(GatewayUnreachable):
        list(Client("http://127.0.0.1:1", "k").watch("01R"))
