"""The API key and the files that secrets are kept in."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cadre_gateway.domain.api_keys import AdminKey, new_admin_key
from cadre_gateway.settings import GatewaySettings, process_variables
from cadre_kit.secret_files import SecretFileUnusable, read_or_make


def test_a_key_opens_with_itself_only() -> None:
    text = new_admin_key()
    key = AdminKey(text)

    assert text.startswith("cadre_")
    assert len(text) == 49
    assert key.opens_with(text)
    assert not any(map(key.opens_with, ["", text[:-1], text + "x", new_admin_key(), "ü"]))
    assert text not in repr(vars(key))


def test_a_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "api-key"

    first = read_or_make(path, new_admin_key)

    assert read_or_make(path, new_admin_key) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["api-key"]


def test_of_several_starts_at_once_one_makes_the_secret_for_all(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: read_or_make(tmp_path / "key", new_admin_key), range(32)))

    assert len(set(made)) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_secret_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "api-key"
    path.write_bytes(content)

    with pytest.raises(SecretFileUnusable, match=str(path)):
        read_or_make(path, new_admin_key)


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretFileUnusable, match="IsADirectoryError"):
        read_or_make(tmp_path, new_admin_key)


def test_settings_do_not_show_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CADRE_API_KEY", "cadre_very_secret_key")
    monkeypatch.setenv("CADRE_WEBHOOK_SECRET", "")

    settings = GatewaySettings(_env_file=None)

    assert "very_secret" not in repr(settings)
    assert settings.webhook_secret is None
    assert settings.key_file == settings.home / "api-key"


def test_a_connection_s_secret_may_be_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("1:a-token\n")
    monkeypatch.setenv("CADRE_TELEGRAM_HELPER_TOKEN_FILE", str(tmp_path / "token"))

    assert process_variables()["CADRE_TELEGRAM_HELPER_TOKEN"] == "1:a-token"

    monkeypatch.setenv("CADRE_EMAIL_DESK_PASSWORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(SecretFileUnusable, match="missing"):
        process_variables()
