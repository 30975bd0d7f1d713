"""Every other command against the API: what people see, what programs read, how refusals end."""

import csv
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata

import pytest
from tests.fakes.http_api import Store
from tests.service.cli.conftest import Cadre

INVALID = "name: x\nprompt: {state.mesage}\n"


def test_init_writes_a_template_that_is_not_overwritten_without_force(cadre_alone: Cadre) -> None:
    listed = cadre_alone("init")
    wrote = cadre_alone("init", "triage")
    (cadre_alone.folder / "triage.yaml").write_text("mine")
    refused = cadre_alone("init", "triage")
    forced = cadre_alone("init", "triage", "--force")

    assert "triage       Reads a customer's mood" in listed.stdout
    assert wrote.returncode == forced.returncode == 0
    assert refused.returncode == 2
    assert "triage.yaml is there already" in refused.stderr
    assert "name: triage" in (cadre_alone.folder / "triage.yaml").read_text()


def test_init_names_the_templates_when_there_is_none_of_that_name(cadre_alone: Cadre) -> None:
    refused = cadre_alone("init", "nothing")

    assert refused.returncode == 2
    assert "hello" in refused.stderr


@pytest.mark.parametrize("group", ["workflows", "runs", "schedules", "memory", "keys"])
def test_a_group_alone_shows_its_commands(cadre_alone: Cadre, group: str) -> None:
    shown = cadre_alone(group)

    assert shown.returncode == 0
    assert re.search(r"^  list +List ", shown.stdout, re.MULTILINE)


def test_validate_prints_problems_as_json_and_ends_with_2(cadre: Cadre) -> None:
    checked = cadre("validate", cadre.write("flow.yaml", INVALID), "--json")

    assert checked.returncode == 2
    document = json.loads(checked.stdout)
    assert document["valid"] is False
    assert document["problems"][0] == {
        "code": "UNKNOWN_STATE_FIELD",
        "message": "there is no state field 'mesage'",
        "path": "nodes[0].prompt",
        "line": 2,
        "column": 7,
        "resolution": "did you mean `message`?",
    }


def test_validate_reads_standard_input(cadre: Cadre) -> None:
    checked = cadre("validate", "-", stdin="name: x\nnodes: []\n")

    assert checked.returncode == 0
    assert "- is valid" in checked.stderr


def test_a_file_that_is_not_text_is_refused_before_anything_is_sent(cadre_alone: Cadre) -> None:
    (cadre_alone.folder / "flow.yaml").write_bytes(b"\xff\xfe")

    checked = cadre_alone("validate", "flow.yaml")

    assert checked.returncode == 2
    assert "flow.yaml is not UTF-8 text" in checked.stderr


def test_apply_stores_versions_and_says_when_nothing_changed(cadre: Cadre, triage: str) -> None:
    first, again = cadre("apply", triage), cadre("apply", triage)
    second = cadre.json("apply", cadre.write("b.yaml", "name: triage\nnodes: [b]\n"))

    assert first.stdout == "triage version 1 is stored\n"
    assert again.stdout == "triage version 1 was stored already\n"
    assert second["workflow"]["version"] == 2


def test_apply_of_an_invalid_file_shows_its_problems_once_as_json(cadre: Cadre) -> None:
    refused = cadre("apply", cadre.write("flow.yaml", INVALID), "--json")

    assert refused.returncode == 2
    error = json.loads(refused.stdout)["error"]
    assert error["code"] == "WORKFLOW_INVALID"
    assert len(error["problems"]) == 2


def test_workflows_are_listed_shown_compared_and_deleted(cadre: Cadre, triage: str) -> None:
    cadre("apply", triage)
    cadre("apply", cadre.write("b.yaml", "name: triage\nnodes: [b]\n"))

    shown = cadre("workflows", "show", "triage").stdout
    diff = cadre("workflows", "show", "triage", "--diff", "1", "2").stdout
    versions = cadre.json("workflows", "versions", "triage")["versions"]

    assert "What to [bold]read[/]" in shown
    assert "name: triage\nnodes: [b]" in shown
    assert "-nodes: []\n+nodes: [b]\n" in diff
    assert [version["version"] for version in versions] == [2, 1]
    assert cadre("workflows", "delete", "triage").returncode == 0
    assert cadre.json("workflows", "list") == {"workflows": []}


def test_models_say_why_one_cannot_be_used(cadre: Cadre) -> None:
    lines = cadre("models").stdout.splitlines()

    assert "embedded/smollm2 (default)  yes" in lines[1]
    assert "JSON, images" in lines[1]
    assert "OPENAI_API_KEY is not set" in lines[2]


def test_groups_of_models_are_shown_with_how_their_models_are_now(cadre: Cadre) -> None:
    lines = cadre("models").stdout.splitlines()
    (group,) = cadre.json("models")["groups"]

    shown = next(line for line in lines if line.startswith("fast"))
    assert "openai/gpt" in shown
    assert "8 at once" in shown
    assert "failed, asked last for 12 s, 2 waiting" in shown
    assert "embedded/smollm2" in shown
    assert "openai_compatible/qwen at 10.0.0.5:8000" in "".join(lines)
    assert group["deployments"][0]["weight"] == 3


def test_costs_are_grouped_with_bars_and_unknown_is_not_zero(cadre: Cadre, store: Store) -> None:
    shown = cadre("costs", "--by", "model", "--by", "day", "--last", "7d").stdout

    lines = shown.splitlines()
    assert "model-0" in lines[1]
    assert "$0.00045" in lines[1]
    assert "█" in lines[1]
    assert "unknown" in lines[2]
    assert store.usage_query["group_by"] == "model,day"
    since = datetime.fromisoformat(store.usage_query["start"])
    assert abs(datetime.now(UTC) - timedelta(days=7) - since) < timedelta(minutes=1)


def test_costs_say_what_is_uncertain_and_what_reuse_saved(cadre: Cadre) -> None:
    shown = cadre("costs").stdout

    assert "The costs that are known add up to $0.00045." in shown
    assert "Uncertain (sent, the reply never seen): 1, at most $0.25." in shown
    assert "Not in these sums: 3, for want of a price." in shown
    assert "Replies reused: 2, $0.5 and 1,234 tokens saved." in shown


def test_costs_can_be_grouped_by_several_names_between_commas(cadre: Cadre) -> None:
    for form in ((), ("--csv",), ("--json",)):
        repeated = cadre("costs", "--by", "model", "--by", "day", *form)

        assert cadre("costs", "--by", "model, day", *form).stdout == repeated.stdout


def test_costs_come_as_csv(cadre: Cadre) -> None:
    rows = list(csv.DictReader(cadre("costs", "--by", "node", "--csv").stdout.splitlines()))

    assert [(row["node"], row["cost_usd"]) for row in rows] == [
        ("node-0", "0.00045"),
        ("node-1", ""),
    ]


def test_days_come_one_after_the_other(cadre: Cadre, store: Store) -> None:
    store.usage_groups = (1, 0)

    shown = cadre("costs", "--by", "day", "--by", "model").stdout.splitlines()
    rows = csv.DictReader(cadre("costs", "--by", "day", "--csv").stdout.splitlines())
    dearest_first = cadre("costs", "--by", "model").stdout.splitlines()

    assert ("day-0" in shown[1], "day-1" in shown[2]) == (True, True)
    assert [row["day"] for row in rows] == ["day-0", "day-1"]
    assert "model-1" in dearest_first[1]


def test_an_empty_ledger_is_said_so_and_keeps_its_columns(cadre: Cadre, store: Store) -> None:
    full = cadre("costs", "--csv").stdout.splitlines()
    store.usage_groups = ()

    assert cadre("costs").stdout.startswith("No model was called yet.\n")
    assert cadre("costs", "--csv").stdout.splitlines() == full[:1]
    assert cadre.json("costs")["groups"] == []


def test_costs_are_those_between_two_times(cadre: Cadre, store: Store) -> None:
    cadre("costs", "--since", "2026-11-01", "--until", "2026-12-01T01:00+01:00")

    query = store.usage_query
    assert datetime.fromisoformat(query["start"]) == datetime(2026, 11, 1, tzinfo=UTC)
    assert datetime.fromisoformat(query["end"]) == datetime(2026, 12, 1, tzinfo=UTC)


def test_single_calls_are_listed_with_the_most_that_they_may_have_cost(cadre: Cadre) -> None:
    shown = cadre("costs", "--calls", "--run", "r1").stdout
    rows = list(csv.DictReader(cadre("costs", "--calls", "--csv").stdout.splitlines()))

    assert "uncertain" in shown
    assert "≤ $0.25" in shown
    assert (rows[0]["status"], rows[0]["reserved_usd"]) == ("uncertain", "0.25")
    assert cadre.json("costs", "--calls")["calls"][0]["input_tokens"] is None


def test_what_excludes_each_other_is_refused(cadre: Cadre) -> None:
    for options in (
        ("--csv", "--json"),
        ("--calls", "--by", "node"),
        ("--last", "7d", "--since", "2026-11-01"),
    ):
        assert cadre("costs", *options).returncode == 2


def test_a_budget_is_set_listed_and_deleted(cadre: Cadre, store: Store) -> None:
    made = cadre("budgets", "set", "daily", "--usd", "10", "--per", "day", "--workflow", "triage")
    listed = cadre("budgets", "list").stdout.splitlines()
    cadre("budgets", "delete", "daily")

    assert made.stdout.strip() == "daily bounds workflow triage to $10 a day"
    assert listed[1].startswith("daily  workflow triage  $10 a day  day 2026-11-24  $9    $1")
    assert "nearly used up" in listed[1]
    assert store.budgets == {}


def test_a_budget_says_what_happens_at_its_end(cadre: Cadre, store: Store) -> None:
    model = "openai/gpt-4.1-mini"
    for name, options in (("a", ()), ("b", ("--pause",)), ("c", ("--downgrade-to", model))):
        cadre("budgets", "set", name, "--usd", "10", "--per", "day", *options)
    listed = cadre("budgets", "list").stdout

    assert "$10 a day, then runs wait" in listed
    assert f"$10 a day, then {model} is asked" in listed
    assert [each["on_exceed"] for each in store.budgets.values()] == ["fail", "pause", "downgrade"]
    assert store.budgets["c"]["downgrade_to"] == model


def test_a_budget_that_cannot_be_is_refused(cadre: Cadre, store: Store) -> None:
    for wrong in (
        ("--usd", "a lot"),
        ("--usd", "-1"),
        ("--workflow", "a", "--key", "b"),
        ("--pause", "--downgrade-to", "openai/gpt-4.1-mini"),
    ):
        refused = cadre("budgets", "set", "b", "--per", "day", "--tokens", "5", *wrong)
        assert refused.returncode == 2
    assert store.budgets == {}


def test_a_span_that_cannot_be_read_is_refused(cadre: Cadre) -> None:
    refused = cadre("costs", "--last", "yesterday")

    assert refused.returncode == 2
    assert "'yesterday' is no span of time" in refused.stderr


def test_a_time_that_cannot_be_read_is_refused(cadre: Cadre) -> None:
    refused = cadre("costs", "--until", "tomorrow")

    assert refused.returncode == 2
    assert "'tomorrow' is no time" in refused.stderr


def test_a_workflow_is_scheduled_paused_resumed_and_unscheduled(
    cadre: Cadre, store: Store, triage: str
) -> None:
    cadre("apply", triage)
    made = cadre("deploy", "triage", "--cron", "*/5 * * * *", "-i", "message=hello")
    paused = cadre.json("schedules", "pause", "triage")
    resumed = cadre.json("schedules", "resume", "triage")
    listed = cadre("schedules", "list").stdout

    assert "triage will next run triage at 2026-11-22" in made.stdout
    assert store.schedules["triage"]["inputs"] == {"message": "hello"}
    assert (paused["paused"], resumed["paused"]) == (True, False)
    assert "*/5 * * * *" in listed
    assert cadre("schedules", "delete", "triage").returncode == 0
    assert cadre.json("schedules", "list") == {"schedules": []}


def test_a_remote_agent_is_added_listed_shown_and_removed(cadre: Cadre, store: Store) -> None:
    empty = cadre("agents", "list").stdout
    added = cadre("agents", "add", "http://a.example", "--name", "echo", "--secret", "AGENT_ECHO")
    listed = cadre("agents", "list").stdout
    shown = cadre("agents", "show", "echo").stdout
    document = cadre.json("agents", "show", "echo")

    assert "cadre agents add" in empty
    assert "echo is at http://a.example: Echo" in added.stdout
    assert store.agents["echo"]["secret"] == "AGENT_ECHO"
    assert "healthy" in listed
    assert "Skill Echo: Repeats." in shown
    assert document["skills"][0]["id"] == "echo"
    assert cadre.json("agents", "remove", "echo") == {"removed": "echo"}
    assert cadre.json("agents", "list") == {"agents": []}


def test_a_schedule_has_one_clock_of_three_kinds(cadre: Cadre, store: Store, triage: str) -> None:
    cadre("apply", triage)
    more = ("--catch-up", "latest", "--notify", "https://example.com/cadre")
    every = cadre.json("deploy", "triage", "--interval", "90s", "--max-concurrent", "1", *more)
    listed = cadre("schedules", "list").stdout
    both = cadre("deploy", "triage", "--interval", "90s", "--cron", "* * * * *", "--json")
    wrong = cadre("deploy", "triage", "--interval", "soon", "--json")

    assert (every["interval_seconds"], every["max_concurrent"]) == (90, 1)
    assert (every["catch_up"], every["notify"]) == ("latest", "https://example.com/cadre")
    assert "every 1 min 30 s" in listed
    assert (both.returncode, wrong.returncode) == (2, 2)
    assert json.loads(both.stdout)["error"]["code"] == "USAGE"
    assert json.loads(wrong.stdout)["error"]["code"] == "DURATION_INVALID"


def test_memories_are_put_read_found_and_forgotten(cadre: Cadre, store: Store) -> None:
    cadre("memory", "put", "team/facts", "office", "Berlin [old]")
    cadre("memory", "put", "team/facts", "size", "12", "--as-json")

    assert store.memories["team/facts", "size"]["value"] == 12
    assert cadre("memory", "get", "team/facts", "office").stdout == "Berlin [old]\n"
    assert "Berlin [old]" in cadre("memory", "list", "team/facts").stdout
    assert cadre.json("memory", "search", "team", "Berlin")["hits"][0]["item"]["key"] == "office"
    assert cadre.json("memory", "delete", "team/facts", "office") == {"deleted": True}
    assert cadre("memory", "get", "team/facts", "office").returncode == 2
    cadre("memory", "put", "team/facts", "draft", "soon", "--tag", "old", "--tag", "draft")
    assert store.memories["team/facts", "draft"]["tags"] == ["old", "draft"]
    assert cadre.json("memory", "forget", "team", "--tag", "old") == {"forgotten": 1}


def test_a_memory_is_put_with_metadata_and_only_over_the_version_that_is_said(
    cadre: Cadre, store: Store
) -> None:
    cadre("memory", "put", "team/facts", "k", "v", "--meta", "kind=fact", "--if-version", "0")

    stored = store.memories["team/facts", "k"]
    assert (stored["metadata"], stored["if_version"]) == ({"kind": "fact"}, 0)


def test_what_only_python_takes_for_json_is_refused(cadre: Cadre) -> None:
    value = cadre("memory", "put", "team/facts", "k", "NaN", "--as-json")
    told = cadre("memory", "put", "team/facts", "k", "v", "--meta", "size=[Infinity]", "--json")
    given = cadre("run", "triage", "-i", "message:=[NaN]")

    assert (value.returncode, given.returncode) == (2, 2)
    assert "NaN is not a JSON value" in value.stderr + given.stderr
    assert json.loads(told.stdout)["metadata"] == {"size": "[Infinity]"}


def test_memories_are_searched_as_of_a_time_with_what_is_around_them(
    cadre: Cadre, store: Store
) -> None:
    cadre("memory", "put", "team/facts", "office", "Berlin")

    shown = cadre("memory", "search", "team", "Berlin", "--window", "1", "--asked", "2023-04-01")

    assert store.searched["asked_time"] == "2023-04-01T00:00:00+00:00"
    assert "message 3" in shown.stdout
    assert "user: Where?" in shown.stdout
    assert cadre.json("memory", "namespaces", "team") == {"namespaces": [["team", "facts"]]}


def test_what_could_not_be_learned_is_said_with_the_facts(cadre: Cadre, store: Store) -> None:
    for key, told in (
        ("failed/learn/1", {"state": "failed", "code": "UNKNOWN_MODEL", "reason": "there is none"}),
        ("learn/2", {"state": "waiting", "code": "UNAVAILABLE", "reason": "it is away"}),
        ("summarize/3", {"state": "waiting"}),
    ):
        store.memories["cadre/work", key] = {
            "namespace": ["cadre", "work"],
            "key": key,
            "value": {},
            "version": 1,
            "metadata": {"conversation": "user/ada", **told},
        }

    shown = cadre("memory", "facts", "user/ada")

    assert shown.stderr.splitlines() == [
        "Learning from it failed; what was said is kept. UNKNOWN_MODEL: there is none",
        "Learning from it is under way. It failed, and is tried again. UNAVAILABLE: it is away",
        "Summing it up is under way.",
    ]
    assert len(cadre.json("memory", "facts", "user/ada")["work"]) == 3


def test_an_argument_that_is_no_text_is_said_to_be_none(cadre: Cadre) -> None:
    put = cadre("memory", "put", "team", "k\udcff", "v")
    got = cadre("memory", "get", "team", "k\udcff")

    assert (put.returncode, got.returncode) == (2, 2)
    assert "an argument is not text" in put.stderr


def test_conversations_are_added_to_and_read(cadre: Cadre, store: Store) -> None:
    said = cadre("memory", "append", "user/ada", "I moved [x]", "--name", "Ada", "--learn")

    assert said.stdout == "it is message 0\n"
    assert (store.appended["learn"], store.appended["summary_tokens"]) == (True, 0)
    assert "I moved [x]" in cadre("memory", "messages", "user/ada").stdout
    assert "They met." in cadre("memory", "messages", "user/ada", "--summary").stdout
    assert cadre.json("memory", "messages", "user/ada")["messages"][0]["name"] == "Ada"
    assert "user/ada" in cadre("memory", "conversations", "user").stdout
    assert cadre.json("memory", "conversations", "user")["conversations"][0]["newest"]["text"]


def test_facts_are_listed_by_when_they_held_and_forgotten_by_their_metadata(
    cadre: Cadre, store: Store
) -> None:
    for key, told in (
        ("old", {"valid_from": "2020-01-01T00:00:00Z", "valid_to": "2023-05-01T00:00:00Z"}),
        ("new", {"valid_from": "2023-05-01T00:00:00Z", "kind": "fact"}),
    ):
        store.memories["user/ada/facts", key] = {
            "namespace": ["user", "ada", "facts"],
            "key": key,
            "value": key,
            "version": 1,
            "tags": ["fact"],
            "metadata": told,
        }

    assert len(cadre.json("memory", "facts", "user/ada")["facts"]) == 2
    (held,) = cadre.json("memory", "facts", "user/ada", "--asked", "2023-04-01")["facts"]
    assert held["key"] == "old"
    assert "2023-05-01" in cadre("memory", "facts", "user/ada").stdout
    assert cadre("memory", "forget", "user/ada", "--meta", "kind").returncode == 2
    assert cadre.json("memory", "forget", "user/ada", "--meta", "kind=fact") == {"forgotten": 1}
    assert list(store.memories) == [("user/ada/facts", "old")]


def test_status_shows_a_platform_that_runs_elsewhere(cadre: Cadre, store: Store) -> None:
    shown = cadre("status", "--json")

    services = json.loads(shown.stdout)["services"]
    assert shown.returncode == 0
    assert services[0] == {
        "name": "gateway",
        "address": "gateway:1",
        "status": "ready",
        "version": "0.1.0",
        "pid": None,
        "uptime_s": None,
    }
    store.broken = True
    assert cadre("status").returncode == 3


def test_status_without_a_platform_says_so_and_ends_with_3(cadre_alone: Cadre) -> None:
    shown = cadre_alone("status")

    assert shown.returncode == 3
    assert "the platform is not running" in shown.stderr
    assert cadre_alone.json("status") == {"services": []}


def test_doctor_names_keys_never_their_values(cadre_alone: Cadre) -> None:
    cadre_alone.environment["OPENAI_API_KEY"] = "sk-secret"

    examined = cadre_alone("doctor", "--json")

    checks = {check["name"]: check for check in json.loads(examined.stdout)["checks"]}
    assert "OPENAI_API_KEY" in checks["Provider keys"]["found"]
    assert "sk-secret" not in examined.stdout
    assert checks["Home folder"]["outcome"] == "ok"
    assert checks["Services"]["resolution"] == "Start it with `cadre up`."


def test_a_home_that_cannot_be_made_is_refused_before_anything_starts(cadre_alone: Cadre) -> None:
    cadre_alone.write("file", "")
    cadre_alone.environment["CADRE_HOME"] = str(cadre_alone.folder / "file" / "home")

    refused = cadre_alone("up")

    assert refused.returncode == 2
    assert "cannot be made" in refused.stderr
    assert "CADRE_HOME" in refused.stderr


def test_a_setting_that_is_wrong_is_named(cadre_alone: Cadre) -> None:
    cadre_alone.environment["CADRE_GATEWAY_PORT"] = "seven"

    refused = cadre_alone("up")

    assert refused.returncode == 2
    assert "CADRE_GATEWAY_PORT: " in refused.stderr


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["run"], ["runs", "show"], ["deploy", "x"], ["costs", "--no"]]
)
def test_a_wrong_command_line_ends_with_2_and_json_stays_json(
    cadre_alone: Cadre, arguments: list[str]
) -> None:
    refused = cadre_alone(*arguments, "--json")

    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["code"] == "USAGE"
    assert "Traceback" not in refused.stderr


def test_output_has_no_colour_and_no_folding_in_a_pipe(cadre: Cadre, triage: str) -> None:
    cadre("apply", triage)

    listed = cadre("workflows", "list").stdout

    assert "\x1b" not in listed
    assert len(listed.splitlines()) == 2


def test_an_api_that_answers_rubbish_gives_a_message(cadre: Cadre) -> None:
    cadre.environment["CADRE_GATEWAY_URL"] += "/docs#"

    refused = cadre("models")

    assert refused.returncode in (1, 2, 3)
    assert refused.stderr.startswith("Error: ")


def test_a_command_as_a_process_ends_with_its_status_and_without_a_traceback(
    cadre_alone: Cadre,
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "cadre_cli", "runs", "list", "--json"],
        cwd=cadre_alone.folder,
        env=cadre_alone.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 3
    assert json.loads(ran.stdout)["error"]["code"] == "GATEWAY_UNREACHABLE"
    assert ran.stderr.startswith("Error: the platform is not running")


def test_a_reader_that_has_enough_is_told_nothing(cadre: Cadre) -> None:
    command = f"{sys.executable} -m cadre_cli schema; echo status $? >&2"

    ran = subprocess.run(
        ["/bin/bash", "-c", f"({command}) | true"],
        cwd=cadre.folder,
        env=cadre.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.stderr == "status 1\n"


def test_the_version_is_said(cadre_alone: Cadre) -> None:
    assert cadre_alone("--version").stdout == f"cadre {metadata.version('cadre-cli')}\n"
