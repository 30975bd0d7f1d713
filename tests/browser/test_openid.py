"""People sign in to the pages at an OpenID provider, in a browser; what is wrong with a sign-in lets nobody in."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, TimeoutError, expect
from tests.fakes.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIdProvider, openid_provider
from tests.platform import Platform, platform

expect.set_options(timeout=60_000)
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider() as running:
        yield running


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, provider: OpenIdProvider
) -> Iterator[Platform]:
    """A gateway and the pages; nothing is run."""
    settings = {
        "CADRE_OIDC_ISSUER": provider.issuer,
        "CADRE_OIDC_CLIENT_ID": CLIENT_ID,
        "CADRE_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "CADRE_OIDC_READ": "eve@example.org",
        "CADRE_OIDC_ADMIN": "ann@example.org",
    }
    home = tmp_path_factory.mktemp("home")
    with platform(home, "gateway", "frontend", **settings) as running:
        yield running


@pytest.fixture
def context(browser: Browser, provider: OpenIdProvider) -> Iterator[BrowserContext]:
    """A browser of somebody who was not here before."""
    provider.behave()
    fresh = browser.new_context(viewport={"width": 1280, "height": 900})
    yield fresh
    fresh.close()


@pytest.fixture
def tab(context: BrowserContext) -> Page:
    page = context.new_page()
    page.set_default_timeout(60_000)
    return page


def sign_in_button(page: Page) -> Any:
    return page.get_by_test_id("stMain").get_by_role("button", name="Sign in")


def sign_in(page: Page, services: Platform) -> None:
    page.goto(f"{services.frontend_url}/keys")
    sign_in_button(page).click()
    page.get_by_role("link", name="Continue as Ann").click()


def test_who_signs_in_uses_the_pages_by_name_and_signs_out(
    tab: Page, services: Platform, provider: OpenIdProvider
) -> None:
    sign_in(tab, services)
    expect(tab.get_by_test_id("stSidebar")).to_contain_text("ann@example.org may do everything")
    asked = provider.authorized[-1]
    tab.get_by_role("link", name="Keys").click()
    tab.get_by_label("Name").fill("madebyann")
    tab.get_by_role("button", name="Make key").click()
    expect(tab.get_by_test_id("stMain")).to_contain_text("is made")
    entry = services.client().audit(limit=1)[0]

    tab.get_by_role("button", name="Sign out").click()
    sign_in_button(tab).wait_for()
    tab.goto(f"{services.frontend_url}/keys")

    sign_in_button(tab).wait_for()
    assert (entry.key, entry.method, entry.route) == ("ann@example.org", "POST", "/api/v1/keys")
    assert provider.signed_out == 1
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 16
    written = services.log("frontend") + services.log("gateway")
    assert CLIENT_SECRET not in written
    assert "eyJ" not in written


def test_a_scope_holds_in_the_pages(
    tab: Page, services: Platform, provider: OpenIdProvider
) -> None:
    provider.person["email"] = "eve@example.org"
    sign_in(tab, services)
    expect(tab.get_by_test_id("stSidebar")).to_contain_text("eve@example.org may look")

    tab.get_by_role("link", name="Keys").click()

    expect(tab.get_by_test_id("stAlert").first).to_contain_text("scope admin")


def test_who_is_on_no_list_is_told_so_and_sees_nothing(
    tab: Page, services: Platform, provider: OpenIdProvider
) -> None:
    provider.person["email"] = "mallory@example.org"
    sign_in(tab, services)

    expect(tab.get_by_test_id("stAlert")).to_contain_text("mallory@example.org")
    expect(tab.get_by_role("link", name="Keys")).to_have_count(0)
    tab.get_by_role("button", name="Sign out").click()
    sign_in_button(tab).wait_for()


@pytest.mark.parametrize("path", ["/", "/keys", "/auth/login"])
def test_no_page_of_others_may_frame_the_pages(services: Platform, path: str) -> None:
    answer = httpx.get(services.frontend_url + path, trust_env=False)

    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


WRONG: list[tuple[dict[str, Any], bool]] = [
    ({"nonce": "of-another-sign-in"}, False),
    ({"exp": 1_000_000_000}, False),
    ({"aud": "another-client"}, False),
    ({"iss": "https://elsewhere.example.org"}, False),
    ({}, True),
]


def test_a_wrong_token_signs_nobody_in(
    tab: Page, services: Platform, provider: OpenIdProvider
) -> None:
    for provider.wrong, provider.forged in WRONG:
        before = len(provider.authorized)
        sign_in(tab, services)
        sign_in_button(tab).wait_for()

        assert len(provider.authorized) == before + 1
        assert "ann@example.org" not in tab.locator("body").inner_text()
        assert tab.get_by_role("link", name="Keys").count() == 0


def test_an_answer_that_nobody_asked_for_signs_nobody_in(
    tab: Page, services: Platform, provider: OpenIdProvider
) -> None:
    redirect = f"{services.frontend_url}/oauth2callback"
    asked = {"redirect_uri": redirect, "state": "of-an-attacker", "nonce": "n"}
    tab.goto(provider.authorize(asked))

    sign_in_button(tab).wait_for()


def test_a_sign_in_ends_with_its_token(
    tab: Page, services: Platform, provider: OpenIdProvider
) -> None:
    # On a busy machine signing in takes longer than the first of them.
    assert any(signed_in_for(seconds, tab, services, provider) for seconds in (8, 40, 120))

    tab.wait_for_timeout(max(0.0, provider.wrong["exp"] - time.time()) * 1000)
    tab.get_by_role("link", name="Status").click()

    sign_in_button(tab).wait_for()


def signed_in_for(seconds: int, page: Page, services: Platform, provider: OpenIdProvider) -> bool:
    """Whether a sign-in was done before its token expired."""
    provider.wrong = {"exp": int(time.time()) + seconds}
    sign_in(page, services)
    return seen(page.get_by_test_id("stSidebar").get_by_text("ann@example.org"), seconds)


def seen(place: Locator, seconds: int) -> bool:
    try:
        place.wait_for(timeout=seconds * 1000)
    except TimeoutError:
        return False
    return True
