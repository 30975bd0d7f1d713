"""What reaches the log: our own events from the level that is set, and of libraries only what is wrong."""

import json
import subprocess
import sys

import pytest

SAYS = """
import logging
from cadre_kit.logs import configure_logs, logger
configure_logs(service="x", level="info", log_format="json")
logger().debug("ours_debug")
logger().info("ours_info", run_id="r1")
logging.getLogger("library").info("library info")
logging.getLogger("library").warning("library warning")
"""


def test_our_events_and_libraries_warnings_are_logged_one_a_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SAYS], capture_output=True, text=True, timeout=60, check=True
    )

    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["ours_info", "library warning"]
    assert lines[0]["run_id"] == "r1"
    assert lines[0]["service"] == "x"


FAILS = """
from cadre_kit.logs import configure_logs, logger
configure_logs(service="x", level="info", log_format="FORMAT")
def fail(api_key):
    raise ZeroDivisionError
try:
    fail("top" + "secret")
except ZeroDivisionError as exc:
    logger().error("failed", exc_info=exc)
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_shows_no_variables(log_format: str) -> None:
    said = FAILS.replace("FORMAT", log_format)

    ended = subprocess.run(
        [sys.executable, "-c", said], capture_output=True, text=True, timeout=60, check=True
    )

    assert "ZeroDivisionError" in ended.stderr
    assert "topsecret" not in ended.stderr
