"""A workflow as the engine sees it: checked, typed, its templates and conditions compiled.

The language (`language/`) makes these from a file; nothing here knows YAML.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any, Protocol, TypeAlias, runtime_checkable

from cadre_kit.errors import InvalidInput

START = "START"
END = "END"

State: TypeAlias = Mapping[str, Any]
"""State fields by name; every value is JSON."""


class ValueRefused(InvalidInput):
    """A value does not fit its type or limits."""

    code = "VALUE_REFUSED"


class NamespaceUnknown(InvalidInput):
    """A segment of a memory's namespace has no value: as `null` it would be one place for all who have none."""

    code = "NAMESPACE_UNKNOWN"

    def __init__(self) -> None:
        super().__init__(
            "what names a segment of the memory's namespace has no value",
            resolution="Start the run with a value for the field that the namespace names, or give it a default.",
        )


class ValueType(Protocol):
    """A type of the language, with its limits."""

    @property
    def text(self) -> str:
        """As the language writes it, such as `list[str]`."""

    def accept(self, value: object) -> Any:
        """The value coerced where nothing is lost ("3" to 3). Raises ValueRefused saying what it should be."""

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of its values, limits included, every object closed and all its fields required."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a template or condition can name: `state.x`, and a node's own inputs."""

    state: State
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """A text without the values that are not known; `missing` names them: state fields as `state.x`, else inputs."""

    text: str
    missing: frozenset[str] = frozenset()


@runtime_checkable
class Template(Protocol):
    """Text with `{state.x}` in it. Values are inserted as data, never parsed again."""

    def render(self, scope: Scope) -> str:
        """The text, values that are not text written as JSON."""

    def resolve(self, scope: Scope) -> Any:
        """The value itself when the template is one lone reference, else the text."""

    def sketch(self, scope: Scope) -> "Sketch":
        """What is known of the text when the scope has only some of the values."""


class Segment(Template, Protocol):
    """A template of one segment of a namespace."""

    def lacks(self, scope: Scope) -> bool:
        """Whether something that it names is null."""


class Condition(Protocol):
    """An expression over the state."""

    @property
    def text(self) -> str:
        """As the file writes it."""

    def holds(self, scope: Scope) -> bool:
        """Whether it is true. Raises ConditionFailed when it cannot be computed (an index out of range)."""

    def values(self, scope: Scope) -> Mapping[str, Any]:
        """What it reads, by the name that the file gives it; what has no value is left out."""


class Reducer(Enum):
    """How writes to one field combine."""

    REPLACE = "replace"
    APPEND = "append"
    MERGE = "merge"
    SUM = "sum"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, kw_only=True)
class StateField:
    """One field of the state. `default` counts only when `required` is false."""

    name: str
    type: ValueType
    required: bool = False
    default: Any = None
    description: str = ""
    reducer: Reducer = Reducer.REPLACE


@dataclass(frozen=True, kw_only=True)
class Output:
    """Which part of a node's result goes into which field: `path` () is the whole, ("a", "b") the value at a.b."""

    field: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a node is tried, and the pause before each further try, doubled each time up to a minute.

    `on` holds the codes of the errors that are tried again, or their kinds; empty means those that may pass by
    themselves.
    """

    max_attempts: int = 1
    backoff_seconds: float = 1.0
    on: frozenset[str] = frozenset()


class OnError(Enum):
    """What a node's failure does to the run."""

    FAIL = "fail"
    CONTINUE = "continue"


@dataclass(frozen=True, kw_only=True)
class Goto:
    """A node's failure sends the run to another node."""

    node: str


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model, and how it is asked; empty and None leave it to the platform or the provider.

    `fallbacks` are asked in order when the model cannot answer; they have none of their own. `params` goes to the
    provider as it is.
    """

    provider: str = ""
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    api_base: str = ""
    api_key_env: str = ""
    fallbacks: tuple["ModelChoice", ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MemoryPlace:
    """A namespace: fixed segments, then, in a run's own, the run's id, then templates."""

    fixed: tuple[str, ...]
    segments: tuple[Segment, ...] = ()
    of_run: bool = False

    def path(self, scope: Scope, *, run_id: str) -> list[str]:
        """Its segments; a value that was put in stays one of them. Raises NamespaceUnknown."""
        own = [run_id] if self.of_run else []
        return [*self.fixed, *own, *(_segment(each, scope) for each in self.segments)]


def _segment(segment: Segment, scope: Scope) -> str:
    if segment.lacks(scope):
        raise NamespaceUnknown
    return segment.render(scope)


@dataclass(frozen=True, kw_only=True)
class ToolUse:
    """A tool that a node may call. `name` is the catalogue's, or `mcp:<server>/<tool>`; `config` is the tool's own.

    `on_error` CONTINUE tells the model, or the next node, of a failure instead of failing the node. `place` is what a
    tool that remembers is given, and all that it reaches; no other tool has one.
    """

    name: str
    on_error: OnError = OnError.FAIL
    config: Mapping[str, Any] = field(default_factory=dict)
    place: MemoryPlace | None = None


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What is made of a conversation in the background: a summary above so many tokens (0 for none), facts that are
    learned. `model` is asked."""

    summary_tokens: int = 0
    learn: bool = False
    model: ModelChoice = ModelChoice()


@dataclass(frozen=True, kw_only=True)
class Recall:
    """What an llm node remembers: the `top_k` best matches for its prompt in `place`, at most `max_tokens` of them,
    go before the prompt, and the exchange is added to the conversation there after the reply. With a `top_k` of 0
    nothing goes before it."""

    place: MemoryPlace
    top_k: int = 5
    max_tokens: int = 1000
    upkeep: Upkeep = Upkeep()


@dataclass(frozen=True, kw_only=True)
class LlmAction:
    """Asks a model, up to `max_steps` times when it calls tools; the last time without tools."""

    prompt: Template
    system: Template | None = None
    model: ModelChoice = ModelChoice()
    tools: tuple[ToolUse, ...] = ()
    max_steps: int = 8
    stream: bool = False
    recall: Recall | None = None


class SandboxMode(Enum):
    """How code is run."""

    PYTHON = "python"
    DOCKER = "docker"


@dataclass(frozen=True, kw_only=True)
class SandboxLimits:
    """What a program may use; None and empty mean the sandbox's default."""

    mode: SandboxMode = SandboxMode.PYTHON
    preset: str = ""
    timeout_seconds: float | None = None
    cpu_seconds: float | None = None
    cpus: float | None = None
    memory_mb: int | None = None
    packages: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    files: Mapping[str, Template] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CodeAction:
    """Runs a program in the sandbox; its result is the variable `result`, or what it printed when that is not set."""

    code: str
    limits: SandboxLimits = SandboxLimits()


class MemoryVerb(Enum):
    """What a memory node does. `load` of what is not there gives null. Without a key, `load` gives the end of the
    conversation, and `append` adds to it."""

    LOAD = "load"
    SAVE = "save"
    SEARCH = "search"
    DELETE = "delete"
    APPEND = "append"


@dataclass(frozen=True, kw_only=True)
class MemoryAction:
    """Reads or writes memory. Save and delete have a key, load and append may have one, search has a query.

    `max_tokens` is how much of a conversation is loaded, `role` who says what is added to it.
    """

    verb: MemoryVerb
    place: MemoryPlace
    key: Template | None = None
    value: Template | None = None
    query: Template | None = None
    top_k: int = 5
    max_tokens: int = 1000
    ttl_seconds: float = 0.0
    role: str = "user"
    upkeep: Upkeep = Upkeep()


@dataclass(frozen=True, kw_only=True)
class ToolAction:
    """Calls one tool, without a model. An argument that is text may be a template; its value keeps its type."""

    tool: ToolUse
    arguments: Mapping[str, Template] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkflowAction:
    """Runs another applied workflow on the node's inputs; its result is that run's outputs. `version` 0: the newest."""

    workflow: str
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class ApprovalAction:
    """Waits for a person's choice; its result is {"choice": ..., "comment": ..., "by": ...}.

    `on_timeout` is one of the choices, or empty: the node then fails.
    """

    message: Template
    choices: tuple[str, ...] = ("approve", "reject")
    timeout_seconds: float | None = None
    on_timeout: str = ""


@dataclass(frozen=True, kw_only=True)
class AgentAction:
    """Hands work to a registered remote agent: the prompt as text, or without one the node's inputs as data."""

    agent: str
    prompt: Template | None = None


Action: TypeAlias = (
    LlmAction
    | CodeAction
    | MemoryAction
    | ToolAction
    | WorkflowAction
    | ApprovalAction
    | AgentAction
)


@dataclass(frozen=True, kw_only=True)
class ForEach:
    """Does the node's action once for each of `items`, at most `max_concurrency` at once.

    The item is a local input by the name `item_name` (its place, from 0, by `item_name`_index), which the node's own
    inputs may name too; `when` is asked once, before there are items. The node's result is the list of results, in the
    items' order; its `outputs` take lists of their parts, and `result_type` is that of one item's result.
    """

    items: Template
    item_name: str = "item"
    max_concurrency: int = 8


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step. Its action's result, checked by `result_type` where there is one, goes into the state by `outputs`.

    `cache_seconds`: a result of equal inputs that is not older is taken again; 0 means never.
    """

    id: str
    action: Action
    label: str = ""
    description: str = ""
    inputs: Mapping[str, Template] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    result_type: ValueType | None = None
    timeout_seconds: float | None = None
    retry: Retry = Retry()
    on_error: OnError | Goto = OnError.FAIL
    when: Condition | None = None
    for_each: ForEach | None = None
    cache_seconds: float = 0.0

    @property
    def kind(self) -> str:
        """The language's word for what it does."""
        match self.action:
            case LlmAction():
                return "llm"
            case CodeAction():
                return "code"
            case MemoryAction():
                return "memory"
            case ToolAction():
                return "tool"
            case WorkflowAction():
                return "workflow"
            case ApprovalAction():
                return "approval"
            case AgentAction():
                return "agent"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One way out of a node: to all of `targets` (node ids or END) at once, if `condition` holds; None always holds."""

    targets: tuple[str, ...]
    condition: Condition | None = None


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Goes back to `to` until `until` holds or it was taken `max_iterations` times, then on to `exits`.

    Empty `exits` means the node's other ways out.
    """

    to: str
    max_iterations: int
    until: Condition | None = None
    exits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Exits:
    """The ways out of a node, in the file's order; the first rule that holds is taken. A loop is asked first."""

    rules: tuple[Rule, ...] = ()
    loop: Loop | None = None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a run. `max_concurrent_runs`: how many runs of the workflow go on at once, on all executors; the others
    are queued, in order. None is no bound. `max_visits`: how often one node may be visited through cycles that no loop
    bounds."""

    timeout_seconds: float = 3600.0
    max_concurrency: int = 16
    max_visits: int = 10
    max_steps: int = 1000
    max_concurrent_runs: int | None = None


class OnExceed(Enum):
    """What happens to a run whose budget is used up."""

    FAIL = "fail"
    PAUSE = "pause"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run with its sub-workflows may spend on models; None is no bound."""

    usd: Decimal | None = None
    tokens: int | None = None
    on_exceed: OnExceed = OnExceed.FAIL


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """An MCP server that the workflow's tools come from: by `url` (streamable HTTP), or, without one, the one that the
    operator configured under the same name. `tools` are those that may be used; empty means all."""

    name: str
    url: str = ""
    headers_env: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """A checked workflow: every name in it is defined, every type fits. `exits` has START and each node."""

    name: str
    fields: Mapping[str, StateField]
    nodes: Mapping[str, Node]
    exits: Mapping[str, Exits]
    description: str = ""
    tags: tuple[str, ...] = ()
    limits: Limits = Limits()
    budget: Budget = Budget()
    mcp_servers: Mapping[str, McpServer] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    @cached_property
    def counters(self) -> Mapping[str, str]:
        """For each node, the name under which templates see how often it was visited."""
        return {node: f"_loop_iteration_{node}" for node in self.nodes}
