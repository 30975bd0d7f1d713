"""Calls of tools, each made once as far as anybody can know.

That a call begins is stored before it is made, and what it gave before anything else happens. A call that had begun
when the executor died may or may not have had its effect: it is made again only when the tool is repeatable.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cadre_executor.domain.cuts import shown
from cadre_executor.domain.durations import TOOL_SECONDS
from cadre_executor.domain.runs import EventType
from cadre_executor.domain.tasks import Task
from cadre_executor.domain.tools import ToolContext, ToolSpec
from cadre_executor.domain.workflows import ToolUse
from cadre_kit.errors import CadreError, FailedPrecondition, Kind

__all__ = ["Returned", "ToolResultUnknown", "invoke", "tool_context"]


class ToolResultUnknown(FailedPrecondition):
    """The executor died while the tool was called, and nobody knows whether it did what it was asked."""

    code = "TOOL_RESULT_UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a call gave: a value, or why there is none."""

    value: Any = None
    error: CadreError | None = None

    @property
    def has_bad_arguments(self) -> bool:
        """Whether the tool refused what it was given."""
        return self.error is not None and self.error.kind is Kind.INVALID_INPUT


async def invoke(
    use: ToolUse,
    spec: ToolSpec,
    arguments: Mapping[str, Any],
    *,
    task: Task,
    step: str,
    loop: str = "",
) -> Returned:
    """Calls a tool, or takes what is recorded of the call; `loop` as in ToolContext."""
    known = task.find(step)
    if known is not None:
        return _remembered(known)
    had_begun = task.find(f"{step}/begun") is not None
    if had_begun and not spec.repeatable:
        returned = Returned(error=_unknown(use))
    else:
        if not had_begun:
            task.record(f"{step}/begun", {})
            task.tell(EventType.TOOL_CALLED, _called(use, arguments, step))
            await task.means.records.store()
        returned = await _made(use, arguments, task=task, step=step, loop=loop)
    task.record(step, _document(returned))
    return returned


def tool_context(task: Task, step: str, loop: str = "") -> ToolContext:
    """For whom a tool is called."""
    means = task.means
    return ToolContext(
        workflow=means.workflow,
        version=means.version,
        run_id=means.run_id,
        root_run_id=task.call.root_run_id,
        node=task.place.node.id,
        key=task.call.at(step).key,
        loop=loop,
    )


def _context_of(use: ToolUse, task: Task, step: str, loop: str) -> ToolContext:
    context = tool_context(task, step, loop)
    if use.place is None:
        return context
    namespace = use.place.path(task.scope, run_id=task.means.run_id)
    return replace(context, namespace=tuple(namespace))


async def _made(
    use: ToolUse, arguments: Mapping[str, Any], *, task: Task, step: str, loop: str
) -> Returned:
    tools, context = task.means.peers.tools, _context_of(use, task, step, loop)
    seconds = task.call.seconds(TOOL_SECONDS)
    started = time.monotonic()
    data: dict[str, Any] = {"tool": use.name, "call": step}
    try:
        result = await task.patiently(
            lambda: tools.invoke(use, arguments, context=context, seconds=seconds)
        )
        returned = Returned(value=result.value)
        data["result"] = shown(result.value)
    except CadreError as error:
        returned = Returned(error=error)
    took = round((time.monotonic() - started) * 1000)
    task.tell(EventType.TOOL_RETURNED, data, error=returned.error, duration_ms=took)
    return returned


def _document(returned: Returned) -> dict[str, Any]:
    if returned.error is None:
        return {"value": returned.value}
    error = returned.error
    return {"error": [error.code, error.message, error.resolution, returned.has_bad_arguments]}


def _remembered(document: Mapping[str, Any]) -> Returned:
    if "error" not in document:
        return Returned(value=document["value"])
    code, message, resolution, bad_arguments = document["error"]
    kind = _BadArguments if bad_arguments else CadreError
    return Returned(error=kind(message, code=code, resolution=resolution))


class _BadArguments(CadreError):
    """What a tool refused before the executor died."""

    kind = Kind.INVALID_INPUT


def _unknown(use: ToolUse) -> ToolResultUnknown:
    return ToolResultUnknown(
        f"the executor stopped while the tool {use.name!r} was called; it may have done what it was asked, or not",
        resolution="Look whether it did, then resume the run. To have the node tried again by itself,"
        " name TOOL_RESULT_UNKNOWN under retry.on.",
        metadata={"tool": use.name},
    )


def _called(use: ToolUse, arguments: Mapping[str, Any], step: str) -> dict[str, Any]:
    return {"tool": use.name, "call": step, "arguments": shown(dict(arguments))}
