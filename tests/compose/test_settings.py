"""What a service can be told as a process, it can be told in a container."""

import importlib
import re
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
    wanted = _settings(service) - FIXED - {f"CADRE_{_upper(service)}_PORT"}

    assert wanted <= _environment(service)


def test_every_setting_of_the_frontend_can_be_set_in_compose() -> None:
    read = [
        ROOT / "frontend/src/cadre_frontend/settings.py",
        ROOT / "libs/client/src/cadre_client/_local.py",
    ]
    named = set(re.findall(r"CADRE_[A-Z_]*[A-Z]", "".join(path.read_text() for path in read)))
    other = {
        "CADRE_FRONTEND_PORT",
        "CADRE_GATEWAY",
        "CADRE_GATEWAY_PORT",
        "CADRE_GATEWAY_TLS_CERT_FILE",
    }

    assert named - FIXED - other <= _environment("frontend")


def test_every_connection_that_the_page_of_triggers_names_can_be_set_in_compose() -> None:
    page = (ROOT / "docs/triggers.md").read_text()
    found = re.findall(r"CADRE_(?:TELEGRAM|WHATSAPP|SLACK|EMAIL)_[A-Z_]+", page)

    assert {name for name in found if not name.endswith("_FILE")} <= _environment("gateway")


def _environment(container: str) -> set[str]:
    compose = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())
    return set(compose["services"][container]["environment"])


def _settings(service: str) -> set[str]:
    module = importlib.import_module(f"cadre_{service.replace('-', '_')}.settings")
    classes = [value for value in vars(module).values() if _is_settings(value)]
    return {f"CADRE_{field.upper()}" for cls in classes for field in cls.model_fields}


def _is_settings(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, ServiceSettings)


def _upper(name: str) -> str:
    return name.replace("-", "_").upper()
