"""`cadre test`, `cadre plan` and `cadre run --record`: what they print and write, and their exit statuses."""

import json
from pathlib import Path

from tests.fakes.http_api import Store
from tests.service.cli.conftest import Cadre


def test_tests_are_shown_with_what_failed_and_end_with_1(cadre: Cadre, triage: str) -> None:
    ran = cadre("test", triage)

    assert ran.returncode == 1
    assert "calm   passed  12 ms" in ran.stdout
    assert "EXPECTATION_FAILED  triage.yaml:2:1" in ran.stderr
    assert "state.mood is 'happy'" in ran.stderr
    assert "1 passed, 1 failed" in ran.stderr


def test_chosen_tests_that_pass_end_with_0_and_json_is_all_there_is(
    cadre: Cadre, triage: str
) -> None:
    ran = cadre("test", triage, "-k", "calm", "--json")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["tests"][0]["name"] == "calm"


def test_a_wrong_file_ends_with_2_and_shows_its_problems(cadre: Cadre) -> None:
    file = cadre.write("wrong.yaml", "name: triage\n")

    for command in ("test", "plan"):
        ran = cadre(command, file)
        assert ran.returncode == 2
        assert "did you mean `message`?" in ran.stderr


def test_a_plan_shows_nodes_ways_needs_cost_and_duration(cadre: Cadre, triage: str) -> None:
    ran = cadre("plan", triage)

    assert ran.returncode == 0
    assert "1 to 3" in ran.stdout
    assert "ask → ask  if default  (loop)" in ran.stdout
    assert "missing no key" in ran.stdout
    assert "Cost: $0.0001 to $0.00045, as 2 runs of this file did" in ran.stdout
    assert "Duration: at most 1 h 0 min" in ran.stdout


def test_max_cost_ends_with_4_when_it_may_be_passed_or_nobody_knows(
    cadre: Cadre, store: Store, triage: str
) -> None:
    assert cadre("plan", triage, "--max-cost", "0.00045").returncode == 0
    passed = cadre("plan", triage, "--max-cost", "0.0004")
    store.cost_usd = None
    unknown = cadre("plan", triage, "--max-cost", "100", "--json")

    assert (passed.returncode, unknown.returncode) == (4, 4)
    assert "A run may cost $0.00045, which passes $0.0004." in passed.stderr
    document = json.loads(unknown.stdout)
    assert document["cost"]["max_usd"] is None
    assert "node ask: no price" in document["refused"]
    assert cadre("plan", triage, "--max-cost", "much").returncode == 2


def test_a_run_is_recorded_into_its_file_or_another(cadre: Cadre, triage: str) -> None:
    before = (cadre.folder / triage).read_text()

    own = cadre("run", triage, "-i", "message=hello", "--record", "--record-as", "mine")
    other = cadre("run", triage, "-i", "message=hello", "--record-to", "other.yaml")

    text = (cadre.folder / triage).read_text()
    assert (own.returncode, other.returncode) == (0, 0)
    assert text.startswith(before)
    assert '"name": "mine"' in text
    assert "run 01RUN1" in (cadre.folder / "other.yaml").read_text()
    assert "cadre test triage.yaml" in own.stderr


def test_what_cannot_be_recorded_is_refused_before_it_runs(
    cadre: Cadre, store: Store, triage: str
) -> None:
    named = cadre("run", "triage", "-i", "message=hello", "--record")
    detached = cadre("run", triage, "-i", "message=hello", "--record", "--detach")

    assert (named.returncode, detached.returncode) == (2, 2)
    assert "--record-to FILE" in named.stderr
    assert store.runs == {}


def test_an_earlier_run_is_printed_or_written_as_a_test(cadre: Cadre, triage: str) -> None:
    run_id = cadre.json("run", triage, "-i", "message=hello")["run_id"]

    printed = cadre("runs", "record", run_id)
    written = cadre("runs", "record", run_id, triage, "--as", "angry")

    assert json.loads(printed.stdout)["name"] == f"run {run_id}"
    assert written.returncode == 0
    assert '"name": "angry"' in Path(cadre.folder / triage).read_text()
