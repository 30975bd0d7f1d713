"""What starts runs of a workflow by itself, as its file says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["CronTrigger", "TelegramTrigger", "Trigger", "WebhookTrigger", "WhatsAppTrigger"]


@dataclass(frozen=True, kw_only=True)
class CronTrigger:
    """Starts a run with `inputs` at the times of a cron expression of five fields, in an IANA time zone."""

    cron: str
    timezone: str = "UTC"
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WebhookTrigger:
    """Starts a run when a request comes.

    The body goes whole into the field `input`, or, when that is empty, its members into the fields of their names;
    `inputs` are what it does not give. `secret_env` names the variable of the secret by which requests are signed.
    """

    secret_env: str = ""
    input: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class TelegramTrigger:
    """Starts a run with a message in the field `input`, and sends the field `reply` back; empty for neither."""

    bot: str
    input: str = ""
    reply: str = ""


@dataclass(frozen=True, kw_only=True)
class WhatsAppTrigger:
    """Starts a run with a message in the field `input`, and sends the field `reply` back; empty for neither."""

    number: str
    input: str = ""
    reply: str = ""


Trigger: TypeAlias = CronTrigger | WebhookTrigger | TelegramTrigger | WhatsAppTrigger
