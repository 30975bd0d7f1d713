"""What the handlers work with; `app.py` builds it and puts it on the application's state."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Query, Request

from cadre_gateway.accepting import Reception
from cadre_gateway.adapters.answers import Answers
from cadre_gateway.adapters.audit_log import AuditLog
from cadre_gateway.adapters.inbox import Inbox
from cadre_gateway.adapters.keys import Keys
from cadre_gateway.adapters.probes import Probe
from cadre_gateway.adapters.services import Executor, LlmProxy, Memory, Sandbox, Services
from cadre_gateway.adapters.trigger_list import TriggerList
from cadre_gateway.connectors.telegram import TelegramConnector
from cadre_gateway.domain.api_keys import ADMIN_NAME
from cadre_gateway.domain.connectors import Connector
from cadre_gateway.domain.rates import Rates
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_gateway.entrypoint.metrics import Metrics
from cadre_gateway.entrypoint.streams import Stopping

__all__ = [
    "IdPageToken",
    "IdempotencyKey",
    "Parts",
    "TheExecutor",
    "TheLlmProxy",
    "TheMemory",
    "TheParts",
    "TheSandbox",
    "Waits",
    "checked_key",
    "idempotency_key",
]

_KEY_CHARACTERS = 255


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How long a model may take, how long a stream may be silent, how long one waits for a lost executor, and for the
    first answer to a request that comes again."""

    completion_seconds: float
    heartbeat_seconds: float
    reconnect_seconds: float
    answer_seconds: float


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that handlers work with."""

    services: Services
    probes: Sequence[Probe]
    triggers: TriggerList
    connectors: Mapping[str, Connector]
    telegram: TelegramConnector
    inbox: Inbox
    reception: Reception
    hook_rates: Rates
    keys: Keys
    answers: Answers
    audit: AuditLog
    metrics: Metrics
    stopping: Stopping
    waits: Waits
    version: str


# Asynchronous, all of them: FastAPI sends others through a pool of threads.


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


TheParts = Annotated[Parts, Depends(_parts)]


async def _executor(parts: TheParts) -> Executor:
    return parts.services.executor


async def _llm_proxy(parts: TheParts) -> LlmProxy:
    return parts.services.llm_proxy


async def _memory(parts: TheParts) -> Memory:
    return parts.services.memory


async def _sandbox(parts: TheParts) -> Sandbox:
    return parts.services.sandbox


def checked_key(text: str) -> str:
    """A text as an idempotency key. Raises InvalidRequest."""
    if not text.isascii() or not text.isprintable():
        raise InvalidRequest("the header Idempotency-Key may hold visible ASCII characters only")
    if len(text) > _KEY_CHARACTERS:
        raise InvalidRequest(
            f"the header Idempotency-Key has {len(text)} characters; "
            f"at most {_KEY_CHARACTERS} are allowed",
            code="IDEMPOTENCY_KEY_TOO_LONG",
        )
    return text


async def idempotency_key(
    request: Request,
    idempotency_key: Annotated[
        str,
        Header(
            description="A repeated key gets the first request's answer; 1 to 255 visible ASCII characters. "
            "Without one, a repeated request is another request."
        ),
    ] = "",
) -> str:
    """What the header Idempotency-Key holds, for services, which do not know callers: that of another caller is another
    key. Empty without it. Raises InvalidRequest."""
    key, caller = checked_key(idempotency_key), request.scope["cadre.caller"].name
    if not key or caller == ADMIN_NAME:
        return key
    return f"caller/{hashlib.sha256(f'{caller}/{key}'.encode()).hexdigest()}"


TheExecutor = Annotated[Executor, Depends(_executor)]
TheLlmProxy = Annotated[LlmProxy, Depends(_llm_proxy)]
TheMemory = Annotated[Memory, Depends(_memory)]
TheSandbox = Annotated[Sandbox, Depends(_sandbox)]
IdempotencyKey = Annotated[str, Depends(idempotency_key)]
# Of lists whose page ends with an id; another text would be a place between ids, and its answer an odd page.
IdPageToken = Annotated[
    str,
    Query(pattern=r"^([0-9A-Z]{26})?$", description="The last page's next_page_token."),
]
