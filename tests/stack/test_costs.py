"""What a schedule's runs cost, from the run through the ledger to the command line, on the real services."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.fakes.openai_server import openai_server
from tests.platform import Platform, platform

HELLO = (Path(__file__).parents[2] / "examples" / "hello.yaml").read_text()
CALLS = """
flow: {name: calls}
state: {fields: {greeting: {type: str, default: ""}}}
nodes: [{id: call, workflow: hello, outputs: {greeting: greeting}}]
"""
SERVICES = ("gateway", "executor", "llm-proxy")
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with (
        openai_server() as provider,
        platform(tmp_path_factory.mktemp("home"), *SERVICES, **provider.settings) as running,
    ):
        yield running


def test_costs_by_schedule_count_its_runs_and_their_steps_runs(services: Platform) -> None:
    client = services.client()
    client.apply(HELLO)
    client.apply(CALLS)
    for workflow, schedule in (("hello", "nightly"), ("calls", "nightly"), ("hello", "")):
        run = client.start_run(workflow=workflow, schedule=schedule)
        for _ in client.watch(run.id):
            pass

    found = services.cadre("costs", "--by", "schedule", "--json")
    shown = services.cadre("costs", "--by", "schedule")

    groups = {
        group["keys"]["schedule"]: group["usage"] for group in json.loads(found.stdout)["groups"]
    }
    assert {name: usage["calls"] for name, usage in groups.items()} == {"nightly": 2, "": 1}
    assert Decimal(groups["nightly"]["cost_usd"]) == 2 * Decimal(groups[""]["cost_usd"]) > 0
    assert shown.returncode == 0
    assert "nightly" in shown.stdout
