"""A reply in OpenAI's format that comes in pieces, as servers cut it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cadre_llm_proxy.adapters.openai_values import (
    Unreadable,
    arguments_of,
    finish_of,
    id_of,
    likelihoods_of,
    model_of,
    reasoning_of,
    service_of,
    text_of,
    tokens_of,
    whole,
)
from cadre_llm_proxy.domain.calls import Answer, Delta, Likelihood, WrittenCall
from cadre_llm_proxy.domain.prices import Tokens

__all__ = ["WrittenReply"]


@dataclass(kw_only=True)
class _Writing:
    """Text that comes in pieces. JSON may cut a character that it escapes as two into halves: the first of them waits
    for the other."""

    _pieces: list[str] = field(default_factory=list)
    _half: str = ""

    def add(self, piece: str) -> str:
        """Takes a piece in; what can be shown of it now."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        shown = whole(text.removesuffix(self._half))
        self._pieces.append(shown)
        return shown

    def text(self) -> str:
        """All of it."""
        return "".join(self._pieces) + whole(self._half)


@dataclass(kw_only=True)
class _WritingCall:
    id: str = ""
    name: str = ""
    arguments: _Writing = field(default_factory=_Writing)


@dataclass(kw_only=True)
class WrittenReply:
    """A reply that is put together from the chunks of a stream. It has `begun` with its first choice, and `ended` when
    the provider said why."""

    model: str
    begun: bool = False
    ended: bool = False
    _content: _Writing = field(default_factory=_Writing)
    _reasoning: _Writing = field(default_factory=_Writing)
    _refusal: str = ""
    _calls: list[_WritingCall] = field(default_factory=list)
    _by_index: dict[Any, _WritingCall] = field(default_factory=dict)
    _likelihoods: list[Likelihood] = field(default_factory=list)
    _finish_reason: object = None
    _tokens: Tokens | None = None
    _service: str = ""

    def add(self, chunk: Mapping[str, Any]) -> tuple[Delta, ...]:
        """Takes a chunk in; what was written with it, if anything. Raises Unreadable."""
        try:
            self.model = model_of(chunk, self.model)
            self._tokens = tokens_of(chunk.get("usage")) or self._tokens
            self._service = service_of(chunk) or self._service
            return self._chosen(chunk["choices"][0]) if chunk.get("choices") else ()
        except (KeyError, IndexError, TypeError, AttributeError) as exc:
            raise Unreadable("no chunk in OpenAI's format") from exc

    def answer(self) -> Answer:
        """The whole of it."""
        return Answer(
            content=self._content.text(),
            finish_reason=finish_of(self._finish_reason, self._refusal),
            model=self.model,
            tokens=self._tokens,
            tool_calls=tuple(
                WrittenCall(id=call.id, name=call.name, arguments=call.arguments.text())
                for call in self._calls
            ),
            reasoning=self._reasoning.text(),
            likelihoods=tuple(self._likelihoods),
            service=self._service,
        )

    def _chosen(self, choice: Mapping[str, Any]) -> tuple[Delta, ...]:
        self.begun = True
        delta = choice.get("delta") or {}
        calls = "".join(map(self._add_call, delta.get("tool_calls") or ()))
        if reason := choice.get("finish_reason"):
            self.ended = True
            self._finish_reason = reason
        self._likelihoods += likelihoods_of(choice)
        refusal = text_of(delta.get("refusal"))
        self._refusal += refusal
        text = self._content.add(text_of(delta.get("content")) or refusal)
        thought = self._reasoning.add(reasoning_of(delta))
        written = Delta(text=text, reasoning=thought, calls=calls)
        return () if written == Delta() else (written,)

    def _add_call(self, piece: Mapping[str, Any]) -> str:
        function = piece.get("function") or {}
        said_id, name = id_of(piece), text_of(function.get("name"))
        call = self._call_of(piece.get("index"), said_id, name)
        call.id = call.id or said_id
        # Some say the name again with each piece.
        more = name if name != call.name else ""
        call.name += more
        return more + call.arguments.add(arguments_of(function))

    def _call_of(self, index: object, said_id: str, name: str) -> _WritingCall:
        """The call that a piece belongs to: that of its index or, without one, the last, unless it begins another.
        Servers that give every call the index 0 do so with its name and its id; some make up an id for each piece, too.
        """
        call = self._by_index.get(index)
        differs = said_id != call.id if call and said_id else index is None
        if call is None or (name and call.name and differs):
            call = _WritingCall()
            self._calls.append(call)
            self._by_index[index] = self._by_index[None] = call
        return call
