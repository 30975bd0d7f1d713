"""What a service can be told as a process, it can be told in a container."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cadre_kit.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parents[2].name for path in ROOT.glob("services/*/src/*/settings.py"))
# The image says where state is kept and what to bind to; compose.yaml maps ports.
FIXED = {"CADRE_HOME", "CADRE_HOST"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_a_service_can_be_set_in_compose(service: str) -> None:
    compose = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())

    named = set(compose["services"][service]["environment"])

    assert _settings(service) - FIXED - {f"CADRE_{_upper(service)}_PORT"} <= named


def _settings(service: str) -> set[str]:
    module = importlib.import_module(f"cadre_{service.replace('-', '_')}.settings")
    classes = [value for value in vars(module).values() if _is_settings(value)]
    return {f"CADRE_{field.upper()}" for cls in classes for field in cls.model_fields}


def _is_settings(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, ServiceSettings)


def _upper(name: str) -> str:
    return name.replace("-", "_").upper()
