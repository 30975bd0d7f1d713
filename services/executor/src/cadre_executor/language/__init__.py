"""The workflow language: what a file may say, what is wrong with one, and the workflow that it means."""

from cadre_executor.language.additions import with_test_added
from cadre_executor.language.inputs import Input, InputsRefused, check_inputs, check_output
from cadre_executor.language.parsing import Parsed, parse_workflow
from cadre_executor.language.schemas import workflow_schema

__all__ = [
    "Input",
    "InputsRefused",
    "Parsed",
    "check_inputs",
    "check_output",
    "parse_workflow",
    "with_test_added",
    "workflow_schema",
]
