"""How a request is put to a model that cannot do all of it by itself, and how its answer is read back.

A model without tool calls gets its tools as a choice in a JSON document. A model without JSON Schemas gets a tool to
call with the document, or, without tools either, is told the schema in words. What a model can do is left to it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from cadre_kit.ids import new_id
from cadre_llm_proxy.domain.calls import (
    Abilities,
    Answer,
    CompletionRequest,
    FinishReason,
    Message,
    Role,
    Target,
    ToolCall,
    ToolChoice,
    ToolDefinition,
    WrittenCall,
)
from cadre_llm_proxy.domain.facts import (
    ContentRefused,
    OptionUnsupported,
    OutputInvalid,
    OutputTruncated,
)
from cadre_llm_proxy.domain.schemas import checked_output, moved

__all__ = ["MENDS", "Form", "Said", "form_of"]

MENDS = 2
"""How often a model is asked again for a reply that does not fit what was asked for."""

_REPLY_TOOL = "give_final_reply"


class _Way(Enum):
    """How the JSON document comes: as the reply's text, as the arguments of a tool, or as a choice among tools."""

    TEXT = "text"
    TOOL = "tool"
    CHOICE = "choice"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model said, read: text or tool calls that fit what was asked for."""

    content: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason


@dataclass(frozen=True, kw_only=True)
class Form:
    """A request as its model can take it: `output_schema` and `tools` only where it does them by itself."""

    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    tool_choice: ToolChoice
    output_schema: Mapping[str, Any] | None
    abilities: Abilities
    _way: _Way
    # What the reply's document must be: the caller's schema, or the choice among tools and it.
    _wanted: Mapping[str, Any] | None
    # The tools that the caller offered, by name.
    _offered: Mapping[str, ToolDefinition]

    @property
    def shows_text(self) -> bool:
        """Whether what the model writes is what the caller reads, and can be passed on as it comes."""
        return self._way is _Way.TEXT

    def read(self, answer: Answer) -> Said:
        """What the answer says. Raises OutputInvalid, OutputTruncated when its token limit was the cause, and
        ContentRefused for a document, or all of a reply, that the provider withheld."""
        is_needed = self._wanted is not None or not (answer.content or answer.tool_calls)
        if is_needed and answer.finish_reason is FinishReason.CONTENT_FILTER:
            raise ContentRefused.of_reply()
        try:
            return self._read(answer)
        except OutputInvalid as failure:
            if answer.finish_reason is FinishReason.LENGTH:
                raise OutputTruncated(
                    "the reply reached its token limit before its JSON document was complete",
                    resolution="Raise max_tokens, or bound strings and lists in the schema (maxLength, maxItems).",
                ) from failure
            failure.output = answer.content or _as_text(answer.tool_calls)
            raise

    def asked_again(self, failure: OutputInvalid) -> "Form":
        """The form with what was wrong with the last answer, for another try."""
        wish = f"{failure.message}. Answer again, and mend that."
        if self._wanted is not None:
            schema = json.dumps(self._wanted, ensure_ascii=False)
            wish += f" The JSON document must be of this JSON Schema:\n{schema}"
        return replace(
            self,
            messages=(
                *self.messages,
                Message(role=Role.ASSISTANT, content=failure.output or "(nothing)"),
                Message(role=Role.USER, content=wish),
            ),
        )

    def _read(self, answer: Answer) -> Said:
        if answer.finish_reason is FinishReason.BROKEN:
            raise _invalid("its provider gave it up, or could not read the tool call in it")
        if self._way is _Way.CHOICE:
            return self._chosen(answer)
        if self._way is _Way.TOOL:
            for call in answer.tool_calls:
                if call.name == _REPLY_TOOL:
                    return _text(self._document(call.arguments), FinishReason.STOP)
        if answer.tool_calls:
            calls = tuple(self._call(call) for call in answer.tool_calls)
            return Said(
                content=answer.content, tool_calls=calls, finish_reason=FinishReason.TOOL_CALLS
            )
        if self.tool_choice is ToolChoice.REQUIRED and self._way is _Way.TEXT:
            raise _invalid("it calls none of the tools, though it must")
        if self._wanted is None:
            return _text(answer.content, answer.finish_reason)
        return _text(checked_output(answer.content, self._wanted), answer.finish_reason)

    def _document(self, arguments: str) -> str:
        assert self._wanted is not None, "the tool for the reply is offered only with a schema"
        if _is_object(self._wanted):
            return checked_output(arguments, self._wanted)
        wrapped = json.loads(checked_output(arguments, _wrapped(self._wanted)))
        return json.dumps(wrapped["reply"], ensure_ascii=False)

    def _chosen(self, answer: Answer) -> Said:
        assert self._wanted is not None, "a choice is a schema"
        of = "the choice between the tools and an answer"
        choice = json.loads(checked_output(answer.content, self._wanted, of=of))
        if "tool" in choice:
            written = WrittenCall(
                id=f"call_{new_id()}",
                name=choice["tool"],
                arguments=json.dumps(choice["arguments"]),
            )
            return Said(
                content="",
                tool_calls=(self._call(written),),
                finish_reason=FinishReason.TOOL_CALLS,
            )
        reply = choice["answer"]
        content = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
        return _text(content, answer.finish_reason)

    def _call(self, written: WrittenCall) -> ToolCall:
        tool = self._offered.get(written.name)
        if tool is None:
            raise _invalid("it calls a tool that was not offered")
        schema = {**tool.parameters, "type": "object"}
        of = f"the parameters of the tool {tool.name!r}"
        arguments = json.loads(checked_output(written.arguments or "{}", schema, of=of))
        return ToolCall(id=written.id or f"call_{new_id()}", name=written.name, arguments=arguments)


def form_of(request: CompletionRequest, target: Target) -> Form:
    """How `request` is put to a model. Raises OptionUnsupported for what none of its abilities can stand in for."""
    abilities = target.abilities
    if not abilities.images and any(message.images for message in request.messages):
        raise OptionUnsupported(
            f"model {target.model!r} of {target.provider} does not take images",
            resolution="Leave the images out, or use a model that can see.",
            metadata={"provider": target.provider, "model": target.model, "param": "images"},
        )
    if (request.tools or _used_tools(request.messages)) and not abilities.tools:
        return _as_choice(request, abilities)
    form = Form(
        messages=request.messages,
        tools=request.tools,
        tool_choice=request.tool_choice,
        output_schema=None,
        abilities=abilities,
        _way=_Way.TEXT,
        _wanted=request.output_schema,
        _offered={} if request.tool_choice is ToolChoice.NONE else _by_name(request.tools),
    )
    if request.output_schema is None:
        return form
    if not abilities.schema and abilities.tools:
        return _with_reply_tool(form, request.output_schema)
    return _with_schema(form, request.output_schema, abilities)


def _with_schema(form: Form, schema: Mapping[str, Any], abilities: Abilities) -> Form:
    if abilities.schema:
        return replace(form, output_schema=schema)
    wish = "Answer with a JSON document of this JSON Schema, and nothing else:\n"
    wish += json.dumps(schema, ensure_ascii=False)
    return replace(form, messages=_told(form.messages, wish))


def _with_reply_tool(form: Form, schema: Mapping[str, Any]) -> Form:
    reply = ToolDefinition(
        name=_REPLY_TOOL,
        description="Gives the final reply. Call it once you know the reply, and only then.",
        parameters=schema if _is_object(schema) else _wrapped(schema),
    )
    others = () if form.tool_choice is ToolChoice.NONE else form.tools
    return replace(form, tools=(*others, reply), tool_choice=ToolChoice.REQUIRED, _way=_Way.TOOL)


def _as_choice(request: CompletionRequest, abilities: Abilities) -> Form:
    closed = request.tool_choice is ToolChoice.NONE
    offered = () if closed else request.tools
    # A model that has called tools in words goes on to, unless it can write nothing else than an answer.
    bound = closed and _used_tools(request.messages) and abilities.schema
    chooses = bool(offered) or (bound and request.output_schema is None)
    form = Form(
        messages=tuple(_in_words(message) for message in request.messages),
        tools=(),
        tool_choice=ToolChoice.AUTO,
        output_schema=None,
        abilities=abilities,
        _way=_Way.CHOICE if chooses else _Way.TEXT,
        _wanted=request.output_schema,
        _offered=_by_name(offered),
    )
    if chooses:
        answerable = request.tool_choice is not ToolChoice.REQUIRED
        choice = _choice(offered, request.output_schema, answerable=answerable)
        messages = _told(form.messages, _tools_in_words(offered, answerable=answerable))
        form = replace(form, messages=messages, _wanted=choice)
    if form._wanted is None:
        return form
    return _with_schema(form, form._wanted, abilities)


def _choice(
    tools: Sequence[ToolDefinition], output_schema: Mapping[str, Any] | None, *, answerable: bool
) -> dict[str, Any]:
    """The schema of a document that calls one of the tools or answers."""
    parts: dict[str, Any] = {f"tool_{n}": tool.parameters for n, tool in enumerate(tools)}
    kinds = [
        _object({"tool": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/tool_{n}"}})
        for n, tool in enumerate(tools)
    ]
    if answerable:
        parts["answer"] = output_schema or {"type": "string"}
        kinds.append(_object({"answer": {"$ref": "#/$defs/answer"}}))
    # Each keeps its own definitions, so its references are put right for where it stands now.
    defs = {name: moved(schema, f"#/$defs/{name}") for name, schema in parts.items()}
    return {"anyOf": kinds, "$defs": defs}


def _tools_in_words(tools: Sequence[ToolDefinition], *, answerable: bool) -> str:
    if not tools:
        return 'Answer now, with {"answer": ...} and nothing else.'
    listed = "\n".join(
        f"- {tool.name}: {tool.description} Arguments: {json.dumps(tool.parameters, ensure_ascii=False)}"
        for tool in tools
    )
    answer = ' When no tool is needed any more, answer with {"answer": ...}.' if answerable else ""
    return (
        "You can use these tools:\n"
        f'{listed}\nTo use one, answer with {{"tool": NAME, "arguments": {{...}}}} and nothing else.{answer}'
    )


def _in_words(message: Message) -> Message:
    if message.role is Role.TOOL:
        return Message(role=Role.USER, content=f"Result of the tool: {message.content}")
    if message.tool_calls:
        said = [{"tool": c.name, "arguments": c.arguments} for c in message.tool_calls]
        text = "\n".join(json.dumps(each, ensure_ascii=False) for each in said)
        return Message(role=message.role, content=f"{message.content}\n{text}".strip())
    return message


def _told(messages: Sequence[Message], wish: str) -> tuple[Message, ...]:
    """The messages with a wish added to what sets the model's task."""
    first, *rest = messages
    if first.role is Role.SYSTEM:
        return (replace(first, content=f"{first.content}\n\n{wish}"), *rest)
    return (Message(role=Role.SYSTEM, content=wish), *messages)


def _used_tools(messages: Sequence[Message]) -> bool:
    return any(message.tool_calls or message.role is Role.TOOL for message in messages)


def _by_name(tools: Sequence[ToolDefinition]) -> dict[str, ToolDefinition]:
    return {tool.name: tool for tool in tools}


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object"


def _wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    return _object({"reply": moved(schema, "#/properties/reply")})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _as_text(calls: Sequence[WrittenCall]) -> str:
    return "\n".join(f"{call.name}({call.arguments})" for call in calls)


def _text(content: str, finish: FinishReason) -> Said:
    return Said(content=content, tool_calls=(), finish_reason=finish)


def _invalid(what: str) -> OutputInvalid:
    return OutputInvalid(
        f"the model's reply cannot be used: {what}",
        resolution="Try again, simplify the tools, or use a more capable model.",
    )
