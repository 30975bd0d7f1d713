"""What is asked of a model, and what it answers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import SecretStr

from cadre_llm_proxy.domain.prices import Price, Tokens, sum_of

__all__ = [
    "Abilities",
    "Answer",
    "Ask",
    "Attribution",
    "BudgetWarning",
    "CompletionRequest",
    "Delta",
    "EmbedAsk",
    "Embeddings",
    "FinishReason",
    "Image",
    "Likelihood",
    "Message",
    "Options",
    "Reply",
    "Role",
    "RunBudget",
    "Target",
    "ToolCall",
    "ToolChoice",
    "ToolDefinition",
    "Usage",
    "WrittenCall",
]


class Role(Enum):
    """Who says a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class FinishReason(Enum):
    """Why a reply ended; UNKNOWN when the provider did not say. A BROKEN one its provider gave up: it is never used."""

    UNKNOWN = "unknown"
    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    TOOL_CALLS = "tool_calls"
    BROKEN = "broken"


class ToolChoice(Enum):
    """Whether a model calls tools: as it likes, never, or at least one."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, kw_only=True)
class ToolDefinition:
    """A tool that a model may call. `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call of a tool that a model asks for."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class WrittenCall:
    """A call of a tool as a model wrote it: `arguments` is text that nobody has read yet."""

    id: str
    name: str
    arguments: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture: its bytes and their media type, or where the provider fetches it."""

    data: bytes = field(default=b"", repr=False)
    media_type: str = ""
    url: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a conversation. `tool_call_id` says which call a tool's message is the result of."""

    role: Role
    content: str = field(repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which model is asked, and how. What is empty or None is left to the platform or the provider."""

    provider: str = ""
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    api_base: str = ""
    api_key_env: str = ""
    top_logprobs: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class RunBudget:
    """What one run may spend, with the runs that are steps of it; None is no bound. It `pauses` or fails at it."""

    run_id: str
    usd: Decimal | None = None
    tokens: int | None = None
    pauses: bool = False


@dataclass(frozen=True, kw_only=True)
class BudgetWarning:
    """How a period of a budget stood when it became nearly used up; a limit of None is none."""

    budget: str
    period: str
    used_usd: Decimal
    used_tokens: int
    limit_usd: Decimal | None = None
    limit_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """For whom a call is made. What is empty is unknown; version 0 is a file that was not applied.

    `root_run_id` is the run at the top: `run_id` itself, unless that is a step of another run.
    """

    workflow: str = ""
    version: int = 0
    run_id: str = ""
    node: str = ""
    root_run_id: str = ""
    schedule: str = ""
    api_key: str = ""
    run_budgets: tuple[RunBudget, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CompletionRequest:
    """What to ask. `output_schema` is a JSON Schema that the reply must match; None means free text. A cached reply may
    be `cache_seconds` old; 0 means none."""

    options: Options
    messages: tuple[Message, ...]
    output_schema: Mapping[str, Any] | None
    attribution: Attribution
    timeout_seconds: float
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = ToolChoice.AUTO
    fallbacks: tuple[Options, ...] = ()
    cache_seconds: float = 0.0

    def digest(self) -> str:
        """SHA-256 of everything that shapes the reply. Neither for whom it is asked, nor how long it may
        take or how old its reply may be, does."""
        said = {
            "options": asdict(self.options),
            "messages": [_digested(message) for message in self.messages],
            "schema": self.output_schema,
            "tools": [asdict(tool) for tool in self.tools],
            "tool_choice": self.tool_choice.value,
            "fallbacks": [asdict(options) for options in self.fallbacks],
        }
        text = json.dumps(said, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _digested(message: Message) -> list[Any]:
    images = [
        [image.media_type, image.url, hashlib.sha256(image.data).hexdigest()]
        for image in message.images
    ]
    calls = [asdict(call) for call in message.tool_calls]
    return [message.role.value, message.content, calls, message.tool_call_id, images]


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a model can do by itself; what it cannot is done for it, or refused."""

    tools: bool = True
    schema: bool = True
    images: bool = True
    reasoning: bool = False
    embeddings: bool = False


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model as it is reached: by whom it is served, where, with which key, at what price (None: unknown).

    It takes in `context_tokens` and writes `max_output_tokens` at most (0: unknown).
    """

    provider: str
    model: str
    api_base: str = ""
    api_key: SecretStr | None = None
    price: Price | None = None
    abilities: Abilities = field(default_factory=Abilities)
    context_tokens: int = 0
    max_output_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request to a provider, of what its model can do by itself. `seconds` is all the time it has."""

    target: Target
    options: Options
    messages: tuple[Message, ...]
    output_schema: Mapping[str, Any] | None
    seconds: float
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = ToolChoice.AUTO


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What a model wrote, as it writes: a part of its reply, of what it thinks before (`reasoning`), or of its calls of
    tools, which are shown when they are whole. `used` is what the provider says was used so far, if it does."""

    text: str = field(default="", repr=False)
    reasoning: str = field(default="", repr=False)
    calls: str = field(default="", repr=False)
    used: Tokens | None = None

    @property
    def is_shown(self) -> bool:
        """Whether there is something in it for a reader."""
        return bool(self.text or self.reasoning)


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """How likely a token was, as a natural logarithm; `others` are what else could have stood there."""

    token: str = field(repr=False)
    logprob: float
    others: tuple["Likelihood", ...] = ()


@dataclass(frozen=True, kw_only=True)
class EmbedAsk:
    """Texts to be embedded by one request to a provider. `dimensions` None leaves their number to the model."""

    target: Target
    texts: tuple[str, ...] = field(repr=False)
    dimensions: int | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """A vector for each text, in order: 32-bit floats, little-endian, one after another."""

    vectors: tuple[bytes, ...] = field(repr=False)
    model: str
    tokens: Tokens | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a provider sent back. `tokens` is None when it did not say what it used, `service` empty when it did not say
    which of its services the request got."""

    content: str = field(repr=False)
    finish_reason: FinishReason
    model: str
    tokens: Tokens | None
    tool_calls: tuple[WrittenCall, ...] = ()
    reasoning: str = field(default="", repr=False)
    likelihoods: tuple[Likelihood, ...] = ()
    service: str = ""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What calls used together. `cost_usd` is None when the price of any of them is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = Decimal(0)
    calls: int = 0
    unpriced_calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        cost = None
        if self.cost_usd is not None and other.cost_usd is not None:
            cost = sum_of(self.cost_usd, other.cost_usd)
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=cost,
            calls=self.calls + other.calls,
            unpriced_calls=self.unpriced_calls + other.unpriced_calls,
        )


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole reply. `usage` covers every request to the provider that it took, `warnings` are of the budgets that
    these brought near their limits; of a cached one both are nothing."""

    content: str = field(repr=False)
    finish_reason: FinishReason
    provider: str
    model: str
    usage: Usage
    latency_ms: int
    call_id: str
    replayed: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = field(default="", repr=False)
    likelihoods: tuple[Likelihood, ...] = ()
    dropped_options: tuple[str, ...] = ()
    cached: bool = False
    warnings: tuple[BudgetWarning, ...] = ()
