"""What nodes do, by their kind."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cadre_executor.domain.agent_nodes import delegate
from cadre_executor.domain.children import run_child
from cadre_executor.domain.cuts import shown_ends
from cadre_executor.domain.dialogues import converse
from cadre_executor.domain.durations import CODE_SECONDS, MEMORY_SECONDS
from cadre_executor.domain.invocations import invoke, tool_context
from cadre_executor.domain.peers import Execution, Outcome, Program, Recent, Role, Said
from cadre_executor.domain.results import Form, Result
from cadre_executor.domain.tasks import Task
from cadre_executor.domain.workflows import (
    AgentAction,
    CodeAction,
    LlmAction,
    MemoryAction,
    MemoryVerb,
    OnError,
    Scope,
    Template,
    ToolAction,
    WorkflowAction,
)
from cadre_kit.errors import CadreError, Internal, NotFound

__all__ = ["CodeBlocked", "CodeFailed", "CodeLimit", "perform"]

# A call gets this much longer than what it asks for, so that the other side's own error arrives.
_GRACE_SECONDS = 5.0
_ONLY_STEP = "1"


class CodeFailed(CadreError):
    """The program raised an exception, or does not compile."""

    code = "CODE_FAILED"


class CodeBlocked(CadreError):
    """The program tried what the sandbox does not allow."""

    code = "CODE_BLOCKED"


class CodeLimit(CadreError):
    """The program reached a limit and was stopped."""

    code = "CODE_LIMIT"


async def perform(task: Task) -> Result:
    """Does what a node does. Raises what went wrong, in the words of the service that was called."""
    match task.place.node.action:
        case LlmAction() as action:
            return await converse(action, task)
        case CodeAction() as action:
            return await _execute(action, task)
        case MemoryAction() as action:
            return await _remember(action, task)
        case ToolAction() as action:
            return await _use(action, task)
        case WorkflowAction() as action:
            return await run_child(action, task)
        case AgentAction() as action:
            return await delegate(action, task)
    raise Internal(f"nodes of kind {task.place.node.kind!r} are not performed")


async def _use(action: ToolAction, task: Task) -> Result:
    tools, context = task.means.peers.tools, tool_context(task, _ONLY_STEP)
    arguments = {name: value.resolve(task.scope) for name, value in action.arguments.items()}
    specs = await task.patiently(lambda: tools.specs([action.tool], context=context))
    returned = await invoke(action.tool, specs[0], arguments, task=task, step=_ONLY_STEP)
    if returned.error is None:
        return Result(value=returned.value)
    if action.tool.on_error is OnError.FAIL:
        raise returned.error
    return Result(value={"error": returned.error.code, "message": returned.error.message})


async def _execute(action: CodeAction, task: Task) -> Result:
    call, sandbox = task.call.at(_ONLY_STEP), task.means.peers.sandbox
    limit = action.limits.timeout_seconds
    seconds = call.seconds(CODE_SECONDS if limit is None else limit + _GRACE_SECONDS)
    program = Program(
        code=action.code,
        inputs=task.scope.inputs,
        limits=action.limits,
        files={name: text.render(task.scope) for name, text in action.limits.files.items()},
    )
    execution = await task.patiently(lambda: sandbox.execute(program, call=call, seconds=seconds))
    task.program = _told(execution)
    await _keep_files(execution, task)
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


def _told(execution: Execution) -> dict[str, Any] | None:
    """What events say of a program: what it printed, used and reached, and the walls around it."""
    if execution.usage is None:
        return None
    return {
        "outcome": execution.outcome.value,
        "stdout": shown_ends(execution.stdout),
        "stderr": shown_ends(execution.stderr),
        "usage": asdict(execution.usage),
        "limits_reached": list(execution.limits_reached),
        "walls": list(execution.walls),
    }


async def _keep_files(execution: Execution, task: Task) -> None:
    """What a program left is the run's: below its node, apart for each visit but the first, and for each item."""
    if not execution.files:
        return
    place = task.place
    folder = place.node.id if place.iteration == 1 and not place.item else place.visit
    named = {f"{folder}/{_plain(name)}": content for name, content in execution.files.items()}
    await task.means.peers.files.keep(task.means.run_id, named)


def _plain(name: str) -> str:
    # How the sandbox shows what cannot be printed; no path may hold it.
    return name.replace("\\", "_")


async def _remember(action: MemoryAction, task: Task) -> Result:
    return Result(value=await task.patiently(lambda: _remembered(action, task)))


async def _remembered(action: MemoryAction, task: Task) -> Any:
    scope, memory, call = task.scope, task.means.peers.memory, task.call.at(_ONLY_STEP)
    namespace = action.place.path(scope, run_id=task.means.run_id)
    key = _text(action.key, scope)
    seconds = call.seconds(MEMORY_SECONDS)
    match action.verb:
        case MemoryVerb.LOAD if action.key is None:
            recent = await memory.recent(
                namespace, max_tokens=action.max_tokens, call=call, seconds=seconds
            )
            return _messages(recent)
        case MemoryVerb.APPEND if action.key is None:
            said = Said(role=Role(action.role), text=_text(action.value, scope))
            return await memory.append(
                namespace, [said], upkeep=action.upkeep, call=call, seconds=seconds
            )
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
        case MemoryVerb.APPEND:
            return await _append(action, task, namespace, key)
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


def _messages(recent: Recent) -> list[dict[str, str]]:
    """The end of a conversation, the summary of what was before it first."""
    summary = [{"role": "system", "name": "", "text": recent.summary}] if recent.summary else []
    return [
        *summary,
        *({"role": m.role.value, "name": m.name, "text": m.text} for m in recent.messages),
    ]


async def _append(
    action: MemoryAction, task: Task, namespace: Sequence[str], key: str
) -> list[Any]:
    """The list with the value at its end. What was there is recorded first, so that a repeated step appends once."""
    memory, call = task.means.peers.memory, task.call.at(_ONLY_STEP)
    seconds = call.seconds(MEMORY_SECONDS)
    known = task.find("before")
    if known is None:
        try:
            before = await memory.get(namespace, key, call=call.at("before"), seconds=seconds)
        except NotFound:
            before = []
        known = {"items": before if isinstance(before, list) else [before]}
        task.record("before", known)
        await task.means.records.store()
    value = dict(task.scope.inputs) if action.value is None else action.value.resolve(task.scope)
    items = [*known["items"], value]
    ttl_seconds = action.ttl_seconds
    await memory.put(namespace, key, items, ttl_seconds=ttl_seconds, call=call, seconds=seconds)
    return items


def _text(template: Template | None, scope: Scope) -> str:
    return "" if template is None else template.render(scope)
