"""The services as processes know each other by token and certificate, and nobody else; the token is never shown."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from tests.certificates import Authority
from tests.fakes.openai_server import openai_server
from tests.platform import GRPC_SERVICES, SERVICES, Platform, eventually, platform

from cadre.executor.v1 import runs_pb2, runs_pb2_grpc
from cadre_client import ApiError, Client
from cadre_kit.channels import connect
from cadre_kit.credentials import Credentials

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
FLOW = """
flow: {name: remember}
state: {fields: {message: {type: str, required: true}, said: {type: str, default: ""}}}
nodes:
  - {id: ask, prompt: "{state.message}", outputs: [said]}
  - {id: count, inputs: {text: "{state.said}"}, code: "result = len(text)"}
  - {id: keep, memory: {action: save, key: said, value: "{state.said}"}}
edges:
  - {from: START, to: ask}
  - {from: ask, to: count}
  - {from: count, to: keep}
  - {from: keep, to: END}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("home")
    authority = Authority(tmp_path_factory.mktemp("authority"), "ours")
    shown = authority.certificate("service", "127.0.0.1")
    tls = {
        "CADRE_SERVICE_TLS_CERT_FILE": str(shown.cert),
        "CADRE_SERVICE_TLS_KEY_FILE": str(shown.key),
        "CADRE_SERVICE_TLS_CA_FILE": str(authority.ca),
        "CADRE_SERVICE_TLS_CLIENT_CA_FILE": str(authority.ca),
    }
    with openai_server() as provider, platform(home, **provider.settings, **tls) as started:
        yield started


def listed(address: str, credentials: Credentials | None) -> grpc.StatusCode:
    async def ask() -> grpc.StatusCode:
        async with connect(address, credentials, patient=False) as channel:
            stub = runs_pb2_grpc.RunServiceStub(channel)
            try:
                await stub.ListRuns(runs_pb2.ListRunsRequest(), timeout=10)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    return asyncio.run(ask())


def test_a_run_goes_through_every_service(running: Platform) -> None:
    client = running.client()
    run = client.start_run(source=FLOW, inputs={"message": "hi"})
    eventually(lambda: client.run(run.id).status.is_final, seconds=60)

    assert client.run(run.id).error is None
    told = {service.name: service.status for service in client.status()}
    assert {told[name] for name in GRPC_SERVICES} == {"ready"}


@pytest.mark.parametrize("name", GRPC_SERVICES)
def test_no_service_answers_anybody_else(running: Platform, name: str) -> None:
    address = f"127.0.0.1:{running.ports[name]}"
    wrong = Credentials(token="not-the-token-of-these", tls=running.credentials.tls)

    assert listed(address, wrong) is grpc.StatusCode.UNAUTHENTICATED
    assert listed(address, None) is grpc.StatusCode.UNAVAILABLE


def test_the_token_is_in_no_log_and_no_command_line(running: Platform) -> None:
    token = running.credentials.token
    listed(f"127.0.0.1:{running.ports['executor']}", Credentials(token=token + "x"))

    processes = [psutil.Process(running.pid(name)) for name in SERVICES]
    families = [each for one in processes for each in (one, *one.children(recursive=True))]
    shown = [" ".join(process.cmdline()) for process in families]
    written = [running.log(name) for name in SERVICES]

    assert len(families) > len(SERVICES)
    assert not [text for text in (*shown, *written) if token in text]


def test_a_gateway_with_another_token_says_what_is_wrong(tmp_path: Path) -> None:
    with platform(tmp_path, "executor") as executor:
        other = tmp_path / "other"
        other.mkdir()
        address = f"127.0.0.1:{executor.ports['executor']}"
        with platform(other, "gateway", CADRE_EXECUTOR_ADDRESS=address) as gateway:
            client: Client = gateway.client()
            with pytest.raises(ApiError) as caught:
                client.start_run(source=FLOW, inputs={"message": "hi"})
            about = next(service for service in client.status() if service.name == "executor")

    assert (caught.value.status, caught.value.code) == (503, "SERVICE_TOKEN_REFUSED")
    assert about.detail == "it does not take the gateway's service token"
