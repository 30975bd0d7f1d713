"""Every code that can be met is explained, and the examples of the explanations are true."""

import ast
import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations

from cadre_executor.language import parse_workflow

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "problems.md").read_text()
_EXECUTOR = _ROOT / "services/executor/src/cadre_executor"
_LLM_PROXY = _ROOT / "services/llm-proxy/src/cadre_llm_proxy"
_CODE = re.compile(r"[A-Z]+(_[A-Z0-9]+)+")
_NOT_CODES = {"WEATHER_TOKEN", "DOCS_TOKEN"}
_TOO_LARGE_TO_SHOW = {
    "FILE_TOO_LARGE",
    "NESTED_TOO_DEEP",
    "NOT_UTF8",
    "TOO_MANY_EDGES",
    "TOO_MANY_PROBLEMS",
}
_OF_OUR_REQUESTS = {
    "BAD_PAGE_TOKEN",
    "BATCH_INVALID",
    "BATCH_NOT_FOUND",
    "BATCH_TAKEN_OVER",
    "BUDGET_INVALID",
    "INTERVAL_INVALID",
    "LEASE_LOST",
    "MAX_CONCURRENT_INVALID",
    "NOTIFY_INVALID",
    "RRULE_INVALID",
    "SCHEDULE_NEVER_DUE",
    "SCHEDULE_NAME_INVALID",
    "SCHEDULE_NOT_FOUND",
}


def _parts() -> tuple[dict[str, str], dict[str, str]]:
    """The sections of the two parts of the page, by code."""
    _, files, runs = re.split(r"^# In a .*$", _PAGE, flags=re.MULTILINE)
    return _sections(files), _sections(runs)


def _sections(part: str) -> dict[str, str]:
    pieces = re.split(r"^## (\w+)$", part, flags=re.MULTILINE)[1:]
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def _examples(text: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


_OF_FILES, _OF_RUNS = _parts()
_FRAME = _examples(_PAGE)[0]
_SHOWN = [(code, _examples(text)) for code, text in _OF_FILES.items() if _examples(text)]


def _completed(example: str) -> str:
    """An example with what it leaves out; one that is no mapping is the whole file."""
    keys = set(re.findall(r"^(\w+):", example, re.MULTILINE))
    if not keys:
        return example
    blocks = re.findall(r"^\w+:.*\n(?:[ ].*\n)*", _FRAME, re.MULTILINE)
    return "".join(block for block in blocks if block.partition(":")[0] not in keys) + example


def _reported(example: str) -> set[str]:
    return {problem.code for problem in parse_workflow(_completed(example)).problems}


def _constants(folder: Path) -> set[str]:
    trees = [ast.parse(file.read_text()) for file in folder.glob("*.py")]
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _CODE.fullmatch(node.value)
    }


def _codes_of_facts(folder: Path) -> set[str]:
    """The codes of the errors that the modules of a folder define."""
    return {
        code
        for file in folder.glob("*.py")
        for code in re.findall(r'^    code = "(\w+)"$', file.read_text(), re.MULTILINE)
    }


def test_every_code_that_the_language_reports_has_a_section() -> None:
    explained = {*_OF_FILES, *_OF_RUNS}

    assert _constants(_EXECUTOR / "language") - _NOT_CODES <= explained


def test_every_failure_of_a_run_has_a_section() -> None:
    known = _codes_of_facts(_EXECUTOR / "domain") | _codes_of_facts(_EXECUTOR / "language")
    known |= _codes_of_facts(_LLM_PROXY) | _codes_of_facts(_LLM_PROXY / "domain")

    assert known - _OF_OUR_REQUESTS <= {*_OF_FILES, *_OF_RUNS}


def test_what_is_explained_in_the_first_part_is_reported_by_the_language() -> None:
    assert set(_OF_FILES) <= _constants(_EXECUTOR / "language")


def test_only_what_is_too_large_to_show_has_no_example() -> None:
    assert set(_OF_FILES) - {code for code, _ in _SHOWN} == _TOO_LARGE_TO_SHOW
    assert all(len(examples) == 2 for _, examples in _SHOWN)


def test_the_file_that_examples_leave_out_is_valid() -> None:
    assert parse_workflow(_FRAME).problems == ()


@pytest.mark.parametrize(("code", "examples"), _SHOWN, ids=[code for code, _ in _SHOWN])
def test_the_wrong_example_has_the_problem_and_the_right_one_has_no_error(
    code: str, examples: list[str]
) -> None:
    wrong, right = examples

    assert code in _reported(wrong)
    assert code not in _reported(right)
    assert parse_workflow(_completed(right)).valid


def test_the_right_examples_are_yaml() -> None:
    for _, (_, right) in _SHOWN:
        assert isinstance(yaml.safe_load(_completed(right)), dict)


def test_the_command_line_carries_the_page() -> None:
    shipped = _ROOT / "cli/src/cadre_cli/pages/problems.md"

    assert shipped.read_text() == _PAGE, "cp docs/problems.md cli/src/cadre_cli/pages/"
