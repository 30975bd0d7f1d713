"""Gateway and executor are killed again and again while deliveries come, sent again as providers do until they are
taken: each starts one run. What `cadre trigger` does is tried on the same platform."""

import json
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.fakes.deliveries import Provider
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
"""
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("home"), "executor", "gateway", **SETTINGS) as started:
        started.client().apply(WORKFLOW)
        yield started


def numbers_of_runs(running: Platform) -> Counter[int]:
    with closing(sqlite3.connect(running.home / "executor.db")) as database:
        rows = database.execute("SELECT inputs FROM runs WHERE trigger = 'webhook'")
        return Counter(json.loads(inputs)["number"] for (inputs,) in rows)


def kill_again_and_again(running: Platform, provider: Provider) -> None:
    """Each kill comes while deliveries of its share are under way."""
    chance, share = random.Random(7), DELIVERIES // KILLS
    for kill in range(KILLS):
        begun = kill * share
        provider.most = begun + share
        eventually(partial(has_taken, provider, begun + chance.randrange(share)), seconds=120)
        victim = chance.choice(["gateway", "executor"])
        running.kill(victim)
        running.start(victim)
    provider.most = DELIVERIES


def has_taken(provider: Provider, number: int) -> bool:
    return provider.taken > number


def test_every_delivery_starts_one_run_whatever_is_killed(running: Platform) -> None:
    provider = Provider(url=f"{running.gateway_url}/hooks/counted", secret=SECRET, most=0)
    bodies = [json.dumps({"number": number}).encode() for number in range(DELIVERIES)]
    sending = threading.Thread(target=provider.send_all, args=(bodies,), kwargs={"twice": 0.2})
    sending.start()
    kill_again_and_again(running, provider)
    sending.join(120)

    assert provider.taken == DELIVERIES
    eventually(lambda: len(numbers_of_runs(running)) == DELIVERIES, seconds=120)
    assert numbers_of_runs(running) == Counter(range(DELIVERIES))
    # Every repetition was told of the same run.
    assert {len(told) for told in provider.runs.values()} == {1}


def test_a_slack_message_can_be_tried_without_slack(running: Platform) -> None:
    sent = running.cadre("trigger", "send", "slack", "helper", "is it on?", "--json")
    run = json.loads(sent.stdout)
    listed = json.loads(
        running.cadre("trigger", "list", "--source", "slack/helper", "--json").stdout
    )
    sources = running.cadre("trigger", "sources").stdout

    assert (run["workflow"], run["status"]) == ("counted", "waiting")
    assert running.client().run(run["run_id"]).inputs == {"said": "is it on?"}
    assert [one["run_id"] for one in listed["deliveries"]] == [run["run_id"]]
    assert "/hooks/slack/helper" in sources


def test_what_a_file_cannot_take_is_parked_shown_and_replayed_once_the_file_is_mended(
    running: Platform,
) -> None:
    sent = running.cadre("trigger", "send", "webhook", "counted", '{"other": 7}')
    (parked,) = running.client().deliveries("parked")
    shown = running.cadre("trigger", "show", parked.id)
    running.client().apply(WORKFLOW.replace("{body.number}", "{body.other}"))
    # Lists of triggers may be a second old.
    time.sleep(1.1)
    replayed = running.cadre("trigger", "replay", parked.id)

    assert (sent.returncode, replayed.returncode) == (1, 0), sent.stderr + replayed.stderr
    assert "body.number has no value" in sent.stderr
    assert "body.number has no value" in shown.stdout
    eventually(lambda: running.client().delivery(parked.id).status == "started")
    assert running.client().run(parked.run_id).inputs == {"number": 7}


def test_a_wrong_signature_is_refused(running: Platform, tmp_path: Path) -> None:
    answer = httpx.post(f"{running.gateway_url}/hooks/counted", content=b"{}", verify=False)

    assert (answer.status_code, answer.json()["code"]) == (401, "DELIVERY_REFUSED")
