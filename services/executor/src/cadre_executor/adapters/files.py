"""The workflow language, as the domain asks for it."""

from collections.abc import Mapping
from typing import Any

from cadre_executor import language
from cadre_executor.domain.definitions import InputField, Parsed
from cadre_executor.domain.workflows import State, Workflow

__all__ = ["WorkflowFiles"]


class WorkflowFiles:
    """Reads YAML workflow files."""

    def parse(self, source: str) -> Parsed:
        """The workflow with all problems; never raises, whatever the text."""
        parsed = language.parse_workflow(source)
        return Parsed(
            workflow=parsed.workflow,
            problems=parsed.problems,
            inputs=tuple(_input(field) for field in parsed.inputs),
            graph=parsed.graph,
            triggers=parsed.triggers,
            cases=parsed.cases,
            agents=parsed.agents,
        )

    def check_inputs(self, workflow: Workflow, inputs: Mapping[str, Any]) -> State:
        """The whole state that a run begins with. Raises InvalidInput with a problem for each input."""
        return language.check_inputs(workflow, inputs)

    def with_test_added(self, source: str, test: Mapping[str, Any]) -> str:
        """The text of a valid file with a test behind its own, and else as it was."""
        return language.with_test_added(source, test)

    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of workflow files."""
        return language.workflow_schema()


def _input(field: language.Input) -> InputField:
    return InputField(
        name=field.name,
        type=field.type,
        required=field.required,
        has_default=not field.required,
        default=field.default,
        description=field.description,
        allowed=field.enum,
    )
