"""The settings of the local platform, as its supervisor and `cadre doctor` read them."""

from pathlib import Path
from typing import Annotated

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cadre_cli.errors import CliError

__all__ = [
    "PlatformSettings",
    "gateway_url",
    "load_settings",
    "reachable_host",
    "url_of",
    "variables_in_env_file",
]

Port = Annotated[int, Field(ge=1, le=65535)]
# A variable that is there and empty is one that is not set.
OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: None if value == "" else value)]


class PlatformSettings(BaseSettings):
    """Where the platform is and which ports it has. Each field is the environment variable `CADRE_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix="CADRE_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = Field(Path(".cadre"), description="Folder of all state: databases, keys, logs.")
    host: str = Field("127.0.0.1", description="Address that services bind to.")
    drain_seconds: float = Field(
        5.0, ge=0, le=300, description="How long calls under way may take to end at a stop."
    )
    gateway_port: Port = Field(7400, description="Port of the gateway's HTTP API.")
    gateway_tls_cert_file: OptionalPath = Field(
        None, description="Certificate of the gateway, whose URL then begins with https."
    )
    gateway_client_cert_file: OptionalPath = Field(
        None, description="Certificate that is shown to a gateway that wants one, PEM."
    )
    gateway_client_key_file: OptionalPath = Field(None, description="Its key, PEM, unencrypted.")
    frontend_port: Port = Field(7401, description="Port of the web UI.")
    executor_port: Port = Field(7410, description="Port of the executor's gRPC.")
    llm_proxy_port: Port = Field(7411, description="Port of the llm-proxy's gRPC.")
    sandbox_port: Port = Field(7412, description="Port of the sandbox's gRPC.")
    memory_port: Port = Field(7413, description="Port of memory's gRPC.")
    mlflow_port: Port = Field(7420, description="Port of MLflow, API and web page.")
    prefect_port: Port = Field(7421, description="Port of Prefect, API and web page.")


def load_settings() -> PlatformSettings:
    """The settings: environment first, then `.env`, then defaults. Raises CliError naming the first that is wrong."""
    try:
        return PlatformSettings()
    except ValidationError as exc:
        said = [f"{_variable(error['loc'])}: {error['msg']}" for error in exc.errors()]
        raise CliError(
            said[0],
            code="SETTING_INVALID",
            resolution="The settings and their limits are listed in docs/operating.md.",
            details=said[1:],
        ) from exc


def variables_in_env_file() -> dict[str, str]:
    """The variables that `.env` in the current folder sets; empty when there is none."""
    return {name: value for name, value in dotenv_values(".env").items() if value is not None}


def reachable_host(host: str) -> str:
    """Where what is bound to a host is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def url_of(settings: PlatformSettings, port: int) -> str:
    """Where a page or API on a port is reached from this machine."""
    host = reachable_host(settings.host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def gateway_url(settings: PlatformSettings) -> str:
    """Where the gateway is reached from this machine."""
    url = url_of(settings, settings.gateway_port)
    return url if settings.gateway_tls_cert_file is None else url.replace("http:", "https:", 1)


def _variable(location: tuple[int | str, ...]) -> str:
    return "CADRE_" + "_".join(str(part) for part in location).upper()
