"""Compiles what a node's result is, and into which fields of the state its parts go."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cadre_executor.domain.workflows import (
    Action,
    ApprovalAction,
    LlmAction,
    MemoryAction,
    MemoryVerb,
    OnError,
    Output,
    Reducer,
    WorkflowAction,
)
from cadre_executor.language.iterations import Iteration
from cadre_executor.language.node_shapes import NodeShape
from cadre_executor.language.positions import Path
from cadre_executor.language.references import UnknownName, part_type
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.states import DeclaredField, assignable, compile_output
from cadre_executor.language.types import (
    Anything,
    DictOf,
    Integer,
    Limits,
    ListOf,
    Member,
    Number,
    ObjectOf,
    Text,
    Type,
    bare,
    nullable,
)

WHOLE = "."
"""As an output's path: the whole result."""

_FOUND = ListOf(
    items=ObjectOf(
        members={
            "key": Member(type=Text()),
            "value": Member(type=Anything()),
            "score": Member(type=Number()),
        }
    )
)
_MESSAGES = ListOf(
    items=ObjectOf(members={name: Member(type=Text()) for name in ("role", "name", "text")})
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a node gives: the type that the engine checks, and the fields that take it."""

    type: Type | None
    outputs: tuple[Output, ...]


@dataclass(frozen=True, kw_only=True)
class ResultCompiler:
    """Compiles the result of one node. `whole` says that the file's structure had no mistakes."""

    declared: Mapping[str, DeclaredField]
    report: Report
    whole: bool

    def compile(
        self, action: Action, shape: NodeShape, iteration: Iteration | None, path: Path
    ) -> Result:
        """The result; of a node with for_each, the type is that of one item's result."""
        written = self._written(action, shape, path)
        of_one = _type_of_whole(action, written)
        outputs = _Outputs(
            declared=self.declared,
            report=self.report,
            whole=self.whole,
            of_item=of_one if iteration is not None else None,
            may_fail=shape.on_error == OnError.CONTINUE.value,
            has_named_parts=isinstance(action, WorkflowAction) and written is None,
        )
        if iteration is not None and iteration.collect:
            own = replace(outputs, of_item=None).compile(shape, written, of_one, path)
            found = outputs.collected(iteration, own, path)
        else:
            found = outputs.compile(shape, written, of_one, path)
        return Result(type=_checked(action, written), outputs=found)

    def _written(self, action: Action, shape: NodeShape, path: Path) -> Type | None:
        if shape.output_schema is None:
            return None
        result = compile_output(shape.output_schema, (*path, "output_schema"), self.report)
        if isinstance(action, MemoryAction) and isinstance(result, ObjectOf):
            return _of_memory(result)
        return result


@dataclass(frozen=True, kw_only=True)
class _Outputs:
    """Compiles the outputs of one node.

    `of_item` is the type of one item's result where there are items; `has_named_parts` says that the result holds state
    fields of another workflow by name.
    """

    declared: Mapping[str, DeclaredField]
    report: Report
    whole: bool
    of_item: Type | None
    may_fail: bool
    has_named_parts: bool

    def compile(
        self, shape: NodeShape, written: Type | None, whole: Type, path: Path
    ) -> tuple[Output, ...]:
        if isinstance(shape.outputs, dict):
            pairs = [(name, part, (*path, "outputs", name)) for name, part in shape.outputs.items()]
        else:
            listed = shape.outputs or []
            by_name = self._by_name(listed, written, whole, shape, path)
            if by_name and not isinstance(whole, (ObjectOf, DictOf)):
                whole = Anything()
            pairs = [
                (name, name if by_name else WHOLE, (*path, "outputs", index))
                for index, name in enumerate(listed)
            ]
        return tuple(
            output
            for name, part, at in pairs
            if (output := self._output(name, part, whole, at)) is not None
        )

    def collected(
        self, iteration: Iteration, outputs: tuple[Output, ...], path: Path
    ) -> tuple[Output, ...]:
        """The one output of a node whose results are collected: the field that takes the list of them.

        (1.0) Where only the part fits that the node's own output names, the list holds that part of each.
        """
        whole = self.of_item or Anything()
        field = self.declared.get(iteration.collect)
        if field is not None and len(outputs) == 1 and not _fits(ListOf(items=whole), field):
            part = ".".join(outputs[0].path) or WHOLE
            found = self._output(iteration.collect, part, whole, iteration.collect_path)
            return () if found is None else (found,)
        if outputs:
            self.report.note(
                "NO_EFFECT",
                (*path, "outputs"),
                "`outputs` has no effect where all results are collected in one field",
                "remove it, or do not collect: each output then takes a list",
                at_key=True,
            )
        found = self._output(iteration.collect, WHOLE, whole, iteration.collect_path)
        return () if found is None else (found,)

    def _by_name(
        self, listed: list[str], written: Type | None, whole: Type, shape: NodeShape, path: Path
    ) -> bool:
        """Whether each listed field takes the part of its name, rather than the whole."""
        if self.has_named_parts:
            return not (len(listed) == 1 and self._is_whole(listed[0]))
        result = whole if isinstance(whole, ObjectOf) else written
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
        """Whether one field is meant to take a whole object: it is an object or a dict itself, or a list of such."""
        field = self.declared.get(name)
        if field is None:
            return False
        type_ = bare(field.type)
        if self.of_item is not None and isinstance(type_, ListOf):
            type_ = bare(type_.items)
        return isinstance(type_, (ObjectOf, DictOf))

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
        if type_ is not None:
            self._check_fit(type_, field, path)
        return Output(field=name, path=steps)

    def _check_fit(self, part: Type, field: DeclaredField, path: Path) -> None:
        type_: Type = ListOf(items=part) if self.of_item is not None else part
        if not _fits(type_, field):
            self.report.error(
                "TYPE_MISMATCH",
                path,
                f"a result of type {type_.text} does not fit the field {shown(field.name)} of type {field.type.text}",
                f"add output_schema: {{type: {field.type.text}}}, or change the field's type"
                if isinstance(type_, Text)
                else "change one of the two types",
            )
        elif self.of_item is not None and self.may_fail and not _takes_null_items(field.type):
            self.report.error(
                "TYPE_MISMATCH",
                path,
                f"an item that fails leaves null, which {shown(field.name)} of type {field.type.text} does not take",
                f"write type: {_with_null_items(field.type).text}, or leave on_error out",
            )

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


def _of_memory(result: ObjectOf) -> Type | None:
    """(1.0) A memory's value wrapped in an object: of one field that field, of none nothing."""
    match list(result.members.values()):
        case []:
            return None
        case [only]:
            return only.type
    return result


def _checked(action: Action, result: Type | None) -> Type | None:
    """The type that the engine checks: a memory may hold nothing, and what is saved needs no check."""
    if result is None or not isinstance(action, MemoryAction):
        return result
    return nullable(result) if action.verb is MemoryVerb.LOAD else None


def _type_of_whole(action: Action, result: Type | None) -> Type:
    """The type of a node's result, as far as it is known."""
    if result is not None:
        return result
    match action:
        case LlmAction():
            return Text()
        case MemoryAction(verb=MemoryVerb.SEARCH):
            return _FOUND
        case MemoryAction(verb=MemoryVerb.LOAD, key=None):
            return _MESSAGES
        case MemoryAction(verb=MemoryVerb.APPEND, key=None):
            return Integer()
        case ApprovalAction(choices=choices):
            return _answer(choices)
        case WorkflowAction():
            return DictOf(keys=Text(), values=Anything())
    return Anything()


def _answer(choices: tuple[str, ...]) -> Type:
    """What a person's answer holds."""
    return ObjectOf(
        members={
            "choice": Member(type=Text(limits=Limits(enum=choices))),
            "comment": Member(type=nullable(Text())),
            "by": Member(type=nullable(Text())),
        }
    )


def _fits(result: Type, field: DeclaredField) -> bool:
    if assignable(result, field.type):
        return True
    if field.reducer is Reducer.APPEND and isinstance(field.type, ListOf):
        return assignable(result, field.type.items)
    return False


def _takes_null_items(type_: Type) -> bool:
    of = bare(type_)
    return not isinstance(of, ListOf) or of.items == nullable(of.items)


def _with_null_items(type_: Type) -> Type:
    of = bare(type_)
    return ListOf(items=nullable(of.items)) if isinstance(of, ListOf) else type_
