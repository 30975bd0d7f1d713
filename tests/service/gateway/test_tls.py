"""The gateway by TLS, as a process: who trusts it reaches it, and whoever it does not know stays out."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.certificates import Authority, Certificate
from tests.platform import Platform, platform

from cadre_client import Client, ClientTls, GatewayUnreachable
from cadre_gateway.settings import GatewaySettings

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strangers"), "stranger")


def settings(authority: Authority, shown: Certificate) -> dict[str, str]:
    return {
        "CADRE_GATEWAY_TLS_CERT_FILE": str(shown.cert),
        "CADRE_GATEWAY_TLS_KEY_FILE": str(shown.key),
        "CADRE_GATEWAY_CA_FILE": str(authority.ca),
    }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Platform]:
    shown = authority.certificate("gateway", "127.0.0.1")
    home = tmp_path_factory.mktemp("home")
    with platform(home, "gateway", **settings(authority, shown)) as started:
        yield started


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Platform]:
    shown, caller = (authority.certificate(name, "127.0.0.1") for name in ("mutual", "cli"))
    wanted = {
        "CADRE_GATEWAY_TLS_CLIENT_CA_FILE": str(authority.ca),
        "CADRE_GATEWAY_CLIENT_CERT_FILE": str(caller.cert),
        "CADRE_GATEWAY_CLIENT_KEY_FILE": str(caller.key),
    }
    home = tmp_path_factory.mktemp("home")
    with platform(home, "gateway", **settings(authority, shown), **wanted) as started:
        yield started


def refused(url: str, tls: ClientTls) -> GatewayUnreachable:
    with Client(url, "any", tls=tls) as client, pytest.raises(GatewayUnreachable) as caught:
        client.who_am_i()
    return caught.value


def test_who_trusts_its_authority_reaches_it(running: Platform) -> None:
    assert running.client().who_am_i().name == "admin"


def test_plain_text_is_refused(running: Platform) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(running.gateway_url.replace("https:", "http:") + "/healthz", trust_env=False)


def test_who_asks_in_plain_text_is_told_of_the_other_address(running: Platform) -> None:
    error = refused(running.gateway_url.replace("https:", "http:"), ClientTls())

    assert "https" in error.resolution


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_refused(running: Platform, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.ca)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")

    with (
        socket.create_connection(("127.0.0.1", running.ports["gateway"]), 10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_who_does_not_trust_its_authority_is_told_what_to_set(
    running: Platform, stranger: Authority
) -> None:
    for tls in (ClientTls(), ClientTls(ca_file=stranger.ca)):
        error = refused(running.gateway_url, tls)

        assert "CADRE_GATEWAY_CA_FILE" in error.resolution


def test_a_name_that_is_not_in_the_certificate_is_refused(running: Platform) -> None:
    error = refused(running.gateway_url.replace("127.0.0.1", "localhost"), running.tls)

    assert "localhost" in error.reason
    assert "CADRE_GATEWAY_URL" in error.resolution


@pytest.mark.parametrize("ca_file", ["", "/nowhere/ca.pem"])
def test_the_command_line_says_the_same(running: Platform, ca_file: str) -> None:
    works = running.cadre("keys", "list", "--json")
    fails = subprocess.run(
        [sys.executable, "-m", "cadre_cli", "keys", "list"],
        env={**running.environment, "CADRE_GATEWAY_CA_FILE": ca_file},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (works.returncode, json.loads(works.stdout)) == (0, {"keys": []})
    assert fails.returncode == 3
    assert "CADRE_GATEWAY_CA_FILE" in fails.stderr
    assert ca_file in fails.stderr
    assert "Traceback" not in fails.stderr


def test_with_mutual_tls_only_known_clients_come_in(
    mutual: Platform, authority: Authority, stranger: Authority
) -> None:
    unknown = stranger.certificate("unknown", "127.0.0.1")
    without = refused(mutual.gateway_url, ClientTls(ca_file=authority.ca))
    strange = refused(
        mutual.gateway_url,
        ClientTls(ca_file=authority.ca, cert_file=unknown.cert, key_file=unknown.key),
    )

    assert mutual.client().who_am_i().name == "admin"
    assert mutual.cadre("keys", "list", "--json").returncode == 0
    assert "CADRE_GATEWAY_CLIENT_CERT_FILE" in without.resolution
    assert "CADRE_GATEWAY_CLIENT_CERT_FILE" in strange.resolution


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CADRE_GATEWAY_TLS_KEY_FILE"):
        GatewaySettings(_env_file=None, gateway_tls_cert_file=tmp_path / "gateway.crt")


def test_a_key_that_cannot_be_read_is_named_at_the_start(
    tmp_path: Path, authority: Authority
) -> None:
    given = settings(authority, authority.certificate("unused", "127.0.0.1"))
    started = Platform(tmp_path, given | {"CADRE_GATEWAY_TLS_KEY_FILE": "none.key"})
    ended = subprocess.run(
        [sys.executable, "-m", "cadre_gateway"],
        env=started.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "TLS_FILES_UNUSABLE" in ended.stderr
    assert "none.key" in ended.stderr
    assert "Traceback" not in ended.stderr
