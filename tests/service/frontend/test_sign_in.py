"""Signing in with a key, and what the pages then are to whom."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from tests.platform import Platform
from tests.service.frontend.conftest import Opened

from cadre_client import Client
from cadre_frontend.settings import SignIn, load_settings

KEPT = """
flow: {name: kept_by_its_key}
state: {fields: {said: {type: str, default: ""}}}
nodes:
  - {id: say, prompt: "Say something.", outputs: [said]}
edges:
  - {from: START, to: say}
  - {from: say, to: END}
"""


@pytest.fixture
def opened_to_others(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens a page that asks for a key; the frontend's own would not be enough."""
    monkeypatch.setenv("CADRE_FRONTEND_SIGN_IN", "key")
    return opened


@pytest.fixture(scope="module")
def keys(services: Platform) -> Iterator[dict[str, str]]:
    """A key of each scope."""
    with Client(services.gateway_url, services.api_key) as admin:
        names = ("read", "run", "write")
        yield {name: admin.create_key(f"page{name}", name).secret for name in names}


def signed_in(page: AppTest, key: str) -> AppTest:
    page.text_input[0].set_value(key)
    return page.button[0].click().run()


def test_without_a_key_no_page_shows_anything(opened_to_others: Opened) -> None:
    page = opened_to_others("runs")

    assert [title.value for title in page.title] == ["Sign in"]
    assert len(page.text_input) == 1
    assert not page.exception


def test_the_page_that_was_asked_for_is_shown_after_signing_in(
    opened_to_others: Opened, keys: dict[str, str]
) -> None:
    page = signed_in(opened_to_others("status"), keys["read"])

    assert [title.value for title in page.title] == ["Status"]
    assert "pageread" in page.sidebar.caption[0].value
    assert not page.error
    assert not page.exception


@pytest.mark.parametrize("wrong", ["", "cadre_wrong_key_of_nobody"])
def test_a_key_that_is_none_opens_nothing(opened_to_others: Opened, wrong: str) -> None:
    page = signed_in(opened_to_others("status"), wrong)

    assert [title.value for title in page.title] == ["Sign in"]
    assert len(page.error) == 1
    assert not page.exception


def test_the_key_is_in_no_field_and_in_nothing_that_shows_the_session(
    opened_to_others: Opened, keys: dict[str, str]
) -> None:
    page = signed_in(opened_to_others("status"), keys["read"])

    assert not page.text_input
    assert keys["read"] not in str(page.main) + str(page.sidebar)
    assert keys["read"] not in repr(page.session_state)


def test_what_a_key_may_not_do_is_refused_with_what_it_takes(
    opened_to_others: Opened, services: Platform, keys: dict[str, str]
) -> None:
    with Client(services.gateway_url, services.api_key) as admin:
        name = admin.apply(KEPT).workflow.name
        page = signed_in(opened_to_others("workflows", workflow=name), keys["run"])

        refused = next(each for each in page.button if each.label == "Delete it").click().run()

        assert "scope write" in refused.error[0].value
        assert not refused.exception
        assert admin.workflow(name).name == name


def test_whoever_signs_out_sees_nothing_more(
    opened_to_others: Opened, keys: dict[str, str]
) -> None:
    page = signed_in(opened_to_others("status"), keys["read"])

    left = next(each for each in page.sidebar.button if each.label == "Sign out").click().run()

    assert [title.value for title in left.title] == ["Sign in"]
    assert not left.exception


def test_a_revoked_key_shows_nothing_more(opened_to_others: Opened, services: Platform) -> None:
    with Client(services.gateway_url, services.api_key) as admin:
        page = signed_in(opened_to_others("workflows"), admin.create_key("gone", "read").secret)
        admin.revoke_key("gone")

        again = page.run()

    assert "was revoked" in again.error[0].value
    assert not again.exception


def test_only_pages_that_nobody_else_reaches_are_open_by_themselves() -> None:
    asked = [
        load_settings({"CADRE_HOST": host}).sign_in for host in ("", "127.0.0.1", "::1", "0.0.0.0")
    ]

    assert asked == [SignIn.OFF, SignIn.OFF, SignIn.OFF, SignIn.KEY]
    assert load_settings({"CADRE_FRONTEND_SIGN_IN": "key"}).sign_in is SignIn.KEY
    with pytest.raises(ValueError, match="CADRE_FRONTEND_SIGN_IN"):
        load_settings({"CADRE_FRONTEND_SIGN_IN": "guess"})


OPENID = {
    "CADRE_OIDC_ISSUER": "https://id.example.org/realms/main",
    "CADRE_OIDC_CLIENT_ID": "cadre",
    "CADRE_OIDC_CLIENT_SECRET": "a-secret-of-the-client",
}


def test_with_an_openid_provider_people_sign_in_there(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("a-secret-of-the-client\n")
    by_file = {**OPENID, "CADRE_OIDC_CLIENT_SECRET_FILE": str(file)}
    found = load_settings(OPENID)

    assert found.sign_in is SignIn.OIDC
    assert found.openid == load_settings(by_file).openid
    assert found.openid is not None
    shown = found.openid.as_streamlit_has_it()
    assert shown["redirect_uri"] == "http://127.0.0.1:7401/oauth2callback"
    assert str(shown["server_metadata_url"]).startswith(OPENID["CADRE_OIDC_ISSUER"])
    assert "a-secret" not in repr(found) + str(shown["cookie_secret"])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"CADRE_OIDC_CLIENT_ID": ""}, "CADRE_OIDC_CLIENT_ID"),
        ({"CADRE_OIDC_CLIENT_SECRET": ""}, "CADRE_OIDC_CLIENT_SECRET"),
        ({"CADRE_OIDC_CLIENT_SECRET_FILE": "/nowhere"}, "CADRE_OIDC_CLIENT_SECRET_FILE"),
        ({"CADRE_FRONTEND_SIGN_IN": "off"}, "CADRE_FRONTEND_SIGN_IN"),
        ({"CADRE_OIDC_ISSUER": "", "CADRE_FRONTEND_SIGN_IN": "oidc"}, "CADRE_OIDC_ISSUER"),
        ({"CADRE_HOST": "0.0.0.0"}, "CADRE_FRONTEND_URL"),
    ],
)
def test_half_a_provider_is_refused_naming_what_lacks(changed: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        load_settings({**OPENID, **changed})


def test_a_key_is_made_shown_once_used_and_revoked(opened: Opened, services: Platform) -> None:
    page = opened("keys")
    page.text_input[0].set_value("pagemade")
    page.selectbox[0].set_value("run")
    made = next(each for each in page.button if each.label == "Make key").click().run()
    secret = made.code[0].value

    later = made.run()
    with Client(services.gateway_url, secret) as client:
        assert client.who_am_i().scope == "run"
    revoked = later.button(key="revoke_pagemade").click().run()

    assert secret not in str([code.value for code in later.code])
    with Client(services.gateway_url, services.api_key) as admin:
        assert {key.name: key.status for key in admin.api_keys()}["pagemade"] == "revoked"
    assert not revoked.exception
    assert "POST /api/v1/keys/{name}/revoke" in list(revoked.dataframe[0].value["request"])


def test_whoever_may_not_make_keys_is_told_so(
    opened_to_others: Opened, keys: dict[str, str]
) -> None:
    page = signed_in(opened_to_others("keys"), keys["write"])

    assert "scope admin" in page.error[0].value
    assert not page.dataframe
    assert not page.exception
