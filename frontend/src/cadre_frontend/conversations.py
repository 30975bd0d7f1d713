"""Conversations of the chat, kept in the platform's memory: they survive a restart of anything."""

import secrets
import time
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from cadre_client import ApiError, Client, ClientError, Problem
from cadre_client.builder import Built, Plan

__all__ = ["Conversation", "Kept", "Turn", "delete", "kept", "load", "new", "newest_first"]

_NAMESPACE = ("cadre", "conversations")
_SHOWN = 30
_TITLE_CHARACTERS = 60
# Keys are listed in ascending order; counting down to this moment lists the newest conversation first.
_FAR_FUTURE_SECONDS = 16**10


class Turn(BaseModel):
    """One wish and what came of it. `edited` says that the file was changed by hand since."""

    model_config = ConfigDict(frozen=True)

    wish: str
    source: str = ""
    plan: Plan | None = None
    problems: list[Problem] = []
    model: str = ""
    small_model: bool = False
    attempts: int = 1
    edited: bool = False

    @classmethod
    def of(cls, wish: str, built: Built) -> "Turn":
        """What is kept of a building."""
        result = built.result
        return cls(
            wish=wish,
            source=result.source,
            plan=result.plan,
            problems=list(result.problems),
            model=built.model,
            small_model=built.small_model,
            attempts=len(built.attempts),
        )

    @property
    def valid(self) -> bool:
        """Whether the workflow can be saved and run."""
        return bool(self.source) and not any(p.severity == "error" for p in self.problems)


class Conversation(BaseModel):
    """Wishes about one workflow. `changed` is Unix time."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str = "New workflow"
    changed: float = 0.0
    turns: list[Turn] = []

    def followed_by(self, turn: Turn) -> "Conversation":
        """With one more turn; the first wish is the title."""
        title = " ".join((self.turns or [turn])[0].wish.split())
        if len(title) > _TITLE_CHARACTERS:
            title = title[: _TITLE_CHARACTERS - 1].rstrip() + "…"
        return self.model_copy(update={"turns": [*self.turns, turn], "title": title})

    def with_last(self, turn: Turn) -> "Conversation":
        """With another last turn."""
        return self.model_copy(update={"turns": [*self.turns[:-1], turn]})


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A conversation, and why the platform could not store it as it is; None when it is stored."""

    conversation: Conversation
    refused: ClientError | None = None


def new() -> Conversation:
    """An empty conversation, not stored yet."""
    left = _FAR_FUTURE_SECONDS - int(time.time())
    return Conversation(id=f"{left:010x}{secrets.token_hex(4)}")


def kept(client: Client, conversation: Conversation) -> Kept:
    """Stores a conversation as it now is, if the platform can."""
    stored = conversation.model_copy(update={"changed": time.time()})
    try:
        client.put_memory(_NAMESPACE, stored.id, stored.model_dump(mode="json"))
    except ClientError as error:
        return Kept(conversation=stored, refused=error)
    return Kept(conversation=stored)


def load(client: Client, conversation_id: str) -> Conversation | None:
    """A stored conversation; None when there is none of that id."""
    try:
        item = client.get_memory(_NAMESPACE, conversation_id)
        return Conversation.model_validate(item.value)
    except ApiError as exc:
        if exc.status == 404:
            return None
        raise
    except ValidationError:
        return None


def newest_first(client: Client) -> list[Conversation]:
    """The thirty conversations that were begun last, the one changed last first."""
    found = []
    for item in client.list_memories(_NAMESPACE, limit=_SHOWN):
        try:
            found.append(Conversation.model_validate(item.value))
        except ValidationError:
            continue
    return sorted(found, key=lambda c: c.changed, reverse=True)


def delete(client: Client, conversation_id: str) -> None:
    """Forgets a conversation."""
    client.delete_memory(_NAMESPACE, conversation_id)
