"""What nodes do, and the services that they need for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from cadre_executor.domain.runs import Usage
from cadre_executor.domain.workflows import (
    CodeAction,
    LlmAction,
    MemoryAction,
    MemoryVerb,
    ModelChoice,
    Node,
    SandboxLimits,
    Scope,
    Template,
)
from cadre_kit.errors import CadreError, NotFound

__all__ = [
    "Call",
    "CodeBlocked",
    "CodeFailed",
    "CodeLimit",
    "Execution",
    "Form",
    "Hit",
    "Memory",
    "Models",
    "Outcome",
    "Peers",
    "Program",
    "Question",
    "Reply",
    "Result",
    "Sandbox",
    "perform",
]

_MODEL_SECONDS = 120.0
_CODE_SECONDS = 30.0
_MEMORY_SECONDS = 30.0
# A call gets this much longer than what it asks for, so that the other side's own error arrives.
_GRACE_SECONDS = 5.0


class CodeFailed(CadreError):
    """The program raised an exception, or does not compile."""

    code = "CODE_FAILED"


class CodeBlocked(CadreError):
    """The program tried what the sandbox does not allow."""

    code = "CODE_BLOCKED"


class CodeLimit(CadreError):
    """The program reached a limit and was stopped."""

    code = "CODE_LIMIT"


@dataclass(frozen=True, kw_only=True)
class Call:
    """For whom a service is called. `key` is the step's idempotency key: the same when the step is repeated."""

    workflow: str
    version: int
    run_id: str
    node: str
    key: str
    timeout_seconds: float | None = None

    def seconds(self, default: float) -> float:
        """How long the call may take."""
        return default if self.timeout_seconds is None else self.timeout_seconds


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a model is asked; the reply must fit `schema` when there is one."""

    prompt: str
    system: str = ""
    model: ModelChoice = field(default_factory=ModelChoice)
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model answered. `complete` is false when it was cut off."""

    text: str
    usage: Usage
    model: str = ""
    complete: bool = True


class Outcome(Enum):
    """How a program ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    LIMIT = "limit"


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the sandbox runs."""

    code: str
    inputs: Mapping[str, Any]
    limits: SandboxLimits = field(default_factory=SandboxLimits)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a program ended: `result` is None with `has_result` false when it set none; `error` has its own lines."""

    outcome: Outcome
    stdout: str = ""
    has_result: bool = False
    result: Any = None
    error: str = ""
    resolution: str = ""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A remembered value that a search found."""

    key: str
    value: Any
    score: float
    namespace: tuple[str, ...] = ()


class Models(Protocol):
    """Asks models."""

    async def complete(self, question: Question, *, call: Call, seconds: float) -> Reply:
        """The whole reply within `seconds`. Raises what the llm-proxy answered with."""


class Sandbox(Protocol):
    """Runs untrusted programs."""

    async def execute(self, program: Program, *, call: Call, seconds: float) -> Execution:
        """How it ended. Cancelling kills the program."""


class Memory(Protocol):
    """Remembers values by namespace and key."""

    async def get(self, namespace: Sequence[str], key: str, *, call: Call, seconds: float) -> Any:
        """The value. Raises NotFound."""

    async def put(
        self,
        namespace: Sequence[str],
        key: str,
        value: object,
        *,
        ttl_seconds: float,
        call: Call,
        seconds: float,
    ) -> None:
        """Stores the value in place of an earlier one; gone after `ttl_seconds` unless that is 0."""

    async def delete(
        self, namespace: Sequence[str], key: str, *, call: Call, seconds: float
    ) -> bool:
        """Whether there was something to remove."""

    async def search(
        self, namespace: Sequence[str], query: str, *, top_k: int, call: Call, seconds: float
    ) -> Sequence[Hit]:
        """What matches best, best first."""


@dataclass(frozen=True, kw_only=True)
class Peers:
    """The services that nodes call."""

    models: Models
    sandbox: Sandbox
    memory: Memory


class Form(Enum):
    """What a result's value is: the value itself; text that may say it in JSON; text that must be a JSON document; a
    JSON document whose member `value` it is."""

    VALUE = "value"
    TEXT = "text"
    DOCUMENT = "document"
    MEMBER = "member"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an action gave. `complete` is false for a reply that was cut off."""

    value: Any
    form: Form = Form.VALUE
    usage: Usage | None = None
    complete: bool = True


async def perform(node: Node, scope: Scope, *, peers: Peers, call: Call) -> Result:
    """Does what a node does. Raises what went wrong, in the words of the service that was called."""
    match node.action:
        case LlmAction() as action:
            return await _ask(node, action, scope, models=peers.models, call=call)
        case CodeAction() as action:
            return await _execute(action, scope, sandbox=peers.sandbox, call=call)
        case MemoryAction() as action:
            value = await _remember(action, scope, memory=peers.memory, call=call)
            return Result(value=value)


async def _ask(
    node: Node, action: LlmAction, scope: Scope, *, models: Models, call: Call
) -> Result:
    schema, form = _schema(node)
    question = Question(
        prompt=action.prompt.render(scope),
        system=_text(action.system, scope),
        model=action.model,
        schema=schema,
    )
    reply = await models.complete(question, call=call, seconds=call.seconds(_MODEL_SECONDS))
    return Result(value=reply.text, form=form, usage=reply.usage, complete=reply.complete)


def _schema(node: Node) -> tuple[Mapping[str, Any] | None, Form]:
    """What the reply must be. Providers take objects only, so any other type goes into one."""
    if node.result_type is None:
        return None, Form.TEXT
    schema = node.result_type.json_schema()
    if schema.get("type") == "object" and "properties" in schema:
        return schema, Form.DOCUMENT
    wrapped = {
        "type": "object",
        "properties": {"value": schema},
        "required": ["value"],
        "additionalProperties": False,
    }
    return wrapped, Form.MEMBER


async def _execute(action: CodeAction, scope: Scope, *, sandbox: Sandbox, call: Call) -> Result:
    limit = action.limits.timeout_seconds
    seconds = call.seconds(_CODE_SECONDS if limit is None else limit + _GRACE_SECONDS)
    program = Program(code=action.code, inputs=scope.inputs, limits=action.limits)
    execution = await sandbox.execute(program, call=call, seconds=seconds)
    match execution.outcome:
        case Outcome.FAILED:
            raise CodeFailed(execution.error, resolution=execution.resolution)
        case Outcome.BLOCKED:
            raise CodeBlocked(execution.error, resolution=execution.resolution)
        case Outcome.LIMIT:
            raise CodeLimit(execution.error, resolution=execution.resolution)
        case Outcome.SUCCEEDED if execution.has_result:
            return Result(value=execution.result)
        case Outcome.SUCCEEDED:
            return Result(value=execution.stdout.rstrip("\n"), form=Form.TEXT)


async def _remember(action: MemoryAction, scope: Scope, *, memory: Memory, call: Call) -> Any:
    namespace = [segment.render(scope) for segment in action.namespace]
    key = _text(action.key, scope)
    seconds = call.seconds(_MEMORY_SECONDS)
    match action.verb:
        case MemoryVerb.LOAD:
            try:
                return await memory.get(namespace, key, call=call, seconds=seconds)
            except NotFound:
                return None
        case MemoryVerb.SAVE:
            value = dict(scope.inputs) if action.value is None else action.value.resolve(scope)
            await memory.put(
                namespace,
                key,
                value,
                ttl_seconds=action.ttl_seconds,
                call=call,
                seconds=seconds,
            )
            return value
        case MemoryVerb.DELETE:
            return await memory.delete(namespace, key, call=call, seconds=seconds)
        case MemoryVerb.SEARCH:
            hits = await memory.search(
                namespace,
                _text(action.query, scope),
                top_k=action.top_k,
                call=call,
                seconds=seconds,
            )
            return [{"key": hit.key, "value": hit.value, "score": hit.score} for hit in hits]


def _text(template: Template | None, scope: Scope) -> str:
    return "" if template is None else template.render(scope)
