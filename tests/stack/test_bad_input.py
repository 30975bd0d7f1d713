"""Whatever is wrong ends as a structured error that says what to do, and nothing that was accepted is lost."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.openai_server import OpenAiServer, openai_server
from tests.fakes.providers import Answer, openai_error, openai_reply
from tests.platform import SERVICES, Platform, eventually, platform
from tests.ports import free_port
from tests.small_disk import full, mounted

from cadre_client import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

BROKEN = """\
schema_version: "1.0"
flow: {name: broken}
state:
  fields:
    message: {type: str, required: true}
nodes:
  - id: first
    prompt: "Say {state.mesage}"
    outputs: [reply]
  - id: lost
    prompt: "Nobody comes here"
edges:
  - {from: START, to: first}
  - {from: first, to: nowhere}
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAiServer]:
    with openai_server() as serving:
        yield serving


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, provider: OpenAiServer) -> Iterator[Platform]:
    settings = {**provider.settings, "CADRE_LLM_RETRIES": "0"}
    with platform(tmp_path_factory.mktemp("home"), **settings) as started:
        yield started
        for name in SERVICES:
            assert "Traceback" not in started.log(name), name


@pytest.fixture(autouse=True)
def _well_behaved(provider: OpenAiServer) -> None:
    provider.behave()


def flow(node: str, *, fields: str = "answer: {type: any}") -> str:
    return (
        'schema_version: "1.0"\nflow: {name: case}\n'
        f"state: {{fields: {{{fields}}}}}\nnodes:\n  - {{id: only, outputs: [answer], {node}}}\n"
        "edges: [{from: START, to: only}, {from: only, to: END}]\n"
    )


def model_flow(llm: str) -> str:
    return flow(f'prompt: "Hi", llm: {llm}')


def code_flow(code: str, more: str = "") -> str:
    return flow(f"code: {json.dumps(code)}{more}")


def failure(running: Platform, source: str, *, status: int = 1) -> dict[str, Any]:
    """The error of a run that fails, as the command prints it; `status` is the command's."""
    file = running.home / "case.yaml"
    file.write_text(source)
    ran = running.cadre("run", str(file), "--json", seconds=120)
    assert ran.returncode == status, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    error: dict[str, Any] = json.loads(ran.stdout)["error"]
    assert error["code"].isupper()
    assert error["message"]
    assert error["resolution"]
    assert error["node"] == "only"
    return error


def calls(running: Platform) -> int:
    return running.client().usage().total.calls


def test_an_invalid_file_gives_every_problem_with_its_place_and_no_model_call(
    running: Platform,
) -> None:
    file, before = running.home / "broken.yaml", calls(running)
    file.write_text(BROKEN)

    ran = running.cadre("run", str(file), "-i", "message=hi", "--json")
    checked = running.cadre("validate", str(file), "--json")

    problems = json.loads(checked.stdout)["problems"]
    assert (ran.returncode, checked.returncode) == (2, 2)
    assert {p["line"] for p in problems} >= {8, 9, 14}
    assert all(p["line"] and p["column"] and p["resolution"] and p["path"] for p in problems)
    assert "message" in next(p["resolution"] for p in problems if p["line"] == 8)
    assert "Traceback" not in ran.stdout + ran.stderr
    assert calls(running) == before


@pytest.mark.parametrize(
    "source", ["", "just text", "a: [1", "x: &a [*a]", "\x00", "- 1\n", "!!python/object:os {}"]
)
def test_a_file_that_is_no_workflow_is_refused_with_a_resolution(
    running: Platform, source: str
) -> None:
    file = running.home / "rubbish.yaml"
    file.write_text(source)

    ran = running.cadre("validate", str(file), "--json")

    said = json.loads(ran.stdout)
    assert ran.returncode == 2
    assert said["valid"] is False
    assert all(p["message"] and p["resolution"] for p in said["problems"])


def test_a_missing_input_is_named_and_no_model_is_asked(
    running: Platform, provider: OpenAiServer
) -> None:
    ran = running.cadre("run", str(EXAMPLES / "triage.yaml"))

    assert ran.returncode == 2
    assert "message" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert provider.asked == []


def test_an_input_of_the_wrong_type_is_named(running: Platform) -> None:
    ran = running.cadre("run", str(EXAMPLES / "numbers.yaml"), "-i", "numbers=many")

    assert ran.returncode == 2
    assert "numbers" in ran.stderr


@pytest.mark.parametrize("method", ["put", "post", "get"])
@pytest.mark.parametrize("path", ["/api/v1/runs/nothing", "/api/v1/runs?status=odd", "/api/v1/no"])
def test_requests_that_make_no_sense_get_a_problem_document(
    running: Platform, method: str, path: str
) -> None:
    headers = {"Authorization": f"Bearer {running.api_key}"}
    answer = running.http().request(method, path, headers=headers, content=b"\xff{")

    document = answer.json()
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["code"]
    assert document["request_id"]
    assert "Traceback" not in answer.text


def test_an_unknown_model_is_named(running: Platform, provider: OpenAiServer) -> None:
    provider.respond = lambda _: openai_error(404, "model_not_found", "no such model")

    error = failure(running, model_flow("{provider: openai, model: gpt-none}"))

    assert "gpt-none" in error["message"]


def test_an_unknown_provider_is_named(running: Platform) -> None:
    error = failure(running, model_flow("{provider: nobody, model: x}"))

    assert "nobody" in error["message"]


def test_an_unreachable_provider_is_said(running: Platform) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    llm = f'{{provider: openai_compatible, model: m, api_base: "{url}"}}'

    error = failure(running, model_flow(llm))

    assert "openai_compatible" in error["message"]


@pytest.mark.parametrize("status", [400, 401, 403, 500, 503])
def test_an_error_of_the_provider_is_said(
    running: Platform, provider: OpenAiServer, status: int
) -> None:
    provider.respond = lambda _: openai_error(status, "odd")

    error = failure(running, model_flow("{max_tokens: 5}"))

    assert "openai" in error["message"]


def test_a_limit_of_the_provider_ends_with_status_4(
    running: Platform, provider: OpenAiServer
) -> None:
    provider.respond = lambda _: openai_error(429, "rate_limit_exceeded")

    error = failure(running, model_flow("{max_tokens: 5}"), status=4)

    assert error["code"] == "RATE_LIMITED"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(chunks=(b"not json",)),
        Answer(chunks=(b"{}",)),
        Answer(chunks=(b'{"choices": []}',)),
        openai_reply('{"answer": "neither"}'),
        openai_reply("plain words"),
        openai_reply('{"answer": "ye', finish="length"),
    ],
    ids=["no_json", "no_fields", "no_choices", "wrong_enum", "no_document", "cut_off"],
)
def test_malformed_output_of_a_model_is_said(
    running: Platform, provider: OpenAiServer, answer: Answer
) -> None:
    provider.respond = lambda _: answer
    schema = "{type: object, fields: [{name: answer, type: str, enum: [yes, no]}]}"

    failure(running, flow(f'prompt: "Hi", output_schema: {schema}'))


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("raise ValueError('bad luck')", "bad luck"),
        ("result = 1 / 0", "division"),
        ("import socket\nresult = 1", "socket"),
        ("result = open('/etc/passwd').read()", "/etc/passwd"),
        ("result = ().__class__.__bases__", "__bases__"),
    ],
)
def test_code_that_fails_or_is_blocked_is_said(running: Platform, code: str, named: str) -> None:
    assert named in failure(running, code_flow(code))["message"]


def test_code_that_is_no_python_is_said_before_it_runs(running: Platform) -> None:
    file = running.home / "case.yaml"
    file.write_text(code_flow("def f(:\n  pass"))

    ran = running.cadre("run", str(file), "--json")

    (problem,) = json.loads(ran.stdout)["error"]["problems"]
    assert (ran.returncode, problem["code"]) == (2, "CODE_SYNTAX")
    assert problem["message"].startswith("line 1 of the program: ")


@pytest.mark.parametrize(
    "code", ["while True:\n  pass", "result = 'x' * 10**10", "while True:\n  print('x' * 1000)"]
)
def test_code_that_has_no_end_reaches_a_limit(running: Platform, code: str) -> None:
    error = failure(running, code_flow(code, ", sandbox: {timeout: 2}"), status=4)

    assert error["code"] == "CODE_LIMIT"


def test_a_service_that_does_not_answer_is_named_with_status_3(tmp_path: Path) -> None:
    nowhere = Platform(tmp_path, {})

    ran = nowhere.cadre("run", str(EXAMPLES / "hello.yaml"))

    assert ran.returncode == 3
    assert "cadre up" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_run_outlives_a_locked_database_of_the_executor(
    running: Platform, provider: OpenAiServer
) -> None:
    provider.gate.clear()
    run = started(running)
    eventually(lambda: len(provider.asked) == 1)
    with locked(running.home / "executor.db"):
        provider.gate.set()
        eventually(lambda: "DATABASE_LOCKED" in running.log("executor"), seconds=40)

    assert ended(running, run).status == "succeeded"


def test_what_a_call_cost_is_written_down_once_the_ledger_is_not_locked_any_more(
    running: Platform, provider: OpenAiServer
) -> None:
    provider.gate.clear()
    run = started(running)
    eventually(lambda: len(provider.asked) == 1)
    with locked(running.home / "llm-proxy.db"):
        provider.gate.set()
        eventually(lambda: "ledger_waits" in running.log("llm-proxy"), seconds=40)
        refused = failure(running, model_flow("{max_tokens: 5}"))

    assert refused["code"] == "DATABASE_LOCKED"
    assert ended(running, run).status == "succeeded"
    assert running.client().usage(run_id=run.id).total.calls == len(provider.asked) == 1


def test_a_run_that_needs_a_locked_memory_ends_with_its_reason(running: Platform) -> None:
    with locked(running.home / "memory.db"):
        error = failure(running, flow("memory: {action: save, key: k, value: v}"))

    assert error["code"] == "DATABASE_LOCKED"


@pytest.mark.root
def test_runs_wait_for_room_on_a_full_disk_and_nothing_accepted_is_lost(
    small_disk: Path, tmp_path: Path, provider: OpenAiServer
) -> None:
    with platform(tmp_path, **on_disk(small_disk), **provider.settings) as crowded:
        provider.gate.clear()
        accepted = [started(crowded), started(crowded, "remember", who="Ada", message="Hi")]
        eventually(lambda: len(provider.asked) == 2)
        with full(small_disk):
            provider.gate.set()
            eventually(lambda: "DATABASE_FULL" in crowded.log("executor"), seconds=40)
            refused = crowded.cadre("run", str(EXAMPLES / "hello.yaml"), "--json")

        runs = [ended(crowded, run) for run in accepted]

    assert refused.returncode in (1, 3)
    assert "DATABASE_FULL" in refused.stdout + refused.stderr or "disk" in refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    assert [run.status.value for run in runs] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("name", ["executor", "llm-proxy", "memory"])
def test_a_damaged_database_ends_the_start_with_its_reason(
    running: Platform, tmp_path: Path, name: str
) -> None:
    file = tmp_path / f"{name}.db"
    file.write_bytes(b"This is not a database. " * 500)
    variable = f"CADRE_{name.upper().replace('-', '_')}_DATABASE_URL"

    with pytest.raises(AssertionError, match="DATABASE_CORRUPT") as failed:
        with platform(tmp_path, name, **{variable: f"sqlite:///{file}"}):
            pass

    assert "Traceback" not in str(failed.value)
    assert "Move the file away" in str(failed.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, megabytes=8) as disk:
        yield disk


def on_disk(folder: Path) -> dict[str, str]:
    return {
        f"CADRE_{name}_DATABASE_URL": f"sqlite:///{folder / name.lower()}.db"
        for name in ("EXECUTOR", "LLM_PROXY", "MEMORY")
    }


class locked:
    """A database that another program holds for as long as the block lasts."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, timeout=10)

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def started(on: Platform, name: str = "hello", **inputs: Any) -> Run:
    return on.client().start_run(source=(EXAMPLES / f"{name}.yaml").read_text(), inputs=inputs)


def ended(on: Platform, run: Run) -> Run:
    client = on.client()
    eventually(lambda: client.run(run.id).status.is_final, seconds=90)
    return client.run(run.id)
