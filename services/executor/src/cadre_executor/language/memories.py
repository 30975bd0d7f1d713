"""Compiles what nodes remember: memory nodes, and the recall of llm nodes."""

import re
from dataclasses import dataclass

from cadre_executor.domain.workflows import MemoryAction, MemoryVerb, Recall, Template
from cadre_executor.language.file_shapes import MemoryDefaultsShape
from cadre_executor.language.node_shapes import DEFAULT_TOP_K, MemoryShape
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report
from cadre_executor.language.templates import Compiler, Constant

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
_OF_RECALL = {"scope", "namespace", "top_k", "max_tokens"}


@dataclass(frozen=True, kw_only=True)
class MemoryCompiler:
    """Compiles the memory blocks of one node; `shared` is what the file says for all."""

    workflow: str
    shared: MemoryDefaultsShape | None
    templates: Compiler
    report: Report

    def action(self, shape: MemoryShape, path: Path) -> MemoryAction:
        """What a memory node does."""
        verb = MemoryVerb(shape.action or "load")
        needed = _NEEDED[verb]
        self._check_needed(verb, needed, shape, path)
        self._note_unused(
            {*needed, *_OPTIONAL.get(verb, ()), "action", "scope", "namespace"},
            f"memory {verb.value}",
            shape,
            path,
        )
        return MemoryAction(
            verb=verb,
            namespace=self._namespace(shape, path),
            key=self._template(shape.key, (*path, "key")) if "key" in needed else None,
            value=self.templates.value(shape.value, (*path, "value"))[0]
            if "value" in needed
            else None,
            query=self._template(shape.query, (*path, "query")) if "query" in needed else None,
            top_k=shape.top_k or DEFAULT_TOP_K,
            ttl_seconds=self._ttl(verb, shape),
        )

    def recall(self, shape: MemoryShape, path: Path) -> Recall:
        """What an llm node remembers."""
        self._note_unused(_OF_RECALL, "an llm node without memory.action", shape, path)
        return Recall(
            namespace=self._namespace(shape, path),
            top_k=shape.top_k or DEFAULT_TOP_K,
            max_tokens=shape.max_tokens or DEFAULT_RECALL_TOKENS,
        )

    def _check_needed(
        self, verb: MemoryVerb, needed: tuple[str, ...], shape: MemoryShape, path: Path
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

    def _namespace(self, shape: MemoryShape, path: Path) -> tuple[Template, ...]:
        """The path of templates; a text is split before values are put in, so that a value stays one segment."""
        written: str | list[str] | None = shape.namespace
        if written is None and self.shared:
            written = self.shared.namespace
        segments = _SEGMENT.split(written) if isinstance(written, str) else list(written or [])
        at = (*path, "namespace")
        if any(not segment.strip() for segment in segments) or len(segments) > MAX_SEGMENTS:
            self.report.error(
                "INVALID_VALUE",
                at,
                "the namespace has an empty segment, or too many",
                f"write at most {MAX_SEGMENTS} segments, such as users/{{state.user}}",
            )
        scope = ("shared",) if shape.scope == "shared" else ("workflow", self.workflow)
        fixed: tuple[Template, ...] = tuple(Constant(value=segment) for segment in scope)
        return fixed + tuple(self.templates.text(segment, at) for segment in segments)

    def _template(self, text: str | None, path: Path) -> Template | None:
        return None if text is None else self.templates.text(text, path)
