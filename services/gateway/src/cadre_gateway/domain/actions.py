"""What a delivery asks for: a run, most often; else something about the runs of its conversation."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

__all__ = [
    "Action",
    "AnswerQuestion",
    "CancelRun",
    "MoveConversation",
    "Say",
    "ShowStatus",
    "StartRun",
    "TellBatchEnd",
    "TellEnd",
    "action_document",
    "action_of",
    "question_mark",
]


@dataclass(frozen=True, kw_only=True)
class StartRun:
    """Its run is started."""


@dataclass(frozen=True, kw_only=True)
class TellEnd:
    """Its run was started by a request of the API, which asked that somebody is told how it ends."""


@dataclass(frozen=True, kw_only=True)
class TellBatchEnd:
    """A batch was started by a request of the API, which asked that somebody is told how it ends."""

    batch_id: str


@dataclass(frozen=True, kw_only=True)
class Say:
    """It is answered with words that need nothing of anybody else."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ShowStatus:
    """It is answered with how the last run of its conversation stands."""


@dataclass(frozen=True, kw_only=True)
class CancelRun:
    """The last run of its conversation is cancelled."""


@dataclass(frozen=True, kw_only=True)
class MoveConversation:
    """Its conversation had another name before: what began there goes on here."""

    former: str


@dataclass(frozen=True, kw_only=True)
class AnswerQuestion:
    """A run of its conversation gets an answer: the `choice` of that place from 0, or for None the `words`. `mark` says
    which node asked (see `question_mark`), empty for the only one; `iteration` is the node's visit, 0 for the one that
    waits."""

    run_id: str
    mark: str = ""
    iteration: int = 0
    choice: int | None = None
    words: str = ""


Action: TypeAlias = (
    StartRun
    | TellEnd
    | TellBatchEnd
    | Say
    | ShowStatus
    | CancelRun
    | MoveConversation
    | AnswerQuestion
)

_KINDS: Mapping[str, type[Action]] = {
    "run": StartRun,
    "end": TellEnd,
    "batch_end": TellBatchEnd,
    "say": Say,
    "status": ShowStatus,
    "cancel": CancelRun,
    "move": MoveConversation,
    "answer": AnswerQuestion,
}
_NAMES = {action: name for name, action in _KINDS.items()}


def action_document(action: Action) -> Mapping[str, Any]:
    """An action as it is stored."""
    return {"kind": _NAMES[type(action)], **asdict(action)}


def action_of(document: Mapping[str, Any]) -> Action:
    """The action that was stored so."""
    fields = {name: value for name, value in document.items() if name != "kind"}
    return _KINDS[document["kind"]](**fields)


def question_mark(node: str) -> str:
    """Says in 8 characters which node asks: buttons have room for no more."""
    return hashlib.sha256(node.encode()).hexdigest()[:8]
