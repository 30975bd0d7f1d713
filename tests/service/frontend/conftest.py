"""Pages, drawn without a browser, on the real services behind them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from tests.platform import Platform, platform

import cadre_frontend

APP = Path(cadre_frontend.__file__).with_name("app.py")
DRAW_SECONDS = 30
Opened = Callable[..., AppTest]


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The five services; the embedded model is never asked, so it is not loaded."""
    with platform(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def opened(services: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Opens a page: `opened("runs", run=id)`; the chat is ""."""
    monkeypatch.setenv("CADRE_GATEWAY_URL", services.gateway_url)
    monkeypatch.setenv("CADRE_API_KEY", services.api_key)
    st.cache_resource.clear()
    st.cache_data.clear()

    def open_page(page: str = "", **query: str) -> AppTest:
        drawn = AppTest.from_file(str(APP), default_timeout=DRAW_SECONDS)
        if page:
            drawn.run().switch_page(f"views/{page}.py")
        for name, value in query.items():
            drawn.query_params[name] = value
        return drawn.run()

    yield open_page
    # Closes the clients too.
    st.cache_resource.clear()
