"""The executor's settings: its only reader of the environment."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, field_validator

from cadre_kit.addresses import AddressRules
from cadre_kit.errors import InvalidInput
from cadre_kit.settings import Port, ServiceSettings

__all__ = ["Settings", "process_variables"]


class Settings(ServiceSettings):
    """What the executor needs to know. Each field is the environment variable `CADRE_<FIELD>`."""

    executor_port: Port = Field(7410, description="Port of the executor's gRPC services.")
    executor_database_url: str = Field(
        "",
        description="sqlite:///PATH or postgresql://... of workflows and runs; empty: executor.db in the home.",
    )
    durability: Literal["normal", "strict"] = Field(
        "normal",
        description="strict: what was acknowledged survives a power failure too; each step waits for the disk.",
    )
    llm_proxy_address: str = Field("127.0.0.1:7411", description="host:port of the llm-proxy.")
    sandbox_address: str = Field("127.0.0.1:7412", description="host:port of the sandbox.")
    memory_address: str = Field("127.0.0.1:7413", description="host:port of the memory service.")
    prefect_url: str = Field(
        "http://127.0.0.1:7421", description="Prefect server, for schedules and batches."
    )
    executor_max_runs: int = Field(
        200, ge=1, le=10_000, description="Runs driven at once; others wait in the store."
    )
    executor_checkpoints: int = Field(
        20, ge=1, le=1000, description="Steps of each run that can be forked from; the last ones."
    )
    executor_max_state_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        le=256 * 1024 * 1024,
        description="How large the state of a run may be, as JSON.",
    )
    executor_lease_seconds: float = Field(
        5.0,
        ge=0.5,
        le=300,
        description="Another executor takes up a run whose executor gave no sign of life for so long.",
    )
    executor_patience_seconds: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="How long a node waits for a service that cannot be reached before it fails.",
    )
    executor_agent_refresh_seconds: float = Field(
        60.0,
        ge=0.1,
        le=86_400,
        description="How often the cards of remote agents that were registered by address are read again.",
    )
    allowed_addresses: str = Field(
        "",
        description="Hosts, addresses and CIDRs that tools may reach beside public ones, with commas between.",
    )
    searxng_url: str = Field("", description="SearXNG server for web_search.")
    mcp_servers_file: Path | None = Field(
        None, description="JSON or YAML file of the MCP servers that workflows may use by name."
    )
    workspaces: Path | None = Field(
        None, description="Folder of the files of runs; empty: workspaces in the home."
    )
    workspace_keep_days: float = Field(
        7.0, ge=0, le=3650, description="For how long a run's files are kept after its end."
    )
    workspace_max_mb: int = Field(
        256, ge=1, le=102_400, description="How much the files of a run may take, in MiB."
    )
    workspace_max_files: int = Field(
        1000, ge=1, le=100_000, description="How many files a run may have."
    )
    trace_content: bool = Field(
        False, description="Whether traces show the inputs and outputs of runs."
    )

    @field_validator("allowed_addresses")
    @classmethod
    def _are_addresses(cls, text: str) -> str:
        return _checked(text, AddressRules.parse)

    @field_validator("searxng_url")
    @classmethod
    def _is_a_web_address(cls, url: str) -> str:
        return _checked(url, AddressRules().allowing_url) if url else url


def _checked(text: str, parse: Callable[[str], object]) -> str:
    """The text, when it can be parsed; else the variable is named at the start."""
    try:
        parse(text)
    except InvalidInput as error:
        raise ValueError(error.message) from error
    return text


def process_variables() -> Mapping[str, str]:
    """What the process was started with, over `.env`: the secrets that workflows name, and keys of search services."""
    from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**from_file, **os.environ}
