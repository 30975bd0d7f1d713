"""docs/operating.md lists every setting of every program, each once."""

import importlib
import pkgutil
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from cadre_cli.settings import PlatformSettings
from cadre_kit.settings import ServiceSettings

PAGE = Path(__file__).parents[2] / "docs/operating.md"


def settings_modules() -> list[str]:
    packages = [
        module.name for module in pkgutil.iter_modules() if module.name.startswith("cadre_")
    ]
    return [f"{name}.settings" for name in packages if find_spec(f"{name}.settings")]


def variables(settings: type[BaseSettings]) -> set[str]:
    prefix = settings.model_config["env_prefix"]
    return {f"{prefix}{field}".upper() for field in settings.model_fields}


def documented() -> Counter[str]:
    return Counter(re.findall(r"^\| `(CADRE_\w+)` \|", PAGE.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("name", settings_modules())
def test_every_setting_has_one_row(name: str) -> None:
    found = vars(importlib.import_module(name)).values()
    classes = [c for c in found if isinstance(c, type) and issubclass(c, BaseSettings)]
    wanted = {variable for cls in classes for variable in variables(cls)}

    assert {variable: documented()[variable] for variable in wanted} == dict.fromkeys(wanted, 1)


def test_no_setting_has_two_rows() -> None:
    assert max(documented().values()) == 1


def test_the_supervisor_and_the_services_agree_on_what_they_share() -> None:
    for name in ("home", "host", "drain_seconds"):
        own, kit = PlatformSettings.model_fields[name], ServiceSettings.model_fields[name]

        assert (own.default, own.description) == (kit.default, kit.description)
