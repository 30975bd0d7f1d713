"""A run as MLflow shows it: one trace over all services, with what models used and cost."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.openai_server import openai_server
from tests.platform import Platform, eventually, platform
from tests.ports import free_port

from cadre_cli.platform import local_platform
from cadre_cli.settings import PlatformSettings
from cadre_client import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
# MLflow's first start migrates its database.
MLFLOW_SECONDS = 150.0
pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    port = free_port()
    traces = {
        "CADRE_MLFLOW_PORT": str(port),
        "CADRE_TRACES_ENDPOINT": f"http://127.0.0.1:{port}/v1/traces",
    }
    with openai_server() as provider:
        home = tmp_path_factory.mktemp("home")
        with platform(home, **provider.settings, **traces) as started:
            yield started


@pytest.fixture(scope="module")
def early(running: Platform) -> Run:
    """A run that ended before MLflow was there."""
    return ended(running, "triage", {"message": "Thank you!"})


@pytest.fixture(scope="module")
def mlflow(running: Platform, early: Run) -> Iterator[httpx.Client]:
    assert early.trace_id
    with mlflow_server(running) as api:
        yield api


def ended(on: Platform, name: str, inputs: dict[str, Any]) -> Run:
    client, source = on.client(), (EXAMPLES / f"{name}.yaml").read_text()
    run = client.start_run(source=source, inputs=inputs)
    eventually(lambda: client.run(run.id).status.is_final, seconds=60)
    found = client.run(run.id)
    assert found.status == "succeeded", found.error
    return found


@contextmanager
def mlflow_server(on: Platform) -> Iterator[httpx.Client]:
    """MLflow as `cadre up` starts it, and its API."""
    port = int(on.environment["CADRE_MLFLOW_PORT"])
    settings = PlatformSettings(home=on.home, mlflow_port=port)
    program = next(p for p in local_platform(settings).programs if p.name == "mlflow")
    with (on.home / "mlflow.log").open("ab") as log:
        process = subprocess.Popen(
            program.command, env={**program.environment}, cwd=on.home, stdout=log, stderr=log
        )
    try:
        with httpx.Client(base_url=program.url, timeout=20, trust_env=False) as api:
            eventually(lambda: is_up(api), seconds=MLFLOW_SECONDS)
            yield api
    finally:
        process.terminate()
        process.wait(30)


def is_up(api: httpx.Client) -> bool:
    try:
        return api.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


def trace_of(api: httpx.Client, run: Run, *, spans: int) -> dict[str, Any]:
    """The trace of a run, once it has that many spans."""

    def found() -> dict[str, Any]:
        answer = api.get("/api/3.0/mlflow/traces/get", params={"trace_id": f"tr-{run.trace_id}"})
        trace: dict[str, Any] = answer.json().get("trace", {}) if answer.is_success else {}
        return trace if len(trace.get("spans", [])) >= spans else {}

    eventually(found, seconds=60)
    return found()


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}


def named(trace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {span["name"]: span for span in trace["spans"]}


def test_a_run_is_one_trace_from_the_request_to_the_provider(
    running: Platform, mlflow: httpx.Client
) -> None:
    run = ended(running, "triage", {"message": "Thank you!"})

    spans = named(trace_of(mlflow, run, spans=9))

    chain = [
        "POST /api/v1/runs",
        "cadre.executor.v1.RunService/StartRun",
        "invoke_workflow triage",
        "node classify",
        "cadre.llm_proxy.v1.LlmService/Complete",
        "chat gpt-4.1-mini",
    ]
    assert set(chain) <= set(spans)
    assert "parent_span_id" not in spans["POST /api/v1/runs"]
    assert spans["node thank"]["parent_span_id"] == spans["invoke_workflow triage"]["span_id"]
    assert len({span["trace_id"] for span in spans.values()}) == 1


def test_a_model_call_shows_its_tokens_and_its_cost(
    running: Platform, mlflow: httpx.Client
) -> None:
    run = ended(running, "triage", {"message": "Thank you!"})

    trace = trace_of(mlflow, run, spans=9)
    said, about = attributes(named(trace)["chat gpt-4.1-mini"]), trace["trace_info"]

    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "openai"
    assert said["gen_ai.request.model"] == "gpt-4.1-mini"
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (12, 5)
    assert said["mlflow.spanType"] == "CHAT_MODEL"
    usage = json.loads(about["trace_metadata"]["mlflow.trace.tokenUsage"])
    assert usage == {"input_tokens": 24, "output_tokens": 10, "total_tokens": 34}
    cost = json.loads(about["trace_metadata"]["mlflow.trace.cost"])["total_cost"]
    assert Decimal(str(cost)) == run.usage.cost_usd


def test_code_is_traced_into_the_sandbox(running: Platform, mlflow: httpx.Client) -> None:
    run = ended(running, "numbers", {"numbers": [3, 1, 4]})

    spans = named(trace_of(mlflow, run, spans=8))

    execute = spans["cadre.sandbox.v1.SandboxService/Execute"]
    assert execute["parent_span_id"] == spans["node compute"]["span_id"]
    assert attributes(spans["node compute"])["mlflow.spanType"] == "TOOL"


def test_what_ran_before_mlflow_was_up_arrives_too(early: Run, mlflow: httpx.Client) -> None:
    trace = trace_of(mlflow, early, spans=9)

    assert attributes(named(trace)["invoke_workflow triage"])["cadre.run.id"] == early.id
    assert trace["trace_info"]["state"] == "OK"


def test_no_prompt_and_no_reply_is_in_a_trace_unless_told(
    running: Platform, mlflow: httpx.Client
) -> None:
    run = ended(running, "triage", {"message": "a-secret-of-mine"})

    trace = trace_of(mlflow, run, spans=9)

    assert "a-secret-of-mine" not in json.dumps(trace)
    assert "Words." not in json.dumps(trace)
