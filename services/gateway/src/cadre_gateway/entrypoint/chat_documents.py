"""OpenAI's chat completions as far as they are served here. Fields that OpenAI has and this API has not are ignored."""

import json
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    field_validator,
)

from cadre_gateway.entrypoint.documents import JsonObject, Text

__all__ = [
    "CachedTokens",
    "CalledFunction",
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
    "ChatTool",
    "ChatToolCall",
    "ChatToolCallDelta",
    "ChatUsage",
    "ChosenTool",
    "Embedding",
    "EmbeddingRequest",
    "EmbeddingUsage",
    "Embeddings",
    "FinishReason",
    "FunctionName",
    "ImageAddress",
    "ImagePart",
    "JsonSchemaFormat",
    "Likelihoods",
    "OfferedFunction",
    "OtherToken",
    "ReasoningTokens",
    "ResponseFormat",
    "StreamOptions",
    "TextPart",
    "TokenLikelihood",
]

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TextPart(_Asked):
    """A part of a message's content that is text."""

    type: Literal["text"]
    text: Text


class ImageAddress(_Asked):
    """Where an image is."""

    url: Text = Field(description="https, or data:MEDIA_TYPE;base64,...")


class ImagePart(_Asked):
    """A part of a message's content that is an image."""

    type: Literal["image_url"]
    image_url: ImageAddress


def _list_of_one(value: object) -> object:
    return [value] if isinstance(value, str) else value


class CalledFunction(BaseModel):
    """A function that the model calls, with its arguments as JSON."""

    name: Text
    arguments: Text

    @field_validator("arguments")
    @classmethod
    def _is_an_object(cls, value: str) -> str:
        try:
            is_object = isinstance(json.loads(value or "{}"), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise ValueError("arguments must be a JSON object, as text")
        return value or "{}"


class ChatToolCall(BaseModel):
    """A call of a tool that the model asked for."""

    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(_Asked):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]] | None = None
    tool_calls: list[ChatToolCall] | None = Field(None, max_length=128)
    tool_call_id: Text | None = None

    @property
    def text(self) -> str:
        """The content as one text, images left out."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""

    @property
    def images(self) -> list[str]:
        """The addresses of the content's images."""
        parts = self.content if isinstance(self.content, list) else []
        return [part.image_url.url for part in parts if isinstance(part, ImagePart)]


class OfferedFunction(_Asked):
    """A function that the model may call."""

    name: Text
    description: Text = ""
    parameters: JsonObject = {"type": "object", "properties": {}}


class ChatTool(_Asked):
    """A tool that the model may call; only functions are."""

    type: Literal["function"]
    function: OfferedFunction


class FunctionName(_Asked):
    """Which function."""

    name: Text


class ChosenTool(_Asked):
    """The one tool that the model must call."""

    type: Literal["function"]
    function: FunctionName


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

    include_usage: StrictBool = False


class ChatRequest(_Asked):
    """What to ask a model."""

    model: Text = Field(
        "default",
        max_length=300,
        description="default, a provider, provider/model, a group of models, or workflow:NAME, which runs a workflow "
        "on the last message.",
    )
    messages: list[ChatMessage] = Field(min_length=1, max_length=10_000)
    temperature: StrictFloat | None = Field(None, ge=0, le=2)
    max_tokens: StrictInt | None = Field(None, ge=1, le=2**31 - 1)
    max_completion_tokens: StrictInt | None = Field(None, ge=1, le=2**31 - 1)
    top_p: StrictFloat | None = Field(None, gt=0, le=1)
    seed: StrictInt | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Annotated[list[Text] | None, BeforeValidator(_list_of_one)] = Field(None, max_length=4)
    response_format: ResponseFormat | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = Field(None, description="One reply is given.")
    tools: list[ChatTool] | None = Field(None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | ChosenTool | None = None
    logprobs: StrictBool | None = None
    top_logprobs: StrictInt | None = Field(None, ge=0, le=20)
    reasoning_effort: Text | None = None
    frequency_penalty: StrictFloat | None = Field(None, ge=-2, le=2)
    presence_penalty: StrictFloat | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, StrictFloat] | None = None
    parallel_tool_calls: StrictBool | None = None
    user: Text | None = Field(
        None, description="Who asks: a workflow with an input of this name gets it."
    )
    conversation: Text | None = Field(
        None, description="Which conversation: a workflow with an input of this name gets it."
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
    content: str | None = Field(description="Null when there are only calls of tools.")
    refusal: None = None
    tool_calls: list[ChatToolCall] | None = None
    reasoning_content: str | None = Field(
        None, description="What the model thought before, where its provider shows it."
    )


class OtherToken(BaseModel):
    """A token, and the natural logarithm of how likely it was."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLikelihood(OtherToken):
    """A token of the reply, with others that could have stood in its place."""

    top_logprobs: list[OtherToken]


class Likelihoods(BaseModel):
    """How likely each token of the reply was."""

    content: list[TokenLikelihood]
    refusal: None = None


class ChatChoice(BaseModel):
    """The one reply."""

    index: Literal[0] = 0
    message: ChatReply
    finish_reason: FinishReason
    logprobs: Likelihoods | None = None


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
    reasoning_content: str | None = None
    tool_calls: list["ChatToolCallDelta"] | None = None


class ChatToolCallDelta(ChatToolCall):
    """A call of a tool, whole, and which of the reply's it is."""

    index: int


class ChatChunkChoice(BaseModel):
    """More of the one reply, or why it ended."""

    index: Literal[0] = 0
    delta: ChatDelta
    finish_reason: FinishReason | None = None
    logprobs: Likelihoods | None = None


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


class EmbeddingRequest(_Asked):
    """What to embed."""

    input: Annotated[list[Annotated[Text, Field(min_length=1)]], BeforeValidator(_list_of_one)] = (
        Field(
            min_length=1,
            max_length=2048,
            description="Texts. Lists of token numbers are not taken.",
        )
    )
    model: Text = Field(
        "default", max_length=300, description="default, a provider, or provider/model."
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: StrictInt | None = Field(None, ge=1, le=100_000)


class Embedding(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(
        description="Numbers, or base64 of 32-bit floats, little-endian."
    )


class EmbeddingUsage(BaseModel):
    """What the texts used; `cost_usd` is ours, an exact decimal, null when the price is unknown."""

    prompt_tokens: int
    total_tokens: int
    cost_usd: str | None


class Embeddings(BaseModel):
    """The vectors, in the texts' order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
