"""A real browser before the real platform."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright
from tests.platform import SERVICES, Platform, platform

_STEP_MILLISECONDS = 60_000
_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
# Below an address such as /runs, Streamlit asks for these once before it asks at the root.
_LOOKED_FOR = ("/_stcore/health", "/_stcore/host-config")

# The machine got or lost a network interface, as when containers come and go: Chromium then drops what it was loading,
# and nothing that the console says after it is the pages' doing.
_NETWORK_CHANGED = "ERR_NETWORK_CHANGED"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """All of the platform but MLflow and Prefect."""
    with platform(tmp_path_factory.mktemp("home"), *SERVICES, "frontend") as running:
        yield running


# What the browser says of a script in a file of a run, which is shown without running it.
_NOT_RUN = "Blocked script execution in 'about:srcdoc' because the document's frame is sandboxed"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, services: Platform) -> Iterator[Page]:
    """A tab. At its end: no exception was on the page, no error in its console, no request left this machine."""
    wrong: list[str] = []
    console: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((services.frontend_url, "data:", "blob:")):
            wrong.append(f"request to {request.url}")

    def logged(message: ConsoleMessage) -> None:
        if message.text.startswith(_NOT_RUN):
            return
        if message.type == "error" and not message.location.get("url", "").endswith(_LOOKED_FOR):
            console.append(message.text)

    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(_STEP_MILLISECONDS)
    tab.on("request", asked)
    tab.on("console", logged)
    tab.on("pageerror", lambda error: console.append(f"script: {error}"))
    yield tab
    # Printed with a failure only: what the person would have seen.
    print(tab.url, console, tab.locator("body").inner_text(), sep="\n")
    exceptions = tab.get_by_test_id("stException").count()
    tab.close()
    assert exceptions == 0
    assert wrong == []
    if not any(_NETWORK_CHANGED in text for text in console):
        assert console == []
