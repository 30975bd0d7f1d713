"""`cadre run` and `cadre runs`: what they print, and the exit status that says how the run ended."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.http_api import Store
from tests.platform import eventually
from tests.service.cli.conftest import Cadre


def test_a_run_shows_its_nodes_outputs_tokens_cost_and_duration(cadre: Cadre, triage: str) -> None:
    ran = cadre("run", triage, "-i", "message=hello")

    assert ran.returncode == 0
    assert ran.stdout == "mood: angry\nscores: [1, 2.5]\n"
    assert "✓ classify  1.2 s" in ran.stderr
    assert "succeeded in 2.5 s, 1,200 tokens in, 80 out, cost $0.00045" in ran.stderr


def test_a_run_as_json_is_one_document_and_nothing_else(cadre: Cadre, triage: str) -> None:
    ran = cadre("run", triage, "-i", "message=hello", "--json")

    assert json.loads(ran.stdout) == {
        "run_id": "01RUN0",
        "workflow": "triage",
        "version": 0,
        "status": "succeeded",
        "outputs": {"mood": "angry", "scores": [1, 2.5]},
        "usage": {"input_tokens": 1200, "output_tokens": 80, "cost_usd": "0.00045"},
        "duration_ms": 2500,
        "error": None,
    }
    assert ran.stderr == ""


def test_an_unknown_cost_is_said_to_be_unknown(cadre: Cadre, store: Store, triage: str) -> None:
    store.cost_usd = None

    assert "cost unknown" in cadre("run", triage, "-i", "message=hello").stderr
    assert cadre.json("run", triage, "-i", "message=hello")["usage"]["cost_usd"] is None


@pytest.mark.parametrize(("workflow", "status"), [("fails", 1), ("costly", 4)])
def test_the_exit_status_tells_a_failure_from_a_limit(
    cadre: Cadre, workflow: str, status: int
) -> None:
    file = cadre.write("flow.yaml", f"name: {workflow}\nnodes: []\n")

    ran = cadre("run", file, "-i", "message=hello", "--json")

    assert ran.returncode == status
    assert json.loads(ran.stdout)["error"]["node"] == "classify"


def test_a_failed_run_says_what_happened_and_what_to_do(cadre: Cadre) -> None:
    file = cadre.write("flow.yaml", "name: fails\nnodes: []\n")

    ran = cadre("run", file, "-i", "message=hello")

    assert "✗ classify" in ran.stderr
    assert "PROVIDER_ERROR: the provider refused\ntry again" in ran.stderr
    assert ran.stdout == ""


def test_an_invalid_file_is_shown_with_its_lines_and_ends_with_2(cadre: Cadre) -> None:
    file = cadre.write("flow.yaml", "name: x\nprompt: {state.mesage}\n")

    ran = cadre("run", file, "-i", "message=hello")

    assert ran.returncode == 2
    assert "flow.yaml:2:7 (nodes[0].prompt)" in ran.stderr
    assert "    2 | prompt: {state.mesage}\n              ^\n" in ran.stderr
    assert "did you mean `message`?" in ran.stderr


def test_of_a_line_too_long_to_show_the_part_around_the_problem_is_shown(cadre: Cadre) -> None:
    file = cadre.write("flow.yaml", "name: x\nprompt: {state.mesage}" + "x" * 100_000)

    ran = cadre("run", file, "-i", "message=hello")

    assert len(ran.stderr) < 2000
    assert "x …\n              ^\n" in ran.stderr
    assert "    2 | prompt: {state.mesage}xx" in ran.stderr


def test_inputs_come_from_text_files_and_json(cadre: Cadre, store: Store, triage: str) -> None:
    cadre.write("letter.txt", "Dear all\n")
    cadre.write("values.json", '{"message": "overridden", "kind": "letter"}')

    cadre(
        *("run", triage, "--inputs", "values.json", "-i", "message=@letter.txt"),
        *("-i", "count:=3", "-i", "link=http://a/?b=c"),
    )

    assert store.runs["01RUN0"]["inputs"] == {
        "message": "Dear all\n",
        "kind": "letter",
        "count": 3,
        "link": "http://a/?b=c",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-i", "message"], "'message' is not KEY=VALUE"),
        (["-i", "message=@none.txt"], "none.txt cannot be read: No such file"),
        (["-i", "message:={"], "message is not JSON"),
        (["-i", "other=1"], "the input 'message' is missing"),
        (["--inputs", "list.json"], "list.json holds no JSON object"),
    ],
)
def test_wrong_inputs_are_named_and_end_with_2(
    cadre: Cadre, triage: str, arguments: list[str], said: str
) -> None:
    cadre.write("list.json", "[]")

    ran = cadre("run", triage, *arguments)

    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_applied_workflow_runs_by_name_and_version(cadre: Cadre, triage: str) -> None:
    cadre("apply", triage)
    cadre("apply", cadre.write("second.yaml", "name: triage\nnodes: [a]\n"))

    assert cadre.json("run", "triage", "-i", "message=a")["version"] == 2
    assert cadre.json("run", "triage@1", "-i", "message=a")["version"] == 1


def test_a_workflow_that_is_not_there_is_named(cadre: Cadre) -> None:
    ran = cadre("run", "nothing", "--json")

    assert ran.returncode == 2
    assert json.loads(ran.stdout)["error"] == {
        "code": "WORKFLOW_NOT_FOUND",
        "message": "there is no workflow 'nothing'",
        "resolution": "Look again.",
    }


def test_a_detached_run_prints_its_id_and_goes_on(cadre: Cadre, store: Store) -> None:
    file = cadre.write("flow.yaml", "name: slow\nnodes: []\n")

    ran = cadre("run", file, "-i", "message=a", "--detach")

    assert ran.returncode == 0
    assert ran.stdout == "01RUN0\n"
    assert store.runs["01RUN0"]["status"] == "running"


def test_a_service_that_is_missing_ends_with_3(cadre: Cadre, store: Store, triage: str) -> None:
    store.broken = True

    ran = cadre("run", triage, "-i", "message=a")

    assert ran.returncode == 3
    assert "the executor does not answer" in ran.stderr


def test_without_a_platform_one_message_says_how_to_start_it(cadre_alone: Cadre) -> None:
    cadre_alone.write("flow.yaml", "name: x")

    ran = cadre_alone("run", "flow.yaml")

    assert ran.returncode == 3
    assert "the platform is not running" in ran.stderr
    assert "`cadre up`" in ran.stderr
    assert ran.stdout == ""


def test_an_interrupted_run_is_cancelled_where_nobody_can_be_asked(
    cadre: Cadre, store: Store
) -> None:
    process = start_slow_run(cadre, store, stdin=subprocess.DEVNULL)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)

    assert process.returncode == 130
    assert store.runs["01RUN0"]["status"] == "cancelled"
    assert "Cancelling run 01RUN0" in said


@pytest.mark.parametrize(
    ("answer", "status", "exit_status"),
    [
        (b"y\n", "cancelled", 130),
        (b"\n", "running", 0),
        (b"\x03", "running", 0),
    ],
)
def test_at_a_terminal_an_interrupt_asks_and_a_second_one_leaves_the_run(
    cadre: Cadre, store: Store, tmp_path: Path, answer: bytes, status: str, exit_status: int
) -> None:
    controller, terminal = pty.openpty()
    process = start_slow_run(cadre, store, stdin=terminal, at_terminal=True)
    os.close(terminal)
    said = read_until(controller, "Running classify")

    os.write(controller, b"\x03")
    said += read_until(controller, "Cancel it?")
    os.write(controller, answer)
    rest = read_until(controller, "01RUN0")

    assert process.wait(10) == exit_status
    assert store.runs["01RUN0"]["status"] == status
    assert "run 01RUN0 goes on. Cancel it? [y/N]" in plain(said), rest
    os.close(controller)


def test_runs_are_listed_shown_watched_and_cancelled(
    cadre: Cadre, store: Store, triage: str
) -> None:
    cadre("run", triage, "-i", "message=hello")
    cadre("run", cadre.write("slow.yaml", "name: slow\nnodes: []\n"), "-i", "message=a", "-d")

    listed = cadre.json("runs", "list", "--status", "succeeded")["runs"]
    shown = cadre("runs", "show", "01RUN0")
    watched = cadre.json("runs", "watch", "01RUN0")
    cancelled = cadre.json("runs", "cancel", "01RUN1")

    assert [run["id"] for run in listed] == ["01RUN0"]
    assert "Input message: hello" in shown.stderr
    assert "✓ classify" in shown.stderr
    assert watched["status"] == "succeeded"
    assert cancelled["status"] == "cancelled"


def test_a_run_that_waits_for_its_turn_says_where_it_stands(cadre: Cadre, store: Store) -> None:
    cadre("run", cadre.write("slow.yaml", "name: slow\nnodes: []\n"), "-i", "message=a", "-d")
    store.runs["01RUN0"] |= {"status": "queued", "runs_before": 3}

    shown = cadre("runs", "show", "01RUN0")

    assert "Waits for its turn: 3 runs are before it" in shown.stderr


def test_watching_a_run_that_is_not_there_ends_with_2(cadre: Cadre) -> None:
    watched = cadre("runs", "watch", "01NONE")

    assert watched.returncode == 2
    assert "there is no run '01NONE'" in watched.stderr


def test_a_run_that_waits_is_left_waiting_where_nobody_can_be_asked(cadre: Cadre) -> None:
    file = cadre.write("asks.yaml", "name: asks\nnodes: []\n")

    quiet = cadre("run", file, "-i", "message=a", "--json")
    spoken = cadre("run", file, "-i", "message=a")

    assert (quiet.returncode, json.loads(quiet.stdout)["status"]) == (5, "waiting")
    assert spoken.returncode == 5
    assert "Send it?" in spoken.stderr
    assert "cadre runs answer 01RUN1 --node classify approve|reject" in spoken.stderr


def test_at_a_terminal_the_person_is_asked(cadre: Cadre, store: Store) -> None:
    file = cadre.write("asks.yaml", "name: asks\nnodes: []\n")
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cadre_cli", "run", file, "-i", "message=a"],
        cwd=cadre.folder,
        env=cadre.environment,
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)

    read_until(controller, "approve, reject:")
    os.write(controller, b"perhaps\n")
    read_until(controller, "Please answer")
    os.write(controller, b"app\n")
    read_until(controller, "Comment")
    os.write(controller, b"good\n")

    assert process.wait(20) == 0
    outputs = store.runs["01RUN0"]["outputs"]
    assert (outputs["verdict"]["choice"], outputs["verdict"]["comment"]) == ("approve", "good")
    os.close(controller)


def test_a_waiting_run_is_answered_by_a_command(cadre: Cadre) -> None:
    file = cadre.write("asks.yaml", "name: asks\nnodes: []\n")
    cadre("run", file, "-i", "message=a", "--detach")

    wrong = cadre("runs", "answer", "01RUN0", "maybe")
    right = cadre.json("runs", "answer", "01RUN0", "reject", "--comment", "no", "--by", "ada")

    assert wrong.returncode == 2
    assert right["status"] == "succeeded"
    assert right["outputs"]["verdict"]["answered_by"] == "ada"


def test_a_failed_run_is_resumed_and_one_that_did_not_fail_is_not(
    cadre: Cadre, triage: str
) -> None:
    cadre("run", cadre.write("fails.yaml", "name: fails\nnodes: []\n"), "-i", "message=a")
    cadre("run", triage, "-i", "message=a")

    assert cadre.json("runs", "resume", "01RUN0")["outputs"] == {"mood": "calm"}
    assert cadre("runs", "resume", "01RUN1").returncode == 2


def test_a_run_is_forked_from_a_checkpoint_that_is_listed(cadre: Cadre, triage: str) -> None:
    cadre("run", triage, "-i", "message=a")

    listed = cadre("runs", "checkpoints", "01RUN0")
    forked = cadre.json("runs", "fork", "01RUN0", "--checkpoint", "1", "-i", "mood=calm")

    assert "classify" in listed.stdout
    assert "reply" in listed.stdout
    assert forked["outputs"] == {"from": "1", "mood": "calm"}


def test_the_empty_list_says_how_to_start(cadre: Cadre) -> None:
    assert "cadre run examples/hello.yaml" in cadre("runs", "list").stdout


def start_slow_run(
    cadre: Cadre, store: Store, *, stdin: int, at_terminal: bool = False
) -> subprocess.Popen[str]:
    file = cadre.write("slow.yaml", "name: slow\nnodes: []\n")
    command = [sys.executable, "-m", "cadre_cli", "run", file, "-i", "message=a"]
    taking_terminal = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    output = stdin if at_terminal else subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", taking_terminal, *command] if at_terminal else command,
        cwd=cadre.folder,
        env={**cadre.environment, "TERM": "xterm"},
        stdin=stdin,
        stdout=output,
        stderr=output,
        text=True,
    )
    eventually(lambda: store.runs and process.poll() is None)
    if not at_terminal:
        assert process.stderr is not None
        while "classify" not in process.stderr.readline():
            assert process.poll() is None
    return process


def read_until(terminal: int, words: str) -> str:
    said = ""
    while words not in plain(said):
        try:
            said += os.read(terminal, 4096).decode()
        except OSError as exc:
            raise AssertionError(f"never said {words!r}: {plain(said)}") from exc
    return said


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_an_ended_run_is_explained_and_compared_with_another(cadre: Cadre, triage: str) -> None:
    fails = cadre.write("fails.yaml", "name: fails\nnodes: []\n")
    good = cadre.json("run", triage, "-i", "message=hello")["run_id"]
    bad = json.loads(cadre("run", fails, "-i", "message=hello", "--json").stdout)["run_id"]

    explained = cadre("runs", "explain", bad)
    compared = cadre("runs", "diff", good, bad)
    same = cadre("runs", "diff", good, good)

    assert "The run failed in node 'classify'" in explained.stdout
    assert "What to do: try again" in explained.stdout
    assert "✗ classify" in explained.stdout
    assert "PROVIDER_ERROR" in compared.stdout
    assert same.stdout == "The two runs do not differ.\n"
    assert cadre.json("runs", "explain", good)["visits"][0]["node"] == "classify"


def test_a_run_that_goes_on_is_explained_so_far_and_not_waited_for(cadre: Cadre) -> None:
    slow = cadre.write("slow.yaml", "name: slow\nnodes: []\n")
    asks = cadre.write("asks.yaml", "name: asks\nnodes: []\n")
    started = cadre.json("run", slow, "-i", "message=hello", "--detach")["run_id"]
    waiting = cadre.json("run", asks, "-i", "message=hello", "--detach")["run_id"]

    under_way = cadre("runs", "explain", started)
    asked = cadre("runs", "explain", waiting)
    compared = cadre.json("runs", "diff", started, waiting)

    assert "The run is running. Visits of nodes: 1 unfinished." in under_way.stdout
    assert "The run is waiting. Node 'classify' asks:" in asked.stdout
    assert {"name": "status", "first": "running", "second": "waiting"} in compared["run"]


def test_runs_are_listed_and_shown_with_their_schedule(
    cadre: Cadre, triage: str, store: Store
) -> None:
    cadre("run", triage, "-i", "message=a")
    store.runs["01RUN0"] |= {"trigger": "schedule", "schedule": "nightly"}
    cadre("run", triage, "-i", "message=b")

    listed = cadre("runs", "list", "--schedule", "nightly")
    shown = cadre("runs", "show", "01RUN0")

    assert "schedule nightly" in listed.stdout
    assert "01RUN1" not in listed.stdout
    assert "Started by: schedule nightly" in shown.stderr
