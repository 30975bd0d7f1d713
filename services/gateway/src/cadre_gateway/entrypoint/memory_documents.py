"""What is sent and answered about memories: values by key, what is found, and conversations."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    model_validator,
)

from cadre_gateway.entrypoint.documents import (
    Answer,
    Asked,
    Document,
    JsonObject,
    Moment,
    Namespace,
    Tags,
    Text,
)

__all__ = [
    "Conversation",
    "ConversationMessage",
    "Conversations",
    "Deleted",
    "Forgotten",
    "MemoryForgetting",
    "MemoryHit",
    "MemoryHits",
    "MemoryItem",
    "MemoryPage",
    "MemoryQuery",
    "Messages",
    "MessagesAdded",
    "Namespaces",
    "NewMemory",
    "NewMessage",
    "NewMessages",
    "Role",
    "SearchMode",
    "Summary",
]

_Path = Annotated[Text, Field(min_length=1, max_length=128)]


class Role(StrEnum):
    """Who says a message."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class Selection(Asked):
    """Conditions on memories; all of those that are given."""

    tags: Tags = Field(default_factory=list, description="Only what has all of these.")
    metadata: JsonObject = Field(
        default_factory=dict, description="Only what has each of these names, with the same value."
    )
    since_time: Moment | None = Field(
        None, description="Only what was said, or else stored, then or later."
    )
    before_time: Moment | None = Field(
        None, description="Only what was said, or else stored, before."
    )


class ConversationMessage(Answer):
    """A message of a conversation."""

    position: int = Field(description="Which of the conversation it is, from 0.")
    role: Role
    name: str = Field(description="The speaker's name; may be empty.")
    text: str
    time: datetime | None
    session: str
    metadata: dict[str, JsonValue]


class NewMemory(Asked):
    """A value to store."""

    namespace: Namespace
    key: Text = Field(min_length=1, max_length=512)
    value: Document
    ttl_seconds: StrictFloat = Field(
        0.0, ge=0, le=1e9, allow_inf_nan=False, description="Gone after these; 0 means never."
    )
    tags: Tags = Field(default_factory=list)
    metadata: JsonObject = Field(default_factory=dict, description="What is known about it.")
    if_version: StrictInt | None = Field(
        None, ge=0, description="Store it only over this version; 0 means only if nothing is there."
    )
    searched_fields: list[_Path] | None = Field(
        None,
        max_length=64,
        description="Parts of the value that are searched, such as `title` or `parts[*].text`; none of it if empty.",
    )


class MemoryItem(Answer):
    """A stored value."""

    namespace: list[str]
    key: str
    value: JsonValue
    version: int = Field(description="How often it was stored.")
    created_time: datetime | None
    updated_time: datetime | None
    expires_time: datetime | None
    tags: list[str]
    metadata: dict[str, JsonValue]


class MemoryPage(Answer):
    """Stored values, by key."""

    items: list[MemoryItem]
    next_page_token: str = Field(description="Names the next page; empty on the last one.")


class SearchMode(StrEnum):
    """How to search: by words, by meaning, or by both."""

    HYBRID = "hybrid"
    TEXT = "text"
    VECTOR = "vector"


class MemoryQuery(Selection):
    """What to find."""

    namespace: Namespace
    query: Text = Field(min_length=1, max_length=10_000)
    top_k: StrictInt = Field(10, ge=1, le=200)
    mode: SearchMode = SearchMode.HYBRID
    window: StrictInt = Field(
        0, ge=0, le=10, description="With each message, this many before and after it."
    )
    asked_time: Moment | None = Field(
        None,
        description="When the question is asked: what did not hold then is left out. Null means now.",
    )


class MemoryForgetting(Selection):
    """What to forget, in a namespace and below it."""

    namespace: Namespace
    everything: StrictBool = Field(
        False, description="Must be true to forget all of the namespace."
    )


class Forgotten(Answer):
    """How much was forgotten."""

    forgotten: int


class MemoryHit(Answer):
    """A value that was found."""

    item: MemoryItem
    score: float = Field(description="0 to 1; comparable within one answer.")
    text_score: float = Field(description="How well its words match, 0 to 1.")
    vector_score: float = Field(description="How well its meaning matches, -1 to 1.")
    matched_text: str = Field(description="The part of its text that matches best.")
    message: ConversationMessage | None = Field(description="The item as a message; null if none.")
    neighbours: list[ConversationMessage] = Field(description="The messages around it, in order.")


class MemoryHits(Answer):
    """What was found, best first."""

    hits: list[MemoryHit]
    without_meaning: str = Field(
        description="The code of the error for which only words counted, not meaning; empty if there was none."
    )


class Deleted(Answer):
    """Whether there was something to remove."""

    deleted: bool


class Namespaces(Answer):
    """Namespaces that hold something."""

    namespaces: list[list[str]]
    next_page_token: str = Field(description="Names the next page; empty on the last one.")


# Conversations


class NewMessage(Asked):
    """A message to add."""

    role: Role = Role.USER
    name: Text = Field("", max_length=128, description="The speaker's name; searched too.")
    text: Text = Field(max_length=1024 * 1024)
    time: Moment | None = Field(None, description="When it was said. Null means now.")
    session: Text = Field(
        "",
        max_length=128,
        description="What is searched as belonging together; empty means by time.",
    )
    metadata: JsonObject = Field(default_factory=dict)


_Model = Annotated[Text, Field(max_length=300)]


class NewMessages(Asked):
    """What to add to the end of a conversation, and what a model then makes of it, in the background."""

    namespace: Namespace
    messages: list[NewMessage] = Field(min_length=1, max_length=1000)
    learn: StrictBool = Field(False, description="Facts are learned from these messages.")
    summary_tokens: StrictInt = Field(
        0,
        ge=0,
        le=1_000_000,
        description="The older part is summarized once more than this was said since; 0 means never, the least is 100.",
    )
    model: _Model = Field(
        "default",
        description="Which model does it: default, a provider, or provider/model.",
    )

    @model_validator(mode="after")
    def _summarizes_enough(self) -> Self:
        if 0 < self.summary_tokens < 100:
            raise ValueError("summary_tokens is 0, or 100 and up")
        return self


class MessagesAdded(Answer):
    """Where the messages are."""

    first_position: int = Field(description="Of the first of them; the others follow it.")


class Summary(Answer):
    """What was said in the older part of a conversation."""

    text: str
    last_position: int = Field(description="Of the last message that it covers.")
    time: datetime | None


class Messages(Answer):
    """The end of a conversation, or of a part of it."""

    messages: list[ConversationMessage] = Field(description="Oldest first.")
    more: bool = Field(description="Whether there are messages before these.")
    summary: Summary | None = Field(description="Of what was before; null without one.")


class Conversation(Answer):
    """A conversation."""

    namespace: list[str]
    newest: ConversationMessage


class Conversations(Answer):
    """Conversations, by namespace."""

    conversations: list[Conversation]
    next_page_token: str = Field(description="Names the next page; empty on the last one.")
