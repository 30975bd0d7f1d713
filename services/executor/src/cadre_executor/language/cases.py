"""Compiles the tests that a file carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cadre_executor.domain.cases import Case, Expectation, Replies
from cadre_executor.domain.workflows import Node
from cadre_executor.language.conditions import compile_condition
from cadre_executor.language.file_shapes import CaseShape
from cadre_executor.language.inputs import check_values
from cadre_executor.language.positions import Path
from cadre_executor.language.references import Names
from cadre_executor.language.replies import ReplyCompiler
from cadre_executor.language.reports import Report, path_text, shown
from cadre_executor.language.states import DeclaredField


@dataclass(frozen=True, kw_only=True)
class CaseCompiler:
    """Compiles the tests of one file."""

    declared: Mapping[str, DeclaredField]
    nodes: Mapping[str, Node]
    names: Names
    report: Report

    def cases(self, shapes: list[CaseShape]) -> tuple[Case, ...]:
        """The tests; what is wrong with them goes into the report."""
        seen: set[str] = set()
        cases = []
        for index, shape in enumerate(shapes):
            path: Path = ("tests", index)
            if shape.name in seen:
                self.report.error(
                    "DUPLICATE_NAME",
                    (*path, "name"),
                    f"the test {shown(shape.name)} is there twice",
                    "rename one",
                )
            seen.add(shape.name)
            cases.append(self._case(shape, path))
        return tuple(cases)

    def _case(self, shape: CaseShape, path: Path) -> Case:
        self._check_inputs(shape.inputs or {}, path)
        place = self.report.place(path)
        return Case(
            name=shape.name,
            path=path_text(path),
            line=place.line,
            column=place.column,
            inputs=shape.inputs or {},
            replies=self._replies(shape.replies or {}, (*path, "replies")),
            expect=self._expected(shape.expect, (*path, "expect")),
            fails=shape.fails or "",
        )

    def _check_inputs(self, inputs: Mapping[str, Any], path: Path) -> None:
        check_values(inputs, self.declared, (*path, "inputs"), self.report)
        for name, field in self.declared.items():
            if field.required and name not in inputs:
                self.report.error(
                    "MISSING_INPUT",
                    (*path, "inputs"),
                    f"the input {shown(name)} is required",
                    f"add {name} to the test's inputs",
                )

    def _replies(self, written: Mapping[str, Any], path: Path) -> dict[str, Replies]:
        found = {}
        for name, replies in written.items():
            node = self.nodes.get(name)
            if node is None:
                self.report.error(
                    "UNKNOWN_NODE",
                    (*path, name),
                    f"there is no node {shown(name)}",
                    self.report.did_you_mean(name, self.nodes),
                    at_key=True,
                )
                continue
            compiler = ReplyCompiler(node=node, report=self.report)
            found[name] = compiler.replies(replies, (*path, name))
        return found

    def _expected(self, written: str | list[str] | None, path: Path) -> tuple[Expectation, ...]:
        listed = (
            [(written, path)]
            if isinstance(written, str)
            else [(text, (*path, index)) for index, text in enumerate(written or ())]
        )
        expected = (self._expectation(text, at) for text, at in listed)
        return tuple(each for each in expected if each is not None)

    def _expectation(self, text: str, path: Path) -> Expectation | None:
        condition = compile_condition(text, self.names, self.report, path)
        place = self.report.place(path)
        if condition is None:
            return None
        return Expectation(
            condition=condition, path=path_text(path), line=place.line, column=place.column
        )
