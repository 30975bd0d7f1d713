"""Compiles the written replies of a test: what answers for the models, tools, people and services of its nodes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cadre_executor.domain.cases import AsksTools, Fails, Gives, Replies, Reply, WrittenCall
from cadre_executor.domain.workflows import (
    ApprovalAction,
    LlmAction,
    MemoryAction,
    MemoryVerb,
    Node,
    WorkflowAction,
)
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_ERROR_KEYS = frozenset({"code", "message", "may_pass"})
_CALL_KEYS = frozenset({"tool", "arguments", "result", "error"})
_ANSWER_KEYS = frozenset({"choice", "comment", "by"})
_READS = (MemoryVerb.LOAD, MemoryVerb.SEARCH)


@dataclass(frozen=True, kw_only=True)
class ReplyCompiler:
    """Compiles what one node is answered."""

    node: Node
    report: Report

    def replies(self, written: Any, path: Path) -> Replies:
        """A list is one reply a call, of a for_each one an item; anything else answers every call."""
        self._check_kind(path)
        if not isinstance(written, list):
            return Replies(always=self._reply(written, path))
        listed = [self._entry(entry, (*path, index)) for index, entry in enumerate(written)]
        return Replies(listed=tuple(listed))

    def _check_kind(self, path: Path) -> None:
        action = self.node.action
        if isinstance(action, MemoryAction) and action.verb not in _READS:
            self.report.note(
                "NO_EFFECT",
                path,
                f"the node {shown(self.node.id)} asks for nothing that could be written here",
                "remove it: a test has a memory of its own, empty at first",
                at_key=True,
            )

    def _entry(self, written: Any, path: Path) -> Reply | tuple[Reply, ...]:
        if not isinstance(written, list):
            return self._reply(written, path)
        if self.node.for_each is None:
            self._refuse(
                path,
                "a list of replies stands in a list",
                "write {value: [...]} for a reply that is a list",
            )
            return Gives(value=written)
        return tuple(self._reply(each, (*path, i)) for i, each in enumerate(written))

    def _reply(self, written: Any, path: Path) -> Reply:
        match written:
            case {"error": error, **rest} if not rest:
                return self._error(error, (*path, "error"))
            case {"calls": calls, **rest} if self._may_call and set(rest) <= {"text"}:
                return self._asks(calls, rest.get("text", ""), path)
            case {"value": value, **rest} if not rest:
                return self._given(value, (*path, "value"))
        return self._given(written, path)

    @property
    def _may_call(self) -> bool:
        return isinstance(self.node.action, LlmAction) and bool(self.node.action.tools)

    def _given(self, value: Any, path: Path) -> Gives:
        match self.node.action:
            case ApprovalAction() as action:
                return Gives(value=self._answer(action, value, path))
            case WorkflowAction() if not isinstance(value, dict):
                self._refuse(
                    path,
                    "a workflow gives its outputs, by name",
                    "write {field: value, ...}",
                )
            case LlmAction() if self.node.result_type is None and not isinstance(value, str):
                self._refuse(
                    path,
                    f"the model of {shown(self.node.id)} answers with text",
                    "put quotes around it, or give the node an output_schema",
                )
        return Gives(value=value)

    def _answer(self, action: ApprovalAction, value: Any, path: Path) -> Mapping[str, Any]:
        answer = value if isinstance(value, dict) else {"choice": value}
        choice = answer.get("choice")
        if choice not in action.choices or not set(answer) <= _ANSWER_KEYS:
            self._refuse(
                path,
                f"the answer is none of the choices of {shown(self.node.id)}",
                f"write one of {', '.join(action.choices)}, or {{choice, comment, by}}",
            )
        return answer

    def _error(self, written: Any, path: Path) -> Fails:
        error = {"code": written} if isinstance(written, str) else written
        fits = isinstance(error, dict) and set(error) <= _ERROR_KEYS
        if not fits or not _CODE.fullmatch(str(error.get("code", ""))):
            self._refuse(
                path,
                "a failure is a code in capitals, or {code, message, may_pass}",
                "write error: RATE_LIMITED, or {value: ...} around a reply that has the key `error`",
            )
            return Fails(code="UNKNOWN")
        return Fails(
            code=str(error["code"]),
            message=str(error.get("message", "")),
            may_pass=error.get("may_pass") is True,
        )

    def _asks(self, calls: Any, text: Any, path: Path) -> Reply:
        if not isinstance(calls, list) or not calls or not isinstance(text, str):
            self._refuse(
                path,
                "`calls` is a list of {tool, arguments, result}",
                "write calls: [{tool: web_search, arguments: {query: rain}, result: []}]",
            )
            return Gives(value="")
        made = [self._call(call, (*path, "calls", index)) for index, call in enumerate(calls)]
        return AsksTools(calls=tuple(made), text=text)

    def _call(self, call: Any, path: Path) -> WrittenCall:
        fits = isinstance(call, dict) and isinstance(call.get("tool"), str)
        arguments = call.get("arguments") or {} if fits else {}
        if not fits or not set(call) <= _CALL_KEYS or not isinstance(arguments, dict):
            self._refuse(
                path,
                "a call is {tool, arguments, result}, with `error` in place of `result` when it fails",
                "write {tool: web_search, arguments: {query: rain}, result: []}",
            )
            return WrittenCall(tool="", arguments={})
        self._check_tool(call["tool"], (*path, "tool"))
        gives: Gives | Fails | None = None
        if "error" in call:
            gives = self._error(call["error"], (*path, "error"))
        elif "result" in call:
            gives = Gives(value=call["result"])
        return WrittenCall(tool=call["tool"], arguments=arguments, gives=gives)

    def _check_tool(self, name: str, path: Path) -> None:
        assert isinstance(self.node.action, LlmAction)
        known = [use.name for use in self.node.action.tools]
        if name not in known:
            self.report.error(
                "UNKNOWN_TOOL",
                path,
                f"the node {shown(self.node.id)} has no tool {shown(name)}",
                self.report.did_you_mean(name, known),
            )

    def _refuse(self, path: Path, message: str, resolution: str) -> None:
        self.report.error("INVALID_REPLY", path, message, resolution)
