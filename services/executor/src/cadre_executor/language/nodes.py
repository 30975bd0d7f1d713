"""Compiles nodes: what they do, what they read, and where their results go."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from keyword import iskeyword

from cadre_executor.domain.workflows import (
    END,
    START,
    Action,
    CodeAction,
    Goto,
    LlmAction,
    MemoryAction,
    MemoryVerb,
    ModelChoice,
    Node,
    OnError,
    Output,
    Reducer,
    Retry,
    SandboxLimits,
    Template,
)
from cadre_executor.language.conditions import compile_condition
from cadre_executor.language.references import LOOP_COUNTER, Names, UnknownName, part_type
from cadre_executor.language.reports import Path, Report, shown
from cadre_executor.language.shapes import (
    ConfigShape,
    LlmDefaultsShape,
    LlmOptionsShape,
    MemoryShape,
    NodeShape,
    RetryShape,
    SandboxShape,
)
from cadre_executor.language.states import DeclaredField, assignable, compile_output
from cadre_executor.language.templates import Compiler, Constant
from cadre_executor.language.types import (
    Anything,
    DictOf,
    ListOf,
    Member,
    Number,
    ObjectOf,
    OrDefault,
    Text,
    Type,
    bare,
    nullable,
)

WHOLE = "."
"""As an output's path: the whole result."""

MAX_SEGMENTS = 10
MAX_SECONDS = 300.0
MIN_MEBIBYTES = 32
MAX_MEBIBYTES = 2048

_KNOWN_PROVIDERS = ("openai", "anthropic", "google", "ollama", "embedded", "openai_compatible")
_PRESETS = {"low": (256, 30.0), "medium": (512, 60.0), "high": (1024, 120.0), "max": (2048, 300.0)}
"""MiB and seconds."""
_OF_KIND = {
    "llm": frozenset({"prompt", "system", "llm"}),
    "code": frozenset({"code", "sandbox"}),
    "memory": frozenset({"memory"}),
}
_SEGMENT = re.compile(r"/(?![^{}]*\})")
_FOUND = ListOf(
    items=ObjectOf(
        members={
            "key": Member(type=Text()),
            "value": Member(type=Anything()),
            "score": Member(type=Number()),
        }
    )
)


@dataclass(frozen=True, kw_only=True)
class NodeCompiler:
    """Compiles the nodes of one file. `whole` says that the file's structure had no mistakes."""

    workflow: str
    declared: Mapping[str, DeclaredField]
    ids: Collection[str]
    config: ConfigShape
    report: Report
    whole: bool

    def compile(self, shape: NodeShape, path: Path) -> Node:
        """The node; what is wrong with it goes into the report, and something stands in for it."""
        names = self._names()
        inputs, input_types = self._inputs(shape, names, path)
        own = replace(names, inputs=input_types)
        kind = self._kind(shape, path)
        action = self._action(kind, shape, Compiler(names=own, report=self.report), path)
        result = self._result(kind, shape, path)
        return Node(
            id=shape.id,
            action=action,
            label=shape.name or shape.id,
            description=shape.description or "",
            inputs=inputs,
            outputs=self._outputs(action, shape, result, path),
            result_type=self._checked_result(action, result),
            timeout_seconds=shape.timeout,
            retry=self._retry(shape.retry),
            on_error=self._on_error(shape.on_error, path),
            when=None
            if shape.when is None
            else compile_condition(condition_text(shape.when), own, self.report, (*path, "when")),
        )

    def placeholder(self, shape: NodeShape, path: Path) -> Node:
        """Stands for a node of a kind that is not built."""
        action = LlmAction(prompt=Constant(value=""))
        return Node(id=shape.id, action=action, on_error=self._on_error(shape.on_error, path))

    def _names(self) -> Names:
        types = {name: field.type for name, field in self.declared.items()}
        return Names(state=types, nodes=self.ids)

    def _inputs(
        self, shape: NodeShape, names: Names, path: Path
    ) -> tuple[dict[str, Template], dict[str, Type]]:
        compiler = Compiler(names=names, report=self.report)
        templates: dict[str, Template] = {}
        types: dict[str, Type] = {}
        for name, value in (shape.inputs or {}).items():
            at = (*path, "inputs", name)
            if not name.isidentifier() or iskeyword(name) or name.startswith("_"):
                self.report.error(
                    "INVALID_NAME",
                    at,
                    f"{shown(name)} cannot name an input",
                    "use letters, digits and _, beginning with a letter, and no Python keyword",
                    at_key=True,
                )
            templates[name], types[name] = compiler.value(value, at)
        return templates, types

    def _kind(self, shape: NodeShape, path: Path) -> str:
        """What the node does; what its other keys would do is noted as unused."""
        given = {
            "memory": shape.memory is not None,
            "code": shape.code is not None,
            "llm": shape.prompt is not None,
        }
        found: list[str] = [shape.type] if shape.type else []
        found += [name for name, there in given.items() if there]
        kind = found[0] if found else ""
        if not kind:
            if self.whole:
                self.report.error(
                    "NO_ACTION",
                    path,
                    f"the node {shown(shape.id)} does nothing",
                    "give it a prompt, code, or memory: {action: ...}",
                )
            return "llm"
        if not given[kind] and self.whole:
            key = {"llm": "prompt"}.get(kind, kind)
            self.report.error(
                "MISSING_FIELD",
                (*path, key),
                f"a node of type {kind} needs `{key}`",
                f"add `{key}:`",
            )
        for other, keys in _OF_KIND.items():
            for key in sorted(keys & shape.model_fields_set):
                if other != kind and getattr(shape, key) is not None:
                    self._unused(key, kind, path)
        return kind

    def _unused(self, key: str, kind: str, path: Path) -> None:
        self.report.note(
            "NO_EFFECT",
            (*path, key),
            f"`{key}` has no effect on a {kind} node",
            "remove it, or make it a node of its own",
            at_key=True,
        )

    def _action(self, kind: str, shape: NodeShape, compiler: Compiler, path: Path) -> Action:
        match kind:
            case "code":
                return CodeAction(code=shape.code or "", limits=self._limits(shape.sandbox, path))
            case "memory" if shape.memory is not None:
                return self._memory(shape.memory, compiler, (*path, "memory"))
        return self._llm(shape, compiler, path)

    def _llm(self, shape: NodeShape, compiler: Compiler, path: Path) -> LlmAction:
        if shape.prompt is not None and not shape.prompt.strip():
            self.report.error(
                "EMPTY_PROMPT",
                (*path, "prompt"),
                "the prompt is empty",
                "write what the model is asked",
            )
        system = None
        if shape.system is not None:
            system = compiler.text(shape.system, (*path, "system"))
        return LlmAction(
            prompt=compiler.text(shape.prompt or "", (*path, "prompt")),
            system=system,
            model=self._model(shape.llm, path),
        )

    def _model(self, shape: LlmOptionsShape | None, path: Path) -> ModelChoice:
        """The node's choice over its provider's defaults over the file's."""
        own = _given(shape)
        shared = _given(self.config.llm)
        provider = own.get("provider", shared.get("provider", ""))
        if provider != shared.get("provider", "") and "provider" in own:
            shared = {name: value for name, value in shared.items() if name in _OF_ANY_PROVIDER}
        of_provider = {}
        if isinstance(self.config.llm, LlmDefaultsShape) and self.config.llm.providers:
            of_provider = _given(self.config.llm.providers.get(str(provider)))
        merged = {**shared, **of_provider, **own}
        at: Path = (*path, "llm") if shape is not None else ("config", "llm")
        self._check_provider(str(provider), merged, at)
        stop = merged.pop("stop", ())
        merged["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)  # type: ignore[arg-type]
        return ModelChoice(**merged)  # type: ignore[arg-type]

    def _check_provider(self, provider: str, merged: Mapping[str, object], path: Path) -> None:
        if provider == "openai_compatible" and "api_base" not in merged:
            self.report.error(
                "MISSING_FIELD",
                path,
                "provider openai_compatible needs `api_base`",
                "add api_base: http://host:port/v1",
            )
        if provider and provider not in _KNOWN_PROVIDERS:
            near = self.report.nearest(provider, _KNOWN_PROVIDERS)
            if near and near[:1] == provider[:1]:
                self.report.note(
                    "UNUSUAL_PROVIDER",
                    (*path, "provider"),
                    f"{shown(provider)} is none of the usual providers",
                    f"did you mean `{near}`?",
                )

    def _limits(self, shape: SandboxShape | None, path: Path) -> SandboxLimits:
        if shape is None:
            return SandboxLimits()
        memory: int | None = None
        seconds: float | None = None
        if shape.preset:
            memory, seconds = _PRESETS[shape.preset]
        cpu_seconds = None
        if shape.resources:
            memory = shape.resources.memory_mb or _mebibytes(shape.resources.memory) or memory
            seconds = shape.resources.timeout or seconds
            cpu_seconds = shape.resources.cpu_seconds
        seconds = shape.timeout or seconds
        mebibytes = self._at_most(memory, MAX_MEBIBYTES, "MiB", path)
        return SandboxLimits(
            timeout_seconds=self._at_most(seconds, MAX_SECONDS, "seconds", path),
            cpu_seconds=cpu_seconds,
            memory_mb=None if mebibytes is None else max(MIN_MEBIBYTES, int(mebibytes)),
        )

    def _at_most(self, value: float | None, most: float, unit: str, path: Path) -> float | None:
        if value is None or value <= most:
            return value
        self.report.note(
            "LIMIT_LOWERED",
            (*path, "sandbox"),
            f"a program gets at most {most:g} {unit}, not {value:g}",
            "split the program, or lower the limit",
        )
        return most

    def _memory(self, shape: MemoryShape, compiler: Compiler, path: Path) -> MemoryAction:
        verb = MemoryVerb(shape.action)
        needed = {
            MemoryVerb.LOAD: ("key",),
            MemoryVerb.SAVE: ("key", "value"),
            MemoryVerb.SEARCH: ("query",),
            MemoryVerb.DELETE: ("key",),
        }[verb]
        for key in needed:
            if key not in shape.model_fields_set:
                self.report.error(
                    "MISSING_FIELD",
                    (*path, key),
                    f"memory {verb.value} needs `{key}`",
                    f"add `{key}:`",
                )
        self._note_unused_memory(verb, needed, shape, path)
        return MemoryAction(
            verb=verb,
            namespace=self._namespace(shape, compiler, path),
            key=_template(compiler, shape.key, (*path, "key")) if "key" in needed else None,
            value=compiler.value(shape.value, (*path, "value"))[0] if "value" in needed else None,
            query=_template(compiler, shape.query, (*path, "query")) if "query" in needed else None,
            top_k=shape.top_k or 5,
            ttl_seconds=self._ttl(verb, shape),
        )

    def _note_unused_memory(
        self, verb: MemoryVerb, needed: tuple[str, ...], shape: MemoryShape, path: Path
    ) -> None:
        optional = {MemoryVerb.SAVE: {"ttl_seconds"}, MemoryVerb.SEARCH: {"top_k"}}.get(verb, set())
        known = {*needed, *optional, "action", "scope", "namespace"}
        for key in sorted(shape.model_fields_set - known):
            self.report.note(
                "NO_EFFECT",
                (*path, key),
                f"`{key}` has no effect on memory {verb.value}",
                "remove it",
            )

    def _ttl(self, verb: MemoryVerb, shape: MemoryShape) -> float:
        shared = self.config.memory.ttl_seconds if self.config.memory else None
        return (shape.ttl_seconds or shared or 0.0) if verb is MemoryVerb.SAVE else 0.0

    def _namespace(
        self, shape: MemoryShape, compiler: Compiler, path: Path
    ) -> tuple[Template, ...]:
        """The path of templates; a text is split before values are put in, so that a value stays one segment."""
        written: str | list[str] | None = shape.namespace
        if written is None and self.config.memory:
            written = self.config.memory.namespace
        segments = _SEGMENT.split(written) if isinstance(written, str) else list(written or [])
        at = (*path, "namespace")
        if any(not segment.strip() for segment in segments) or len(segments) > MAX_SEGMENTS:
            self.report.error(
                "INVALID_VALUE",
                at,
                "the namespace has an empty segment, or too many",
                f"write at most {MAX_SEGMENTS} segments, such as users/{{state.user}}",
            )
        shared = shape.scope == "shared"
        scope = ("shared",) if shared else ("workflow", self.workflow)
        fixed: tuple[Template, ...] = tuple(Constant(value=segment) for segment in scope)
        return fixed + tuple(compiler.text(segment, at) for segment in segments)

    def _retry(self, shape: RetryShape | None) -> Retry:
        if shape is None:
            further = self.config.execution.max_retries if self.config.execution else None
            return Retry(max_attempts=1 + (further or 0))
        return Retry(
            max_attempts=3 if shape.max_attempts is None else shape.max_attempts,
            backoff_seconds=1.0 if shape.backoff_seconds is None else shape.backoff_seconds,
            on=frozenset(code.strip().upper() for code in shape.on or ()),
        )

    def _on_error(self, written: str | None, path: Path) -> OnError | Goto:
        if written is None or not written.startswith("goto:"):
            return OnError(written or "fail")
        target = written.removeprefix("goto:").strip()
        if target not in self.ids:
            hint = "name a node" if target in (START, END) else ""
            self.report.error(
                "UNKNOWN_NODE",
                (*path, "on_error"),
                f"on_error goes to {shown(target)}, which is no node",
                hint or self.report.did_you_mean(target, self.ids),
            )
            return OnError.FAIL
        return Goto(node=target)

    def _result(self, kind: str, shape: NodeShape, path: Path) -> Type | None:
        if shape.output_schema is None:
            return None
        result = compile_output(shape.output_schema, (*path, "output_schema"), self.report)
        if kind == "memory" and isinstance(result, ObjectOf):
            return _of_memory(result)
        return result

    def _checked_result(self, action: Action, result: Type | None) -> Type | None:
        """The type that the engine checks: a memory may hold nothing, and what is saved needs no check."""
        if result is None or not isinstance(action, MemoryAction):
            return result
        return nullable(result) if action.verb is MemoryVerb.LOAD else None

    def _outputs(
        self, action: Action, shape: NodeShape, result: Type | None, path: Path
    ) -> tuple[Output, ...]:
        whole = _type_of_whole(action, result)
        if isinstance(shape.outputs, dict):
            pairs = [
                (name, written, (*path, "outputs", name)) for name, written in shape.outputs.items()
            ]
        else:
            listed = shape.outputs or []
            by_name = self._by_name(listed, result, shape, path)
            if by_name and not isinstance(whole, (ObjectOf, DictOf)):
                whole = Anything()
            pairs = [
                (name, name if by_name else WHOLE, (*path, "outputs", index))
                for index, name in enumerate(listed)
            ]
        return tuple(
            output
            for name, written, at in pairs
            if (output := self._output(name, written, whole, at)) is not None
        )

    def _by_name(
        self, listed: list[str], result: Type | None, shape: NodeShape, path: Path
    ) -> bool:
        """Whether each listed field takes the part of its name, rather than the whole."""
        if isinstance(result, ObjectOf):
            lone = len(listed) == 1 and listed[0] not in result.members
            return not (lone and self._is_whole(listed[0]))
        if len(listed) > 1 and self.whole and not isinstance(result, (DictOf, Anything)):
            self.report.error(
                "OUTPUT_SCHEMA_NEEDED",
                (*path, "outputs"),
                f"the node {shown(shape.id)} fills several fields from one value",
                "add output_schema: {type: object, fields: [{name: ..., type: ...}, ...]}",
            )
        return len(listed) > 1

    def _is_whole(self, name: str) -> bool:
        """Whether one field is meant to take a whole object: it is an object or a dict itself."""
        field = self.declared.get(name)
        return field is not None and isinstance(bare(field.type), (ObjectOf, DictOf))

    def _output(self, name: str, written: str, whole: Type, path: Path) -> Output | None:
        field = self.declared.get(name)
        if field is None:
            self.report.error(
                "UNKNOWN_STATE_FIELD",
                path,
                f"{shown(name)} is not a state field",
                self.report.did_you_mean(name, self.declared, "declare it under state.fields"),
            )
            return None
        steps = () if written in (WHOLE, "") else tuple(written.removeprefix("state.").split("."))
        type_ = self._type_at(whole, steps, path)
        if type_ is not None and not _fits(type_, field):
            self.report.error(
                "TYPE_MISMATCH",
                path,
                f"a result of type {type_.text} does not fit the field {shown(name)} of type {field.type.text}",
                f"add output_schema: {{type: {field.type.text}}}, or change the field's type"
                if isinstance(type_, Text)
                else "change one of the two types",
            )
        return Output(field=name, path=steps)

    def _type_at(self, whole: Type, steps: tuple[str, ...], path: Path) -> Type | None:
        type_ = whole
        for step in steps:
            try:
                type_ = part_type(type_, step, "the result")
            except UnknownName as exc:
                self.report.error(
                    "OUTPUT_NOT_IN_SCHEMA",
                    path,
                    f"{shown('.'.join(steps))} is not in the node's result",
                    self.report.did_you_mean(
                        exc.name, exc.known, f"write {{field: {WHOLE}}} for the whole result"
                    ),
                )
                return None
        return type_


_OF_ANY_PROVIDER = frozenset({"temperature", "max_tokens", "top_p", "seed", "stop"})
_MODEL_FIELDS = frozenset(field.name for field in fields(ModelChoice))


def condition_text(written: str | bool) -> str:
    """A condition as text; YAML reads an unquoted `true` as a value."""
    return written if isinstance(written, str) else str(written).lower()


def check_ids(shapes: list[NodeShape], report: Report) -> None:
    """Reports ids that are used twice, or that mean something else."""
    seen: dict[str, int] = {}
    for index, shape in enumerate(shapes):
        path: Path = ("nodes", index, "id")
        if shape.id in (START, END, "__start__", "__end__") or shape.id.startswith(LOOP_COUNTER):
            report.error("RESERVED_ID", path, f"{shown(shape.id)} is reserved", "rename the node")
        if shape.id in seen:
            report.error(
                "DUPLICATE_ID",
                path,
                f"the id {shown(shape.id)} is used twice, first by nodes[{seen[shape.id]}]",
                "rename one of them",
            )
        seen.setdefault(shape.id, index)


def with_memory_defaults(
    declared: Mapping[str, DeclaredField], nodes: Collection[Node]
) -> dict[str, Type]:
    """The types of the state's fields: those that take what a memory holds put their default back for nothing."""
    loaded = {
        output.field
        for node in nodes
        if isinstance(node.action, MemoryAction) and node.action.verb is MemoryVerb.LOAD
        for output in node.outputs
    }
    return {
        name: OrDefault(of=field.type, default=field.default) if name in loaded else field.type
        for name, field in declared.items()
    }


def _given(shape: LlmOptionsShape | None) -> dict[str, object]:
    """What a block says, nothing else."""
    if shape is None:
        return {}
    values = {
        name: getattr(shape, name) for name in shape.model_fields_set if name in _MODEL_FIELDS
    }
    return {name: value for name, value in values.items() if value is not None}


def _mebibytes(text: str | None) -> int | None:
    if text is None:
        return None
    number, unit = int(re.sub(r"\D", "", text)), text.lower().rstrip("b")[-1]
    return number * 1024 if unit == "g" else number


def _template(compiler: Compiler, text: str | None, path: Path) -> Template | None:
    return None if text is None else compiler.text(text, path)


def _of_memory(result: ObjectOf) -> Type | None:
    """(1.0) A memory's value wrapped in an object: of one field that field, of none nothing."""
    match list(result.members.values()):
        case []:
            return None
        case [only]:
            return only.type
    return result


def _type_of_whole(action: Action, result: Type | None) -> Type:
    """The type of a node's result, as far as it is known."""
    if result is not None:
        return result
    match action:
        case LlmAction():
            return Text()
        case MemoryAction(verb=MemoryVerb.SEARCH):
            return _FOUND
    return Anything()


def _fits(result: Type, field: DeclaredField) -> bool:
    if assignable(result, field.type):
        return True
    if field.reducer is Reducer.APPEND and isinstance(field.type, ListOf):
        return assignable(result, field.type.items)
    return False
