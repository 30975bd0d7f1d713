"""Compiles the tests that a file carries."""

from collections.abc import Mapping
from typing import Any

from cadre_executor.domain.cases import Case
from cadre_executor.domain.workflows import Condition
from cadre_executor.language.conditions import compile_condition
from cadre_executor.language.file_shapes import CaseShape
from cadre_executor.language.inputs import check_values
from cadre_executor.language.positions import Path
from cadre_executor.language.references import Names
from cadre_executor.language.reports import Report, shown
from cadre_executor.language.states import DeclaredField


def compile_cases(
    shapes: list[CaseShape], declared: Mapping[str, DeclaredField], names: Names, report: Report
) -> tuple[Case, ...]:
    """The tests, checked; that nothing runs them yet is noted."""
    if shapes:
        report.note(
            "NO_EFFECT",
            ("tests",),
            "`tests` has no effect",
            "run the workflow with chosen inputs and look at its outputs",
            at_key=True,
        )
    seen: set[str] = set()
    cases = []
    for index, shape in enumerate(shapes):
        path: Path = ("tests", index)
        if shape.name in seen:
            report.error(
                "DUPLICATE_NAME",
                (*path, "name"),
                f"the test {shown(shape.name)} is there twice",
                "rename one",
            )
        seen.add(shape.name)
        cases.append(_case(shape, declared, names, path, report))
    return tuple(cases)


def _case(
    shape: CaseShape,
    declared: Mapping[str, DeclaredField],
    names: Names,
    path: Path,
    report: Report,
) -> Case:
    check_values(shape.inputs or {}, declared, (*path, "inputs"), report)
    return Case(
        name=shape.name,
        inputs=shape.inputs or {},
        replies=_replies(shape.replies or {}, names, (*path, "replies"), report),
        expect=_expected(shape.expect, names, (*path, "expect"), report),
    )


def _replies(
    written: Mapping[str, Any], names: Names, path: Path, report: Report
) -> dict[str, tuple[Any, ...]]:
    for node in written:
        if node not in names.nodes:
            report.error(
                "UNKNOWN_NODE",
                (*path, node),
                f"there is no node {shown(node)}",
                report.did_you_mean(node, names.nodes),
                at_key=True,
            )
    return {
        node: tuple(replies) if isinstance(replies, list) else (replies,)
        for node, replies in written.items()
    }


def _expected(
    written: str | list[str] | None, names: Names, path: Path, report: Report
) -> tuple[Condition, ...]:
    listed = (
        [(written, path)]
        if isinstance(written, str)
        else [(text, (*path, index)) for index, text in enumerate(written or ())]
    )
    compiled = [compile_condition(text, names, report, at) for text, at in listed]
    return tuple(condition for condition in compiled if condition is not None)
