"""Who may call a service: those with the installation's token, by TLS and with a certificate where that is set."""

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.certificates import Authority, Certificate

from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre_kit.channels import call, connect
from cadre_kit.credentials import Credentials, load_credentials
from cadre_kit.errors import Unavailable
from cadre_kit.health import is_serving
from cadre_kit.serving import GrpcService, serving
from cadre_kit.settings import ServiceSettings, load_settings
from cadre_kit.tls import Tls, TlsFilesUnusable, read_tls

NAME = "cadre.memory.v1.MemoryService"
OURS = Credentials(token="our-own-token-here")
THEIRS = Credentials(token="some-other-token-here")


class Servicer:
    """Answers a Get with its key; counts what came in."""

    def __init__(self) -> None:
        self.came_in = 0

    def __getattr__(self, name: str) -> None:
        return None

    async def Get(self, request: memory_pb2.GetRequest, context: Any) -> memory_pb2.GetResponse:
        self.came_in += 1
        return memory_pb2.GetResponse(item=memory_pb2.Item(key=request.key))


@asynccontextmanager
async def served(credentials: Credentials, servicer: Any = None) -> AsyncIterator[str]:
    def add(server: grpc.aio.Server) -> None:
        answering: Any = servicer or Servicer()
        memory_pb2_grpc.add_MemoryServiceServicer_to_server(answering, server)

    service = GrpcService(name=NAME, add=add)
    async with serving([service], host="127.0.0.1", port=0, credentials=credentials) as address:
        yield address


async def get(address: str, credentials: Credentials | None) -> str:
    async with connect(address, credentials, patient=False) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        request = memory_pb2.GetRequest(key="k")
        answer = await call(stub.Get, request, service="memory", timeout_seconds=10)
        return str(answer.item.key)


async def refusal(address: str, credentials: Credentials | None) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await get(address, credentials)
    return caught.value


def with_tls(
    *, ca: Path, shown: Certificate | None = None, client_ca: Path | None = None
) -> Credentials:
    cert, key = (shown.cert, shown.key) if shown else (None, None)
    return Credentials(
        token=OURS.token, tls=read_tls(cert=cert, key=key, ca=ca, client_ca=client_ca)
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


async def test_a_call_with_the_token_comes_in() -> None:
    async with served(OURS) as address:
        assert await get(address, OURS) == "k"


@pytest.mark.parametrize(
    ("credentials", "code"), [(None, "SERVICE_TOKEN_MISSING"), (THEIRS, "SERVICE_TOKEN_WRONG")]
)
async def test_a_call_without_the_token_is_told_what_to_do_before_it_is_read(
    credentials: Credentials | None, code: str
) -> None:
    servicer = Servicer()

    async with served(OURS, servicer) as address, connect(address, credentials) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Get(memory_pb2.GetRequest(key="k"), timeout=10)

    error = caught.value
    details = str(error.trailing_metadata())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert code in details
    assert "service-token" in details
    assert servicer.came_in == 0


@pytest.mark.parametrize(
    "bearer",
    [
        "",
        "Bearer",
        "Bearer ",
        OURS.token,
        f"bearer  {OURS.token}",
        f"Basic {OURS.token}",
        "x" * 4000,
    ],
)
async def test_what_is_almost_the_token_is_refused(bearer: str) -> None:
    async with served(OURS) as address, grpc.aio.insecure_channel(address) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        sent = (("authorization", bearer),)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Get(memory_pb2.GetRequest(key="k"), timeout=10, metadata=sent)

    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_streams_and_methods_that_are_not_there_are_refused_too() -> None:
    async with served(OURS) as address, grpc.aio.insecure_channel(address) as channel:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.aio.AioRpcError) as of_a_stream:
            [answer async for answer in reflection.ServerReflectionInfo(iter([asked]))]
        nothing: Any = channel.unary_unary("/cadre.nothing/Nothing")
        with pytest.raises(grpc.aio.AioRpcError) as of_nothing:
            await nothing(b"", timeout=10)

    assert of_a_stream.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert of_nothing.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_with_the_token_a_client_of_any_language_learns_the_protos() -> None:
    async with served(OURS) as address, grpc.aio.insecure_channel(address) as channel:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        shown = (("authorization", f"Bearer {OURS.token}"),)
        answers = reflection.ServerReflectionInfo(iter([asked]), metadata=shown)
        listed = [s.name async for a in answers for s in a.list_services_response.service]

    assert NAME in listed


async def test_health_is_told_to_everybody_but_to_another_installation() -> None:
    async with served(OURS) as address:
        assert await is_serving(address)
        assert await is_serving(address, OURS)
        assert not await is_serving(address, THEIRS)


async def test_another_token_is_a_mistake_of_the_platform_and_not_of_whoever_asked() -> None:
    async with served(OURS) as address:
        error = await refusal(address, THEIRS)

    assert error.code == "SERVICE_TOKEN_REFUSED"
    assert "CADRE_SERVICE_TOKEN" in error.resolution


def test_the_services_of_a_home_share_one_token_that_only_their_owner_reads(tmp_path: Path) -> None:
    settings = ServiceSettings(_env_file=None, home=tmp_path)
    first, second = load_credentials(settings), load_credentials(settings)

    assert first.token == second.token == (tmp_path / "service-token").read_text().strip()
    assert stat.S_IMODE((tmp_path / "service-token").stat().st_mode) == 0o600
    assert first.token not in repr(first)


def test_a_token_may_be_given_or_be_in_a_file_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "shared" / "token"
    given = ServiceSettings(_env_file=None, home=tmp_path, service_token="a-token-by-setting")
    file = ServiceSettings(_env_file=None, home=tmp_path, service_token_file=elsewhere)

    assert load_credentials(given).token == "a-token-by-setting"
    assert load_credentials(file).token == elsewhere.read_text().strip()
    assert not (tmp_path / "service-token").exists()


async def test_with_tls_the_right_certificate_works_and_plain_text_does_not(
    authority: Authority,
) -> None:
    shown = authority.certificate("memory", "127.0.0.1")
    credentials = with_tls(ca=authority.ca, shown=shown)

    async with served(credentials) as address:
        assert await get(address, with_tls(ca=authority.ca)) == "k"
        assert await is_serving(address, credentials)
        plain = await refusal(address, OURS)

    assert plain.code == "SERVICE_TLS_FAILED"
    assert "wanted TLS" in plain.message


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    shown = authority.certificate("memory", "memory.example.org")

    async with served(with_tls(ca=authority.ca, shown=shown)) as address:
        error = await refusal(address, with_tls(ca=authority.ca))

    assert error.code == "SERVICE_TLS_FAILED"
    assert "another name" in error.message


async def test_a_server_by_an_authority_that_is_not_trusted_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    shown = other.certificate("memory", "127.0.0.1")

    async with served(with_tls(ca=other.ca, shown=shown)) as address:
        error = await refusal(address, with_tls(ca=authority.ca))

    assert error.code == "SERVICE_TLS_FAILED"
    assert "authority" in error.message


async def test_with_mutual_tls_only_callers_with_a_certificate_of_ours_come_in(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    own, caller = (authority.certificate(name, "127.0.0.1") for name in ("memory", "gateway"))
    stranger = other.certificate("stranger", "127.0.0.1")
    server = with_tls(ca=authority.ca, shown=own, client_ca=authority.ca)

    async with served(server) as address:
        assert await get(address, with_tls(ca=authority.ca, shown=caller)) == "k"
        without = await refusal(address, with_tls(ca=authority.ca))
        strange = await refusal(address, with_tls(ca=authority.ca, shown=stranger))

    assert without.code == strange.code == "SERVICE_TLS_FAILED"


async def test_who_speaks_tls_to_a_service_without_is_told_so(authority: Authority) -> None:
    async with served(OURS) as address:
        error = await refusal(address, with_tls(ca=authority.ca))

    assert error.code == "SERVICE_TLS_FAILED"
    assert "does not speak TLS" in error.message


def test_files_that_are_no_certificates_are_named_at_the_start(
    authority: Authority, tmp_path: Path
) -> None:
    one, two = authority.certificate("one", "one"), authority.certificate("two", "two")
    missing = tmp_path / "missing.pem"

    for wrong in (
        {"cert": one.cert, "key": two.key, "ca": authority.ca},
        {"cert": one.key, "key": one.key, "ca": authority.ca},
        {"cert": missing, "key": one.key, "ca": authority.ca},
        {"cert": None, "key": None, "ca": missing},
    ):
        with pytest.raises(TlsFilesUnusable, match=str(tmp_path)):
            read_tls(client_ca=None, **wrong)


def test_without_files_there_is_no_tls() -> None:
    assert read_tls(cert=None, key=None, ca=None, client_ca=None) == Tls()


@pytest.mark.parametrize(
    "variables",
    [
        {"CERT_FILE": "a.pem", "CA_FILE": "b.pem"},
        {"CERT_FILE": "a.pem", "KEY_FILE": "a.key"},
        {"CLIENT_CA_FILE": "b.pem"},
    ],
)
def test_half_of_tls_is_refused_by_the_names_of_its_settings(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"CADRE_SERVICE_TLS_{name}", value)

    with pytest.raises(SystemExit):
        load_settings(ServiceSettings)

    assert capsys.readouterr().err.startswith("CADRE_SERVICE_TLS_")
