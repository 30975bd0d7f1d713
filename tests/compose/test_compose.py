"""Compose brings up the same platform in containers: it runs workflows, keeps its state, and little can reach it."""

import socket
import subprocess
from typing import Any

import httpx
import pytest
from tests.compose.stack import ROOT, Stack, installed_compose_commands
from tests.platform import eventually

from cadre_client import ApiError, Client, RunStatus

# Building every image from nothing takes two minutes on two cores, and much longer behind a slow line.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(2400)]

HELLO = (ROOT / "examples" / "hello.yaml").read_text()
# Prints those of its arguments, each host:port, that it can connect to.
REACH = """
import socket, sys
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        continue
    print(target)
"""


@pytest.mark.parametrize("command", installed_compose_commands(), ids=" ".join)
def test_each_installed_compose_accepts_the_file(command: tuple[str, ...]) -> None:
    checked = subprocess.run(
        [*command, "config", "--quiet"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, b"")


def test_a_workflow_runs_and_outlives_its_container(stack: Stack) -> None:
    with stack.client() as client:
        run = client.start_run(source=HELLO, inputs={"name": "Ada"})
        eventually(lambda: client.run(run.id).status.is_final, seconds=180)
        ended = client.run(run.id)
        stack.renew("executor")
        after = client.run(run.id)

    assert ended.status is RunStatus.SUCCEEDED, ended.error
    assert ended.outputs
    assert ended.outputs["greeting"]
    assert after == ended


def test_an_applied_workflow_runs_by_its_name(stack: Stack) -> None:
    with stack.client() as client:
        client.apply(HELLO)
        run = client.start_run(workflow="hello", inputs={"name": "Grace"})
        eventually(lambda: client.run(run.id).status.is_final, seconds=180)

        assert client.run(run.id).status is RunStatus.SUCCEEDED


def test_what_the_manual_says_to_type_runs_a_workflow(stack: Stack) -> None:
    typed = stack.type(_typed_in_manual())

    assert "succeeded" in typed


def test_the_trace_of_a_run_reaches_mlflow(stack: Stack) -> None:
    count = (
        "import mlflow; client = mlflow.MlflowClient('http://127.0.0.1:7420'); "
        "found = [e.experiment_id for e in client.search_experiments()]; "
        "print(len(client.search_traces(found)))"
    )
    with stack.client() as client:
        run = client.start_run(source=HELLO, inputs={"name": "Alan"})
        eventually(lambda: client.run(run.id).status.is_final, seconds=180)

    eventually(lambda: int(stack.execute("mlflow", "python", "-c", count).split()[-1]), seconds=60)


def test_a_schedule_starts_runs(stack: Stack) -> None:
    with stack.client() as client:
        client.apply(HELLO.replace("name: hello", "name: every_minute"))
        eventually(lambda: _is_scheduled(client, "every_minute"), seconds=60)
        eventually(lambda: client.runs("every_minute", status="succeeded"), seconds=240)


def test_the_pages_are_served_and_reach_the_gateway(stack: Stack) -> None:
    page = httpx.get(f"http://127.0.0.1:{stack.ports['frontend']}/", timeout=10)
    ask = "from cadre_client import Client; print(len(Client.local().status()))"

    assert page.status_code == 200
    assert int(stack.execute("frontend", "python", "-c", ask)) >= 5


def test_only_gateway_and_frontend_are_published_and_on_loopback(stack: Stack) -> None:
    published = {
        (service, binding["HostIp"], int(binding["HostPort"]))
        for service, container in stack.containers().items()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }

    assert published == {(service, "127.0.0.1", port) for service, port in stack.ports.items()}


def test_no_container_has_root_capabilities_or_a_writable_system(stack: Stack) -> None:
    for service, container in stack.containers().items():
        host = container["HostConfig"]
        uid = stack.execute(service, "id", "-u").strip()

        assert uid == "10001", service
        assert host["CapDrop"] == ["ALL"], service
        assert host["ReadonlyRootfs"], service
        assert not host["Privileged"], service
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"]), (
            service
        )


def test_the_sandbox_reaches_neither_keys_and_memories_nor_this_machine(stack: Stack) -> None:
    containers = stack.containers()
    hidden = {"llm-proxy": 7411, "memory": 7413, "prefect": 7421}
    with socket.create_server(("0.0.0.0", 0)) as this_machine:
        peers = [
            f"{a}:{port}" for name, port in hidden.items() for a in _addresses(containers[name])
        ]
        bridges = [known["Gateway"] for known in _networks(containers["gateway"])]
        machine = [f"{a}:{this_machine.getsockname()[1]}" for a in bridges]
        targets = ["mlflow:7420", *peers, *machine]

        reached = stack.execute("sandbox", "python", "-c", REACH, *targets).split()

    assert len(peers) >= len(hidden)
    assert reached == ["mlflow:7420"]


def _typed_in_manual() -> list[str]:
    """The commands of the manual's part on containers, but for those that start, set up and stop."""
    page = (ROOT / "docs" / "operating.md").read_text()
    block = page.split("## In containers")[1].split("```console\n")[1].split("```")[0]
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    return [
        line
        for line in lines
        if not line.startswith(("make ", "docker compose up", "docker compose down"))
    ]


def _is_scheduled(client: Client, workflow: str) -> bool:
    try:
        client.create_schedule(workflow, "* * * * *")
    except ApiError as error:
        # So it says while Prefect's database is busy.
        if error.code != "PREFECT_UNAVAILABLE":
            raise
        return False
    return True


def _networks(container: dict[str, Any]) -> list[dict[str, Any]]:
    return list(container["NetworkSettings"]["Networks"].values())


def _addresses(container: dict[str, Any]) -> list[str]:
    return [known["IPAddress"] for known in _networks(container)]
