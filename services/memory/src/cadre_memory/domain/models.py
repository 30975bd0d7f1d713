"""What memory asks models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cadre_kit.errors import CadreError


class ReplyUnusable(CadreError):
    """A model's reply was cut off, or is not what was asked for."""

    code = "REPLY_UNUSABLE"


@dataclass(frozen=True, kw_only=True)
class Asker:
    """For whom a model is asked. `choice` is the JSON text of an Upkeep message's
    model, fallbacks and attribution: it comes from the caller and goes to the llm-proxy as it is."""

    workflow: str = ""
    run_id: str = ""
    node: str = ""
    choice: str = ""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A question to a model. The same `key` with the same question is answered, and paid for, once. The reply is a
    document of `schema`, where there is one, and at most `max_tokens` long."""

    system: str
    prompt: str
    max_tokens: int
    key: str
    schema: Mapping[str, Any] | None = None


class Models(Protocol):
    """Asks models."""

    async def reply(self, ask: Ask, *, asker: Asker) -> str:
        """The whole reply. Raises ReplyUnusable for one that was cut off, and what is wrong with the model."""
        ...
