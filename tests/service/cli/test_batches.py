"""`cadre run --batch` and `cadre batches`."""

import csv
import json
import signal
import subprocess
import sys

import pytest
from tests.fakes.http_api import Store
from tests.platform import eventually
from tests.service.cli.conftest import Cadre

ROWS = '{"message": "a"}\n\n{"message": "b"}\n{"message": "c"}\n'


@pytest.fixture(autouse=True)
def applied(cadre: Cadre) -> None:
    for name in ("triage", "slow"):
        cadre("apply", cadre.write(f"{name}.yaml", f"name: {name}\nnodes: []\n"))


def batch(cadre: Cadre, text: str, *arguments: str, name: str = "data.jsonl") -> tuple[str, ...]:
    """The command that runs a workflow over a file of that text."""
    return ("run", "triage", "--batch", "--inputs", cadre.write(name, text), *arguments)


def test_every_row_is_run_and_the_results_are_in_the_order_of_the_rows(
    cadre: Cadre, store: Store
) -> None:
    command = batch(
        cadre,
        ROWS,
        *("--output", "results.jsonl", "-i", "kind=x", "--max-concurrent", "2"),
        *("--notify", "https://example.com/cadre"),
    )

    ran = cadre(*command)

    assert ran.returncode == 0
    assert "3 of 3 rows succeeded" in ran.stderr
    asked = store.batches["01BATCH0"]["asked"]
    assert asked["rows"][1] == {"inputs": {"kind": "x", "message": "b"}, "line": 3}
    assert (asked["max_concurrent"], asked["resume"]) == (2, False)
    assert asked["notify"] == "https://example.com/cadre"
    lines = (cadre.folder / "results.jsonl").read_text().splitlines()
    written = [json.loads(line) for line in lines]
    assert [(each["row"], each["line"], each["run_id"]) for each in written] == [
        (1, 1, "01ROW0"),
        (2, 3, "01ROW1"),
        (3, 4, "01ROW2"),
    ]
    assert written[1]["outputs"] == {"mood": "b", "scores": [1]}
    assert written[1]["usage"]["cost_usd"] == "0.00045"


def test_the_summary_is_one_document_that_names_what_failed(cadre: Cadre) -> None:
    ran = cadre(*batch(cadre, ROWS.replace("b", "fail"), "--json", "--output", "out.csv"))

    document = json.loads(ran.stdout)
    assert ran.returncode == 1
    assert (document["batch_id"], document["status"]) == ("01BATCH0", "failed")
    assert (document["rows"]["succeeded"], document["rows"]["failed"]) == (2, 1)
    assert document["usage"] == {"input_tokens": 3600, "output_tokens": 240, "cost_usd": "0.00135"}
    assert [(each["line"], each["code"]) for each in document["failures"]] == [
        (3, "PROVIDER_ERROR")
    ]
    with (cadre.folder / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["outputs.mood"] for row in rows] == ["a", "fail", "c"]
    assert (rows[1]["error.code"], rows[0]["outputs.scores"]) == ("PROVIDER_ERROR", "[1]")


@pytest.mark.parametrize(("word", "status"), [("costly", 4), ("asks", 5), ("fail", 1)])
def test_the_exit_status_says_how_it_ended(cadre: Cadre, word: str, status: int) -> None:
    assert cadre(*batch(cadre, ROWS.replace("b", word))).returncode == status


def test_cells_are_read_by_the_type_of_their_field(cadre: Cadre, store: Store) -> None:
    text = 'message,count,tags\n"two\nlines",3,"[""x""]"\n007,,\n'
    fields = [{"name": "message", "type": "str"}, {"name": "count", "type": "int"}]
    fields.append({"name": "tags", "type": "list[str]"})
    store.workflows["triage"][-1]["inputs"] = [{**each, "required": True} for each in fields]

    cadre(*batch(cadre, text, name="data.csv"))

    assert store.batches["01BATCH0"]["asked"]["rows"] == [
        {"inputs": {"message": "two\nlines", "count": 3, "tags": ["x"]}, "line": 2},
        {"inputs": {"message": "007"}, "line": 4},
    ]


def test_only_a_line_feed_ends_a_row_of_jsonl(cadre: Cadre, store: Store) -> None:
    cadre(*batch(cadre, '{"message": "one\u2028row"}\r\n{"message": "b\x85"}\n'))

    assert store.batches["01BATCH0"]["asked"]["rows"] == [
        {"inputs": {"message": "one\u2028row"}, "line": 1},
        {"inputs": {"message": "b\x85"}, "line": 2},
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "data.jsonl",
            '{"message": 1}\n{\n[]\n',
            ["data.jsonl:2: not JSON", "data.jsonl:3: not a JSON"],
        ),
        ("data.csv", "message,b\n1\n2,3\n", ["data.csv:2: 1 cells, and the first line has 2"]),
        ("data.csv", "message,message\n1,2\n", ["data.csv:1: the first line must name each"]),
        ("data.jsonl", "\n", ["there is no row"]),
    ],
)
def test_rows_that_cannot_be_read_are_named_by_their_lines_and_nothing_starts(
    cadre: Cadre, store: Store, name: str, text: str, said: list[str]
) -> None:
    ran = cadre(*batch(cadre, text, name=name))

    assert ran.returncode == 2
    assert all(words in ran.stderr for words in said)
    assert not store.batches


def test_rows_that_do_not_fit_the_workflow_are_shown_at_their_lines(cadre: Cadre) -> None:
    ran = cadre(*batch(cadre, '{"message": 1}\n{"mesage": 2}\n'))

    assert ran.returncode == 2
    assert "data.jsonl:2:" in ran.stderr
    assert '2 | {"mesage": 2}' in ran.stderr


def test_with_prefect_down_the_command_ends_with_3(cadre: Cadre, store: Store) -> None:
    store.broken = True

    ran = cadre(*batch(cadre, ROWS, "--json"))

    assert ran.returncode == 3
    assert json.loads(ran.stdout)["error"]["code"] == "PREFECT_UNAVAILABLE"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "triage", "--resume"],
        ["run", "triage", "--output", "a.jsonl"],
        ["run", "triage", "--batch"],
        ["run", "triage", "--batch", "--inputs", "data.jsonl", "--output", "results.txt"],
        ["run", "triage", "--batch", "--inputs", "data.jsonl", "--output", "none/results.csv"],
    ],
)
def test_options_that_do_not_go_together_are_refused(cadre: Cadre, arguments: list[str]) -> None:
    cadre.write("data.jsonl", ROWS)

    assert cadre(*arguments).returncode == 2


def test_an_interrupted_command_cancels_its_batch_and_writes_what_there_is(
    cadre: Cadre, store: Store
) -> None:
    command = ["run", "slow", "--batch", "--inputs", cadre.write("data.jsonl", ROWS)]
    process = subprocess.Popen(
        [sys.executable, "-m", "cadre_cli", *command, "--output", "results.jsonl"],
        cwd=cadre.folder,
        env=cadre.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: any("was_seen" in each for each in store.batches.values()))

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Cancelling batch 01BATCH0" in said
    lines = (cadre.folder / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["pending"] * 3


def test_batches_are_listed_shown_and_cancelled(cadre: Cadre) -> None:
    started = cadre(*batch(cadre, ROWS, "--detach"))
    cadre("run", "slow", "--batch", "--inputs", "data.jsonl", "--detach")

    shown = cadre("batches", "show", "01BATCH0", "--output", "late.jsonl", "--json")
    cancelled = cadre.json("batches", "cancel", "01BATCH1")
    listed = cadre.json("batches", "list")["batches"]

    assert started.stdout == "01BATCH0\n"
    assert json.loads(shown.stdout)["rows"]["succeeded"] == 1
    assert len((cadre.folder / "late.jsonl").read_text().splitlines()) == 3
    assert cancelled["status"] == "cancelled"
    assert [each["id"] for each in listed] == ["01BATCH1", "01BATCH0"]
    assert listed[1]["usage"]["cost_usd"] == "0.00045"
    assert "$0.00045" in cadre("batches", "list").stdout
