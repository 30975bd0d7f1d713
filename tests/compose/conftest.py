"""Brings the platform up in containers once for the tests of a file, and takes it down after them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compose.stack import Stack, installed_compose_commands

_STAND_IN_BASE = Path(__file__).with_name("stand_in_base.sh")
_CANNOT_BE_MADE = 3


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole platform, healthy."""
    commands = installed_compose_commands()
    if not commands:
        pytest.skip("Compose is not installed (apt-get install docker-compose)")
    _have_base_image()
    running = Stack(commands[0], tmp_path_factory.mktemp("compose"))
    running.build()
    try:
        running.start()
        yield running
    finally:
        running.stop()


def _have_base_image() -> None:
    made = subprocess.run(
        [str(_STAND_IN_BASE)], capture_output=True, text=True, timeout=900, check=False
    )
    if made.returncode == _CANNOT_BE_MADE:
        pytest.skip(made.stderr.strip())
    assert made.returncode == 0, made.stderr
