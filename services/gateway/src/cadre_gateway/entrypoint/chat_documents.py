"""OpenAI's chat completions as far as they are served here. Fields that OpenAI has and this API has not are ignored."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, field_validator

from cadre_gateway.entrypoint.documents import JsonObject, Text

__all__ = [
    "ChatChoice",
    "ChatChunk",
    "ChatChunkChoice",
    "ChatCompletion",
    "ChatDelta",
    "ChatMessage",
    "ChatModel",
    "ChatModels",
    "ChatReply",
    "ChatRequest",
    "ChatUsage",
    "FinishReason",
    "ResponseFormat",
]

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TextPart(_Asked):
    """A part of a message's content; only text is understood."""

    type: Literal["text"]
    text: Text


def _list_of_one(value: object) -> object:
    return [value] if isinstance(value, str) else value


class ChatMessage(_Asked):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class JsonSchemaFormat(_Asked):
    """A JSON Schema that the reply must be a document of."""

    name: str = "reply"
    json_schema: JsonObject = Field(alias="schema")


class ResponseFormat(_Asked):
    """text, json_object (any object), or json_schema (a document of a schema)."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(_Asked):
    """What a stream also says."""

    include_usage: bool = False


class ChatRequest(_Asked):
    """What to ask a model."""

    model: Text = Field(
        "default", max_length=300, description="default, a provider, or provider/model."
    )
    messages: list[ChatMessage] = Field(min_length=1, max_length=10_000)
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Annotated[list[Text] | None, BeforeValidator(_list_of_one)] = Field(None, max_length=4)
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = Field(None, description="One reply is given.")
    tools: list[JsonValue] | None = Field(
        None, max_length=0, description="Not taken: tools belong in a workflow."
    )

    @field_validator("response_format")
    @classmethod
    def _schema_is_there(cls, value: ResponseFormat | None) -> ResponseFormat | None:
        if value and value.type == "json_schema" and value.json_schema is None:
            raise ValueError("json_schema must be given with the type json_schema")
        return value


class ChatReply(BaseModel):
    """What the model answered."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """The one reply."""

    index: Literal[0] = 0
    message: ChatReply
    finish_reason: FinishReason
    logprobs: None = None


class CachedTokens(BaseModel):
    """Tokens that the provider had in its cache; counted with the others here."""

    cached_tokens: int = 0


class ReasoningTokens(BaseModel):
    """Tokens that the model thought in; counted with the others here."""

    reasoning_tokens: int = 0


class ChatUsage(BaseModel):
    """What the call used; `cost_usd` is ours, an exact decimal, null when the price is unknown."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens = CachedTokens()
    completion_tokens_details: ReasoningTokens = ReasoningTokens()
    cost_usd: str | None


class ChatCompletion(BaseModel):
    """A whole reply."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
    service_tier: None = None
    system_fingerprint: None = None


class ChatDelta(BaseModel):
    """More of a reply."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChunkChoice(BaseModel):
    """More of the one reply, or why it ended."""

    index: Literal[0] = 0
    delta: ChatDelta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class ChatChunk(BaseModel):
    """A part of a reply that is streamed; the last one may carry the usage and no choice."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: ChatUsage | None = None


class ChatModel(BaseModel):
    """A model that can be named."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class ChatModels(BaseModel):
    """Every model that can be used now."""

    object: Literal["list"] = "list"
    data: list[ChatModel]
