"""What a connector is: one module that verifies, parses and replies in one provider's words.

What is the same for all is done around it: bodies are bounded, senders' repetitions found, runs started once and
followed to their end, replies kept and sent again until they arrive. A connector stores nothing and starts nothing.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from cadre_gateway.domain.actions import Action, StartRun
from cadre_gateway.domain.deliveries import Delivery, Receipt, RunNews
from cadre_kit.errors import FailedPrecondition, InvalidInput, PermissionDenied, Unauthenticated

__all__ = [
    "FILES_TOO_LARGE",
    "FILES_UNREADABLE",
    "MOST_FILE_BYTES",
    "WORK_TICK_SECONDS",
    "Answer",
    "AttachmentTooLarge",
    "Connector",
    "DeliveryForbidden",
    "DeliveryRefused",
    "Incoming",
    "Listener",
    "Message",
    "Parsed",
    "Sample",
    "SecretNotSet",
    "Trigger",
    "Variables",
    "connection_variable",
    "required",
]

MOST_FILE_BYTES = 2 * 1024 * 1024
"""How large all files of a message may be in all: in base64 they are a part of what a run is started with."""

FILES_TOO_LARGE = f"The files are larger than {MOST_FILE_BYTES // 1024 // 1024} MiB in all, which is as much as I take."
"""What people are told who send more."""

FILES_UNREADABLE = "I cannot read the files that you sent; whoever runs me can see why."
"""What people are told whose files their provider does not give."""

WORK_TICK_SECONDS = 4.0
"""How often `show_work` is asked for; what messengers show then goes away by itself after 5 seconds or more."""

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


class DeliveryForbidden(PermissionDenied):
    """As DeliveryRefused, where a provider's manual says that a wrong proof is answered with 403, a missing one with
    401."""

    code = "DELIVERY_FORBIDDEN"

    def __init__(self) -> None:
        super().__init__(
            "the delivery is not signed as it must be",
            resolution="Check that the secret which the gateway has for this address is the provider's; "
            "docs/triggers.md says which for each kind.",
        )


class AttachmentTooLarge(InvalidInput):
    """A file that came with a message is larger than its provider said."""

    code = "ATTACHMENT_TOO_LARGE"

    def __init__(self) -> None:
        super().__init__(
            f"the files of the message are larger than {MOST_FILE_BYTES} bytes",
            resolution="Discard the delivery, and send less.",
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
    """A request to `/hooks/<kind>/<name>` (webhooks: `/hooks/<name>`), or what a Listener found, as the body. Header
    names are lower case; `now` is the time in unix seconds."""

    method: str
    name: str
    headers: Mapping[str, str]
    body: bytes
    now: float
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One thing in a request that starts a run of `trigger`'s workflow, or asks for what `action` says.

    `key` is the provider's id of it, equal in every repetition; 200 characters at most. `content` is what the templates
    of the trigger's `input` can name: body, text, sender, conversation, event, files. `back` is what `reply` will need.
    Those of one `album` that come within seconds are one run, with the files of all; empty for what is by itself.
    """

    trigger: Trigger
    key: str
    content: Mapping[str, Any]
    back: Mapping[str, Any] = field(default_factory=dict)
    action: Action = field(default_factory=StartRun)
    album: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the sender is told at once."""

    body: bytes = b""
    status: int = 200
    media_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a genuine request holds, and what it is answered. No `answer`: the address of the run. `receipts` are what
    it says of what was sent before."""

    messages: Sequence[Message] = ()
    receipts: Sequence[Receipt] = ()
    answer: Answer | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A signed request as the provider would send it, for trying a trigger without the provider."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    key: str


class Listener(Protocol):
    """Asks a provider for what came, for machines that it cannot send to."""

    async def fetch(self) -> Sequence[Incoming]:
        """What came, in order; waits for it, a minute at most. What was fetched and not confirmed comes again when
        another listener begins. Raises CadreError."""

    async def confirm(self, request: Incoming) -> None:
        """It is stored, or can never be: the provider need not give it again."""


class Connector(ABC):
    """A way in. What is not asynchronous computes only: it may neither fetch nor wait."""

    kind: ClassVar[str]

    @abstractmethod
    def verify(self, request: Incoming, triggers: Sequence[Trigger]) -> Sequence[Trigger]:
        """Those of the address's enabled triggers that the request may start. Raises DeliveryRefused unless it is
        genuine, also when there are no triggers."""

    @abstractmethod
    def parse(self, request: Incoming, triggers: Sequence[Trigger]) -> Parsed:
        """What a genuine request holds. Raises InvalidInput for what cannot be read."""

    @abstractmethod
    def reply(self, delivery: Delivery, run: RunNews) -> Sequence[Mapping[str, Any]]:
        """What is to be sent when the run has ended, or waits for a person, in order; no secrets in it. A text under
        `endpoint` names the receiver, who then can refuse everything further."""

    @abstractmethod
    async def send(self, document: Mapping[str, Any], *, post_id: str, now: float) -> str:
        """Sends one of what `reply` gave, within 25 seconds. `post_id` is the same on every try. Returns the provider's
        own name of it, by which a Receipt can come; empty where there is none.

        Raises Undeliverable when no further try can help, EndpointGone, and any other CadreError (TryAgain with the
        seconds to wait) for a failure that passes.
        """

    @abstractmethod
    def sample(self, name: str, text: str, triggers: Sequence[Trigger], *, now: float) -> Sample:
        """A genuine request that says `text`; nothing is sent back for it to the provider. Raises SecretNotSet."""

    def say(self, delivery: Delivery, text: str) -> Sequence[Mapping[str, Any]]:
        """What is to be sent to answer with `text` a delivery that asked for something else than a run."""
        return []

    async def complete(self, delivery: Delivery) -> Mapping[str, Any]:
        """The content with what the request only named, such as files; asked for before the run is started."""
        return delivery.content

    async def show_work(self, delivery: Delivery, *, tick: int) -> None:
        """Shows the sender that the run goes on. Asked for as long as it does, every WORK_TICK_SECONDS, `tick` counting
        from 0; raises CadreError, which changes nothing."""
        return

    async def prepare(self, name: str) -> None:
        """Learns what it must know of a connection. Asked for until it does not raise CadreError."""
        return

    def listener(self, name: str) -> AbstractAsyncContextManager[Listener] | None:
        """Fetches what comes to a connection; None where its provider sends it."""
        return None


def connection_variable(kind: str, name: str, what: str) -> str:
    """The variable that holds a connection's secret: CADRE_SLACK_HELPER_BOT_TOKEN."""
    return re.sub(r"[^A-Z0-9]+", "_", f"CADRE_{kind}_{name}_{what}".upper())


def required(variables: Variables, name: str) -> str:
    """A variable's value. Raises SecretNotSet."""
    if not variables.get(name):
        raise SecretNotSet(name)
    return variables[name]
