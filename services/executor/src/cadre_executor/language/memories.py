"""Compiles what nodes remember: memory nodes, and the recall of llm nodes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cadre_executor.domain.workflows import (
    MemoryAction,
    MemoryPlace,
    MemoryVerb,
    Recall,
    Template,
    Upkeep,
)
from cadre_executor.language.file_shapes import MemoryDefaultsShape
from cadre_executor.language.models import ModelCompiler
from cadre_executor.language.node_shapes import DEFAULT_TOP_K, MemoryShape, NodeShape
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report
from cadre_executor.language.templates import Compiler

MAX_SEGMENTS = 10
DEFAULT_RECALL_TOKENS = 1000

_SEGMENT = re.compile(r"/(?![^{}]*\})")
_NEEDED = {
    MemoryVerb.LOAD: ("key",),
    MemoryVerb.SAVE: ("key", "value"),
    MemoryVerb.SEARCH: ("query",),
    MemoryVerb.APPEND: ("key", "value"),
    MemoryVerb.DELETE: ("key",),
}
_OPTIONAL = {MemoryVerb.SAVE: {"ttl_seconds"}, MemoryVerb.SEARCH: {"top_k"}}
_OF_CONVERSATION = {
    MemoryVerb.LOAD: {"max_tokens"},
    MemoryVerb.APPEND: {"value", "role", "learn", "summary_tokens"},
}
"""What these may say when they mean a conversation as a whole: by that scope, and no key."""

_OF_RECALL = {"scope", "namespace", "top_k", "max_tokens", "learn", "summary_tokens"}
_OF_OTHERS = ("agent", "conversation", "user")
"""Scopes of one of many: the namespace begins with which."""


def keeps_all(shared: MemoryDefaultsShape | None, nodes: Iterable[NodeShape]) -> bool:
    """Whether the file has facts learned, and names no conversation to learn them from."""
    blocks = [node.memory for node in nodes if node.memory is not None]
    named = any(m.action is None or (m.action == "append" and m.key is None) for m in blocks)
    return shared is not None and bool(shared.learn) and not named


@dataclass(frozen=True, kw_only=True)
class MemoryCompiler:
    """Compiles the memory blocks of one node; `shared` is what the file says for all, `keeps_all` that every exchange
    with a model is kept."""

    workflow: str
    node: str
    shared: MemoryDefaultsShape | None
    keeps_all: bool
    models: ModelCompiler
    templates: Compiler
    report: Report

    def action(self, shape: MemoryShape, path: Path) -> MemoryAction:
        """What a memory node does."""
        verb = MemoryVerb(shape.action or "load")
        allowed = {*_NEEDED[verb], *_OPTIONAL.get(verb, ())}
        if shape.key is None and self._scope(shape) == "conversation":
            allowed = _OF_CONVERSATION.get(verb, allowed)
        self._check_needed(verb, [key for key in _NEEDED[verb] if key in allowed], shape, path)
        self._note_unused(
            {*allowed, "action", "scope", "namespace"}, f"memory {verb.value}", shape, path
        )
        return MemoryAction(
            verb=verb,
            place=self._place(shape, path),
            key=self._template(shape.key, (*path, "key")) if "key" in allowed else None,
            value=self.templates.value(shape.value, (*path, "value"))[0]
            if "value" in allowed
            else None,
            query=self._template(shape.query, (*path, "query")) if "query" in allowed else None,
            top_k=shape.top_k or DEFAULT_TOP_K,
            max_tokens=shape.max_tokens or DEFAULT_RECALL_TOKENS,
            ttl_seconds=self._ttl(verb, shape),
            role=shape.role or "user",
            upkeep=self._upkeep(shape, path) if "learn" in allowed else Upkeep(),
        )

    def recall(self, shape: MemoryShape | None, path: Path) -> Recall | None:
        """What an llm node remembers, and keeps."""
        if shape is not None and shape.action is None:
            return self._recall(shape, path)
        if not self.keeps_all:
            return None
        unsaid = MemoryShape()
        return Recall(
            place=self._place(unsaid, ("config", "memory")),
            top_k=0,
            max_tokens=0,
            upkeep=self._upkeep(unsaid, path),
        )

    def _recall(self, shape: MemoryShape, path: Path) -> Recall:
        self._note_unused(_OF_RECALL, "an llm node without memory.action", shape, path)
        return Recall(
            place=self._place(shape, path),
            top_k=shape.top_k or DEFAULT_TOP_K,
            max_tokens=shape.max_tokens or DEFAULT_RECALL_TOKENS,
            upkeep=self._upkeep(shape, path),
        )

    def of_tool(
        self, config: Mapping[str, Any], own: MemoryShape | None, path: Path
    ) -> MemoryPlace:
        """Where a tool remembers: where its config says, else where the node or the file does, or below."""
        written, scope = config.get("namespace"), config.get("scope")
        below = [str(segment) for segment in written] if isinstance(written, list) else []
        if isinstance(scope, str):
            return self._built(scope, below, path)
        shape = own or MemoryShape()
        return self._built(self._scope(shape), [*self._segments(shape), *below], path)

    def _upkeep(self, shape: MemoryShape, path: Path) -> Upkeep:
        """What is made of the node's conversation; the node says it over the file."""
        shared = self.shared or MemoryDefaultsShape()
        learn = shared.learn if shape.learn is None else shape.learn
        tokens = shape.summary_tokens or shared.summary_tokens or 0
        if not learn and not tokens:
            return Upkeep()
        model = self.models.choice(shared.llm, ("config", "memory"))
        return Upkeep(summary_tokens=tokens, learn=bool(learn), model=model)

    def _check_needed(
        self, verb: MemoryVerb, needed: Sequence[str], shape: MemoryShape, path: Path
    ) -> None:
        for key in needed:
            if key not in shape.model_fields_set:
                self.report.error(
                    "MISSING_FIELD",
                    (*path, key),
                    f"memory {verb.value} needs `{key}`",
                    f"add `{key}:`",
                )

    def _note_unused(self, known: set[str], where: str, shape: MemoryShape, path: Path) -> None:
        for key in sorted(shape.model_fields_set - known):
            self.report.note(
                "NO_EFFECT",
                (*path, key),
                f"`{key}` has no effect on {where}",
                "remove it",
                at_key=True,
            )

    def _ttl(self, verb: MemoryVerb, shape: MemoryShape) -> float:
        shared = self.shared.ttl_seconds if self.shared else None
        return (shape.ttl_seconds or shared or 0.0) if verb is MemoryVerb.SAVE else 0.0

    def _place(self, shape: MemoryShape, path: Path) -> MemoryPlace:
        return self._built(self._scope(shape), self._segments(shape), path)

    def _segments(self, shape: MemoryShape) -> list[str]:
        """Those of the namespace; a text is split before values are put in, so that a value stays one segment."""
        written: str | list[str] | None = shape.namespace
        if written is None and self.shared:
            written = self.shared.namespace
        return _SEGMENT.split(written) if isinstance(written, str) else list(written or [])

    def _built(self, scope: str, segments: Sequence[str], path: Path) -> MemoryPlace:
        at = (*path, "namespace")
        if any(not segment.strip() for segment in segments) or len(segments) > MAX_SEGMENTS:
            self.report.error(
                "INVALID_VALUE",
                at,
                "the namespace has an empty segment, or too many",
                f"write at most {MAX_SEGMENTS} segments, such as users/{{state.user}}",
            )
        if scope in _OF_OTHERS and not segments:
            self.report.error(
                "MISSING_FIELD",
                at,
                f"the scope {scope} needs a `namespace` that begins with which {scope}",
                f"add namespace: '{{state.{scope}}}'",
            )
        return MemoryPlace(
            fixed=self._fixed(scope),
            segments=tuple(self.templates.text(segment, at) for segment in segments),
            of_run=scope == "run",
        )

    def _scope(self, shape: MemoryShape) -> str:
        shared = self.shared.scope if self.shared else None
        return shape.scope or shared or "workflow"

    def _fixed(self, scope: str) -> tuple[str, ...]:
        match scope:
            case "workflow":
                return ("workflow", self.workflow)
            case "node":
                return ("node", self.workflow, self.node)
        return (scope,)

    def _template(self, text: str | None, path: Path) -> Template | None:
        return None if text is None else self.templates.text(text, path)
