"""What the gateway can be told; the only reader of its environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, field_validator, model_validator

from cadre_gateway.domain.people import is_secure
from cadre_kit.addresses import AddressRules
from cadre_kit.errors import InvalidInput
from cadre_kit.secret_files import read_secret
from cadre_kit.settings import OptionalPath, Port, ServiceSettings

__all__ = ["GatewaySettings", "process_variables"]


_SECRET_FILE = re.compile(r"CADRE_(TELEGRAM|WHATSAPP|SLACK|EMAIL)_\w+_FILE")


class GatewaySettings(ServiceSettings):
    """Each field is the environment variable `CADRE_<FIELD>`."""

    gateway_port: Port = Field(7400, description="Port of the HTTP API; 0 picks a free one.")
    gateway_tls_cert_file: OptionalPath = Field(
        None, description="Certificate, PEM with its chain; turns TLS on for the HTTP API."
    )
    gateway_tls_key_file: OptionalPath = Field(None, description="Its key, PEM, unencrypted.")
    gateway_tls_client_ca_file: OptionalPath = Field(
        None, description="Authorities whose certificates clients must show, PEM; unset: none."
    )
    executor_address: str = Field("127.0.0.1:7410", description="host:port of the executor.")
    llm_proxy_address: str = Field("127.0.0.1:7411", description="host:port of the llm-proxy.")
    sandbox_address: str = Field("127.0.0.1:7412", description="host:port of the sandbox.")
    memory_address: str = Field("127.0.0.1:7413", description="host:port of the memory.")
    mlflow_url: str = Field(
        "http://127.0.0.1:7420", description="Where MLflow is; asked for its health only."
    )
    prefect_url: str = Field(
        "http://127.0.0.1:7421", description="Where Prefect is; asked for its health only."
    )
    api_key: SecretStr | None = Field(
        None, min_length=16, description="The key that requests must carry; unset: the key file's."
    )
    api_key_file: Path | None = Field(
        None, description="File of the key, made at the first start; unset: <home>/api-key."
    )
    oidc_issuer: str = Field(
        "",
        description="OpenID provider whose people may sign in: its issuer, https://...; empty: none.",
    )
    oidc_client_id: str = Field("", description="What the provider calls this platform.")
    oidc_groups_claim: str = Field("groups", description="The claim with a person's groups.")
    oidc_read: str = Field(
        "",
        description="Who may read: verified e-mail addresses, *@DOMAIN, group:NAME, * for everybody; commas between.",
    )
    oidc_run: str = Field("", description="Who may run, too.")
    oidc_write: str = Field("", description="Who may write, too.")
    oidc_admin: str = Field("", description="Who may do everything.")
    oidc_rate: int = Field(
        1200, gt=0, description="Requests that each person may make in a minute, at one gateway."
    )
    webhook_secret: SecretStr | None = Field(
        None,
        min_length=16,
        description="The secret that webhooks are signed with; unset: that in <home>/webhook-secret, "
        "made at the first start.",
    )
    notify_secret: SecretStr | None = Field(
        None,
        min_length=16,
        description="The secret that the ends of runs are told with; unset: that in <home>/notify-secret, "
        "made at the first start.",
    )
    gateway_database_url: str = Field(
        "",
        description="Deliveries of triggers: sqlite:///PATH or postgresql://...; empty: <home>/gateway.db.",
    )
    durability: Literal["normal", "strict"] = Field(
        "normal",
        description="strict: what was acknowledged survives a power failure too; each step waits for the disk.",
    )
    gateway_delivery_days: float = Field(
        7.0,
        gt=0,
        le=3650,
        description="For how many days a delivery that is done, or the answer to an Idempotency-Key, is kept.",
    )
    gateway_audit_days: float = Field(
        90.0, gt=0, le=3650, description="For how many days the audit log keeps an entry."
    )
    gateway_audit_entries: int = Field(
        1_000_000, ge=1000, description="How many entries the audit log keeps at most."
    )
    gateway_read_seconds: float = Field(
        20.0,
        gt=0,
        le=600,
        description="How long a request's headers may take to come, and its body beyond 1 kB a second; how long an "
        "answer may be taken more slowly than that.",
    )
    gateway_hook_rate: float = Field(
        500.0,
        gt=0,
        description="Deliveries a second that one sender may make to one address; more are refused.",
    )
    allowed_addresses: str = Field(
        "",
        description="Hosts, addresses and CIDRs that calls for workflows may reach beside public ones.",
    )
    slack_api_url: str = Field("https://slack.com/api", description="Where Slack's Web API is.")
    telegram_api_url: str = Field(
        "https://api.telegram.org", description="Where Telegram's Bot API is."
    )
    whatsapp_api_url: str = Field(
        "https://graph.facebook.com/v23.0",
        description="Where Meta's Graph API is, with its version.",
    )
    telegram_polling: bool = Field(
        False, description="Ask Telegram for messages, for a gateway that it cannot send them to."
    )
    email_poll_seconds: float = Field(
        20.0, gt=0, le=3600, description="How often a mailbox without new mail is looked at."
    )
    gateway_body_bytes: int = Field(
        8 * 1024 * 1024, ge=1024, le=12 * 1024 * 1024, description="Largest request body, in bytes."
    )
    gateway_concurrent_requests: int = Field(
        500, ge=1, description="Requests and event streams under way at once; more are refused."
    )
    gateway_call_seconds: float = Field(
        20.0, gt=0, le=600, description="How long a service may take to answer a call."
    )
    gateway_completion_seconds: float = Field(
        150.0, gt=0, le=3600, description="How long a model may take to answer."
    )
    gateway_heartbeat_seconds: float = Field(
        15.0, gt=0, le=60, description="Longest silence on an event stream."
    )
    gateway_reconnect_seconds: float = Field(
        60.0, ge=0, le=600, description="How long an event stream waits for a lost executor."
    )

    @field_validator("api_key", "api_key_file", "webhook_secret", "notify_secret", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("allowed_addresses")
    @classmethod
    def _are_addresses(cls, text: str) -> str:
        try:
            AddressRules.parse(text)
        except InvalidInput as error:
            raise ValueError(error.message) from error
        return text

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "GatewaySettings":
        cert, key = self.gateway_tls_cert_file, self.gateway_tls_key_file
        if (cert is None) != (key is None):
            raise ValueError(
                "CADRE_GATEWAY_TLS_CERT_FILE and CADRE_GATEWAY_TLS_KEY_FILE go together"
            )
        if self.gateway_tls_client_ca_file is not None and cert is None:
            raise ValueError("CADRE_GATEWAY_TLS_CLIENT_CA_FILE needs CADRE_GATEWAY_TLS_CERT_FILE")
        return self

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> "GatewaySettings":
        lists = (self.oidc_read, self.oidc_run, self.oidc_write, self.oidc_admin)
        if self.oidc_issuer and not is_secure(self.oidc_issuer):
            raise ValueError("CADRE_OIDC_ISSUER must begin with https://")
        if bool(self.oidc_issuer) != bool(self.oidc_client_id):
            raise ValueError("CADRE_OIDC_ISSUER and CADRE_OIDC_CLIENT_ID go together")
        if self.oidc_issuer and not any(lists):
            raise ValueError("CADRE_OIDC_READ, _RUN, _WRITE and _ADMIN let nobody in")
        return self

    @property
    def key_file(self) -> Path:
        """Where the API key is."""
        return self.api_key_file or self.home / "api-key"

    @property
    def webhook_secret_file(self) -> Path:
        """Where the webhooks' secret is."""
        return self.home / "webhook-secret"

    @property
    def notify_secret_file(self) -> Path:
        """Where the secret is that the ends of runs are told with."""
        return self.home / "notify-secret"


def process_variables() -> Mapping[str, str]:
    """The environment that triggers' secrets are taken from, over what `.env` says. What is in the file that
    `CADRE_TELEGRAM_HELPER_TOKEN_FILE` names is the value of CADRE_TELEGRAM_HELPER_TOKEN; so for every connection.

    Raises SecretFileUnusable.
    """
    from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    said = {**from_file, **os.environ}
    named = {name: path for name, path in said.items() if _SECRET_FILE.fullmatch(name) and path}
    secrets = {name.removesuffix("_FILE"): read_secret(Path(path)) for name, path in named.items()}
    return {**said, **secrets}
