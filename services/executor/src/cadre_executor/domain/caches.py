"""Results that are taken again: of a node with the same definition and the same inputs."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from cadre_executor.domain.results import Form, Result
from cadre_executor.domain.tasks import Task
from cadre_executor.domain.workflows import (
    AgentAction,
    CodeAction,
    MemoryAction,
    Scope,
    Template,
    WorkflowAction,
)

__all__ = ["cached", "keep"]

_LARGEST = 1024 * 1024


async def cached(task: Task) -> Result | None:
    """The result that is kept for what the task would do."""
    if not task.place.node.cache_seconds:
        return None
    found = await task.means.cache.find(_digest(task), now=time.time())
    if found is None:
        return None
    value, form = found
    return Result(value=value, form=Form(form))


async def keep(task: Task, result: Result) -> None:
    """Keeps a result that was accepted, unless it is over 1 Mi characters."""
    seconds = task.place.node.cache_seconds
    if not seconds or not result.complete or len(json.dumps(result.value)) > _LARGEST:
        return
    now = time.time()
    document = [result.value, result.form.value]
    await task.means.cache.keep(_digest(task), document, now=now, expires=now + seconds)


def _digest(task: Task) -> str:
    """Equal for equal actions of one workflow on equal values."""
    node = task.place.node
    schema = None if node.result_type is None else node.result_type.json_schema()
    said = [
        task.means.workflow.name,
        node.kind,
        _plain(node.action, task.scope),
        _plain(_read(task), task.scope),
        schema,
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _read(task: Task) -> Mapping[str, Any]:
    """The values that the action may read beside those that its templates name. The place of an item in its list counts
    for programs only: the same item at another place is the same work."""
    inputs = task.scope.inputs
    match task.place.node.action:
        case CodeAction() | MemoryAction():
            return inputs
        case WorkflowAction() | AgentAction():
            return {name: inputs[name] for name in task.place.node.inputs}
    return {}


def _plain(value: Any, scope: Scope) -> Any:
    """A part of a definition as JSON, its templates filled in."""
    if isinstance(value, Template):
        return value.resolve(scope)
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), scope) for field in fields(value)}
    match value:
        case Enum():
            return value.value
        case Mapping():
            return {str(key): _plain(item, scope) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item, scope) for item in value]
        case frozenset() | set():
            return sorted(value)
    return value
