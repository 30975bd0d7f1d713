"""Small platforms that leave nothing behind, whatever a test does to them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.small_platform import SmallPlatform

MakePlatform = Callable[..., SmallPlatform]


@pytest.fixture
def make_platform(tmp_path: Path) -> Iterator[MakePlatform]:
    made: list[SmallPlatform] = []

    def make(ports: dict[str, int] | None = None, **programs: str) -> SmallPlatform:
        arguments = {name: wrong.split() for name, wrong in programs.items()}
        platform = SmallPlatform(folder=tmp_path, programs=arguments, ports=ports or {})
        made.append(platform)
        return platform

    yield make
    for platform in made:
        platform.clean_up()
