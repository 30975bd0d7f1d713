"""The platform of a folder is found by its settings, and its key when it is made."""

from pathlib import Path
from typing import Any

import pytest

from cadre_client import ApiError, Client, GatewayUnreachable, local_platform


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATEWAY_URL", "GATEWAY_PORT", "API_KEY", "API_KEY_FILE", "HOME"):
        monkeypatch.delenv(f"CADRE_{name}", raising=False)


def test_the_defaults_are_port_7400_and_the_key_in_the_home_folder(tmp_path: Path) -> None:
    platform = local_platform(tmp_path)

    assert platform.url == "http://127.0.0.1:7400"
    assert platform.api_key_file == tmp_path / ".cadre" / "api-key"


def test_the_environment_goes_before_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["# ports", "export CADRE_GATEWAY_PORT=7999 # mine", "CADRE_API_KEY='cadre_x'", "junk"]
    (tmp_path / ".env").write_text("\n".join(lines))
    monkeypatch.setenv("CADRE_GATEWAY_URL", "https://cadre.example")

    platform = local_platform(tmp_path)

    assert platform.url == "https://cadre.example"
    assert platform.api_key() == "cadre_x"
    monkeypatch.delenv("CADRE_GATEWAY_URL")
    assert local_platform(tmp_path).url == "http://127.0.0.1:7999"


def test_a_gateway_with_a_certificate_is_asked_by_tls_with_the_files_of_the_folder(
    tmp_path: Path,
) -> None:
    lines = [f"CADRE_GATEWAY_{name}=x.pem" for name in ("TLS_CERT_FILE", "CA_FILE")]
    (tmp_path / ".env").write_text("\n".join(lines))

    platform = local_platform(tmp_path)

    assert platform.url == "https://127.0.0.1:7400"
    assert platform.tls.ca_file == tmp_path / "x.pem"
    with pytest.raises(GatewayUnreachable, match="TLS files"):
        Client.local(tmp_path)


def test_the_key_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CADRE_API_KEY", "cadre_secret")

    assert "secret" not in repr(local_platform(tmp_path))


def test_a_key_that_is_made_later_is_found(
    gateway: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CADRE_GATEWAY_URL", gateway.url)
    gateway.will_answer({"services": []})
    (tmp_path / ".cadre").mkdir()

    with Client.local(tmp_path) as client:
        with pytest.raises(ApiError, match="unauthenticated"):
            client.status()
        (tmp_path / ".cadre" / "api-key").write_text(gateway.key + "\n")
        assert client.status() == []
        gateway.key = "cadre_new"
        (tmp_path / ".cadre" / "api-key").write_text(gateway.key)
        assert client.status() == []
