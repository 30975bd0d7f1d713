"""The shape of a workflow file: which keys there are and what each holds.

The published JSON Schema is made of these.
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Discriminator, Field, Tag

SHORT = "<short>"
LONG = "<long>"
"""Name the branches of a union in pydantic's locations; no key of a file can be mistaken for one."""

MAX_NODES = 500
MAX_FIELDS = 500
MAX_EDGES = 2000
MAX_OUTPUTS = 200


def _form(value: Any) -> str:
    return LONG if isinstance(value, (dict, BaseModel)) else SHORT


def _list_form(value: Any) -> str:
    return LONG if isinstance(value, list) else SHORT


OneOrMore = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[list[str], Tag(LONG)], Discriminator(_list_form)
]


class Shape(BaseModel):
    """A mapping of the file; other keys than its own are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class FlowShape(Shape):
    """What the workflow is."""

    name: str = Field(
        min_length=1,
        max_length=100,
        description="Names the workflow: letters, digits, _ and -.",
        examples=["triage"],
    )
    description: str | None = Field(None, description="What it does.")
    version: str | None = Field(
        None, coerce_numbers_to_str=True, description="The author's own version, kept as written."
    )
    tags: list[str] | None = Field(None, max_length=50, description="Words to find it by.")
    author: str | None = Field(None, description="Who wrote it.")


class LimitsShape(Shape):
    """What a value must keep to."""

    enum: list[Any] | None = Field(None, max_length=500, description="The only values allowed.")
    min: float | None = Field(None, description="The least number allowed.")
    max: float | None = Field(None, description="The greatest number allowed.")
    min_length: int | None = Field(None, ge=0, description="The fewest characters or items.")
    max_length: int | None = Field(None, ge=0, description="The most characters or items.")
    pattern: str | None = Field(
        None,
        max_length=1000,
        description="A regular expression found somewhere in the text; no look-around.",
    )


_TYPE = "str, int, float, bool, any, list, dict, list[T], dict[K, V], object (with its fields), or T | null."


class FieldShape(LimitsShape):
    """A field of the state, or of an object."""

    type: str = Field(description=_TYPE, examples=["str", "int", "list[str]", "str | null"])
    required: bool | None = Field(
        None, description="A run is refused without it. Not together with default."
    )
    default: Any = Field(None, description="Its value when none is given.")
    description: str | None = Field(None, description="What it holds.")
    schema_: "dict[str, FieldForm] | None" = Field(
        None,
        alias="schema",
        max_length=MAX_FIELDS,
        description="The fields of `object` in its type, by name.",
    )


FieldForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[FieldShape, Tag(LONG)], Discriminator(_form)
]
"""Short: the type alone. Long: a mapping."""


class StateFieldShape(FieldShape):
    """A field of the state."""

    reducer: Literal["replace", "append", "merge", "sum", "min", "max"] | None = Field(
        None, description="How writes of parallel branches combine. Default replace."
    )


StateFieldForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[StateFieldShape, Tag(LONG)], Discriminator(_form)
]


class StateShape(Shape):
    """What the workflow's nodes read and write."""

    fields: dict[str, StateFieldForm] = Field(
        default_factory=dict,
        max_length=MAX_FIELDS,
        description="The fields, by name. The run's inputs and outputs are fields too.",
    )


class OutputFieldShape(LimitsShape):
    """A field of a node's result."""

    name: str = Field(min_length=1, max_length=100, description="The field's name.")
    type: str = Field(description=_TYPE)
    required: bool | None = Field(
        None, description="Whether it must be there; when false it may be null. Default true."
    )
    description: str | None = Field(None, description="What it holds; models read this.")
    schema_: dict[str, FieldForm] | None = Field(
        None,
        alias="schema",
        max_length=MAX_FIELDS,
        description="The fields of `object` in its type.",
    )
    items: "OutputForm | None" = Field(None, description="For type array: what its items are.")


class OutputShape(LimitsShape):
    """What a node's result must be."""

    type: str = Field(description=_TYPE, examples=["str", "object"])
    fields: list[OutputFieldShape] | None = Field(
        None, max_length=MAX_FIELDS, description="For type object: its fields."
    )
    schema_: dict[str, FieldForm] | None = Field(
        None,
        alias="schema",
        max_length=MAX_FIELDS,
        description="For type object: its fields, by name.",
    )
    items: "OutputForm | None" = Field(None, description="For type array: what its items are.")
    description: str | None = Field(None, description="What it is; models read this.")


OutputForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[OutputShape, Tag(LONG)], Discriminator(_form)
]


class LlmOptionsShape(Shape):
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


class LlmDefaultsShape(LlmOptionsShape):
    """Which model all nodes use that do not say otherwise."""

    providers: dict[str, LlmOptionsShape] | None = Field(
        None,
        max_length=50,
        description="Defaults of single providers, used by nodes that name one.",
    )


class ResourcesShape(Shape):
    """What a program may use, in detail."""

    cpu: float | None = Field(
        None, gt=0, le=64, description="Processors. Has no effect in mode python."
    )
    cpu_seconds: float | None = Field(None, gt=0, le=300, description="CPU time, in seconds.")
    memory_mb: int | None = Field(None, ge=32, le=2048, description="Memory, in MiB.")
    memory: str | None = Field(
        None, pattern=r"^[0-9]{1,6}[mMgG][bB]?$", description="Memory, such as 256m or 1g."
    )
    timeout: float | None = Field(None, gt=0, le=3600, description="Seconds.")


class SandboxShape(Shape):
    """How a program is run."""

    mode: Literal["python"] | None = Field(None, description="A restricted Python, confined.")
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
    network: bool | None = Field(
        None,
        validation_alias=AliasChoices("network", "network_enabled"),
        description="Has no effect: programs have no network.",
    )
    resources: ResourcesShape | None = Field(None, description="In place of the preset's values.")


class MemoryShape(Shape):
    """What a memory node does."""

    action: Literal["load", "save", "search", "delete"] = Field(
        description="load gives null when there is nothing; search gives a list of {key, value, score}."
    )
    scope: Literal["workflow", "shared"] | None = Field(
        None,
        description="workflow (default): this workflow's memories; shared: those of all workflows.",
    )
    namespace: OneOrMore | None = Field(
        None,
        description="A path within the scope, such as users/{state.user} or a list of its segments.",
        examples=["chat_history", "users/{state.user}"],
    )
    key: str | None = Field(
        None, min_length=1, description="For load, save and delete; a template."
    )
    value: Any = Field(None, description="For save: any value; texts in it are templates.")
    query: str | None = Field(None, min_length=1, description="For search; a template.")
    top_k: int | None = Field(
        None, ge=1, le=100, description="For search: at most so many. Default 5."
    )
    ttl_seconds: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("ttl_seconds", "ttl"),
        description="For save: forgotten after so many seconds. Default never.",
    )


class RetryShape(Shape):
    """How often a node is tried."""

    max_attempts: int | None = Field(None, ge=1, le=20, description="Tries in all. Default 3.")
    backoff_seconds: float | None = Field(
        None, ge=0, le=3600, description="Pause before the next try, doubled each time. Default 1."
    )
    on: list[str] | None = Field(
        None,
        max_length=50,
        description="Error codes that are tried again. Default: those that may pass by themselves.",
        examples=[["UNAVAILABLE", "MODEL_OUTPUT_INVALID"]],
    )


OutputsForm = Annotated[
    Annotated[list[str], Tag(SHORT)] | Annotated[dict[str, str], Tag(LONG)], Discriminator(_form)
]


class NodeShape(Shape):
    """One step: `prompt` asks a model, `code` runs a program, `memory` remembers."""

    id: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\W\d]\w*$",
        description="Names the node: letters, digits and _, not first a digit.",
    )
    type: Literal["llm", "code", "memory"] | None = Field(
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
        description="What the model is asked: text with {state.field}; {{ and }} are literal braces.",
    )
    system: str | None = Field(None, description="What the model is told about itself; a template.")
    llm: LlmOptionsShape | None = Field(None, description="Which model, before config.llm.")
    code: str | None = Field(
        None,
        max_length=200_000,
        description="A Python program. Its inputs are variables; it leaves `result`, or prints.",
    )
    sandbox: SandboxShape | None = Field(None, description="How the program is run.")
    memory: MemoryShape | None = Field(None, description="What is remembered.")
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
        le=86_400,
        validation_alias=AliasChoices("timeout", "timeout_seconds"),
        description="Seconds for one try.",
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


class LogicShape(Shape):
    """A condition, in the first generation's form."""

    logic: str | bool = Field(description="A condition, or default.")


ConditionForm = Annotated[
    Annotated[str | bool, Tag(SHORT)] | Annotated[LogicShape, Tag(LONG)], Discriminator(_form)
]


class RouteShape(Shape):
    """One way of several."""

    condition: ConditionForm = Field(
        description="An expression over the state, or default.",
        examples=["state.score >= 7", "default"],
    )
    to: OneOrMore = Field(description="Where it leads: a node, END, or several at once.")


class LoopShape(Shape):
    """Goes back until a condition holds."""

    to: str | None = Field(None, description="The node it goes back to. Default the edge's own.")
    max_iterations: int | None = Field(
        None, ge=1, le=1000, description="It goes back at most so often. Default 10."
    )
    until: str | bool | None = Field(None, description="A condition that ends it.")
    condition_field: str | None = Field(
        None, description="A bool field that ends it, in place of until."
    )
    exit_to: OneOrMore | None = Field(
        None, description="Where it goes on. Default the node's other edges, else END."
    )


class EdgeShape(Shape):
    """A way from a node: `to`, `routes` or `loop`."""

    from_: OneOrMore = Field(alias="from", description="A node, START, or several nodes.")
    to: OneOrMore | None = Field(None, description="A node, END, or several, all at once.")
    condition: ConditionForm | None = Field(
        None,
        description="Taken when it holds; the node's edges are asked in order.",
    )
    routes: list[RouteShape] | None = Field(
        None, min_length=1, max_length=200, description="The first whose condition holds is taken."
    )
    loop: LoopShape | None = Field(
        None, description="Goes back to a node, a bounded number of times."
    )


class ExecutionShape(Shape):
    """Bounds of a run."""

    timeout: float | None = Field(
        None,
        gt=0,
        le=7 * 86_400,
        validation_alias=AliasChoices("timeout", "timeout_seconds"),
        description="Seconds for the whole run. Default 3600.",
    )
    max_retries: int | None = Field(
        None, ge=0, le=19, description="Further tries of a node that names no retry. Default 0."
    )
    max_concurrency: int | None = Field(
        None, ge=1, le=1000, description="Nodes that run at once. Default 16."
    )
    max_steps: int | None = Field(
        None, ge=1, le=100_000, description="Nodes that a run visits at most. Default 1000."
    )


class MemoryDefaultsShape(Shape):
    """What all memory nodes share."""

    namespace: OneOrMore | None = Field(None, description="The namespace of nodes that name none.")
    ttl_seconds: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("ttl_seconds", "default_ttl"),
        description="Saved values are forgotten after so many seconds. Default never.",
    )


class ConfigShape(Shape):
    """What holds for the whole workflow."""

    llm: LlmDefaultsShape | None = Field(None, description="Which model nodes use that name none.")
    execution: ExecutionShape | None = Field(None, description="Bounds of a run.")
    memory: MemoryDefaultsShape | None = Field(None, description="What memory nodes share.")


class FileShape(Shape):
    """A workflow that Cadre runs."""

    schema_version: Literal["1.0"] | None = Field(None, description="The language's version.")
    flow: FlowShape = Field(description="What the workflow is.")
    state: StateShape = Field(
        default_factory=StateShape, description="What its nodes read and write."
    )
    nodes: list[NodeShape] = Field(
        min_length=1, max_length=MAX_NODES, description="The steps.", examples=[]
    )
    edges: list[EdgeShape] | None = Field(
        None,
        max_length=MAX_EDGES,
        description="The ways between them. Left out: the nodes run in the file's order.",
    )
    config: ConfigShape | None = Field(None, description="What holds for the whole workflow.")
