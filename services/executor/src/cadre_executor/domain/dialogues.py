"""What llm nodes do: ask a model, call the tools that it wants, and ask again with what they gave."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cadre_executor.domain.concurrency import side_by_side
from cadre_executor.domain.cuts import shown
from cadre_executor.domain.durations import MODEL_SECONDS
from cadre_executor.domain.invocations import Returned, invoke, tool_context
from cadre_executor.domain.overruns import is_exceeded
from cadre_executor.domain.peers import (
    BudgetWarning,
    Message,
    Question,
    Reply,
    Role,
    ToolCall,
    Unanswered,
)
from cadre_executor.domain.recalls import recalled, remember
from cadre_executor.domain.results import Form, Result
from cadre_executor.domain.runs import EventType, Usage
from cadre_executor.domain.tasks import Task
from cadre_executor.domain.tools import ToolSpec
from cadre_executor.domain.workflows import LlmAction, OnError, ToolUse, ValueType
from cadre_kit.errors import CadreError, InvalidInput

__all__ = ["converse", "meant", "offered_name", "reply_text", "schema_of"]

_CALLS_AT_ONCE = 8
_MOST_CALLS = 32
# How often a model may correct what it asks of a tool before that fails the node.
_CORRECTIONS = 3
_LONGEST_ANSWER = 32_000
_TEXT_SECONDS = 0.1
# What events show of one reply while it is written; the whole is in the state.
_LONGEST_TEXT = 64 * 1024
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


class _UnknownToolCalled(InvalidInput):
    """The model wants a tool that it was not offered."""

    code = "UNKNOWN_TOOL"


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """A tool as a model sees it: under a name that every provider takes."""

    use: ToolUse
    spec: ToolSpec
    shown: ToolSpec


async def converse(action: LlmAction, task: Task) -> Result:
    """The model's final answer. Every reply and every tool's result is stored before what depends on it begins."""
    if not action.tools:
        return await _talk(action, task)
    try:
        return await _talk(action, task)
    finally:
        await task.means.peers.tools.end_loop(task.call.key)


async def _talk(action: LlmAction, task: Task) -> Result:
    schema, form = _schema(task.place.node.result_type)
    prompt = action.prompt.render(task.scope)
    messages = await _opening(action, prompt, task)
    offers = await _offers(action.tools, task)
    corrections = 0
    for step in range(1, action.max_steps + 1):
        question = Question(
            messages=tuple(messages),
            model=action.model,
            schema=schema,
            tools=tuple(offer.shown for offer in offers.values()),
            may_call=step < action.max_steps,
        )
        reply = await _reply(question, task, step, stream=action.stream)
        if not reply.tool_calls or step == action.max_steps:
            break
        messages.append(Message(role=Role.ASSISTANT, text=reply.text, tool_calls=reply.tool_calls))
        returned = await _called(reply.tool_calls, offers, task, step)
        corrections += sum(each.has_bad_arguments for each in returned)
        for call, each in zip(reply.tool_calls, returned, strict=True):
            _check(each, offers.get(call.name), corrections)
            messages.append(_answer(call, each))
        await task.means.records.store()
    if action.recall is not None:
        await remember(action.recall, prompt, reply.text, task=task)
    return Result(value=reply.text, form=form, complete=reply.complete)


async def _opening(action: LlmAction, prompt: str, task: Task) -> list[Message]:
    found = []
    if action.system is not None:
        found.append(Message(role=Role.SYSTEM, text=action.system.render(task.scope)))
    if action.recall is not None and action.recall.top_k:
        prompt = await recalled(action.recall, prompt, task=task) + prompt
    return [*found, Message(role=Role.USER, text=prompt)]


def schema_of(result_type: ValueType | None) -> Mapping[str, Any] | None:
    """The JSON Schema that a reply has to fit; None when any text does."""
    return _schema(result_type)[0]


def reply_text(result_type: ValueType | None, value: Any) -> str:
    """What a model that means `value` writes. Text where a document is asked for is what it writes, fit or not."""
    _, form = _schema(result_type)
    if form is Form.MEMBER:
        return json.dumps({"value": value}, ensure_ascii=False)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def meant(result_type: ValueType | None, text: str) -> Any:
    """What a model that wrote a text means: the other way round."""
    schema, form = _schema(result_type)
    if schema is None:
        return text
    try:
        document = json.loads(text)
    except ValueError:
        return text
    if form is Form.MEMBER:
        return document["value"] if isinstance(document, dict) and "value" in document else text
    return document if isinstance(document, dict) else text


def _schema(result_type: ValueType | None) -> tuple[Mapping[str, Any] | None, Form]:
    """What the reply must be. Providers take objects only, so any other type goes into one."""
    if result_type is None:
        return None, Form.TEXT
    schema = result_type.json_schema()
    if schema.get("type") == "object" and "properties" in schema:
        return schema, Form.DOCUMENT
    wrapped = {
        "type": "object",
        "properties": {"value": schema},
        "required": ["value"],
        "additionalProperties": False,
    }
    return wrapped, Form.MEMBER


async def _offers(uses: Sequence[ToolUse], task: Task) -> dict[str, _Offer]:
    """The tools by the names that the model calls them."""
    if not uses:
        return {}
    tools, context = task.means.peers.tools, tool_context(task, "tools")
    specs = await task.patiently(lambda: tools.specs(uses, context=context))
    offers: dict[str, _Offer] = {}
    for use, spec in zip(uses, specs, strict=True):
        name = _free_name(spec.name, offers)
        as_shown = ToolSpec(name=name, description=spec.description, parameters=spec.parameters)
        offers[name] = _Offer(use=use, spec=spec, shown=as_shown)
    return offers


def offered_name(name: str) -> str:
    """What models call a tool: providers take letters, digits, _ and -, at most 64 of them."""
    return _NOT_IN_NAMES.sub("_", name)[:60]


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    plain = offered_name(name)
    number, free = 1, plain
    while free in taken:
        number += 1
        free = f"{plain}_{number}"
    return free


async def _reply(question: Question, task: Task, step: int, *, stream: bool) -> Reply:
    known = task.find(str(step))
    if known is not None:
        reply = _reply_of(known)
    else:
        reply = await _asked(question, task, step, stream=stream)
        # Stored together: a call that is recorded has told of its budgets.
        task.record(str(step), _document(reply), usage=reply.usage)
        _tell(reply.warnings, task)
    task.usage = task.usage + reply.usage
    return reply


def _tell(warnings: Sequence[BudgetWarning], task: Task) -> None:
    for warning in warnings:
        task.tell(EventType.BUDGET_WARNED, {**asdict(warning), "message": warning.in_words})


async def _asked(question: Question, task: Task, step: int, *, stream: bool) -> Reply:
    """The model's reply. Refused for a budget that a person has raised since it was read, the call is made again."""
    try:
        return await _asked_once(question, task, step, stream=stream)
    except CadreError as error:
        if not (is_exceeded(error) and await task.means.budgets.have_changed()):
            raise
    return await _asked_once(question, task, step, stream=stream)


async def _asked_once(question: Question, task: Task, step: int, *, stream: bool) -> Reply:
    try:
        return await _sent(question, task, step, stream=stream)
    except Unanswered as failed:
        task.means.journal.count(failed.usage)
        task.usage = task.usage + failed.usage
        _tell(failed.warnings, task)
        raise failed.error from failed


async def _sent(question: Question, task: Task, step: int, *, stream: bool) -> Reply:
    models, call = task.means.peers.models, task.call.at(str(step))
    seconds = call.seconds(MODEL_SECONDS)
    if not stream:
        return await task.patiently(lambda: models.complete(question, call=call, seconds=seconds))
    with _Telling(task, step) as telling:
        return await task.patiently(
            lambda: models.complete(
                question, call=call, seconds=seconds, heard=telling.from_start()
            )
        )


async def _called(
    calls: Sequence[ToolCall], offers: Mapping[str, _Offer], task: Task, step: int
) -> list[Returned]:
    jobs = [
        _Job(call=call, offer=offers.get(call.name), task=task, step=f"{step}.{place}").run
        for place, call in enumerate(calls, start=1)
    ]
    return await side_by_side(jobs, limit=_CALLS_AT_ONCE)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One call of a reply."""

    call: ToolCall
    offer: _Offer | None
    task: Task
    step: str

    async def run(self) -> Returned:
        """What it gave. Raises the failure of a tool whose failure fails the node."""
        if self.offer is None:
            return Returned(error=_UnknownToolCalled(f"no tool {self.call.name!r}"))
        if int(self.step.partition(".")[2]) > _MOST_CALLS:
            refused = InvalidInput(f"at most {_MOST_CALLS} tools are called at once")
            return Returned(error=refused)
        use = self.offer.use
        returned = await invoke(
            use,
            self.offer.spec,
            self.call.arguments,
            task=self.task,
            step=self.step,
            loop=self.task.call.key,
        )
        fails = use.on_error is OnError.FAIL and not returned.has_bad_arguments
        if returned.error is not None and fails:
            raise returned.error
        return returned


def _check(returned: Returned, offer: _Offer | None, corrections: int) -> None:
    """Raises what a model was told too often."""
    goes_on = offer is not None and offer.use.on_error is OnError.CONTINUE
    if returned.error is not None and not goes_on and corrections > _CORRECTIONS:
        raise returned.error


def _answer(call: ToolCall, returned: Returned) -> Message:
    if (error := returned.error) is not None:
        text = f"Error {error.code}: {error.message}"
        text += f". {error.resolution}" if error.resolution else ""
    elif isinstance(returned.value, str):
        text = returned.value
    else:
        text = json.dumps(returned.value, ensure_ascii=False)
    text = str(shown(text, longest=_LONGEST_ANSWER))
    return Message(role=Role.TOOL, text=text, tool_call_id=call.id)


def _document(reply: Reply) -> dict[str, Any]:
    calls = [[call.id, call.name, dict(call.arguments)] for call in reply.tool_calls]
    return {
        "text": reply.text,
        "complete": reply.complete,
        "calls": calls,
        "usage": reply.usage.document,
    }


def _reply_of(document: Mapping[str, Any]) -> Reply:
    calls = (ToolCall(id=i, name=name, arguments=given) for i, name, given in document["calls"])
    return Reply(
        text=document["text"],
        complete=document["complete"],
        tool_calls=tuple(calls),
        usage=Usage.of(document["usage"]),
    )


class _Telling:
    """Tells of a reply while it is written, at most ten times a second and 64 Ki characters in all.

    `offset` says where a text begins, so that who watches a call that is repeated sees its text once.
    """

    def __init__(self, task: Task, step: int) -> None:
        self._task = task
        self._step = step
        self._text: list[str] = []
        self._told = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> "_Telling":
        return self

    def __exit__(self, *_: object) -> None:
        self._tell()

    def from_start(self) -> "_Telling":
        """For a call that begins, perhaps again."""
        self._text.clear()
        self._told = 0
        return self

    def __call__(self, text: str) -> None:
        self._text.append(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TEXT_SECONDS, self._tell)

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text = "".join(self._text)[: max(0, _LONGEST_TEXT - self._told)]
        self._text.clear()
        if text:
            data: dict[str, Any] = {"text": text, "call": str(self._step), "offset": self._told}
            self._told += len(text)
            if self._told >= _LONGEST_TEXT:
                data["cut"] = True
            self._task.tell(EventType.NODE_TEXT, data)
