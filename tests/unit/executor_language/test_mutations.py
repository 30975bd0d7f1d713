"""Valid files, changed at random, are valid or have problems; nothing is ever raised, and no value becomes language."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cadre_executor.domain.workflows import ForEach, MemoryAction, Scope, ToolAction
from cadre_executor.language import Parsed, parse_workflow
from cadre_kit.errors import Problem, Severity, TextEdit

_ROOT = Path(__file__).parents[3]
_HERE = Path(__file__).parent
_PAGE = (_ROOT / "docs" / "workflow-language.md").read_text()
_SOURCES = [
    *(path.read_text() for path in sorted((_ROOT / "examples").glob("*.yaml"))),
    *(path.read_text() for path in sorted((_HERE / "corpus").glob("*.yaml"))),
    *(path.read_text() for path in sorted((_HERE / "first_generation").glob("*.yaml"))),
    *re.findall(r"^```yaml\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL),
]
_DOCUMENTS = [yaml.safe_load(source) for source in _SOURCES]
_WORDS = sorted(set(re.findall(r"[\w{}.:/]+", "\n".join(_SOURCES))))
_CODE = re.compile(r"[A-Z]+(_[A-Z0-9]+)*")

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(_WORDS),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_WORDS) | st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys or indexes."""
    keys: list[Any] = []
    match value:
        case dict():
            keys = list(value)
        case list():
            keys = list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


@st.composite
def _changed_documents(draw: st.DrawFn) -> str:
    """A valid file with a few of its values replaced, moved, renamed, repeated or taken out."""
    document = copy.deepcopy(draw(st.sampled_from(_DOCUMENTS)))
    for _ in range(draw(st.integers(1, 4))):
        places = _places(document)
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "move", "rename", "remove", "repeat"])):
            case "replace":
                holder[key] = draw(_VALUES)
            case "move":
                other, at = draw(st.sampled_from(places))
                holder[key] = copy.deepcopy(other[at])
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(_WORDS))] = holder.pop(key)
            case "repeat" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case _:
                del holder[key]
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=draw(st.booleans())))


@st.composite
def _changed_texts(draw: st.DrawFn) -> str:
    """A valid file with a few pieces of its text replaced by other text, or by pieces of another file."""
    source: str = draw(st.sampled_from(_SOURCES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(source)))
        end = min(len(source), start + draw(st.integers(0, 12)))
        other = draw(st.sampled_from(_SOURCES))
        at = draw(st.integers(0, len(other)))
        piece = draw(st.text(max_size=6) | st.just(other[at : at + 30]))
        source = source[:start] + piece + source[end:]
    return source


def _check(source: str, parsed: Parsed) -> None:
    """What holds of every answer: an error or a workflow, and problems with a code, a place and an order."""
    has_error = any(problem.severity is Severity.ERROR for problem in parsed.problems)
    lines = len(re.split(r"\r\n|[\n\r\x85\u2028\u2029]", source))
    assert has_error is (parsed.workflow is None)
    for problem in parsed.problems:
        assert _CODE.fullmatch(problem.code)
        assert problem.message
        assert problem.resolution or problem.code == "INVALID_YAML"
        assert 0 <= problem.line <= lines
    placed = [(problem.line, problem.column) for problem in parsed.problems if problem.line]
    assert placed == sorted(placed)


def _edited(source: str, edit: TextEdit) -> str:
    starts = [0, *(m.end() for m in re.finditer(r"\r\n|[\n\r\x85\u2028\u2029]", source))]
    start = starts[edit.line - 1] + edit.column - 1
    end = starts[edit.end_line - 1] + edit.end_column - 1
    assert 0 <= start <= end <= len(source)
    return source[:start] + edit.text + source[end:]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_changed_documents())
def test_a_valid_file_with_changed_values_is_valid_or_has_problems(source: str) -> None:
    _check(source, parse_workflow(source))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_changed_texts())
def test_a_valid_file_with_changed_text_is_valid_or_has_problems(source: str) -> None:
    _check(source, parse_workflow(source))


def _key(problem: Problem) -> tuple[str, str, str]:
    return problem.code, problem.path, problem.message


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_changed_texts() | _changed_documents())
def test_the_change_that_a_problem_carries_mends_that_problem(source: str) -> None:
    for problem in parse_workflow(source).problems:
        if problem.fix is not None:
            mended = parse_workflow(_edited(source, problem.fix))

            _check(source, mended)
            assert _key(problem) not in {_key(left) for left in mended.problems} or _repeated(
                source, problem
            )


def _repeated(source: str, problem: Problem) -> bool:
    """Whether the same mistake stands at the problem's place more than once: one change mends one of them."""
    assert problem.fix is not None
    fix = problem.fix
    lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", source)
    wrong = lines[fix.line - 1][fix.column - 1 : fix.end_column - 1]
    return source.count(wrong) > 1


_HOSTILE = st.text(max_size=60) | st.sampled_from(
    [
        "{state.secret}",
        "{{state.secret}}",
        "{secret}",
        "' or true or '",
        "state.secret == 'x'",
        "__import__('os').system('id')",
        "!!python/object/apply:os.system [id]",
        "*anchor",
        "{state.secret",
        "}}",
        "../../etc/passwd",
        "a/b",
    ]
)
_FILE = """
flow: {name: safe}
state: {fields: {value: str, secret: {type: str, default: hidden}, list: "list[str]"}}
nodes:
  - id: call
    tool: json_parse
    arguments: {text: "a {state.value} b", path: "{state.value}"}
    when: state.value == 'k' or contains(state.list, state.value)
  - id: each
    for_each: {items: [x, "{state.value}"]}
    memory: {action: save, namespace: "users/{state.value}", key: "{item}", value: {v: ["{state.value}"]}}
"""


@pytest.fixture(scope="module")
def safe() -> Parsed:
    parsed = parse_workflow(_FILE)
    assert parsed.problems == ()
    return parsed


@settings(max_examples=200)
@given(_HOSTILE, st.lists(_HOSTILE, max_size=2))
def test_no_value_becomes_template_condition_or_path(
    safe: Parsed, value: str, listed: list[str]
) -> None:
    assert safe.workflow is not None
    call, each = safe.workflow.nodes["call"], safe.workflow.nodes["each"]
    scope = Scope(
        state={"value": value, "secret": "hidden", "list": listed}, inputs={"item": value}
    )
    assert isinstance(call.action, ToolAction)
    assert call.when is not None
    assert isinstance(each.for_each, ForEach)
    assert isinstance(each.action, MemoryAction)
    assert each.action.key is not None
    assert each.action.value is not None

    assert call.action.arguments["text"].resolve(scope) == f"a {value} b"
    assert call.action.arguments["path"].resolve(scope) == value
    assert call.when.holds(scope) is (value == "k" or value in listed)
    assert each.for_each.items.resolve(scope) == ["x", value]
    assert each.action.place.path(scope, run_id="r1")[-1] == value
    assert each.action.key.render(scope) == value
    assert each.action.value.resolve(scope) == {"v": [value]}
