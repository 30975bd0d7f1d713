"""Gateway and executor are killed again and again while deliveries come, sent again as providers do until they are
taken: each starts one run. What `cadre trigger` does is tried on the same platform."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.fakes.deliveries import Provider, numbers_of_runs, send_while_killing
from tests.platform import Platform, eventually, platform

SECRET = "a-secret-of-this-test-only"
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SETTINGS = {"HOOK_SECRET": SECRET, "CADRE_SLACK_HELPER_SIGNING_SECRET": SLACK_SECRET}
DELIVERIES = 300
KILLS = 6
WORKFLOW = """
flow: {name: counted}
state: {fields: {number: {type: int, default: 0}, said: {type: str, default: ""}, verdict: {type: dict, default: {}}}}
nodes: [{id: review, type: approval, message: "Go on?", outputs: [verdict]}]
triggers:
  - webhook: {secret: HOOK_SECRET, input: {number: "{body.number}"}}
  - slack: {app: helper, input: said, reply: said}
  - telegram: {bot: helper, input: said, reply: said}
  - whatsapp: {number: helper, input: said, reply: said}
  - email: {mailbox: helper, input: said, reply: said}
"""
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("home"), "executor", "gateway", **SETTINGS) as started:
        started.client().apply(WORKFLOW)
        yield started


def test_every_delivery_starts_one_run_whatever_is_killed(running: Platform) -> None:
    provider = Provider(url=f"{running.gateway_url}/hooks/counted", secret=SECRET)
    send_while_killing(running, provider, deliveries=DELIVERIES, kills=KILLS)

    assert provider.taken == DELIVERIES
    eventually(lambda: len(numbers_of_runs(running)) == DELIVERIES, seconds=120)
    assert numbers_of_runs(running) == Counter(range(DELIVERIES))
    # Every repetition was told of the same run.
    assert {len(told) for told in provider.runs.values()} == {1}


@pytest.mark.parametrize("kind", ["slack", "telegram", "whatsapp", "email"])
def test_a_message_can_be_tried_without_its_provider(running: Platform, kind: str) -> None:
    sent = running.cadre("trigger", "send", kind, "helper", "is it on?", "--json")
    run = json.loads(sent.stdout)
    listed = json.loads(
        running.cadre("trigger", "list", "--source", f"{kind}/helper", "--json").stdout
    )
    sources = running.cadre("trigger", "sources").stdout

    assert (run["workflow"], run["status"]) == ("counted", "waiting")
    assert running.client().run(run["run_id"]).inputs == {"said": "is it on?"}
    assert [one["run_id"] for one in listed["deliveries"]] == [run["run_id"]]
    assert f"/hooks/{kind}/helper" in sources


def test_a_message_that_asks_for_nothing_is_said_to(running: Platform) -> None:
    sent = running.cadre("trigger", "send", "telegram", "helper", "")

    assert sent.returncode == 2
    assert "asks for nothing" in sent.stderr


def test_what_a_file_cannot_take_is_parked_shown_and_replayed_once_the_file_is_mended(
    running: Platform,
) -> None:
    sent = running.cadre("trigger", "send", "webhook", "counted", '{"other": 7}')
    (parked,) = running.client().deliveries("parked")
    shown = running.cadre("trigger", "show", parked.id)
    running.client().apply(WORKFLOW.replace("{body.number}", "{body.other}"))
    replayed = running.cadre("trigger", "replay", parked.id)

    assert (sent.returncode, replayed.returncode) == (1, 0), sent.stderr + replayed.stderr
    assert "body.number has no value" in sent.stderr
    assert "body.number has no value" in shown.stdout
    eventually(lambda: running.client().delivery(parked.id).status == "started")
    assert running.client().run(parked.run_id).inputs == {"number": 7}


def test_a_wrong_signature_is_refused(running: Platform, tmp_path: Path) -> None:
    answer = httpx.post(f"{running.gateway_url}/hooks/counted", content=b"{}", verify=False)

    assert (answer.status_code, answer.json()["code"]) == (401, "DELIVERY_REFUSED")
