"""Settings that every service has, and how they are read: environment first, then `.env`, then defaults."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Port", "ServiceSettings", "load_settings"]

Port = Annotated[int, Field(ge=0, le=65535)]


class ServiceSettings(BaseSettings):
    """What any service needs to know. Each field is the environment variable `CADRE_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix="CADRE_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = Field(Path(".cadre"), description="Folder of all state: databases, keys, logs.")
    host: str = Field("127.0.0.1", description="Address that services bind to.")
    log_level: str = Field(
        "info",
        pattern="(?i)^(debug|info|warning|error)$",
        description="Least level that is logged.",
    )
    log_format: str = Field(
        "auto",
        pattern="^(auto|json|console)$",
        description="auto: console on a terminal, else json.",
    )
    drain_seconds: float = Field(
        5.0, ge=0, le=300, description="How long calls under way may take to end at a stop."
    )
    traces_endpoint: str = Field(
        "http://127.0.0.1:7420/v1/traces",
        description="OTLP/HTTP address for traces (MLflow's by default); empty turns tracing off.",
    )

    def database_url(self, configured: str, name: str) -> str:
        """`configured`, or the SQLite file `<home>/<name>.db` when it is empty."""
        return configured or f"sqlite:///{self.home.resolve() / name}.db"


Settings = TypeVar("Settings", bound=ServiceSettings)


def load_settings(cls: type[Settings]) -> Settings:
    """The settings; ends the process with status 2, naming each variable that is wrong."""
    try:
        return cls()
    except ValidationError as exc:
        _refuse(exc)


def _refuse(exc: ValidationError) -> NoReturn:
    for error in exc.errors():
        variable = "CADRE_" + "_".join(str(part) for part in error["loc"]).upper()
        print(f"{variable}: {error['msg']} (see docs/operating.md)", file=sys.stderr)  # noqa: T201 - before logging is set up
    sys.exit(2)
