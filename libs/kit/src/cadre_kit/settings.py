"""Settings that every service has, and how they are read: environment first, then `.env`, then defaults."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["OptionalPath", "OptionalSecret", "Port", "ServiceSettings", "load_settings"]

Port = Annotated[int, Field(ge=0, le=65535)]
# A variable that is there and empty is one that is not set.
_EMPTY_IS_UNSET = BeforeValidator(lambda value: None if value == "" else value)
OptionalPath = Annotated[Path | None, _EMPTY_IS_UNSET]
OptionalSecret = Annotated[SecretStr | None, Field(min_length=16), _EMPTY_IS_UNSET]


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
    service_token: OptionalSecret = Field(
        None,
        description="The token that services show each other; unset: that in the token's file.",
    )
    service_token_file: OptionalPath = Field(
        None, description="Its file, made at the first start; unset: <home>/service-token."
    )
    service_tls_cert_file: OptionalPath = Field(
        None, description="Certificate that a service shows the others, PEM with its chain."
    )
    service_tls_key_file: OptionalPath = Field(None, description="Its key, PEM, unencrypted.")
    service_tls_ca_file: OptionalPath = Field(
        None, description="Authorities of the other services' certificates, PEM; turns TLS on."
    )
    service_tls_client_ca_file: OptionalPath = Field(
        None, description="Authorities whose certificates callers must show, PEM; unset: none."
    )

    @model_validator(mode="after")
    def _service_tls_is_whole(self) -> "ServiceSettings":
        cert, key = self.service_tls_cert_file, self.service_tls_key_file
        if (cert is None) != (key is None):
            raise ValueError(
                "CADRE_SERVICE_TLS_CERT_FILE and CADRE_SERVICE_TLS_KEY_FILE go together"
            )
        if cert is not None and self.service_tls_ca_file is None:
            raise ValueError("CADRE_SERVICE_TLS_CERT_FILE needs CADRE_SERVICE_TLS_CA_FILE")
        if self.service_tls_client_ca_file is not None and cert is None:
            raise ValueError("CADRE_SERVICE_TLS_CLIENT_CA_FILE needs CADRE_SERVICE_TLS_CERT_FILE")
        return self

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
        # One without a place is of several settings together, which its message names.
        named = "CADRE_" + "_".join(map(str, error["loc"])).upper() + ": " if error["loc"] else ""
        reason = error["msg"].removeprefix("Value error, ")
        print(f"{named}{reason} (see docs/operating.md)", file=sys.stderr)  # noqa: T201 - before logging is set up
    sys.exit(2)
