"""What a connector is: one module that verifies, parses and replies in one provider's words.

What is the same for all is done around it: bodies are bounded, senders' repetitions found, runs started once and
followed to their end, replies kept and sent again until they arrive. A connector keeps nothing and starts nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cadre_gateway.domain.deliveries import Delivery, RunNews
from cadre_kit.errors import FailedPrecondition, Unauthenticated

__all__ = [
    "Answer",
    "Connector",
    "DeliveryRefused",
    "Incoming",
    "Message",
    "Parsed",
    "Sample",
    "SecretNotSet",
    "Trigger",
    "Variables",
    "connection_variable",
    "required",
]

Variables = Mapping[str, str]
"""The environment variables that secrets are taken from."""


class DeliveryRefused(Unauthenticated):
    """A delivery that is not proved to come from who has the secret. Says no more, so that nobody can probe."""

    code = "DELIVERY_REFUSED"

    def __init__(self) -> None:
        super().__init__(
            "the delivery is not signed as it must be",
            resolution="Sign the raw body with the secret of this address, within five minutes of its timestamp; "
            "docs/triggers.md says how for each kind.",
        )


class SecretNotSet(FailedPrecondition):
    """A variable that holds a secret is not set for the gateway."""

    code = "SECRET_NOT_SET"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is not set in the gateway's environment",
            resolution=f"Set {name} in the environment or in .env, and start the gateway again.",
            metadata={"variable": name},
        )


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What an applied workflow says that starts it; see ListTriggers of the executor. `index` is None for a workflow
    without a webhook of its own, which the platform's secret starts all the same."""

    kind: str
    workflow: str
    version: int = 0
    index: int | None = None
    connection: str = ""
    secrets: tuple[str, ...] = ()
    reply: str = ""
    notify: str = ""
    command: str = ""
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A request to `/hooks/<kind>/<name>` (webhooks: `/hooks/<name>`). Header names are lower case; `now` is the time
    in unix seconds."""

    method: str
    name: str
    headers: Mapping[str, str]
    body: bytes
    now: float
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One thing in a request that starts a run of `trigger`'s workflow.

    `key` is the provider's id of it, equal in every repetition; 200 characters at most. `content` is what the templates
    of the trigger's `input` can name: body, text, sender, conversation, event. `back` is what `reply` will need.
    """

    trigger: Trigger
    key: str
    content: Mapping[str, Any]
    back: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the sender is told at once."""

    body: bytes = b""
    status: int = 200
    media_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a genuine request holds, and what it is answered. No `answer`: the address of the run."""

    messages: Sequence[Message] = ()
    answer: Answer | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A signed request as the provider would send it, for trying a trigger without the provider."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    key: str


class Connector(Protocol):
    """A way in. All but `send` compute only; none may fetch or wait."""

    kind: str

    def verify(self, request: Incoming, triggers: Sequence[Trigger]) -> Sequence[Trigger]:
        """Those of the address's enabled triggers that the request may start. Raises DeliveryRefused unless it is
        genuine, also when there are no triggers."""

    def parse(self, request: Incoming, triggers: Sequence[Trigger]) -> Parsed:
        """What a genuine request holds. Raises InvalidInput for what cannot be read."""

    def reply(self, delivery: Delivery, run: RunNews) -> Sequence[Mapping[str, Any]]:
        """What is to be sent when the run has ended, or waits for a person, in order; no secrets in it. A text under
        `endpoint` names the receiver, who then can refuse everything further."""

    async def send(self, document: Mapping[str, Any], *, post_id: str, now: float) -> None:
        """Sends one of what `reply` gave, within 30 seconds. `post_id` is the same on every try.

        Raises Undeliverable when no further try can help, EndpointGone, and any other CadreError (TryAgain with the
        seconds to wait) for a failure that passes.
        """

    def sample(self, name: str, text: str, triggers: Sequence[Trigger], *, now: float) -> Sample:
        """A genuine request that says `text`; nothing is sent back for it to the provider. Raises SecretNotSet."""


def connection_variable(kind: str, name: str, what: str) -> str:
    """The variable that holds a connection's secret: CADRE_SLACK_HELPER_BOT_TOKEN."""
    return re.sub(r"[^A-Z0-9]+", "_", f"CADRE_{kind}_{name}_{what}".upper())


def required(variables: Variables, name: str) -> str:
    """A variable's value. Raises SecretNotSet."""
    if not variables.get(name):
        raise SecretNotSet(name)
    return variables[name]
