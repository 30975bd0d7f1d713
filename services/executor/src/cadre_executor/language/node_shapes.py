"""The shape of a node: what it does, with what, and what becomes of its result."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Discriminator, Field, Tag

from cadre_executor.language.shapes import (
    LONG,
    SHORT,
    OneOrMore,
    OutputForm,
    Shape,
    form_of,
)

MAX_OUTPUTS = 200
MAX_TOOLS = 50
MAX_CONCURRENCY = 100
"""Items of one node that are worked on at once."""
DEFAULT_TOP_K = 5
LONGEST_WAIT = 30 * 86_400
"""Seconds that a node, or the person whom it asks, may take."""


class ModelShape(Shape):
    """Which model, and how it is asked."""

    provider: str | None = Field(
        None,
        pattern=r"^[a-z0-9_]+$",
        description="openai, anthropic, google, ollama, embedded, openai_compatible (with api_base), or another.",
    )
    model: str | None = Field(
        None, min_length=1, max_length=200, description="As the provider names it."
    )
    temperature: float | None = Field(None, ge=0, le=2, description="0 (sure) to 2 (wild).")
    max_tokens: int | None = Field(
        None, ge=1, le=1_000_000, description="The longest reply, in tokens."
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="Share of likely tokens to choose among."
    )
    seed: int | None = Field(
        None, ge=-(2**63), le=2**63 - 1, description="Repeats a choice, where it can."
    )
    stop: OneOrMore | None = Field(None, description="Texts that end the reply.")
    api_base: str | None = Field(
        None, pattern=r"^https?://[^\s]+$", description="Where the provider's API is."
    )
    api_key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The environment variable that holds the key; never the key itself.",
    )
    params: dict[str, Any] | None = Field(
        None,
        max_length=50,
        description="Goes to the provider as it is, such as {reasoning_effort: low}.",
    )


ModelForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[ModelShape, Tag(LONG)], Discriminator(form_of)
]
"""Short: `provider/model`. Long: a mapping."""


class LlmOptionsShape(ModelShape):
    """Which model, how it is asked, and which are asked when it cannot answer."""

    fallbacks: list[ModelForm] | None = Field(
        None,
        max_length=10,
        description="Models that are asked in order when this one cannot answer.",
        examples=[["openai/gpt-4o-mini", {"provider": "embedded"}]],
    )


class LlmDefaultsShape(LlmOptionsShape):
    """Which model all nodes use that do not say otherwise."""

    providers: dict[str, LlmOptionsShape] | None = Field(
        None,
        max_length=50,
        description="Defaults of single providers, used by nodes that name one.",
    )


class ResourcesShape(Shape):
    """What a program may use, in detail."""

    cpu: float | None = Field(None, gt=0, le=64, description="Processors; in mode docker.")
    cpu_seconds: float | None = Field(None, gt=0, le=300, description="CPU time, in seconds.")
    memory_mb: int | None = Field(None, ge=32, le=65_536, description="Memory, in MiB.")
    memory: str | None = Field(
        None, pattern=r"^[0-9]{1,6}[mMgG][bB]?$", description="Memory, such as 256m or 1g."
    )
    timeout: float | None = Field(None, gt=0, le=3600, description="Seconds.")


class SandboxShape(Shape):
    """How a program is run."""

    mode: Literal["python", "docker"] | None = Field(
        None, description="python (default): a restricted Python, confined. docker: a container."
    )
    preset: Literal["low", "medium", "high", "max"] | None = Field(
        None,
        validation_alias=AliasChoices("preset", "resource_preset"),
        description="low 256 MiB 30 s, medium 512 MiB 60 s, high 1 GiB 120 s, max 2 GiB 300 s.",
    )
    timeout: float | None = Field(
        None,
        gt=0,
        le=3600,
        validation_alias=AliasChoices("timeout", "timeout_seconds"),
        description="Seconds, at most 300.",
    )
    enabled: Literal[True] | None = Field(
        None, description="Always true: code runs in the sandbox."
    )
    network: bool | list[str] | None = Field(
        None,
        validation_alias=AliasChoices("network", "network_enabled"),
        description="Hosts that it may reach, in mode docker; true: all that the operator allows.",
    )
    resources: ResourcesShape | None = Field(None, description="In place of the preset's values.")
    packages: list[str] | None = Field(
        None, max_length=50, description="Python packages that it needs; in mode docker."
    )
    files: dict[str, str] | None = Field(
        None,
        max_length=50,
        description="Files that it finds in its folder: their content by their path, templates.",
    )


MemoryScope = Literal["agent", "workflow", "node", "conversation", "user", "run", "shared"]


class MemoryShape(Shape):
    """What a memory node does; without `action`, what an llm node remembers."""

    action: Literal["load", "save", "search", "append", "delete"] | None = Field(
        None,
        description="load gives null when there is nothing; search gives a list of {key, value, score}."
        " With scope: conversation and no `key`, append adds a message, and load gives the newest messages as a list of"
        " {role, name, text}.",
    )
    scope: MemoryScope | None = Field(
        None,
        description="workflow (default), node and run: this one's own memories; shared: those of all workflows; agent,"
        " conversation and user: those of the one that `namespace` begins with.",
    )
    namespace: OneOrMore | None = Field(
        None,
        description="A path within the scope, such as users/{state.user} or a list of its segments.",
        examples=["chat_history", "users/{state.user}"],
    )
    key: str | None = Field(
        None, min_length=1, description="For load, save, append and delete; a template."
    )
    value: Any = Field(
        None, description="For save and append: any value; texts in it are templates."
    )
    query: str | None = Field(None, min_length=1, description="For search; a template.")
    top_k: int | None = Field(
        None,
        ge=1,
        le=100,
        description="For search, and on an llm node: at most so many. Default 5.",
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="On an llm node: at most so many tokens of memories go before the prompt; for load of a"
        " conversation: at most so many of it. Default 1000.",
    )
    role: Literal["user", "assistant", "system", "tool"] | None = Field(
        None, description="For append to a conversation: who says it. Default user."
    )
    learn: bool | None = Field(
        None,
        description="On an llm node, and for append to a conversation: a model learns facts from what is said, in the"
        " background. Default: what config.memory says, else false.",
    )
    summary_tokens: int | None = Field(
        None,
        ge=100,
        le=1_000_000,
        description="On an llm node, and for append to a conversation: above so many tokens a model summarizes the"
        " older part, in the background; load and an llm node's prompt then begin with it. Default: as config.memory"
        " says.",
    )
    ttl_seconds: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("ttl_seconds", "ttl"),
        description="For save: forgotten after so many seconds. Default never.",
    )


class ToolShape(Shape):
    """A tool, and how it is used."""

    name: str = Field(
        min_length=1, max_length=200, description="The tool's name, or mcp:<server>/<tool>."
    )
    on_error: Literal["fail", "continue"] | None = Field(
        None,
        description="fail (default) fails the node; continue tells the model, or the next node.",
    )
    config: dict[str, Any] | None = Field(
        None, max_length=50, description="The tool's own settings."
    )


ToolForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[ToolShape, Tag(LONG)], Discriminator(form_of)
]
"""Short: the name alone. Long: a mapping."""


class SubworkflowShape(Shape):
    """Another workflow, and which version of it."""

    name: str = Field(min_length=1, max_length=100, description="The applied workflow's name.")
    version: int | None = Field(None, ge=1, description="Which version. Default the newest.")


SubworkflowForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[SubworkflowShape, Tag(LONG)], Discriminator(form_of)
]


class ForEachShape(Shape):
    """Does the node once for each item of a list."""

    items: str | list[Any] = Field(
        description="The list: a reference such as {state.urls}, or the items themselves.",
        examples=["{state.urls}"],
    )
    as_: str | None = Field(
        None,
        alias="as",
        description="What the node calls an item; its place is the same with _index. Default item.",
    )
    max_concurrency: int | None = Field(
        None,
        ge=1,
        le=MAX_CONCURRENCY,
        description="So many items are worked on at once. Default 8.",
    )
    collect: str | None = Field(
        None, description="The state field that takes the list of results, in the items' order."
    )


class CacheShape(Shape):
    """Takes an earlier result of equal inputs again."""

    ttl_seconds: float = Field(
        gt=0, le=366 * 86_400, description="A result that is not older is taken again."
    )


class RetryShape(Shape):
    """How often a node is tried."""

    max_attempts: int | None = Field(None, ge=1, le=20, description="Tries in all. Default 3.")
    backoff_seconds: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="Pause before the next try, doubled each time up to 60. Default 1.",
    )
    on: list[str] | None = Field(
        None,
        max_length=50,
        description="Codes or kinds of errors that are tried again. Default: those that may pass by themselves.",
        examples=[["UNAVAILABLE", "MODEL_OUTPUT_INVALID"]],
    )


OutputsForm = Annotated[
    Annotated[list[str], Tag(SHORT)] | Annotated[dict[str, str], Tag(LONG)], Discriminator(form_of)
]


class NodeShape(Shape):
    """One step; `prompt` asks a model, `code` runs a program, `memory` remembers, `tool` calls a tool, `workflow`
    runs another workflow, `agent` hands the work to a remote agent, `type: approval` asks a person."""

    id: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\W\d]\w*$",
        description="Names the node: letters, digits and _, not first a digit.",
    )
    type: Literal["llm", "code", "memory", "tool", "workflow", "approval", "agent"] | None = Field(
        None, description="Only needed where its other keys do not say it."
    )
    name: str | None = Field(
        None, max_length=200, description="What diagrams show. Default its id."
    )
    description: str | None = Field(None, description="What it is for.")
    inputs: dict[str, Any] | None = Field(
        None,
        max_length=100,
        description="Its own names for values: templates, read before the state's fields.",
        examples=[{"query": "{state.topic}"}],
    )
    prompt: str | None = Field(
        None,
        description="What the model, or the agent, is asked: text with {state.field}; {{ and }} are literal braces.",
    )
    system: str | None = Field(None, description="What the model is told about itself; a template.")
    llm: LlmOptionsShape | None = Field(None, description="Which model, before config.llm.")
    tools: list[ToolForm] | None = Field(
        None, max_length=MAX_TOOLS, description="Tools that the model may call."
    )
    max_steps: int | None = Field(
        None,
        ge=1,
        le=100,
        description="So often the model is asked at most when it calls tools. Default 8.",
    )
    stream: bool | None = Field(
        None, description="Whether the reply is shown while it is written. Default false."
    )
    code: str | None = Field(
        None,
        max_length=200_000,
        description="A Python program. Its inputs are variables; it leaves `result`, or prints.",
    )
    sandbox: SandboxShape | None = Field(None, description="How the program is run.")
    memory: MemoryShape | None = Field(None, description="What is remembered.")
    tool: ToolForm | None = Field(None, description="The tool that a node of type tool calls.")
    arguments: dict[str, Any] | None = Field(
        None,
        max_length=100,
        description="What the tool is called with; texts in it are templates.",
    )
    workflow: SubworkflowForm | None = Field(
        None, description="Another workflow, run on the node's inputs; its outputs are the result."
    )
    agent: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,100}$",
        description="A registered remote agent; it gets the prompt as text, or without one the inputs as data.",
    )
    message: str | None = Field(
        None, description="What a person is asked, on a node of type approval; a template."
    )
    choices: list[str] | None = Field(
        None,
        min_length=1,
        max_length=20,
        description="What the person may choose. Default approve, reject.",
    )
    on_timeout: str | None = Field(
        None, description="The choice when nobody answers in time. Default: the node fails."
    )
    for_each: ForEachShape | None = Field(
        None, description="Does the node once for each item of a list."
    )
    cache: CacheShape | None = Field(
        None, description="Takes an earlier result of equal inputs again."
    )
    output_schema: OutputForm | None = Field(
        None, description="What the result must be; a model is held to it."
    )
    outputs: OutputsForm | None = Field(
        None,
        max_length=MAX_OUTPUTS,
        description="State fields that take the result: a list of names, or {field: path in the result}.",
        examples=[["mood"], {"mood": "analysis.mood"}],
    )
    timeout: float | None = Field(
        None,
        gt=0,
        le=LONGEST_WAIT,
        validation_alias=AliasChoices("timeout", "timeout_seconds"),
        description="Seconds for one try; of an approval, for the person's answer.",
    )
    retry: RetryShape | None = Field(None, description="How often it is tried.")
    on_error: str | None = Field(
        None,
        pattern=r"^(fail|continue|goto:\s*\w+)$",
        description="fail (default) ends the run, continue goes on without its outputs, goto:<node>.",
    )
    when: str | bool | None = Field(
        None, description="A condition; when it is false the node is skipped."
    )
