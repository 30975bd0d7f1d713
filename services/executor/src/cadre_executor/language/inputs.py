"""Values that enter a run: its inputs, checked all at once, and what nodes write."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cadre_executor.domain.workflows import (
    Reducer,
    State,
    StateField,
    ValueRefused,
    ValueType,
    Workflow,
)
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.states import DeclaredField
from cadre_kit.errors import InvalidInput, Problem


class InputsRefused(InvalidInput):
    """A run's inputs do not fit its workflow; `problems` has one for each."""

    code = "INPUTS_REFUSED"


@dataclass(frozen=True, kw_only=True)
class Input:
    """A value that a run must or may be given, for forms and command lines."""

    name: str
    type: str
    required: bool
    default: Any = None
    description: str = ""
    enum: tuple[Any, ...] | None = None


def check_inputs(workflow: Workflow, inputs: Mapping[str, Any]) -> State:
    """The state that a run starts with: every field, inputs coerced, the rest at their defaults.

    Raises InputsRefused with a problem for each input that is wrong, unknown or missing.
    """
    report = Report()
    for name in inputs:
        if name not in workflow.fields:
            report.error(
                "UNKNOWN_INPUT",
                (name,),
                f"the workflow has no input {shown(name)}",
                report.did_you_mean(name, workflow.fields),
            )
    state = {name: _start(field, inputs, report) for name, field in workflow.fields.items()}
    if report.failed:
        problems = _unplaced(report)
        names = ", ".join(dict.fromkeys(problem.path for problem in problems if problem.path))
        raise InputsRefused(
            f"the inputs do not fit the workflow {workflow.name!r}: "
            + "; ".join(problem.message for problem in problems[:5]),
            resolution="; ".join(filter(None, (problem.resolution for problem in problems[:5]))),
            metadata={"workflow": workflow.name, "inputs": names},
            problems=problems,
        )
    return state


def check_output(field: StateField, value: object) -> Any:
    """What a node writes to a field, coerced to its type; one item for a list that appends is a list of it.

    Raises ValueRefused.
    """
    if field.reducer is Reducer.APPEND and not isinstance(value, list):
        try:
            return field.type.accept(value)
        except ValueRefused:
            return field.type.accept([value])
    return field.type.accept(value)


def check_values(
    values: Mapping[str, Any], declared: Mapping[str, DeclaredField], path: Path, report: Report
) -> None:
    """Reports what is wrong with the inputs that a file itself gives for some of its runs."""
    for name, value in values.items():
        field = declared.get(name)
        if field is None:
            report.error(
                "UNKNOWN_STATE_FIELD",
                (*path, name),
                f"{shown(name)} is not a state field",
                report.did_you_mean(name, declared, "declare it under state.fields"),
                at_key=True,
            )
            continue
        try:
            field.type.accept(value)
        except ValueRefused as exc:
            report.error(
                "INVALID_INPUT_VALUE",
                (*path, name),
                f"the value does not fit the field {shown(name)}: {exc.message}",
                exc.resolution,
            )


def inputs_of(workflow: Workflow, enums: Mapping[str, tuple[Any, ...] | None]) -> tuple[Input, ...]:
    """What a run is asked for: required fields, and those that no node writes, in the file's order."""
    written = {output.field for node in workflow.nodes.values() for output in node.outputs}
    return tuple(
        Input(
            name=name,
            type=field.type.text,
            required=field.required,
            default=field.default,
            description=field.description,
            enum=enums.get(name),
        )
        for name, field in workflow.fields.items()
        if field.required or name not in written
    )


def _start(field: StateField, inputs: Mapping[str, Any], report: Report) -> Any:
    """A field's first value."""
    given = inputs.get(field.name)
    if field.name not in inputs or (given is None and not field.required):
        if field.required and not _takes_null(field.type):
            report.error(
                "MISSING_INPUT",
                (field.name,),
                f"the input {shown(field.name)} is missing",
                f"give it a value of type {field.type.text}"
                + (f": {field.description[:200]}" if field.description else ""),
            )
        return _fresh(field.default)
    try:
        return field.type.accept(given)
    except ValueRefused as exc:
        where, reason = exc.metadata.get("at", ""), exc.metadata.get("reason", exc.message)
        report.error(
            "INVALID_INPUT_VALUE",
            (field.name,),
            f"the input {shown(field.name)}{where and ' at ' + where} {reason}",
            exc.resolution,
        )
        return None


def _takes_null(type_: ValueType) -> bool:
    try:
        return type_.accept(None) is None
    except ValueRefused:
        return False


def _fresh(value: Any) -> Any:
    """A copy, so that no run can change a default."""
    match value:
        case dict():
            return {key: _fresh(item) for key, item in value.items()}
        case list():
            return [_fresh(item) for item in value]
    return value


def _unplaced(report: Report) -> tuple[Problem, ...]:
    """The problems without a place: inputs have no lines."""
    return tuple(
        Problem(
            code=problem.code,
            message=problem.message,
            path=problem.path,
            resolution=problem.resolution,
            severity=problem.severity,
        )
        for problem in report.problems()
    )
