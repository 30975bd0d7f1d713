"""Compiles the state's fields, and the results of nodes, from their shapes to types."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cadre_executor.domain.workflows import Reducer, StateField, ValueRefused
from cadre_executor.language.positions import Path
from cadre_executor.language.references import LOOP_COUNTER
from cadre_executor.language.reports import Report, Suggestion, shown
from cadre_executor.language.shapes import (
    FieldShape,
    LimitsShape,
    OutputFieldShape,
    OutputShape,
    StateFieldShape,
)
from cadre_executor.language.types import (
    OTHER_NAMES,
    TYPE_NAMES,
    Anything,
    BadType,
    DictOf,
    Integer,
    Limits,
    ListOf,
    Member,
    Number,
    ObjectOf,
    Pattern,
    Text,
    Type,
    bare,
    limited,
    nullable,
    parse_type,
)

_COMBINES: dict[Reducer, tuple[type[Type], ...]] = {
    Reducer.APPEND: (ListOf,),
    Reducer.MERGE: (DictOf, ObjectOf),
    Reducer.SUM: (Integer, Number),
    Reducer.MIN: (Integer, Number, Text),
    Reducer.MAX: (Integer, Number, Text),
}
_STARTS: dict[Reducer, Any] = {Reducer.APPEND: [], Reducer.MERGE: {}, Reducer.SUM: 0}
"""What a field starts as that combines writes and has no default."""


@dataclass(frozen=True, kw_only=True)
class DeclaredField:
    """A field of the state with the type that the file gives it, limits included."""

    name: str
    type: Type
    required: bool
    default: Any
    description: str
    reducer: Reducer

    def as_domain(self, type_: Type) -> StateField:
        """The field as the engine sees it."""
        return StateField(
            name=self.name,
            type=type_,
            required=self.required,
            default=self.default,
            description=self.description,
            reducer=self.reducer,
        )


def compile_fields(
    shapes: Mapping[str, str | StateFieldShape], report: Report
) -> dict[str, DeclaredField]:
    """The state's fields, in the file's order; what is wrong with them goes into the report."""
    return {
        name: _field(name, shape, ("state", "fields", name), report)
        for name, shape in shapes.items()
    }


def _field(name: str, shape: str | StateFieldShape, path: Path, report: Report) -> DeclaredField:
    if not name.isidentifier() or name.startswith("_"):
        report.error(
            "INVALID_NAME",
            path,
            f"{shown(name)} cannot name a state field",
            f"names starting with {LOOP_COUNTER} are the platform's own"
            if name.startswith(LOOP_COUNTER)
            else "use letters, digits and _, beginning with a letter",
            at_key=True,
        )
    member = compile_member(shape, path, report)
    reducer = Reducer.REPLACE
    if isinstance(shape, StateFieldShape) and shape.reducer:
        reducer = Reducer(shape.reducer)
        _check_reducer(reducer, member.type, (*path, "reducer"), report)
    default = member.default
    if default is None and not member.required and reducer in _STARTS:
        default = _STARTS[reducer]
    return DeclaredField(
        name=name,
        type=member.type,
        required=member.required,
        default=default,
        description=(shape.description or "") if isinstance(shape, FieldShape) else "",
        reducer=reducer,
    )


def _check_reducer(reducer: Reducer, type_: Type, path: Path, report: Report) -> None:
    fitting = _COMBINES.get(reducer, ())
    if fitting and not isinstance(bare(type_), (*fitting, Anything)):
        wanted = {
            ListOf: "list",
            DictOf: "dict",
            ObjectOf: "object",
            Integer: "int",
            Number: "float",
        }
        names = ", ".join(wanted.get(each, "str") for each in fitting)
        report.error(
            "TYPE_MISMATCH",
            path,
            f"reducer {reducer.value} combines values of type {names}, not {type_.text}",
            "change the field's type, or use reducer: replace",
        )


def compile_member(shape: str | FieldShape, path: Path, report: Report) -> Member:
    """A field's type and default. A default of null means none."""
    if isinstance(shape, str):
        return Member(type=_type(shape, None, path, report), required=False)
    type_ = _limited(_type_of(shape, path, report), shape, path, report)
    if shape.required and shape.default is not None:
        report.error(
            "REQUIRED_AND_DEFAULT",
            (*path, "default"),
            "a required field takes no default",
            "remove `required: true` or the default",
        )
    default = _default(type_, shape.default, (*path, "default"), report)
    return Member(type=type_, required=bool(shape.required), default=default)


def _type_of(shape: FieldShape, path: Path, report: Report) -> Type:
    members = None
    if shape.schema_ is not None:
        members = _object_members(shape.schema_, (*path, "schema"), report)
    return _type(shape.type, members, (*path, "type"), report)


def _object_members(
    shapes: Mapping[str, str | FieldShape], path: Path, report: Report
) -> dict[str, Member]:
    """An object's fields. The short form, and one without `required` or `default`, must be there."""
    members = {}
    for name, shape in shapes.items():
        member = compile_member(shape, (*path, name), report)
        optional = isinstance(shape, FieldShape) and (
            shape.required is False or "default" in shape.model_fields_set
        )
        members[name] = replace(member, required=not optional)
    return members


def _default(type_: Type, default: Any, path: Path, report: Report) -> Any:
    if default is None:
        return None
    try:
        return type_.accept(default)
    except ValueRefused as exc:
        report.error(
            "DEFAULT_MISMATCH",
            path,
            f"the default does not fit its type: {exc.message}",
            exc.resolution,
        )
        return None


def compile_output(shape: str | OutputShape, path: Path, report: Report) -> Type:
    """The type of a node's result."""
    if isinstance(shape, str):
        return _type(shape, None, path, report)
    if shape.type == "array":
        return _array(shape, path, report)
    members: dict[str, Member] | None = None
    if shape.fields is not None:
        members = _output_members(shape.fields, (*path, "fields"), report)
    elif shape.schema_ is not None:
        members = _object_members(shape.schema_, (*path, "schema"), report)
    if members is not None and "object" not in shape.type:
        report.error(
            "TYPE_MISMATCH",
            (*path, "type"),
            f"a result of type {shown(shape.type)} has no fields",
            "write type: object",
        )
    return _limited(_type(shape.type, members, (*path, "type"), report), shape, path, report)


def _array(shape: OutputShape | OutputFieldShape, path: Path, report: Report) -> Type:
    """(1.0) `type: array` with `items`."""
    items = (
        Anything() if shape.items is None else compile_output(shape.items, (*path, "items"), report)
    )
    return _limited(ListOf(items=items), shape, path, report)


def _output_members(
    shapes: list[OutputFieldShape], path: Path, report: Report
) -> dict[str, Member]:
    members: dict[str, Member] = {}
    for index, shape in enumerate(shapes):
        at = (*path, index)
        if shape.name in members:
            report.error(
                "DUPLICATE_NAME",
                (*at, "name"),
                f"the field {shown(shape.name)} is there twice",
                "rename one",
            )
        if shape.type == "array":
            type_ = _array(shape, at, report)
        else:
            inner = None
            if shape.schema_ is not None:
                inner = _object_members(shape.schema_, (*at, "schema"), report)
            type_ = _limited(_type(shape.type, inner, (*at, "type"), report), shape, at, report)
        if shape.required is False:
            type_ = nullable(type_)
        members[shape.name] = Member(type=type_)
    return members


def _type(text: str, members: Mapping[str, Member] | None, path: Path, report: Report) -> Type:
    """The type, or `any` when it is not written right, so that the rest can be checked."""
    try:
        return parse_type(text, members)
    except BadType as exc:
        meant = OTHER_NAMES.get(exc.unknown) or OTHER_NAMES.get(exc.unknown.lower())
        hint = Suggestion(text="")
        if meant:
            hint = Suggestion(text=f"write `{meant}`", old=exc.unknown, new=meant)
        elif exc.unknown:
            hint = report.did_you_mean(exc.unknown, TYPE_NAMES)
        report.error(
            "UNKNOWN_TYPE" if exc.unknown else "INVALID_TYPE",
            path,
            f"type {shown(text)}: {exc}",
            hint or "write for example str, list[int], dict[str, float] or str | null",
        )
        return Anything()


def _limited(type_: Type, shape: LimitsShape, path: Path, report: Report) -> Type:
    description = getattr(shape, "description", None) or ""
    try:
        limits = Limits(
            enum=None if shape.enum is None else tuple(shape.enum),
            min=shape.min,
            max=shape.max,
            min_length=shape.min_length,
            max_length=shape.max_length,
            pattern=None if shape.pattern is None else Pattern(shape.pattern),
        )
        if isinstance(bare(type_), Anything):
            return limited(type_, Limits(enum=limits.enum), description)
        return limited(type_, limits, description)
    except BadType as exc:
        report.error("INVALID_LIMIT", path, str(exc), "remove the limit, or change the type")
        return type_


def assignable(source: Type, target: Type) -> bool:
    """Whether every value of one type fits the other, as far as types can tell; limits are checked in the run."""
    of_source, of_target = bare(source), bare(target)
    if isinstance(of_source, Anything) or isinstance(of_target, Anything):
        return True
    match of_target:
        case Text():
            return not isinstance(of_source, (ListOf, DictOf, ObjectOf))
        case Number():
            return isinstance(of_source, (Integer, Number))
        case ListOf(items=items):
            return isinstance(of_source, ListOf) and assignable(of_source.items, items)
        case DictOf(values=values):
            return _fits_dict(of_source, values)
        case ObjectOf(members=members):
            return _fits_object(of_source, members)
    return type(of_source) is type(of_target)


def _fits_dict(source: Type, values: Type) -> bool:
    match source:
        case DictOf(values=inner):
            return assignable(inner, values)
        case ObjectOf(members=members):
            return all(assignable(member.type, values) for member in members.values())
    return False


def _fits_object(source: Type, members: Mapping[str, Member]) -> bool:
    match source:
        case DictOf(values=inner):
            return all(assignable(inner, member.type) for member in members.values())
        case ObjectOf(members=given):
            known = all(
                name in members and assignable(member.type, members[name].type)
                for name, member in given.items()
            )
            return known and all(
                name in given or not each.required for name, each in members.items()
            )
    return False
