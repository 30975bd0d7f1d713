"""What can be set for the llm-proxy; the only reader of its environment."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import Field, SecretStr

from cadre_kit.errors import FailedPrecondition
from cadre_kit.settings import Port, ServiceSettings

__all__ = ["ProcessEnvironment", "Settings"]


class Settings(ServiceSettings):
    """Settings of the llm-proxy, beside those of every service."""

    llm_proxy_port: Port = Field(7411, description="Port for gRPC; 0 takes a free one.")
    llm_proxy_database_url: str = Field(
        "", description="Where the ledger is; empty means the file llm-proxy.db in CADRE_HOME."
    )
    default_model: str = Field(
        "",
        pattern=r"^([a-z0-9_-]+(/\S+)?)?$",
        description="PROVIDER/MODEL where a workflow names none; empty means the first provider whose key is present, "
        "else embedded.",
    )
    llm_retries: int = Field(
        2, ge=0, le=10, description="How often a request that failed in passing is sent again."
    )
    llm_reply_days: int = Field(
        30, ge=1, description="For how many days a reply is kept for its idempotency key."
    )
    llm_connect_seconds: float = Field(
        10.0, gt=0, le=600, description="How long is waited for a connection to a provider."
    )
    llm_first_token_seconds: float = Field(
        60.0, gt=0, le=3600, description="How long is waited for the first part of a stream."
    )
    llm_models_file: Path | None = Field(
        None,
        description="A YAML file with groups of models and what models can do; see the README.",
    )
    llm_cooldown_seconds: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="For how long a model that failed three times in a row is asked after the others.",
    )
    llm_drop_unsupported: bool = Field(
        False,
        description="Whether options that a model does not take are left out, which the reply then says.",
    )
    prices_file: Path | None = Field(
        None,
        description="A YAML file with prices of models, which go before those of litellm's table; see the README.",
    )
    trace_content: bool = Field(
        False, description="Whether prompts and replies are put into traces."
    )
    embedded_threads: int = Field(
        0, ge=0, le=256, description="Threads of the embedded model; 0 means half of the cores."
    )
    embedded_slots: int = Field(
        2, ge=1, le=16, description="How many calls the embedded model works on at once."
    )
    embedded_queue: int = Field(
        64, ge=0, description="How many more calls may wait for the embedded model."
    )
    embedded_context_tokens: int = Field(
        4096,
        ge=512,
        le=8192,
        description="Context of the embedded model, for prompts and replies of the calls that it works on at once.",
    )


class SecretFileUnreadable(FailedPrecondition):
    """A variable names a file with a secret, and the file cannot be read."""

    code = "SECRET_FILE_UNREADABLE"


class ProcessEnvironment:
    """Variables of the process, else of `.env`. Every provider has its own: its key, address and default model."""

    def __init__(self, variables: Mapping[str, str], *, env_file: Path | None = None) -> None:
        from_file = dotenv_values(env_file) if env_file is not None else {}
        self._variables = {**{k: v for k, v in from_file.items() if v is not None}, **variables}

    @classmethod
    def of_process(cls) -> "ProcessEnvironment":
        """What this process was started with."""
        return cls(os.environ, env_file=Path(".env"))

    def __repr__(self) -> str:
        return f"ProcessEnvironment({len(self._variables)} variables)"

    def text(self, name: str) -> str:
        """A variable's value; empty when it is not set."""
        return self._variables.get(name, "").strip()

    def secret(self, name: str) -> SecretStr | None:
        """A secret, from the variable `name` or the file that `name`_FILE names. Raises SecretFileUnreadable."""
        if text := self.text(name):
            return SecretStr(text)
        path = self.text(f"{name}_FILE")
        if not path:
            return None
        try:
            text = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise SecretFileUnreadable(
                f"the file that {name}_FILE names cannot be read",
                resolution=f"Correct {name}_FILE, or the rights of the file.",
                metadata={"variable": f"{name}_FILE"},
            ) from exc
        return SecretStr(text) if text else None
