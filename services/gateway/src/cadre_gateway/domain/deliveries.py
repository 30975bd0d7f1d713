"""What came from outside and what becomes of it: kept from when it is accepted until what it asked for is done."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cadre_gateway.domain.actions import Action, StartRun, TellBatchEnd, TellEnd
from cadre_kit.errors import CadreError, FailedPrecondition, NotFound, Unavailable

__all__ = [
    "BY_REQUEST",
    "Delivery",
    "DeliveryNotFound",
    "DeliveryPage",
    "DeliveryStatus",
    "EndpointGone",
    "NotParked",
    "Post",
    "PostStatus",
    "Receipt",
    "RunNews",
    "RunQuestion",
    "Trouble",
    "TryAgain",
    "Undeliverable",
]


BY_REQUEST = "api"
"""The kind of what a request of the API left to be done, as runs have it for their trigger."""


class DeliveryNotFound(NotFound):
    """No delivery has the id, or it was forgotten."""

    code = "DELIVERY_NOT_FOUND"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(
            f"no delivery {delivery_id!r}",
            resolution="List them with `cadre trigger list`; old ones are forgotten.",
            metadata={"delivery": delivery_id},
        )


class NotParked(FailedPrecondition):
    """Only what is parked can be replayed or discarded."""

    code = "DELIVERY_NOT_PARKED"

    def __init__(self, delivery_id: str, status: str) -> None:
        super().__init__(
            f"the delivery {delivery_id!r} is {status}, not parked",
            resolution="There is nothing to do: it goes on by itself, or is done.",
            metadata={"delivery": delivery_id, "status": status},
        )


class Undeliverable(FailedPrecondition):
    """A reply that no further try would bring home."""

    code = "UNDELIVERABLE"


class EndpointGone(Undeliverable):
    """The receiver says that it wants nothing more (HTTP 410)."""

    code = "ENDPOINT_GONE"


class TryAgain(Unavailable):
    """The receiver could not take a reply now; it may say after how many seconds it can."""

    code = "RECEIVER_FAILED"

    def __init__(self, message: str, *, after_seconds: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.after_seconds = after_seconds


class DeliveryStatus(StrEnum):
    """`received` until its run is started, `ended` once the run's end was seen; a run that nobody is told of stays
    `started`. What failed for good is `parked` until a person replays or discards it."""

    RECEIVED = "received"
    STARTED = "started"
    ENDED = "ended"
    PARKED = "parked"
    DISCARDED = "discarded"


class PostStatus(StrEnum):
    """Where something that is to be sent stands."""

    PENDING = "pending"
    SENT = "sent"
    PARKED = "parked"
    DISCARDED = "discarded"


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why something did not go on."""

    code: str
    message: str
    resolution: str = ""

    @classmethod
    def of(cls, error: CadreError) -> "Trouble":
        """What an error says."""
        return cls(code=error.code, message=error.message, resolution=error.resolution)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One thing that came. `key` is the sender's own id of it, `content` what the trigger's templates name, `back` what
    the connector needs for a reply. `conversation` is what it belongs to, among those of its source; empty where there
    are none. `run_id` is known before the run is started; what asks for something else than a run has one too, that no
    run gets. Times are unix seconds; `due_time` is when it is looked at next, None when it is done. `tries` counts
    looks that came to no end."""

    id: str
    kind: str
    name: str
    key: str
    workflow: str
    version: int
    trigger: int | None
    content: Mapping[str, Any]
    run_id: str
    received_time: float
    back: Mapping[str, Any] = field(default_factory=dict)
    reply: str = ""
    notify: str = ""
    secrets: tuple[str, ...] = ()
    conversation: str = ""
    action: Action = field(default_factory=StartRun)
    status: DeliveryStatus = DeliveryStatus.RECEIVED
    tries: int = 0
    due_time: float | None = None
    updated_time: float = 0.0
    trouble: Trouble | None = None

    @property
    def source(self) -> str:
        """Whose ids `key` is one of."""
        return f"{self.kind}/{self.name}"

    @property
    def awaits_end(self) -> bool:
        """Whether somebody is told how the run ends."""
        return bool(self.reply or self.notify)

    @property
    def starts_a_run(self) -> bool:
        """Whether it asks for a run."""
        return isinstance(self.action, StartRun)

    @property
    def has_run(self) -> bool:
        """Whether `run_id` is the id of a run, started or to be started."""
        return isinstance(self.action, StartRun | TellEnd)

    @property
    def batch_id(self) -> str:
        """The batch whose end is told; empty where it is none's."""
        return self.action.batch_id if isinstance(self.action, TellBatchEnd) else ""


@dataclass(frozen=True, kw_only=True)
class Post:
    """Something to send: a reply, or a part of one. `document` is the connector's own, without secrets. Its id, made of
    the delivery and of what it is about, keeps it from being put down twice. Those of one delivery go out in order.
    `endpoint` names who can refuse everything further; empty where nobody can. `receipt` is what the provider calls it
    once it was sent, and `receipt_status` what it said of it since; both empty where it says nothing."""

    id: str
    delivery_id: str
    kind: str
    document: Mapping[str, Any]
    position: int = 0
    endpoint: str = ""
    status: PostStatus = PostStatus.PENDING
    tries: int = 0
    due_time: float | None = None
    sent_time: float | None = None
    receipt: str = ""
    receipt_status: str = ""
    trouble: Trouble | None = None


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a provider says of something that it took: by its own name of it, sent, delivered, read or failed."""

    receipt: str
    status: str
    trouble: Trouble | None = None


@dataclass(frozen=True, kw_only=True)
class RunQuestion:
    """What a run asks a person."""

    node: str
    iteration: int
    message: str
    choices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunNews:
    """A run that has ended (`status` is succeeded, failed or cancelled), or that waits for a person (waiting). It may
    be a batch: then `rows` counts its rows by where they stand."""

    id: str
    workflow: str
    status: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: Trouble | None = None
    questions: Sequence[RunQuestion] = ()
    rows: Mapping[str, int] | None = None

    def words(self, field: str) -> str:
        """What somebody in a chat is told: the state field, why there is none, or what the run waits for. Empty when
        there is nothing to say."""
        if self.status == "waiting":
            return "\n\n".join(self._question(each) for each in self.questions)
        if self.status != "succeeded":
            why = f" ({self.error.code})" if self.error is not None else ""
            return f"The run {self.id} {self.status}{why}."
        value = self.outputs.get(field)
        if value is None:
            return ""
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)

    def _question(self, asked: RunQuestion) -> str:
        choices = ", ".join(asked.choices)
        return f"{asked.message}\n(The run {self.id} waits for an answer: {choices})"


@dataclass(frozen=True, kw_only=True)
class DeliveryPage:
    """Deliveries, newest first; `more` tells whether older ones follow."""

    deliveries: Sequence[Delivery]
    more: bool
