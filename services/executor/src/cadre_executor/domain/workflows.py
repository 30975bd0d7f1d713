"""A workflow as the engine sees it: checked, typed, its templates and conditions compiled.

The language (`language/`) makes these from a file; nothing here knows YAML.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

from cadre_kit.errors import InvalidInput

START = "START"
END = "END"

State: TypeAlias = Mapping[str, Any]
"""State fields by name; every value is JSON."""


class ValueRefused(InvalidInput):
    """A value does not fit its type or limits."""

    code = "VALUE_REFUSED"


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


class Template(Protocol):
    """Text with `{state.x}` in it. Values are inserted as data, never parsed again."""

    def render(self, scope: Scope) -> str:
        """The text, values that are not text written as JSON."""

    def resolve(self, scope: Scope) -> Any:
        """The value itself when the template is one lone reference, else the text."""


class Condition(Protocol):
    """An expression over the state."""

    @property
    def text(self) -> str:
        """As the file writes it."""

    def holds(self, scope: Scope) -> bool:
        """Whether it is true. Raises ConditionFailed when it cannot be computed (an index out of range)."""


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
    """How often a node is tried, and the pause before each further try, doubled each time.

    `on` holds the error codes that are tried again; empty means those that may pass by themselves.
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
    """Which model, and how it is asked; empty and None leave it to the platform or the provider."""

    provider: str = ""
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    api_base: str = ""
    api_key_env: str = ""


@dataclass(frozen=True, kw_only=True)
class LlmAction:
    """Asks a model."""

    prompt: Template
    system: Template | None = None
    model: ModelChoice = ModelChoice()


@dataclass(frozen=True, kw_only=True)
class SandboxLimits:
    """What a program may use; None means the sandbox's default."""

    timeout_seconds: float | None = None
    cpu_seconds: float | None = None
    memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class CodeAction:
    """Runs a program in the sandbox; its result is the variable `result`, or what it printed when that is not set."""

    code: str
    limits: SandboxLimits = SandboxLimits()


class MemoryVerb(Enum):
    """What a memory node does. `load` of what is not there gives null."""

    LOAD = "load"
    SAVE = "save"
    SEARCH = "search"
    DELETE = "delete"


@dataclass(frozen=True, kw_only=True)
class MemoryAction:
    """Reads or writes memory. `namespace` is a path of segments; load, save and delete have a key, search a query."""

    verb: MemoryVerb
    namespace: tuple[Template, ...]
    key: Template | None = None
    value: Template | None = None
    query: Template | None = None
    top_k: int = 5
    ttl_seconds: float = 0.0


Action: TypeAlias = LlmAction | CodeAction | MemoryAction


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step. Its action's result, checked by `result_type` where there is one, goes into the state by `outputs`."""

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
    """Bounds of a run. `max_visits`: how often one node may be visited through cycles that no loop bounds."""

    timeout_seconds: float = 3600.0
    max_concurrency: int = 16
    max_visits: int = 10
    max_steps: int = 1000


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
