"""Pages with nothing on them, and pages whose services are not there."""

import socket
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest
from tests.platform import Platform, eventually, platform

from cadre_frontend.building import buildings

Opened = Callable[..., AppTest]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """An empty platform, whose services may be killed."""
    home = tmp_path_factory.mktemp("home")
    with platform(home, "executor", "memory", "sandbox", "llm-proxy", "gateway") as running:
        yield running


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def press(page: AppTest, label: str) -> AppTest:
    (found,) = [each for each in page.button if each.label == label]
    return found.click().run()


def test_empty_pages_say_what_to_do_and_the_example_is_one_press_away(opened: Opened) -> None:
    chat, workflows, runs = opened(), opened("workflows"), opened("runs")
    agents = opened("agents")
    memory = opened("memory")

    assert chat.title[0].value == "What should your agents do?"
    assert "There are no workflows yet" in workflows.info[0].value
    assert "Nothing has run yet" in runs.info[0].value
    assert "No remote agent is registered" in agents.info[0].value
    assert "Nothing is remembered here yet" in memory.info[0].value
    press(workflows, "Add the example hello")
    assert workflows.title[0].value == "hello"
    assert not [*chat.exception, *workflows.exception, *runs.exception]
    assert not [*agents.exception, *memory.exception]


@pytest.mark.parametrize(
    "page", ["", "workflows", "runs", "triggers", "agents", "memory", "costs", "status"]
)
def test_a_gateway_that_is_down_is_said_in_one_box(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, nobody: str, page: str
) -> None:
    monkeypatch.setenv("CADRE_GATEWAY_URL", nobody)

    drawn = opened(page)

    (box,) = drawn.error
    assert "cannot be reached" in box.value
    assert "cadre up" in box.value
    assert not drawn.exception


def test_without_memory_the_chat_builds_and_says_that_it_is_not_kept(
    services: Platform, opened: Opened
) -> None:
    services.kill("memory")
    try:
        page = opened()
        page.chat_input[0].set_value("Find out whether it is good or bad").run()
        given = page.query_params["conversation"]
        building = buildings().of(given if isinstance(given, str) else given[0])
        eventually(lambda: building is None or building.ended)
        page.run()

        assert "not kept" in page.warning[0].value
        assert 'enum: ["good", "bad"]' in str(page.text_area[0].value)
    finally:
        services.start("memory")
    page.session_state["silent_until"] = 0.0
    page.run()
    assert not page.warning
    assert not page.exception


def test_without_the_executor_pages_say_so(services: Platform, opened: Opened) -> None:
    services.kill("executor")
    try:
        for name in ("workflows", "runs"):
            page = opened(name)

            assert "executor service cannot be reached" in page.error[0].value
            assert not page.exception
        assert "executor is not ready" in opened("status").error[0].value
    finally:
        services.start("executor")
