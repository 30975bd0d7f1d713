"""Triggers over gRPC: what may start runs from outside is listed, and starts them once, under the id that it gives."""

import pytest
from tests.service.executor.conftest import Executor, outputs

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_kit.documents import from_json, to_json
from cadre_kit.errors import AlreadyExists, FailedPrecondition, NotFound
from cadre_kit.ids import new_id

GREETER = """
flow: {name: greeter}
state: {fields: {name: {type: str, default: you}, greeting: {type: str, default: ""}}}
nodes: [{id: greet, prompt: "Greet {state.name}.", outputs: [greeting]}]
triggers:
  - {cron: "0 9 * * 1-5"}
  - webhook: {secret: [NEW, OLD], input: {name: "{body.user.name}"}, notify: "https://example.com/x"}
  - slack: {app: helper, command: /greet, input: name, reply: greeting}
"""
PLAIN = "flow: {name: plain}\nnodes: [{id: a, prompt: hi}]\n"


async def triggers(executor: Executor, known: str = "") -> workflows_pb2.ListTriggersResponse:
    request = workflows_pb2.ListTriggersRequest(known_revision=known)
    answer: workflows_pb2.ListTriggersResponse = await executor.ask(
        executor.workflows.ListTriggers, request
    )
    return answer


def arrival(run_id: str, content: object, *, trigger: int = 1) -> runs_pb2.StartRunRequest:
    return runs_pb2.StartRunRequest(
        workflow="greeter",
        version=1,
        trigger="webhook",
        run_id=run_id,
        arrival=runs_pb2.Arrival(trigger=trigger, content=to_json(content)),
    )


async def test_the_newest_version_s_triggers_are_listed_and_a_known_list_is_not_sent_again(
    executor: Executor,
) -> None:
    await executor.apply(PLAIN)
    await executor.apply(GREETER)

    found = await triggers(executor)
    webhook, slack = found.triggers

    assert list(found.workflows) == ["greeter", "plain"]
    assert (webhook.index, webhook.kind, list(webhook.secrets)) == (1, "webhook", ["NEW", "OLD"])
    assert (webhook.notify, webhook.enabled) == ("https://example.com/x", True)
    assert (slack.connection, slack.command, slack.reply) == ("helper", "/greet", "greeting")
    assert (await triggers(executor, found.revision)).unchanged
    await executor.apply(GREETER.replace("/greet", "/hello"))
    assert [t.version for t in (await triggers(executor, found.revision)).triggers] == [2, 2]


async def test_an_arrival_starts_one_run_under_its_id_with_the_inputs_that_the_file_says(
    executor: Executor,
) -> None:
    await executor.apply(GREETER)
    request = arrival(new_id(), {"body": {"user": {"name": "Ada"}}})

    first = (await executor.ask(executor.runs.StartRun, request, key="webhook/greeter/1")).run
    again = await executor.ask(executor.runs.StartRun, request, key="webhook/greeter/1")
    await executor.events(first.id)

    assert first.id == again.run.id == request.run_id
    assert not again.created
    assert from_json(first.inputs, field="inputs") == {"name": "Ada"}
    assert outputs(await executor.get(first.id))["name"] == "Ada"


async def test_an_arrival_that_no_run_can_be_made_of_starts_none(executor: Executor) -> None:
    await executor.apply(GREETER)
    taken = (
        await executor.ask(
            executor.runs.StartRun, arrival(new_id(), {"body": {"user": {"name": "A"}}})
        )
    ).run

    with pytest.raises(FailedPrecondition, match=r"body.user.name has no value"):
        await executor.ask(executor.runs.StartRun, arrival(new_id(), {"body": {}}, trigger=1))
    with pytest.raises(NotFound, match="no trigger 0"):
        await executor.ask(executor.runs.StartRun, arrival(new_id(), {"body": {}}, trigger=0))
    with pytest.raises(AlreadyExists, match=taken.id):
        await executor.ask(
            executor.runs.StartRun, arrival(taken.id, {"body": {"user": {"name": "B"}}}), key="k"
        )
