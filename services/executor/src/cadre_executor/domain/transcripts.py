"""What the nodes of a run were given, as a test writes it: read from its events and the replies that are kept."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cadre_executor.domain.answers import TIMED_OUT
from cadre_executor.domain.cuts import is_cut
from cadre_executor.domain.dialogues import meant, offered_name
from cadre_executor.domain.peers import Reply, ToolCall
from cadre_executor.domain.runs import Event, EventType, Failure
from cadre_executor.domain.scripts import CallPlace
from cadre_executor.domain.workflows import (
    AgentAction,
    ApprovalAction,
    CodeAction,
    LlmAction,
    MemoryAction,
    MemoryVerb,
    Node,
    ToolAction,
    Workflow,
    WorkflowAction,
)

__all__ = ["Transcript"]

Visit: TypeAlias = tuple[int, int]
"""The visit of a node, and the item of its for_each; 0 without one."""
_Document: TypeAlias = Any
_FORMS = ({"error"}, {"value"})
_ENDS = (EventType.NODE_SUCCEEDED, EventType.NODE_FAILED)
_READS = (MemoryVerb.LOAD, MemoryVerb.SEARCH)
# Refused before anything is called, in a test as well.
_BAD_ARGUMENTS = "ARGUMENTS_REFUSED"


@dataclass(frozen=True, kw_only=True)
class _Try:
    """One try of a visit or an item that counts: the last, or one that was tried again."""

    visit: Visit
    attempt: int
    error: Failure | None
    was_tried_again: bool


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """A run as it was: its events in order, and what models replied, by the step's place."""

    workflow: Workflow
    events: Sequence[Event]
    replies: Mapping[CallPlace, Reply]

    def written(self, *, with_programs: bool) -> dict[str, _Document]:
        """A test's `replies`, by node in the file's order. `with_programs` also writes what programs gave."""
        found = {}
        for node in self.workflow.nodes.values():
            if not with_programs and isinstance(node.action, CodeAction):
                continue
            given = _Node(node=node, transcript=self).given()
            if given:
                found[node.id] = _listed(node, given)
        return found

    def of(self, node: str, *types: EventType) -> Iterator[Event]:
        """A node's events of some types."""
        return (event for event in self.events if event.node == node and event.type in types)


def _listed(node: Node, given: Mapping[Visit, list[_Document]]) -> _Document:
    """What the calls of a node were given, as a test lists it."""
    if node.for_each is None:
        calls = [document for documents in given.values() for document in documents]
        return calls[0] if len(calls) == 1 else calls
    return [documents[0] if len(documents) == 1 else documents for documents in _items(given)]


def _items(given: Mapping[Visit, list[_Document]]) -> Iterable[list[_Document]]:
    """Those of each item, visit by visit; an item that asked for nothing has its place all the same."""
    most: dict[int, int] = defaultdict(int)
    for visit, item in given:
        most[visit] = max(most[visit], item)
    for visit in sorted(most):
        for item in range(1, most[visit] + 1):
            yield given.get((visit, item)) or [{"error": "NOT_CALLED"}]


@dataclass(frozen=True, kw_only=True)
class _Node:
    """What one node was given."""

    node: Node
    transcript: Transcript

    def given(self) -> dict[Visit, list[_Document]]:
        """The documents of its calls, in their order, by visit and item."""
        given: dict[Visit, list[_Document]] = defaultdict(list)
        for each in sorted(self._tries(), key=lambda each: (each.visit, each.attempt)):
            if documents := self._documents(each):
                given[each.visit] += documents
        return dict(given)

    def _documents(self, each: _Try) -> list[_Document]:
        match self.node.action:
            case LlmAction() as action:
                return self._dialogue(action, each)
            case ToolAction():
                return self._tool(each)
            case ApprovalAction():
                return self._answer(each)
            case MemoryAction(verb=verb) if verb not in _READS:
                return []
            case AgentAction() | WorkflowAction() | CodeAction() | MemoryAction():
                return [self._failed(each) if each.error else self._outcome(each.visit)]

    def _tries(self) -> Iterator[_Try]:
        """The tries that count: those that were tried again by the node's retry, and the last of each visit."""
        items = self.node.for_each is not None
        last: dict[Visit, _Try] = {}
        for event in self.transcript.of(self.node.id, *_ENDS, EventType.NODE_RETRIED):
            if items and not event.item:
                continue
            again = event.type is EventType.NODE_RETRIED
            visit = (event.iteration, event.item)
            found = _Try(
                visit=visit, attempt=event.attempt, error=event.error, was_tried_again=again
            )
            if again:
                yield found
            elif not (event.data or {}).get("cached"):
                last[visit] = found
        yield from last.values()

    def _dialogue(self, action: LlmAction, each: _Try) -> list[_Document]:
        steps = sorted(
            (int(place.step), reply)
            for place, reply in self.transcript.replies.items()
            if place.node == self.node.id
            and (place.visit, place.item) == each.visit
            and place.attempt == each.attempt
        )
        documents = [self._turn(action, reply, step, each) for step, reply in steps]
        if each.error is not None and self._failed_at_call(steps, each):
            documents.append(self._failed(each))
        return documents

    def _failed_at_call(self, steps: Sequence[tuple[int, Reply]], each: _Try) -> bool:
        """Whether a try failed when it asked the model, and not by a reply or by a tool."""
        if not steps:
            return True
        step, reply = steps[-1]
        codes = {
            event.error.code for event in self._returned(each) if event.error and _of(event, step)
        }
        return bool(reply.tool_calls) and each.error is not None and each.error.code not in codes

    def _turn(self, action: LlmAction, reply: Reply, step: int, each: _Try) -> _Document:
        if not reply.tool_calls:
            return _plain(meant(self.node.result_type, reply.text))
        returned = {
            (event.data or {}).get("call"): event
            for event in self._returned(each)
            if _of(event, step)
        }
        calls = [
            _call(action, call, returned.get(f"{step}.{number}"))
            for number, call in enumerate(reply.tool_calls, start=1)
        ]
        return {"calls": calls, **({"text": reply.text} if reply.text else {})}

    def _returned(self, each: _Try) -> Iterator[Event]:
        for event in self.transcript.of(self.node.id, EventType.TOOL_RETURNED):
            if (event.iteration, event.item) == each.visit and event.attempt == each.attempt:
                yield event

    def _tool(self, each: _Try) -> list[_Document]:
        for event in self._returned(each):
            if event.error is not None:
                refused = event.error.code == _BAD_ARGUMENTS
                return [] if refused else [_error(event.error, may_pass=self._passes(each))]
            result = (event.data or {}).get("result")
            return [self._outcome(each.visit) if is_cut(result) else _plain(result)]
        return []

    def _answer(self, each: _Try) -> list[_Document]:
        for event in self.transcript.of(self.node.id, EventType.NODE_ANSWERED):
            if event.iteration == each.visit[0]:
                data = event.data or {}
                if data["choice"] == TIMED_OUT:
                    return [{"error": "APPROVAL_TIMEOUT"}]
                said = {name: data[name] for name in ("choice", "comment", "by") if data.get(name)}
                return [said["choice"] if len(said) == 1 else said]
        return []

    def _outcome(self, visit: Visit) -> _Document:
        """What a visit, or an item, gave, as far as it went into the state."""
        writes: Mapping[str, Any] = {}
        for event in self.transcript.of(self.node.id, EventType.NODE_SUCCEEDED):
            if event.iteration == visit[0] and not event.item:
                writes = (event.data or {}).get("outputs", {})
        found: _Document = None
        for output in self.node.outputs:
            value = writes.get(output.field)
            if visit[1]:
                value = value[visit[1] - 1] if isinstance(value, list) else None
            if not output.path:
                return _plain(value)
            found = {} if found is None else found
            _put(found, output.path, value)
        return _plain(found)

    def _failed(self, each: _Try) -> _Document:
        assert each.error is not None
        return _error(each.error, may_pass=self._passes(each))

    def _passes(self, each: _Try) -> bool:
        return each.was_tried_again and not self.node.retry.on


def _of(event: Event, step: int) -> bool:
    """Whether a tool was called by that reply of the model."""
    return str((event.data or {}).get("call", "")).startswith(f"{step}.")


def _call(action: LlmAction, call: ToolCall, returned: Event | None) -> _Document:
    names = [use.name for use in action.tools if offered_name(use.name) == call.name]
    said = {"tool": names[0] if names else call.name, "arguments": dict(call.arguments)}
    if returned is None:
        return said
    if returned.error is not None:
        return said | _error(returned.error, may_pass=False)
    return said | {"result": (returned.data or {}).get("result")}


def _error(error: Failure, *, may_pass: bool) -> _Document:
    said = {"code": error.code, "message": error.message}
    return {"error": said | {"may_pass": True} if may_pass else said}


def _plain(value: Any) -> _Document:
    """A value as a reply; one that would be taken for something else is wrapped."""
    is_form = isinstance(value, dict) and (set(value) in _FORMS or "calls" in value)
    return {"value": value} if is_form or isinstance(value, list) else value


def _put(document: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
    document[path[-1]] = value
