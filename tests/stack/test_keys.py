"""API keys over the whole platform: what each spends is its own, and ends where its budget does."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.fakes.openai_server import openai_server
from tests.platform import Platform, eventually, platform

from cadre_client import ApiError, Client, Run

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
OUTER = """
flow: {name: outer}
state: {fields: {message: {type: str, required: true}, said: {type: str, default: ""}}}
nodes:
  - {id: ask, prompt: "{state.message}", outputs: [said], llm: {max_tokens: 50}}
edges:
  - {from: START, to: ask}
  - {from: ask, to: END}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("home")
    with (
        openai_server() as provider,
        platform(home, "executor", "llm-proxy", "gateway", **provider.settings) as started,
    ):
        yield started


def ended(client: Client) -> Run:
    run = client.start_run(source=OUTER, inputs={"message": "hi"})
    eventually(lambda: client.run(run.id).status.is_final, seconds=60)
    return client.run(run.id)


def made(running: Platform, name: str, **more: Any) -> Client:
    secret = running.client().create_key(name, "run", **more).secret
    return Client(running.gateway_url, secret)


def test_a_keys_spending_is_shown_under_its_name(running: Platform) -> None:
    with made(running, "ci", budget_usd=Decimal(5)) as client:
        run = ended(client)

    costs = running.cadre("costs", "--by", "key", "--json")

    assert (run.status, run.api_key) == ("succeeded", "ci")
    groups = {one["keys"]["key"]: one["usage"] for one in json.loads(costs.stdout)["groups"]}
    assert groups["ci"]["calls"] == 1
    budgets = {each.budget.name: each for each in running.client().budgets()}
    assert budgets["key.ci"].uses[0].used_usd == run.usage.cost_usd


def test_a_key_ends_where_its_budget_does_and_others_go_on(running: Platform) -> None:
    with made(running, "poor", budget_tokens=10) as client:
        run = ended(client)
        with pytest.raises(ApiError) as asked:
            client.complete([{"role": "user", "content": "hi"}])

    assert run.status == "failed"
    assert run.error is not None
    assert run.error.code == "BUDGET_EXCEEDED"
    assert asked.value.status == 429
    assert ended(running.client()).status == "succeeded"
